//! The change of a role, in one transaction with the comparison of its fence.
//!
//! # Who waits for whom
//! `ALTER ROLE` holds the role's row until the end of the transaction, and the comment is read again behind it: who comes
//! second finds the other's fence, or is refused by the server and looks once more. There is no lock beside that, since any
//! user could take it and keep it. The row itself can be held by its user, who may set its own password: see
//! [`obstacles`](super::obstacles).
//!
//! # Names and values
//! These statements have no parameters, so names and values stand in them, escaped for both settings of
//! `standard_conforming_strings` (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html>).

use std::time::Duration;

use postgres_protocol::{
    escape::{escape_identifier, escape_literal},
    password::scram_sha_256,
};
use rekey_core::{
    rotator::database::{Alteration, Changed, Login, RoleChange, Server},
    store::Network,
};
use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::{
    comment::{Comment, comment_of, too_long},
    failure::Failure,
    link::Link,
    session::{Access, Session},
};

/// So long we try to alter the role: half of what a request has, as a revocation has more to do. And so often, as a server
/// may refuse it at once each time; attempts that wait are fewer.
const TRIES: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 50;

/// The first wait for a lock. Another operator that alters the role holds it for some round trips.
const PATIENT: Duration = Duration::from_millis(1500);

/// Each later one, behind whatever we could end: short, since who comes back at once has to lose only once.
const BRIEF: Duration = Duration::from_millis(300);

const COMMENT: &str = concat!(
    "SELECT c.text, c.is_too_long FROM pg_roles r, LATERAL ",
    comment_of!("r.oid"),
    " c WHERE r.rolname::text = $1"
);
const OWNER: &str = "SELECT current_database()::text FROM pg_roles WHERE rolname::text = $1";

/// What `ALTER ROLE` is told. The server gets what checks a password and does not give it away (RFC 5802, RFC 7677), so that
/// neither it nor its log ever sees the password itself.
///
/// # Errors
/// For a password that servers or clients refuse.
pub(super) fn options(what: &Alteration) -> Result<String, Failure> {
    match what {
        Alteration::Grant { password, .. } => {
            if password.is_empty() || password.expose().contains(&0) {
                let text = "PostgreSQL allows no password that is empty or holds a NUL byte: change what is generated";
                return Err(Failure::Value(text.to_owned()));
            }
            Ok(format!("LOGIN PASSWORD {}", escape_literal(&scram_sha_256(password.expose()))))
        }
        Alteration::Revoke { .. } => Ok("NOLOGIN".to_owned()),
        Alteration::Forget => Ok("PASSWORD NULL".to_owned()),
    }
}

/// How an attempt goes about the sessions of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// The first: it waits for whom it finds.
    Patient,
    /// A later one: of a role that is to end, it ends the sessions just before it alters the role.
    Pressing,
}

/// One change, and who makes it.
pub(super) struct Step<'a> {
    pub(super) session: &'a Session,
    pub(super) server: &'a Server,
    pub(super) network: &'a Network,
    pub(super) admin: &'a Login,
    pub(super) change: &'a RoleChange,
    /// See [`options`].
    pub(super) options: &'a str,
}

impl Step<'_> {
    pub(super) async fn run(&self) -> Result<Changed, Failure> {
        let changed = self.altered().await?;
        match &self.change.what {
            Alteration::Revoke { owner } if changed == Changed::Done => self.ended(owner).await,
            Alteration::Grant { .. } | Alteration::Revoke { .. } | Alteration::Forget => Ok(changed),
        }
    }

    /// Tries until nobody is in the way, or too much time is gone.
    async fn altered(&self) -> Result<Changed, Failure> {
        let end = Instant::now() + TRIES;
        let mut number = 1;
        loop {
            let attempt = if number == 1 { Attempt::Patient } else { Attempt::Pressing };
            let failure = match self.attempt(attempt).await {
                Err(failure @ (Failure::Locked(_) | Failure::Raced)) => failure,
                done => return done.map_err(|failure| self.rights(failure)),
            };
            self.session.rollback().await?;
            if number == ATTEMPTS || Instant::now() > end {
                return Err(self.held(failure).await);
            }
            self.make_way().await?;
            number += 1;
        }
    }

    async fn attempt(&self, attempt: Attempt) -> Result<Changed, Failure> {
        let RoleChange { role, expected, fence, .. } = self.change;
        let lock = if attempt == Attempt::Patient { PATIENT } else { BRIEF };
        self.session.begin(Access::Write { longest: TRIES, lock }).await?;
        let Some(seen) = self.comment().await? else {
            self.session.rollback().await?;
            return Ok(Changed::NoRole);
        };
        if !seen.mark.allows(expected.as_ref(), fence) {
            self.session.rollback().await?;
            return Ok(Changed::Fenced(seen.mark.fence()));
        }
        let text = seen.with(fence, role)?;
        self.alter(attempt, self.owner_exists().await?.as_deref()).await.map_err(raced)?;
        if self.comment().await?.as_ref() != Some(&seen) {
            return Err(Failure::Raced);
        }
        let comment = format!("COMMENT ON ROLE {} IS {}", escape_identifier(role), escape_literal(&text));
        self.session.execute(&comment).await.map_err(raced)?;
        self.session.commit().await?;
        Ok(Changed::Done)
    }

    /// What stands on the role; `None`: there is no such role.
    pub(super) async fn comment(&self) -> Result<Option<Comment>, Failure> {
        let rows = self.session.rows(COMMENT, &[(&self.change.role, Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let text: Option<&str> = row.try_get(0).map_err(|_| Failure::Link(Link::Protocol))?;
        if row.try_get(1).map_err(|_| Failure::Link(Link::Protocol))? {
            return Err(too_long(&self.change.role));
        }
        Ok(Some(Comment::read(text.unwrap_or_default())))
    }

    /// The server cuts longer names off, and so could take another role. Returns the database that we are in, if there has to
    /// be an owner: a pooler has names of its own.
    async fn owner_exists(&self) -> Result<Option<String>, Failure> {
        let Some(owner) = self.owner() else { return Ok(None) };
        match self.session.rows(OWNER, &[(&owner, Type::TEXT)]).await?.first() {
            Some(row) => row.try_get(0).map(Some).map_err(|_| Failure::Link(Link::Protocol)),
            None => Err(Failure::Value(format!(
                "the role {owner:?}, which owns the objects, does not exist; run: CREATE ROLE {} NOLOGIN",
                escape_identifier(owner)
            ))),
        }
    }

    pub(super) fn owner(&self) -> Option<&str> {
        match &self.change.what {
            Alteration::Grant { owner, .. } => owner.as_deref(),
            Alteration::Revoke { owner } => Some(owner),
            Alteration::Forget => None,
        }
    }

    async fn alter(&self, attempt: Attempt, database: Option<&str>) -> Result<(), Failure> {
        let role = escape_identifier(&self.change.role);
        let alter = format!("ALTER ROLE {role} {}", self.options);
        match &self.change.what {
            Alteration::Grant { owner, .. } => {
                self.session.execute(&alter).await?;
                let (Some(owner), Some(database)) = (owner, database) else { return Ok(()) };
                self.session.execute(&format!("ALTER ROLE {role} SET role = {}", escape_literal(owner))).await?;
                // The user may have set another one for this database, which comes first.
                let database = escape_identifier(database);
                self.session.execute(&format!("ALTER ROLE {role} IN DATABASE {database} RESET role")).await
            }
            Alteration::Revoke { .. } if attempt == Attempt::Pressing => {
                // In one message: who connects again at once has no round trip of ours to get in between.
                let user = escape_literal(&self.change.role);
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
                self.session.batch(&format!("{end} AND usename::text = {user}; {alter}")).await
            }
            Alteration::Revoke { .. } | Alteration::Forget => self.session.execute(&alter).await,
        }
    }

    /// With the SQL that grants what is missing.
    pub(super) fn rights(&self, failure: Failure) -> Failure {
        let Failure::Rights(_) = failure else { return failure };
        let (role, admin) = (escape_identifier(&self.change.role), escape_identifier(&self.admin.user));
        let alter = format!("ALTER ROLE {admin} CREATEROLE; GRANT {role} TO {admin} WITH ADMIN OPTION");
        let Alteration::Revoke { owner } = &self.change.what else {
            return Failure::Rights(format!("run as a superuser: {alter} (superusers are altered by superusers only)"));
        };
        let owner = escape_identifier(owner);
        Failure::Rights(format!(
            "run as a superuser: {alter}; GRANT {owner} TO {admin}; GRANT pg_signal_backend TO {admin}; and let {owner} \
             CREATE in the schemas where {role} owns something"
        ))
    }
}

/// The server has no better code for a row that another transaction has altered while we waited for it.
fn raced(failure: Failure) -> Failure {
    match failure {
        Failure::Busy(code) if code == "XX000" => Failure::Raced,
        other => other,
    }
}
