//! What a server tells about its roles.

use chrono::{DateTime, Utc};
use rekey_core::rotator::database::{Role, Sessions};
use tokio_postgres::{Row, types::Type};

use super::{
    comment::Comment,
    failure::Failure,
    link::Link,
    session::{Access, Session},
};

/// Since `PostgreSQL` 16 a grant can leave out the right to act as the role (`SET`); before, every member has it
/// (<https://www.postgresql.org/docs/current/functions-info.html>). Parallel workers count as part of the session they
/// work for. A user without `pg_read_all_stats` sees that a session is there, and not since when
/// (<https://www.postgresql.org/docs/current/monitoring-stats.html>).
const ROLES: &str = "\
    SELECT r.rolname::text, r.rolcanlogin, shobj_description(r.oid, 'pg_authid'), \
        ARRAY(SELECT o.rolname::text FROM pg_roles o WHERE o.oid <> r.oid AND pg_has_role(r.oid, o.oid, \
            CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)), \
        s.count, s.newest \
    FROM pg_roles r, LATERAL (SELECT count(*) AS count, max(a.backend_start) AS newest FROM pg_stat_activity a \
        WHERE a.usesysid = r.oid AND a.pid <> pg_backend_pid() \
        AND a.backend_type IS DISTINCT FROM 'parallel worker') s \
    WHERE r.rolname::text = ANY($1)";

pub(super) async fn roles(session: &Session, names: &[&str]) -> Result<Vec<Role>, Failure> {
    session.begin(Access::Read).await?;
    let found = session.rows(ROLES, &[(&names, Type::TEXT_ARRAY)]).await;
    let found = found.map_err(|failure| match failure {
        Failure::Rights(_) => {
            Failure::Rights("let it read pg_roles and pg_stat_activity, as every user may by default".to_owned())
        }
        other => other,
    })?;
    session.commit().await?;
    // Only a role whose name or comment is not in the database's encoding cannot be read.
    found.iter().map(role).collect::<Result<_, _>>().map_err(|_| Failure::from(Link::Protocol))
}

fn role(row: &Row) -> Result<Role, tokio_postgres::Error> {
    let comment: Option<&str> = row.try_get(2)?;
    let count: i64 = row.try_get(4)?;
    let newest: Option<DateTime<Utc>> = row.try_get(5)?;
    Ok(Role {
        name: row.try_get(0)?,
        can_login: row.try_get(1)?,
        member_of: row.try_get(3)?,
        fence: Comment::read(comment.unwrap_or_default()).mark.fence(),
        sessions: Sessions { count: count.unsigned_abs(), newest },
    })
}

/// Whether the session acts as this role from its start.
pub(super) async fn acts_as(session: &Session, role: Option<&str>) -> Result<(), Failure> {
    let Some(role) = role else { return Ok(()) };
    let rows = session.rows("SELECT current_user::pg_catalog.text", &[]).await?;
    let found: Option<&str> = rows.first().and_then(|row| row.try_get(0).ok());
    if found == Some(role) { Ok(()) } else { Err(Failure::ActsAs(role.to_owned())) }
}
