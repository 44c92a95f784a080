//! The users of a database that a rotation lets take turns: what they are like, and what is altered.

use std::sync::Arc;

use rekey_api::{
    condition::Reason,
    reference::{CaBundleKind, CaBundleRef},
    rotation::RotationReason,
};
use rekey_core::{
    consent::User,
    rotation::{self, Effect, Pending, State, StoreView, Stored, TRIES, Task, Trust, UsersView, Wait},
    rotator::{
        Values,
        database::{Changed, Login, Role, Server},
        port::Proof,
        postgres::Postgres,
        users::Base,
    },
    store::{Credentials, StoreError, StoreErrorKind},
};

use super::{Schedules, key_of};
use crate::{cluster::ObjectName, error::Error};

/// The keys of the Secret with the login of who may alter users.
const USERNAME: &str = "username";
const PASSWORD: &str = "password";

impl Schedules {
    /// The users as far as the step is decided by them. A schedule that is being deleted does not wait for a server without end.
    pub(super) async fn users(
        &self,
        task: &Task,
        state: &State,
        pending: Option<&Pending>,
        (store, attempts): (&StoreView, u32),
    ) -> Result<UsersView, Error> {
        let (Some(database), Some(pending)) = (task.spec.rotator.database(), pending) else {
            return Ok(UsersView::NotAsked);
        };
        let is_decided_by_them = match (state, store) {
            (State::Applying(_) | State::Verifying(_), StoreView::Holds(Stored::Before { .. }))
            | (State::Retiring(_), _) => pending.trust == Trust::Proven,
            _ => false,
        };
        if !is_decided_by_them {
            return Ok(UsersView::NotAsked);
        }
        let ours = pending.fence(&task.spec.owner(), &self.digest_key);
        match self.roles(task, database).await {
            Ok(seen) => {
                let users = database.users(&pending.values, &pending.users, &seen, &ours);
                Ok(users.map_or(UsersView::NotAsked, UsersView::Seen))
            }
            Err(error) if task.spec.deleted && attempts >= TRIES => Ok(UsersView::Refused(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// What keeps the users from taking turns, asked before a rotation starts: the roles, and that today's login works.
    pub(super) async fn users_unable(&self, task: &Task, reason: RotationReason) -> Result<Option<Wait>, Error> {
        let Some(database) = task.spec.rotator.database() else { return Ok(None) };
        let (server, admin) = self.access(task, database).await?;
        let asked = self.careful(&server, &admin, self.databases.roles(&server, &admin, &database.roles())).await;
        let seen = asked.map_err(Error::store("ask", &server))?;
        if database.roles().contains(&admin.user.as_str()) {
            let text = format!(
                "user {} of spec.rotator.postgres.adminSecretRef is one of those that are rotated; name another one",
                admin.user
            );
            return Ok(Some(Wait::new(Reason::SlotsNotReady, text)));
        }
        if let Some(text) = database.gaps(&seen) {
            return Ok(Some(Wait::new(Reason::SlotsNotReady, text)));
        }
        let read = self.read(task).await?;
        let current = rotation::current(task, read.as_ref())?;
        let next = match database.next(&current) {
            Ok(next) => next,
            Err(error) => return Ok(Some(Wait::new(Reason::SlotsNotReady, error.to_string()))),
        };
        if let Some(text) = database.claimed(&seen, &task.spec.uid) {
            return Ok(Some(Wait::new(Reason::DuplicateSchedule, text)));
        }
        if let Some(text) = database.stranger(next, &seen, &task.spec.uid) {
            return Ok(Some(Wait::new(Reason::SlotsNotReady, text)));
        }
        let Some(login) = database.login(&current) else { return Ok(None) };
        // Who has a login that has leaked can change its password too: that must not keep it from its end.
        if reason == RotationReason::Leaked && database.is_ours(&login.user, &seen, &task.spec.uid) {
            return Ok(None);
        }
        match self.careful(&server, &login, self.databases.login(&server, &login, None)).await {
            Ok(()) => Ok(None),
            Err(error) if error.kind == StoreErrorKind::Denied => {
                let text =
                    format!("the stored login does not work, so nobody knows which user is in use: {}", error.text);
                Ok(Some(Wait::new(Reason::SlotsNotReady, text)))
            }
            Err(error) => Err(Error::store("log in to", server)(error)),
        }
    }

    /// What is recorded of the users when the values of a rotation are made.
    pub(super) async fn users_at_start(
        &self,
        task: &Task,
        current: &Values,
        made: &Values,
    ) -> Result<Option<Base>, Error> {
        let Some(database) = task.spec.rotator.database() else { return Ok(None) };
        Ok(Some(database.base(current, made, &self.roles(task, database).await?, &task.spec.uid)))
    }

    /// Gives the new user its password, or ends an old one. A fence that forbids it changes nothing, and the next look says so.
    pub(super) async fn alter_user(
        &self,
        task: &Task,
        pending: Option<&Pending>,
        effect: &Effect,
    ) -> Result<(), Error> {
        let (Some(database), Some(pending)) = (task.spec.rotator.database(), pending) else { return Ok(()) };
        let fence = pending.fence(&task.spec.owner(), &self.digest_key);
        let change = match effect {
            Effect::Grant => database.grant(&pending.values, &pending.users, fence),
            Effect::Revoke { user } => database.revoke(&pending.users, user, fence),
            Effect::Forget { user } => database.forget(&pending.users, user, fence),
            Effect::MakePending { .. }
            | Effect::WriteStore { .. }
            | Effect::AddFinalizer
            | Effect::RemoveFinalizer
            | Effect::DropPending { .. } => None,
        };
        let Some(change) = change else { return Ok(()) };
        let (server, admin) = self.access(task, database).await?;
        let changed = self.careful(&server, &admin, self.databases.change(&server, &admin, &change)).await;
        match changed.map_err(Error::store("alter a user of", server))? {
            Changed::Done => {
                // Whatever was said of the login before is about another password.
                self.memory.forget_refusal(&key_of(&task.spec), &pending.id);
                tracing::info!(role = change.role, "altered a user of the database");
            }
            Changed::Fenced(_) | Changed::NoRole => tracing::warn!(role = change.role, "the user was not altered"),
        }
        Ok(())
    }

    /// What proves the new login, with the certificates to trust.
    pub(super) async fn proof_of(&self, task: &Task, made: &Values) -> Result<Option<Proof>, Error> {
        let proof = task.spec.rotator.verify(made);
        let (Some(database), Some(Proof::DatabaseLogin { mut servers, login, acts_as })) =
            (task.spec.rotator.database(), proof.clone())
        else {
            return Ok(proof);
        };
        let roots = self.roots(task, database).await?;
        for server in &mut servers {
            server.tls.roots.clone_from(&roots);
        }
        Ok(Some(Proof::DatabaseLogin { servers, login, acts_as }))
    }

    /// Asks a server as this user, unless it has refused the very login a short time ago: servers and their guards count failed
    /// logins.
    async fn careful<T>(
        &self,
        server: &Server,
        login: &Login,
        ask: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let place = server.to_string();
        let credential = self.digest_key.of(&["rekey.dev/login", &place, &login.user], &login.password);
        // Of all schedules together: the server sees one address.
        let (who, now) = (ObjectName::new("", credential.as_str()), self.clock.now());
        if let Some(text) = self.memory.refusal(&who, &credential, now) {
            return Err(StoreError::new(StoreErrorKind::Denied, text).because(Reason::InvalidCredentials));
        }
        let asked = ask.await;
        if let Err(error) = &asked
            && error.because == Some(Reason::InvalidCredentials)
        {
            self.memory.set_refusal(&who, &credential, &error.text, now);
        }
        asked
    }

    async fn roles(&self, task: &Task, database: &Postgres) -> Result<Vec<Role>, Error> {
        let (server, admin) = self.access(task, database).await?;
        let asked = self.careful(&server, &admin, self.databases.roles(&server, &admin, &database.roles())).await;
        asked.map_err(Error::store("ask", server))
    }

    /// The primary, and who may alter users there.
    async fn access(&self, task: &Task, database: &Postgres) -> Result<(Server, Login), Error> {
        let server = database.server(self.roots(task, database).await?);
        Ok((server, self.admin(task, database).await?))
    }

    async fn roots(&self, task: &Task, database: &Postgres) -> Result<Option<Vec<u8>>, Error> {
        let Some(CaBundleRef { kind, name, key }) = &database.roots_ref else { return Ok(database.roots.clone()) };
        let credentials = self.credentials_of(task, database);
        let found = match kind {
            CaBundleKind::ConfigMap => credentials.config(name, key).await.map(String::into_bytes),
            CaBundleKind::Secret => credentials.secret(name, key).await.map(|bundle| bundle.expose().to_vec()),
        };
        found.map(Some).map_err(Error::store("read the certificates to trust of", &database.place))
    }

    fn credentials_of(&self, task: &Task, database: &Postgres) -> Arc<dyn Credentials> {
        let label = format!("RotationSchedule/{}", task.spec.name);
        self.stores.credentials(&task.spec.namespace, User { label, places: vec![database.place.clone()] })
    }

    /// The login of who may alter users, if its Secret lets this schedule send it there.
    async fn admin(&self, task: &Task, database: &Postgres) -> Result<Login, Error> {
        let credentials = self.credentials_of(task, database);
        let secret = async |key| {
            let found = credentials.secret(&database.admin_secret, key).await;
            found.map_err(Error::store("read the credential of", &database.place))
        };
        let user = secret(USERNAME).await?;
        let user = user.expose_text().unwrap_or_default().trim_end().to_owned();
        Ok(Login { user, password: secret(PASSWORD).await? })
    }
}
