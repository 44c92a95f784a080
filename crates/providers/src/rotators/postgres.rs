//! Users of a `PostgreSQL` server, 13 or newer.
//!
//! Whoever may write a schedule chooses the server, so what comes from it is bounded in bytes and in time, and its words are
//! never quoted. It gets no password in cleartext: not to log in, and not to set a new one.
//!
//! # What the admin needs
//! `CREATEROLE`; `ADMIN OPTION` on each user that is rotated (since `PostgreSQL` 16; also, by the membership, to give away what
//! the user owns, and to end those of its sessions that are not listed yet); membership in the role that owns the objects;
//! `pg_signal_backend`, to end sessions; `pg_read_all_stats`, to see since when they are open.

mod change;
mod comment;
mod ending;
mod failure;
mod link;
mod obstacles;
mod roles;
mod session;
mod stream;
mod tls;

use std::time::Duration;

use async_trait::async_trait;
use rekey_core::{
    rotator::database::{Changed, Databases, Login, Role, RoleChange, Server},
    store::{Network, StoreError},
};
use tokio::time::{Instant, timeout_at};

use self::{
    change::Step,
    failure::{Failure, Who},
    link::Link,
    session::Session,
};

/// A whole request: connection, login, transaction. A server that is up needs well under a second; the rest is for locks.
const DEADLINE: Duration = Duration::from_secs(10);

/// `PostgreSQL` servers, within what the operator's settings allow. The addresses that stores may not have are refused here
/// as well; a proxy for stores is not used.
pub struct PostgresServers {
    network: Network,
}

impl PostgresServers {
    /// With these settings.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network }
    }

    /// Does `work` on a connection of its own. It gets the connection and gives it back, so that we can say goodbye.
    async fn with<T, W>(
        &self,
        server: &Server,
        login: &Login,
        who: Who,
        work: impl FnOnce(Session) -> W + Send,
    ) -> Result<T, StoreError>
    where
        W: Future<Output = (Session, Result<T, Failure>)> + Send,
    {
        let end = Instant::now() + DEADLINE;
        let request = async {
            let session = Session::open(server, login, None, &self.network, end).await?;
            Ok(work(session).await)
        };
        let done = match timeout_at(end, request).await {
            Ok(Ok((session, done))) => {
                session.leave().await;
                done
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Link::TooSlow.into()),
        };
        done.map_err(|failure| failure.told(server, &login.user, who))
    }
}

#[async_trait]
impl Databases for PostgresServers {
    async fn roles(&self, server: &Server, admin: &Login, names: &[&str]) -> Result<Vec<Role>, StoreError> {
        self.with(server, admin, Who::Admin, |session| async move {
            let found = roles::roles(&session, names).await;
            (session, found)
        })
        .await
    }

    async fn change(&self, server: &Server, admin: &Login, change: &RoleChange) -> Result<Changed, StoreError> {
        let options = change::options(&change.what);
        let options = options.map_err(|failure| failure.told(server, &admin.user, Who::Admin))?;
        self.with(server, admin, Who::Admin, |session| async move {
            let step = Step { session: &session, server, network: &self.network, admin, change, options: &options };
            let done = step.run().await;
            (session, done)
        })
        .await
    }

    async fn login(&self, server: &Server, login: &Login, acts_as: Option<&str>) -> Result<(), StoreError> {
        self.with(server, login, Who::User, |session| async move {
            let done = roles::acts_as(&session, acts_as).await;
            (session, done)
        })
        .await
    }
}
