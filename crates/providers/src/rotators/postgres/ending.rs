//! What follows when a user may no longer log in: its sessions end, and what it owns goes to the owner.
//!
//! The end of the login is committed before, so whoever holds up one of these holds up nothing else, and a repetition does
//! what is left.
//!
//! # Sessions that nobody sees
//! A session is listed once it is ready, and its right to log in is checked some time before. Who connects can make that time
//! long: `post_auth_delay` holds for half an hour, behind the end of the login. Until it is ready a session has a lock on its
//! database, and that is seen, though not whose it is. So we act as the role when we end it: the server then ends only what is
//! the role's own (or of a role that it may act as), and its refusal says that the session is somebody else's.

use std::time::Duration;

use postgres_protocol::escape::escape_identifier;
use rekey_core::rotator::database::Changed;
use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::{change::Step, comment::Mark, failure::Failure, link::Link, session::Access};

/// So often we look whether the sessions of a role have ended, at this distance: 2 seconds, while a session that is told to
/// end needs milliseconds.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// So many of them find whose login was checked before it ended.
const FIRST_LOOKS: u32 = 2;

/// The longest wait for a lock on something that the role owns: it keeps others from that as long.
const LOCK: Duration = Duration::from_secs(3);

/// What is kept of the request's time to say who holds a lock, and goodbye.
const RESERVE: Duration = Duration::from_secs(1);

const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE usename::text = $1 AND pid <> pg_backend_pid()";

/// Sessions that have a lock on their database and are not listed, or not yet with a user.
const STARTING: &str = "\
    SELECT DISTINCT l.pid FROM pg_locks l WHERE l.pid <> pg_backend_pid() AND l.locktype = 'object' \
        AND l.classid = 'pg_database'::regclass AND l.mode = 'RowExclusiveLock' \
        AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid \
            AND (a.usesysid IS NOT NULL OR a.backend_type <> 'client backend'))";

/// What a look at the sessions has found.
struct Look {
    /// So many are the role's.
    listed: usize,
    /// These may be.
    starting: Vec<i32>,
}

impl Step<'_> {
    pub(super) async fn ended(&self, owner: &str) -> Result<Changed, Failure> {
        let role = &self.change.role;
        self.end_sessions().await.map_err(|failure| {
            let left = format!("user {role:?} can no longer log in, but its sessions may go on");
            Failure::Left(Box::new(self.rights(failure)), left)
        })?;
        match self.reassign(owner).await {
            Ok(changed) => Ok(changed),
            Err(failure) => {
                // The transaction is over, whatever its end was.
                self.session.rollback().await.ok();
                let failure = self.in_use(self.rights(failure)).await;
                let left = format!(
                    "user {role:?} can no longer log in and its sessions have ended, but what it owns in this database is still \
                     its own; to hand that over by hand, run there as a superuser: REASSIGN OWNED BY {} TO {}",
                    escape_identifier(role),
                    escape_identifier(owner)
                );
                Err(Failure::Left(Box::new(failure), left))
            }
        }
    }

    /// Done when the role has no session, and none of those that were starting at the end of its login is left. Two looks find
    /// these, as a session at its very start has no lock yet; who comes later has no login.
    async fn end_sessions(&self) -> Result<(), Failure> {
        let (mut suspects, mut others) = (Vec::new(), Vec::new());
        for number in 0..LOOKS {
            let Look { listed, starting } = self.look().await?;
            suspects.retain(|pid| starting.contains(pid));
            // Most are ready by the next look.
            for pid in std::mem::take(&mut suspects) {
                if self.end_own(pid).await? { suspects.push(pid) } else { others.push(pid) }
            }
            if number < FIRST_LOOKS {
                let is_new = |pid: &i32| !others.contains(pid) && !suspects.contains(pid);
                let new: Vec<i32> = starting.into_iter().filter(is_new).collect();
                suspects.extend(new);
            }
            if listed == 0 && suspects.is_empty() && number + 1 >= FIRST_LOOKS {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        Err(Failure::Sessions)
    }

    /// Ends those that are listed, and finds the others.
    async fn look(&self) -> Result<Look, Failure> {
        self.session.begin(Access::Read).await?;
        let listed = self.session.rows(TERMINATE, &[(&self.change.role, Type::TEXT)]).await?.len();
        let starting = self.session.rows(STARTING, &[]).await?;
        self.session.commit().await?;
        let starting = starting.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>();
        Ok(Look { listed, starting: starting.map_err(|_| Failure::Link(Link::Protocol))? })
    }

    /// Ends a session if it is the role's own; false: it is not.
    async fn end_own(&self, pid: i32) -> Result<bool, Failure> {
        self.session.begin(Access::Read).await?;
        self.session.execute(&format!("SET LOCAL ROLE {}", escape_identifier(&self.change.role))).await?;
        match self.session.rows("SELECT pg_terminate_backend($1)", &[(&pid, Type::INT4)]).await {
            Ok(_) => self.session.commit().await.map(|()| true),
            Err(Failure::Rights(_)) => self.session.rollback().await.map(|()| false),
            Err(failure) => Err(failure),
        }
    }

    /// In the connected database, and the databases and tablespaces of the server.
    async fn reassign(&self, owner: &str) -> Result<Changed, Failure> {
        let longest = self.session.left().saturating_sub(RESERVE);
        self.session.begin(Access::Write { longest, lock: LOCK.min(longest) }).await?;
        let Some(seen) = self.comment().await? else {
            self.session.rollback().await?;
            return Ok(Changed::NoRole);
        };
        // What a rotation after this one has given the user is not ours to take.
        if seen.mark != Mark::Fence(self.change.fence.clone()) {
            self.session.rollback().await?;
            return Ok(Changed::Fenced(seen.mark.fence()));
        }
        let (role, owner) = (escape_identifier(&self.change.role), escape_identifier(owner));
        self.session.execute(&format!("REASSIGN OWNED BY {role} TO {owner}")).await?;
        self.session.commit().await?;
        Ok(Changed::Done)
    }
}
