//! Logging in: with a token from a Secret, or as a `ServiceAccount`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rekey_core::{
    SecretBytes,
    store::{Credentials, StoreError, StoreErrorKind},
};

use vaultrs::api::{auth::kubernetes::requests::LoginWithKubernetesRequest, token::requests::RenewTokenSelfRequest};

use super::{
    server::{Server, kind},
    wire,
};
use crate::session::{self, Granted, RETRY, is_passing};

/// How long a renewal of a token from a Secret may keep a call waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// How we prove who we are.
pub(super) enum Method {
    /// A token in a Secret.
    Token {
        /// The Secret.
        name: String,
        /// Its key.
        key: String,
    },
    /// The Kubernetes auth method, with a token of a `ServiceAccount`.
    Kubernetes {
        /// Where the method is mounted.
        mount: String,
        /// The role to log in with.
        role: String,
        /// The `ServiceAccount`.
        account: String,
        /// The audiences of its token.
        audiences: Vec<String>,
    },
}

/// Logs in at a server; every time with credentials that are read afresh.
///
/// A session that nears its end is renewed by the next call that uses it, never in between: a Kubernetes login is made
/// anew, a token is read anew from its Secret and renewed (`renew-self`) if the server allows it.
pub(super) struct Login {
    /// Where.
    pub server: Arc<Server>,
    /// With what.
    pub method: Method,
    /// From where.
    pub credentials: Arc<dyn Credentials>,
}

impl Login {
    /// Who we are, as far as the spec tells.
    pub(super) fn identity(&self) -> String {
        match &self.method {
            Method::Token { name, key } => format!("the token in {name}/{key}"),
            Method::Kubernetes { role, .. } => format!("role {role}"),
        }
    }

    /// Who we are, when the server calls our token `name`.
    pub(super) fn identity_named(&self, name: &str) -> String {
        match &self.method {
            Method::Token { .. } => format!("token {name}"),
            Method::Kubernetes { role, .. } => format!("role {role}"),
        }
    }

    async fn kubernetes(
        &self,
        mount: &str,
        role: &str,
        account: &str,
        audiences: &[String],
    ) -> Result<Granted<SecretBytes>, StoreError> {
        let token = self.credentials.account_token(account, audiences).await?.token;
        let what = format!("login to {} at auth/{} with role {role:?}", self.server.place, mount);
        let jwt = token.expose_text().ok_or_else(|| {
            StoreError::new(StoreErrorKind::Malformed, format!("the token of ServiceAccount {account} is not text"))
        })?;
        let endpoint = LoginWithKubernetesRequest { mount: mount.into(), role: role.into(), jwt: jwt.into() };
        let answer = self.server.call(None, endpoint).await?;
        match answer.status {
            200 => {}
            // The spec may be right and the server not set up yet, so this is a refusal, not an invalid spec.
            status @ 400..=405 => {
                let text = format!(
                    "{what} was refused ({status}): check that the auth method is mounted there, that the role exists, \
                     and that it binds ServiceAccount {account} and the audience {}",
                    audiences.join(", ")
                );
                return Err(StoreError::new(StoreErrorKind::Denied, text));
            }
            _ => return Err(self.server.refusal(&answer, &what, "")),
        }
        let wire::Leased { token, lease, .. } = wire::leased(answer.body.expose())
            .map_err(|malformed| StoreError::new(malformed.kind(), format!("{what}: {malformed}")))?;
        Ok(Granted { session: token, renew_after: lease.map(|lease| lease * 2 / 3), ends_after: lease })
    }

    /// Prolongs a token as far as the server lets us. It is used in any case, so what a renewal fails with is not
    /// told: what the token is used for will tell.
    async fn prolonged(&self, token: SecretBytes) -> Granted<SecretBytes> {
        let renewal = self.server.call(Some(&token), RenewTokenSelfRequest { increment: None });
        let answer = tokio::time::timeout(PATIENCE, renewal).await;
        let (renew_after, ends_after) = match answer {
            Ok(Ok(answer)) if answer.status == 200 => match wire::leased(answer.body.expose()) {
                Ok(wire::Leased { lease: Some(lease), renewable: true, .. }) => (Some(lease * 2 / 3), Some(lease)),
                Ok(_) | Err(_) => (None, None),
            },
            // It is not renewable, or no policy allows it.
            Ok(Ok(answer)) if !is_passing(kind(answer.status)) => (None, None),
            Ok(Ok(_) | Err(_)) | Err(_) => (Some(RETRY), None),
        };
        Granted { session: token, renew_after, ends_after }
    }
}

#[async_trait]
impl session::Login for Login {
    type Session = SecretBytes;

    async fn login(&self) -> Result<Granted<SecretBytes>, StoreError> {
        match &self.method {
            Method::Token { name, key } => {
                let token = self.credentials.secret(name, key).await?;
                let session = SecretBytes::new(token.expose().trim_ascii().to_vec());
                if session.is_empty() {
                    let text = format!("the token in key {key:?} of Secret {name} is empty");
                    return Err(StoreError::new(StoreErrorKind::Invalid, text));
                }
                Ok(self.prolonged(session).await)
            }
            Method::Kubernetes { mount, role, account, audiences } => {
                self.kubernetes(mount, role, account, audiences).await
            }
        }
    }
}
