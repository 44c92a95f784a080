//! What a server tells about its roles.

use chrono::{DateTime, Utc};
use rekey_core::rotator::database::{Role, Sessions};
use tokio_postgres::{Row, types::Type};

use super::{
    comment::{Comment, comment_of, too_long},
    failure::Failure,
    link::Link,
    session::{Access, Session},
};

/// Since `PostgreSQL` 16 a grant can leave out the right to act as the role (`SET`); before, every member has it
/// (<https://www.postgresql.org/docs/current/functions-info.html>). Parallel workers count as part of the session they
/// work for. A user without `pg_read_all_stats` sees that a session is there, and not since when
/// (<https://www.postgresql.org/docs/current/monitoring-stats.html>).
///
/// `REASSIGN OWNED` leaves default privileges and user mappings where they are, and any user can make some for itself: what
/// stays for ever is not counted as owned (<https://www.postgresql.org/docs/current/catalog-pg-shdepend.html>).
const ROLES: &str = concat!(
    "SELECT r.rolname::text, r.rolcanlogin, c.text, \
        array_to_json(ARRAY(SELECT o.rolname::text FROM pg_roles o WHERE o.oid <> r.oid AND pg_has_role(r.oid, o.oid, \
            CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)))::text, \
        s.count, s.newest, \
        EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid \
            AND d.deptype = 'o' AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass) \
            AND d.dbid IN (0, (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))), \
        c.is_too_long \
    FROM pg_roles r, LATERAL ",
    comment_of!("r.oid"),
    " c, LATERAL (SELECT count(*) AS count, max(a.backend_start) AS newest FROM pg_stat_activity a \
        WHERE a.usesysid = r.oid AND a.pid <> pg_backend_pid() \
        AND a.backend_type IS DISTINCT FROM 'parallel worker') s \
    WHERE r.rolname::text = ANY($1)"
);

pub(super) async fn roles(session: &Session, names: &[&str]) -> Result<Vec<Role>, Failure> {
    session.begin(Access::Read).await?;
    let found = session.rows(ROLES, &[(&names, Type::TEXT_ARRAY)]).await;
    let found = found.map_err(|failure| match failure {
        Failure::Rights(_) => Failure::Rights(
            "let it read pg_roles, pg_stat_activity and pg_shdepend, as every user may by default".to_owned(),
        ),
        other => other,
    })?;
    session.commit().await?;
    found.iter().map(|row| role(row, names)).collect()
}

fn role(row: &Row, names: &[&str]) -> Result<Role, Failure> {
    // Only a role whose name or comment is not in the database's encoding cannot be read.
    let found = read(row).filter(|(role, _)| names.contains(&role.name.as_str()));
    let (role, is_too_long) = found.ok_or(Link::Protocol)?;
    if is_too_long { Err(too_long(&role.name)) } else { Ok(role) }
}

fn read(row: &Row) -> Option<(Role, bool)> {
    let comment: Option<&str> = row.try_get(2).ok()?;
    let count: i64 = row.try_get(4).ok()?;
    let newest: Option<DateTime<Utc>> = row.try_get(5).ok()?;
    let role = Role {
        name: row.try_get(0).ok()?,
        can_login: row.try_get(1).ok()?,
        // Not an array: the library makes room for as many elements as the server says that there are.
        member_of: serde_json::from_str(row.try_get(3).ok()?).ok()?,
        fence: Comment::read(comment.unwrap_or_default()).mark.fence(),
        sessions: Sessions { count: count.unsigned_abs(), newest },
        owns: row.try_get(6).ok()?,
    };
    Some((role, row.try_get(7).ok()?))
}

/// Whether the session acts as this role from its start.
pub(super) async fn acts_as(session: &Session, role: Option<&str>) -> Result<(), Failure> {
    let Some(role) = role else { return Ok(()) };
    let rows = session.rows("SELECT current_user::pg_catalog.text", &[]).await?;
    let found: Option<&str> = rows.first().and_then(|row| row.try_get(0).ok());
    if found == Some(role) { Ok(()) } else { Err(Failure::ActsAs(role.to_owned())) }
}
