//! Logging in: with a token from a Secret, as a `ServiceAccount` (Kubernetes or JWT), or by `AppRole`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rekey_api::condition::Reason;
use rekey_core::{
    SecretBytes,
    store::{Credentials, StoreError, StoreErrorKind},
};
use rustify::Endpoint;
use vaultrs::api::{
    auth::{
        approle::requests::LoginWithApproleRequest, kubernetes::requests::LoginWithKubernetesRequest,
        oidc::requests::JWTLoginRequest,
    },
    token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest},
};

use super::{
    server::{Server, kind},
    wire,
};
use crate::session::{self, Granted, Lease, RETRY, is_passing};

/// How long the renewal of a token from a Secret may delay a call.
const PATIENCE: Duration = Duration::from_secs(5);

/// How we prove who we are.
pub(super) enum Method {
    /// A token in a Secret.
    Token {
        /// Where it is.
        place: Place,
    },
    /// The Kubernetes auth method, with a token of a `ServiceAccount`.
    Kubernetes {
        /// Where the method is mounted.
        mount: String,
        /// The role to log in with.
        role: String,
        /// The `ServiceAccount`.
        account: Account,
    },
    /// The `AppRole` auth method.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        role_id: String,
        /// Where the secret id is.
        place: Place,
    },
    /// The JWT auth method, with a token of a `ServiceAccount`.
    Jwt {
        /// Where the method is mounted.
        mount: String,
        /// The role to log in with.
        role: String,
        /// The `ServiceAccount`.
        account: Account,
    },
}

/// A key of a Secret.
pub(super) struct Place {
    pub name: String,
    pub key: String,
}

/// A `ServiceAccount`, and the audiences of its token.
pub(super) struct Account {
    pub name: String,
    /// The audiences of its token.
    pub audiences: Vec<String>,
}

/// Logs in at a server, each time with credentials that it reads afresh.
///
/// A token from a login is renewed (`renew-self`) as long as the server lets it live, then a new login follows. A token
/// from a Secret is read again, and renewed if the server allows that.
pub(super) struct Login {
    /// Where.
    pub server: Arc<Server>,
    /// With what.
    pub method: Method,
    /// From where.
    pub credentials: Arc<dyn Credentials>,
}

/// What calls show the server.
pub(super) struct Session {
    pub token: SecretBytes,
    /// Its first lifetime, if it is renewable.
    renewable: Option<Duration>,
}

impl Login {
    /// Who we are, by the spec.
    pub(super) fn identity(&self) -> String {
        match &self.method {
            Method::Token { place: Place { name, key } } => format!("the token in {name}/{key}"),
            Method::Kubernetes { role, .. } | Method::Jwt { role, .. } => format!("role {role}"),
            Method::AppRole { role_id, .. } => format!("AppRole {role_id}"),
        }
    }

    /// Who we are, where the server calls our token `name`.
    pub(super) fn identity_named(&self, name: &str) -> String {
        match &self.method {
            Method::Token { .. } => format!("token {name}"),
            Method::Kubernetes { .. } | Method::AppRole { .. } | Method::Jwt { .. } => self.identity(),
        }
    }

    /// One key of a Secret, without the line end that editors leave.
    async fn secret(&self, place: &Place, called: &str) -> Result<SecretBytes, StoreError> {
        let Place { name, key } = place;
        let found = self.credentials.secret(name, key).await?;
        let secret = SecretBytes::new(found.expose().trim_ascii().to_vec());
        if secret.is_empty() {
            let text = format!("the {called} in key {key:?} of Secret {name} is empty");
            return Err(StoreError::new(StoreErrorKind::Invalid, text).because(Reason::InvalidCredentials));
        }
        Ok(secret)
    }

    /// A new token of a `ServiceAccount`.
    async fn account_token(&self, account: &Account) -> Result<String, StoreError> {
        let token = self.credentials.account_token(&account.name, &account.audiences).await?.token;
        token.expose_text().map(str::to_owned).ok_or_else(|| {
            let text = format!("the token of ServiceAccount {} is not text", account.name);
            StoreError::new(StoreErrorKind::Malformed, text)
        })
    }

    /// Logs in by an auth method; `hint` says what to check after a refusal.
    async fn log_in(&self, mount: &str, endpoint: impl Endpoint, hint: &str) -> Result<Granted<Session>, StoreError> {
        let what = format!("login to {} at auth/{mount} with {}", self.server.place, self.identity());
        let answer = self.server.call(None, endpoint).await?;
        match answer.status {
            200 => {}
            // The spec may be right and the server not configured yet, so this is a refusal, not an invalid spec.
            status @ 400..=405 => {
                let text =
                    format!("{what} was refused ({status}): check that the auth method is mounted there, {hint}");
                return Err(StoreError::new(StoreErrorKind::Denied, text));
            }
            _ => return Err(self.server.refusal(&answer, &what, "")),
        }
        let wire::Leased { token, lease, renewable } = wire::leased(answer.body.expose())
            .map_err(|malformed| StoreError::new(malformed.kind(), format!("{what}: {malformed}")))?;
        let Lease { renew_after, ends_after } = times(lease);
        Ok(Granted { session: Session { token, renewable: lease.filter(|_| renewable) }, renew_after, ends_after })
    }

    /// Prolongs a token from a Secret as far as the server lets us. We use the token in any case, so a failed renewal
    /// is not reported: the calls with the token report it.
    async fn prolonged(&self, token: SecretBytes) -> Granted<Session> {
        let renewal = self.server.call(Some(&token), RenewTokenSelfRequest { increment: None });
        let answer = tokio::time::timeout(PATIENCE, renewal).await;
        let Lease { renew_after, ends_after } = match answer {
            Ok(Ok(answer)) if answer.status == 200 => match wire::leased(answer.body.expose()) {
                Ok(wire::Leased { lease, renewable: true, .. }) => times(lease),
                Ok(_) | Err(_) => times(None),
            },
            // It is not renewable, or no policy allows it.
            Ok(Ok(answer)) if !is_passing(kind(answer.status)) => times(None),
            Ok(Ok(_) | Err(_)) | Err(_) => Lease { renew_after: Some(RETRY), ends_after: None },
        };
        Granted { session: Session { token, renewable: None }, renew_after, ends_after }
    }
}

/// When to renew a token that is good for `lease`, and when it ends.
fn times(lease: Option<Duration>) -> Lease {
    Lease { renew_after: lease.map(|lease| lease * 2 / 3), ends_after: lease }
}

#[async_trait]
impl session::Login for Login {
    type Session = Session;

    async fn login(&self) -> Result<Granted<Session>, StoreError> {
        match &self.method {
            Method::Token { place } => Ok(self.prolonged(self.secret(place, "token").await?).await),
            Method::Kubernetes { mount, role, account } => {
                let jwt = self.account_token(account).await?;
                let endpoint = LoginWithKubernetesRequest { mount: mount.clone(), role: role.clone(), jwt };
                self.log_in(mount, endpoint, &account.hint()).await
            }
            Method::Jwt { mount, role, account } => {
                let jwt = self.account_token(account).await?;
                let endpoint = JWTLoginRequest { mount: mount.clone(), role: Some(role.clone()), jwt };
                let hint = format!("{}, and the key and the issuer of the cluster's tokens", account.hint());
                self.log_in(mount, endpoint, &hint).await
            }
            Method::AppRole { mount, role_id, place } => {
                let secret = self.secret(place, "secret id").await?;
                let secret_id = secret.expose_text().map(str::to_owned).ok_or_else(|| {
                    let text = format!("the secret id in key {:?} of Secret {} is not text", place.key, place.name);
                    StoreError::new(StoreErrorKind::Invalid, text).because(Reason::InvalidCredentials)
                })?;
                let endpoint = LoginWithApproleRequest { mount: mount.clone(), role_id: role_id.clone(), secret_id };
                let hint = "that the role exists, and that the secret id is one of the role and not used up";
                self.log_in(mount, endpoint, hint).await
            }
        }
    }

    async fn prolong(&self, session: &Session) -> Result<Option<Lease>, StoreError> {
        let Some(first) = session.renewable else {
            return Ok(None);
        };
        let answer = self.server.call(Some(&session.token), RenewTokenSelfRequest { increment: None }).await?;
        if is_passing(kind(answer.status)) {
            let what = format!("renewing the token of {} at {}", self.identity(), self.server.place);
            return Err(self.server.refusal(&answer, &what, ""));
        }
        // Near the longest life that the server allows, a renewal gives less and less; a new login gives more.
        let renewed = wire::leased(answer.body.expose()).ok().filter(|_| answer.status == 200);
        let lease = renewed.and_then(|renewed| renewed.lease).filter(|lease| *lease >= first / 2);
        Ok(lease.map(|lease| times(Some(lease))))
    }

    async fn is_accepted(&self, session: &Session) -> bool {
        match self.server.call(Some(&session.token), LookupTokenSelfRequest {}).await {
            // A token without the policy `default` may not even look itself up.
            Ok(answer) => answer.status == 200 || wire::is_policy_denial(answer.body.expose()),
            Err(_) => false,
        }
    }
}

impl Account {
    fn hint(&self) -> String {
        let audiences = self.audiences.join(", ");
        format!("that the role exists, and that it binds ServiceAccount {} and the audience {audiences}", self.name)
    }
}
