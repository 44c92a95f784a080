//! Who stands in the way of a change, and what may be done about it.
//!
//! - The user itself holds its row while it alters its own password or settings and does not end the transaction. Of a user
//!   that is to end, the sessions are ended; another one is free, so it has none, or is named.
//! - It can prepare that transaction too, which then holds the row without a session. Nobody alters roles in a transaction of
//!   two phases for business, so one of the user, or of the role that it acts as, is rolled back.
//! - Who asks for a lock on a catalog that excludes writers is refused by the server, but only when its turn has come; until
//!   then everybody waits behind it. Nobody but a superuser gets such a lock, so a session of anybody else that asks for one
//!   loses nothing when it ends. The server lets us end none of a superuser's.

use postgres_protocol::escape::escape_literal;
use rekey_core::rotator::database::Server;
use tokio_postgres::types::Type;

use super::{
    change::Step,
    failure::Failure,
    link::Link,
    session::{Access, Session},
};

/// Those that alter roles; a change of ours writes in each.
macro_rules! catalogs {
    () => {
        "('pg_authid'::regclass, 'pg_db_role_setting'::regclass, 'pg_shdescription'::regclass)"
    };
}

/// The locks that writers of a table do not share (<https://www.postgresql.org/docs/current/explicit-locking.html>), except
/// that of maintenance, which the server itself does. Of the table: who waits for a row has one of that row.
const INTRUDERS: &str = concat!(
    "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     JOIN pg_roles r ON r.oid = a.usesysid WHERE NOT r.rolsuper AND l.pid <> pg_backend_pid() \
     AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
     AND l.locktype = 'relation' AND l.relation IN ",
    catalogs!()
);

/// Of these roles, those that hold what a change writes in. The number in `virtualtransaction` differs between versions, and
/// is one for all locks of a transaction.
const PREPARED: &str = concat!(
    "SELECT p.gid::text, p.owner::text, p.database::text FROM pg_prepared_xacts p \
     JOIN pg_locks t ON t.locktype = 'transactionid' AND t.transactionid = p.transaction AND t.pid IS NULL \
     WHERE p.owner::text = ANY($1) AND EXISTS (SELECT FROM pg_locks l WHERE l.pid IS NULL \
         AND l.virtualtransaction = t.virtualtransaction AND l.locktype = 'relation' AND l.relation IN ",
    catalogs!(),
    ")"
);

/// So many of them are rolled back between two attempts: each needs a connection.
const AT_ONCE: usize = 3;

/// At most so many are named, and one more is looked for.
const NAMED: usize = 3;

/// Whoever alters roles; first the sessions of the role itself.
const ALTERING: &str = concat!(
    "SELECT l.pid FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.pid IS DISTINCT FROM pg_backend_pid() AND l.mode <> 'AccessShareLock' \
     AND l.locktype = 'relation' AND l.relation IN ",
    catalogs!(),
    " GROUP BY l.pid ORDER BY coalesce(bool_or(a.usename::text = $1), l.pid IS NULL) DESC, l.pid LIMIT 4"
);

/// Locks on what the role owns here, or on what all databases share.
const USING: &str = "\
    SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_shdepend d ON d.dbid = l.database \
        AND d.classid = coalesce(l.classid, 'pg_class'::regclass::oid) AND d.objid = coalesce(l.objid, l.relation) \
    WHERE l.pid IS DISTINCT FROM pg_backend_pid() AND l.granted AND d.deptype = 'o' \
        AND d.refclassid = 'pg_authid'::regclass AND d.refobjid = (SELECT oid FROM pg_roles WHERE rolname::text = $1) \
        AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) LIMIT 4";

impl Step<'_> {
    /// Ends what nobody needs, after an attempt that has compared the fence. It leaves the sessions of the user to the next.
    pub(super) async fn make_way(&self) -> Result<(), Failure> {
        self.session.begin(Access::Read).await?;
        match self.session.rows(INTRUDERS, &[]).await {
            // Who may not end them waits for them.
            Err(Failure::Rights(_)) => self.session.rollback().await?,
            done => {
                done?;
                self.session.commit().await?;
            }
        }
        let roles: Vec<&str> = [Some(self.change.role.as_str()), self.owner()].into_iter().flatten().collect();
        self.session.begin(Access::Read).await?;
        let prepared = self.session.rows(PREPARED, &[(&roles, Type::TEXT_ARRAY)]).await?;
        self.session.commit().await?;
        for row in prepared.iter().take(AT_ONCE) {
            let word = |index| row.try_get(index).map_err(|_| Failure::Link(Link::Protocol));
            // What stays is named by who fails on it.
            self.roll_back(word(0)?, word(1)?, word(2)?).await.ok();
        }
        Ok(())
    }

    /// Only its owner may, in its database, and in no transaction.
    async fn roll_back(&self, id: &str, owner: &str, database: &str) -> Result<(), Failure> {
        let server = Server { database: database.to_owned(), ..self.server.clone() };
        let session = Session::open(&server, self.admin, Some(owner), self.network, self.session.end()).await?;
        let done = session.execute(&format!("ROLLBACK PREPARED {}", escape_literal(id))).await;
        session.leave().await;
        done
    }

    /// The failure, with who holds the lock.
    pub(super) async fn held(&self, failure: Failure) -> Failure {
        let Failure::Locked(_) = failure else { return failure };
        self.locked(ALTERING).await
    }

    /// The same for a lock on something that the role owns.
    pub(super) async fn in_use(&self, failure: Failure) -> Failure {
        let Failure::Locked(_) = failure else { return failure };
        self.locked(USING).await
    }

    /// Without a name if nobody can say it.
    async fn locked(&self, question: &str) -> Failure {
        let pids = pids(self.session, question, &self.change.role).await;
        Failure::Locked(pids.map(|pids| held(&pids)).unwrap_or_default())
    }
}

/// `None`: a transaction that is prepared and has no session.
async fn pids(session: &Session, question: &str, role: &str) -> Result<Vec<Option<i32>>, Failure> {
    session.begin(Access::Read).await?;
    let rows = session.rows(question, &[(&role, Type::TEXT)]).await?;
    session.commit().await?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|_| Link::Protocol.into())
}

/// Numbers only: names are the server's words.
fn held(pids: &[Option<i32>]) -> String {
    let sessions: Vec<String> = pids.iter().flatten().map(ToString::to_string).collect();
    let mut holders = Vec::new();
    if let Some(first) = sessions.first() {
        let who = match sessions.as_slice() {
            [pid] => format!("the session with pid {pid} has not ended its transaction"),
            some => {
                let (some, more) = some.split_at(some.len().min(NAMED));
                let more = if more.is_empty() { "" } else { " and more" };
                format!("the sessions with pid {}{more} have not ended their transactions", some.join(", "))
            }
        };
        let end = format!("pg_stat_activity says whose that is; SELECT pg_terminate_backend({first}) ends it");
        holders.push(format!("{who} ({end})"));
    }
    if pids.contains(&None) {
        holders.push("a prepared transaction holds it (see pg_prepared_xacts; ROLLBACK PREPARED ends it)".to_owned());
    }
    holders.join(", and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_told_by_number() {
        let start = |pids: &[Option<i32>]| held(pids).split(" (").next().map(str::to_owned).unwrap_or_default();
        assert_eq!(start(&[Some(7)]), "the session with pid 7 has not ended its transaction");
        assert_eq!(start(&[Some(7), Some(3)]), "the sessions with pid 7, 3 have not ended their transactions");
        let many = [Some(4), None, Some(3), Some(2), Some(1)];
        assert_eq!(start(&many), "the sessions with pid 4, 3, 2 and more have not ended their transactions");
        assert!(held(&many).contains("SELECT pg_terminate_backend(4) ends it), and a prepared transaction holds it"));
        assert_eq!(start(&[None]), "a prepared transaction holds it");
        assert_eq!(held(&[]), "");
    }
}
