//! The change of a role, in one transaction with the comparison of its fence.
//!
//! # Who waits for whom
//! A lock that programs agree on keeps rotations apart that use the same database. It does not reach beyond that database,
//! so two more things do: `ALTER ROLE` holds the role's row until the end of the transaction, and the comment is read again
//! behind it. Who comes second then finds the other's fence, or is refused by the server.
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
    SecretBytes,
    rotator::database::{Alteration, Changed, RoleChange},
};
use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::{
    comment::Comment,
    failure::Failure,
    link::Link,
    session::{Access, Session},
};

/// So often we look whether the sessions of a role have ended, at this distance: 3 seconds, while a session that is told to
/// end needs milliseconds.
const LOOKS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('rekey.dev/role ' || $1, 0))";
const COMMENT: &str = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname::text = $1";
const EXISTS: &str = "SELECT 1 FROM pg_roles WHERE rolname::text = $1";
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE usename::text = $1 AND pid <> pg_backend_pid()";

/// What checks a password and does not give it away (RFC 5802, RFC 7677), so that the server and its log never see the
/// password itself.
///
/// # Errors
/// For a password that servers or clients refuse.
pub(super) fn verifier(password: &SecretBytes) -> Result<String, Failure> {
    if password.is_empty() || password.expose().contains(&0) {
        let text = "PostgreSQL allows no password that is empty or holds a NUL byte: change what is generated";
        return Err(Failure::Value(text.to_owned()));
    }
    Ok(scram_sha_256(password.expose()))
}

/// One change, and who makes it.
pub(super) struct Step<'a> {
    pub(super) session: &'a Session,
    pub(super) admin: &'a str,
    pub(super) change: &'a RoleChange,
    /// Of the new password, if there is one.
    pub(super) verifier: Option<&'a str>,
}

impl Step<'_> {
    pub(super) async fn run(&self) -> Result<Changed, Failure> {
        let RoleChange { role, expected, fence, what } = self.change;
        self.session.begin(Access::Write).await?;
        self.session.rows(LOCK, &[(&role, Type::TEXT)]).await?;
        let Some(seen) = self.comment().await? else {
            return Ok(Changed::NoRole);
        };
        if !seen.mark.allows(expected.as_ref(), fence) {
            self.session.rollback().await?;
            return Ok(Changed::Fenced(seen.mark.fence()));
        }
        let text = seen.with(fence).ok_or_else(|| {
            Failure::Value(
                "the cluster, schedule or id of the rotation cannot stand in the comment of a role".to_owned(),
            )
        })?;
        self.owner_exists().await?;
        self.alter().await.map_err(|failure| self.rights(failure))?;
        if self.comment().await?.as_ref() != Some(&seen) {
            return Err(Failure::Raced);
        }
        let comment = format!("COMMENT ON ROLE {} IS {}", escape_identifier(role), escape_literal(&text));
        self.session.execute(&comment).await.map_err(|failure| self.rights(failure))?;
        if let Alteration::Revoke { owner } = what {
            self.reassign(owner).await.map_err(|failure| self.rights(failure))?;
        }
        self.session.commit().await?;
        if matches!(what, Alteration::Revoke { .. }) {
            // Only now no new session can start.
            self.end_sessions().await.map_err(|failure| self.rights(failure))?;
        }
        Ok(Changed::Done)
    }

    async fn comment(&self) -> Result<Option<Comment>, Failure> {
        let rows = self.session.rows(COMMENT, &[(&self.change.role, Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let text: Option<&str> = row.try_get(0).map_err(|_| Failure::Link(Link::Protocol))?;
        Ok(Some(Comment::read(text.unwrap_or_default())))
    }

    /// The server cuts longer names off, and so could take another role.
    async fn owner_exists(&self) -> Result<(), Failure> {
        let Some(owner) = self.owner() else { return Ok(()) };
        if self.session.rows(EXISTS, &[(&owner, Type::TEXT)]).await?.is_empty() {
            let create = format!("CREATE ROLE {} NOLOGIN", escape_identifier(owner));
            return Err(Failure::Value(format!(
                "the role {owner:?}, which owns the objects, does not exist; run: {create}"
            )));
        }
        Ok(())
    }

    fn owner(&self) -> Option<&str> {
        match &self.change.what {
            Alteration::Grant { owner, .. } => owner.as_deref(),
            Alteration::Revoke { owner } => Some(owner),
        }
    }

    async fn alter(&self) -> Result<(), Failure> {
        let role = escape_identifier(&self.change.role);
        let Some(verifier) = self.verifier else {
            return self.session.execute(&format!("ALTER ROLE {role} NOLOGIN")).await;
        };
        let password = escape_literal(verifier);
        self.session.execute(&format!("ALTER ROLE {role} LOGIN PASSWORD {password}")).await?;
        match self.owner() {
            Some(owner) => {
                self.session.execute(&format!("ALTER ROLE {role} SET role = {}", escape_literal(owner))).await
            }
            None => Ok(()),
        }
    }

    /// In the connected database, and the databases and tablespaces of the server.
    async fn reassign(&self, owner: &str) -> Result<(), Failure> {
        // A session of the role in an open transaction would hold the locks that this needs.
        self.session.rows(TERMINATE, &[(&self.change.role, Type::TEXT)]).await?;
        let (role, owner) = (escape_identifier(&self.change.role), escape_identifier(owner));
        self.session.execute(&format!("REASSIGN OWNED BY {role} TO {owner}")).await
    }

    async fn end_sessions(&self) -> Result<(), Failure> {
        for _ in 0..LOOKS {
            self.session.begin(Access::Read).await?;
            let told = self.session.rows(TERMINATE, &[(&self.change.role, Type::TEXT)]).await?;
            self.session.commit().await?;
            if told.is_empty() {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        Err(Failure::Sessions)
    }

    /// With the SQL that grants what is missing.
    fn rights(&self, failure: Failure) -> Failure {
        let Failure::Rights(_) = failure else { return failure };
        let (role, admin) = (escape_identifier(&self.change.role), escape_identifier(self.admin));
        let alter = format!("ALTER ROLE {admin} CREATEROLE; GRANT {role} TO {admin} WITH ADMIN OPTION");
        let Alteration::Revoke { owner } = &self.change.what else {
            return Failure::Rights(format!("run as a superuser: {alter} (superusers are altered by superusers only)"));
        };
        let owner = escape_identifier(owner);
        Failure::Rights(format!(
            "run as a superuser: {alter}; GRANT {owner} TO {admin}; GRANT pg_signal_backend TO {admin}; and let {owner} CREATE in the schemas where {role} owns something"
        ))
    }
}
