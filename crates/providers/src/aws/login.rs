//! The credential: where it comes from, and the roles on the way. What STS issues is renewed at two thirds of its hour, the
//! operator's own chain renews itself, and a key pair is good until it is refused; a refused one is replaced once. When
//! the Secret of a key pair changes, the caller opens the store again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, retry::RetryConfig};
use aws_credential_types::{Credentials as KeyPair, provider::SharedCredentialsProvider};
use aws_sdk_sts::types::Credentials as Issued;
use rekey_core::store::{Credentials, StoreError, StoreErrorKind};

use super::{
    clients::{Clients, Connection},
    errors::{Attempt, translate},
    keys::Places,
    transport::Transport,
};
use crate::{
    http::Client,
    session::{Granted, Login},
};

/// The lifetime to ask STS for. Every role allows an hour; a role that another role assumes allows no more.
const HOUR: Duration = Duration::from_hours(1);
/// Where Kubernetes on AWS says which role a `ServiceAccount` has.
const ANNOTATION: &str = "eks.amazonaws.com/role-arn";

/// Where the first credential comes from.
pub(super) enum Source {
    /// A key pair from Secrets.
    KeyPair(Places),
    /// The token of a `ServiceAccount`.
    Account {
        name: String,
        /// The audiences of the token.
        audiences: Vec<String>,
    },
    /// The operator's own: environment, web identity, Pod Identity, ECS, instance metadata. Fetched over a client of its own.
    Own(Client),
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub arn: String,
    /// What its trust policy may ask for.
    pub external_id: Option<String>,
    /// Under which name AWS logs what we do.
    pub session: String,
}

/// Makes clients that sign with the credential.
pub(super) struct Keys {
    /// Where it comes from.
    pub source: Source,
    /// The role to assume with it.
    pub role: Option<Role>,
    /// Reads Secrets and tokens.
    pub credentials: Arc<dyn Credentials>,
    /// Where requests go.
    pub connection: Connection,
}

/// The role that the token of a `ServiceAccount` gives, and the one to assume with it.
#[derive(Debug, PartialEq, Eq)]
struct Way<'a> {
    first: String,
    then: Option<&'a Role>,
}

impl Keys {
    /// Who logs in, for texts.
    pub(super) fn who(&self) -> String {
        match (&self.source, &self.role) {
            (_, Some(role)) => format!("role {}", role.arn),
            (Source::KeyPair(_), None) => "an access key".to_owned(),
            (Source::Account { name, .. }, None) => format!("ServiceAccount {name}"),
            (Source::Own(_), None) => "the operator's own credentials".to_owned(),
        }
    }

    fn at(&self) -> String {
        format!("STS ({})", self.connection.at)
    }

    fn sts(&self, credential: Option<SharedCredentialsProvider>) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.connection.config(credential))
    }

    /// The role in the annotation of the `ServiceAccount`. If the spec names a role, we need no right to read the
    /// annotation.
    async fn annotation(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self.credentials.account_annotation(name, ANNOTATION).await {
            Err(error) if error.kind == StoreErrorKind::Denied && self.role.is_some() => Ok(None),
            result => result,
        }
    }

    async fn by_token(&self, name: &str, audiences: &[String], arn: &str) -> Result<KeyPair, StoreError> {
        let made = self.credentials.account_token(name, audiences).await?;
        let token = made.token.expose_text().unwrap_or_default();
        let session = self.role.as_ref().map_or(SESSION, |role| &role.session);
        let request = self.sts(None).assume_role_with_web_identity().role_arn(arn).role_session_name(session);
        let answer = request.web_identity_token(token).duration_seconds(SECONDS).send().await.map_err(|error| {
            let (what, at) = (format!("assuming {arn} with a token of ServiceAccount {name}"), self.at());
            let attempt = Attempt { what: &what, place: &at, action: "sts:AssumeRoleWithWebIdentity" };
            hinted(
                translate(&error, attempt),
                "the role must trust the cluster's OIDC provider, this ServiceAccount and the audience",
            )
        })?;
        self.issued(answer.credentials)
    }

    async fn assume(&self, credential: SharedCredentialsProvider, role: &Role) -> Result<KeyPair, StoreError> {
        let Role { arn, external_id, session } = role;
        let request = self.sts(Some(credential)).assume_role().role_arn(arn).role_session_name(session);
        let request = request.set_external_id(external_id.clone()).duration_seconds(SECONDS);
        let answer = request.send().await.map_err(|error| {
            let (what, at) = (format!("assuming {arn}"), self.at());
            let attempt = Attempt { what: &what, place: &at, action: "sts:AssumeRole" };
            hinted(
                translate(&error, attempt),
                "the role must trust this identity, and role.externalId must be the one that it asks for",
            )
        })?;
        self.issued(answer.credentials)
    }

    fn issued(&self, issued: Option<Issued>) -> Result<KeyPair, StoreError> {
        let issued = issued.ok_or_else(|| {
            let text = format!("{}: the answer holds no credentials", self.at());
            StoreError::new(StoreErrorKind::Malformed, text)
        })?;
        let Issued { access_key_id, secret_access_key, session_token, .. } = issued;
        Ok(KeyPair::new(access_key_id, secret_access_key, Some(session_token), None, "rekey"))
    }

    /// What the operator's environment offers. Nothing is fetched before it is used.
    async fn own(&self, client: &Client) -> Result<SharedCredentialsProvider, StoreError> {
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(Transport(client.clone()));
        let loader = loader.retry_config(RetryConfig::standard().with_max_attempts(2));
        let config = loader.region(self.connection.region.clone()).load().await;
        config.credentials_provider().ok_or_else(|| {
            StoreError::new(StoreErrorKind::Invalid, "the AWS SDK was built without a chain of credentials")
        })
    }
}

/// The name of sessions when the spec gives none.
pub(super) const SESSION: &str = "rekey";
const SECONDS: i32 = 3600;

/// The error; a refusal also says what to check.
fn hinted(mut error: StoreError, hint: &str) -> StoreError {
    if error.kind == StoreErrorKind::Denied {
        error.text = format!("{}; {hint}", error.text);
    }
    error
}

/// Which roles the token of a `ServiceAccount` leads to, given the one in its annotation.
fn way<'a>(account: &str, annotation: Option<String>, role: Option<&'a Role>) -> Result<Way<'a>, StoreError> {
    let invalid = |text: String| Err(StoreError::new(StoreErrorKind::Invalid, text));
    match (annotation, role) {
        (None, None) => invalid(format!(
            "no role for ServiceAccount {account}: annotate it with {ANNOTATION}, or set spec.provider.aws.role.arn"
        )),
        (Some(first), None) => Ok(Way { first, then: None }),
        (Some(first), Some(role)) if first != role.arn => Ok(Way { first, then: Some(role) }),
        (_, Some(Role { external_id: Some(_), .. })) => invalid(format!(
            "spec.provider.aws.role.externalId has no meaning for a role that ServiceAccount {account} assumes with \
             its token: remove it"
        )),
        (_, Some(role)) => Ok(Way { first: role.arn.clone(), then: None }),
    }
}

/// How long a credential of STS is good.
#[derive(Clone, Copy)]
struct Lasts {
    renew: Duration,
    end: Duration,
}

#[async_trait]
impl Login for Keys {
    type Session = Clients;

    async fn login(&self) -> Result<Granted<Clients>, StoreError> {
        // The credential, the role to assume with it, and for how long it is good; `None`: until it is refused.
        let issued = Lasts { renew: HOUR * 2 / 3, end: HOUR };
        let (first, then, lasts) = match &self.source {
            Source::KeyPair(places) => {
                let pair = places.read(&*self.credentials).await?;
                (SharedCredentialsProvider::new(pair), self.role.as_ref(), None)
            }
            Source::Account { name, audiences } => {
                let annotation = self.annotation(name).await?;
                let Way { first, then } = way(name, annotation, self.role.as_ref())?;
                let pair = self.by_token(name, audiences, &first).await?;
                (SharedCredentialsProvider::new(pair), then, Some(issued))
            }
            Source::Own(client) => (self.own(client).await?, self.role.as_ref(), None),
        };
        let (credential, lasts) = match then {
            Some(role) => (SharedCredentialsProvider::new(self.assume(first, role).await?), Some(issued)),
            None => (first, lasts),
        };
        let session = Clients::new(&self.connection.config(Some(credential)));
        let (renew_after, ends_after) = (lasts.map(|lasts| lasts.renew), lasts.map(|lasts| lasts.end));
        Ok(Granted { session, renew_after, ends_after })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_config::Region;
    use rekey_core::{
        SecretBytes,
        store::{AccountToken, Network},
    };

    use super::{super::keys::Place, *};
    use crate::{http, session::Shared};

    /// A key pair, and nothing else.
    struct Pair(AtomicUsize);

    #[async_trait]
    impl Credentials for Pair {
        async fn secret(&self, _: &str, _: &str) -> Result<SecretBytes, StoreError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(SecretBytes::from("AKIA"))
        }

        async fn config(&self, _: &str, _: &str) -> Result<String, StoreError> {
            Err(StoreError::new(StoreErrorKind::Invalid, "asked"))
        }

        async fn account_token(&self, _: &str, _: &[String]) -> Result<AccountToken, StoreError> {
            Err(StoreError::new(StoreErrorKind::Invalid, "asked"))
        }

        async fn account_annotation(&self, _: &str, _: &str) -> Result<Option<String>, StoreError> {
            Err(StoreError::new(StoreErrorKind::Invalid, "asked"))
        }

        fn is_ambient_allowed(&self) -> bool {
            false
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_pair_that_works_is_read_once() {
        let place = |key: &str| Place { name: "aws".to_owned(), key: key.to_owned() };
        let (access_key_id, secret_access_key) = (place("id"), place("secret"));
        let places = Places { access_key_id, secret_access_key, session_token: None };
        let credentials = Arc::new(Pair(AtomicUsize::new(0)));
        let client = http::client(&Network::default(), None).unwrap();
        let region = Region::new("eu-west-1");
        let connection = Connection { client, region, endpoint: None, at: "eu-west-1".to_owned() };
        let reads = Arc::clone(&credentials);
        let session = Shared::new(Keys { source: Source::KeyPair(places), role: None, credentials, connection });
        for _ in 0..3 {
            session.call(|_| async { Ok(()) }).await.unwrap();
            tokio::time::advance(Duration::from_hours(24)).await;
        }
        assert_eq!(reads.0.load(Ordering::Relaxed), 2, "the id and the secret, once each");
        let refused = session.call(|_| async { Err::<(), _>(StoreError::new(StoreErrorKind::Denied, "no")) }).await;
        assert_eq!((refused.unwrap_err().kind, reads.0.load(Ordering::Relaxed)), (StoreErrorKind::Denied, 4));
    }

    fn role(arn: &str, external_id: Option<&str>) -> Role {
        Role { arn: arn.to_owned(), external_id: external_id.map(str::to_owned), session: SESSION.to_owned() }
    }

    #[test]
    fn ways() {
        let (plain, guarded) = (role("b", None), role("b", Some("x")));
        let table = [
            // annotation, role; the first role and whether another one follows
            (Some("a"), None, Some(("a", false))),
            (None, Some(&plain), Some(("b", false))),
            (Some("b"), Some(&plain), Some(("b", false))),
            (Some("a"), Some(&plain), Some(("a", true))),
            (Some("a"), Some(&guarded), Some(("a", true))),
            (None, None, None),
            (None, Some(&guarded), None),
            (Some("b"), Some(&guarded), None),
        ];
        for (annotation, role, expected) in table {
            let found = way("reader", annotation.map(str::to_owned), role);
            let found = found.as_ref().map(|way| (way.first.as_str(), way.then.is_some()));
            match (&found, expected) {
                (Ok(found), Some(expected)) => assert_eq!(*found, expected, "{annotation:?} {role:?}"),
                (Err(error), None) => assert_eq!(error.kind, StoreErrorKind::Invalid, "{error}"),
                _ => panic!("{annotation:?} {role:?}: {found:?}"),
            }
        }
    }
}
