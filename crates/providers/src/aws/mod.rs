//! AWS Secrets Manager, with a key pair from a Secret.

mod errors;
mod keys;
mod open;
mod stages;
mod transport;

use async_trait::async_trait;
use aws_smithy_types::Blob;
use rekey_core::{
    SecretBytes,
    store::{Locator, Pin, Probe, RemoteValue, Store, StoreError, StoreErrorKind, Write},
};

pub(crate) use self::open::open;
use self::{
    errors::{Attempt, is_code, is_known_caller, translate},
    keys::{Clients, Keys, Place, Places},
    stages::{CURRENT, PENDING, Stages, Step, decide},
};
use uuid::Uuid;

use crate::{http::within, rights::Rights, session::Shared};

/// The largest value Secrets Manager takes.
const LARGEST: usize = 65_536;

/// Secrets Manager of one account and region.
pub(crate) struct SecretsManager {
    place: String,
    /// Whether the endpoint is one of the user's, where STS may not be served.
    overridden: bool,
    rights: Rights,
    session: Shared<Keys>,
}

impl SecretsManager {
    /// The store; `place` says in texts where it is. Reads the credential at the first call.
    pub(crate) fn new(place: String, rights: Rights, keys: Keys) -> Self {
        Self { place, overridden: keys.endpoint.is_some(), rights, session: Shared::new(keys) }
    }

    fn attempt<'a>(&'a self, what: &'a str, action: &'a str) -> Attempt<'a> {
        Attempt { what, place: &self.place, action }
    }

    async fn read_with(&self, clients: &Clients, locator: &Locator) -> Result<RemoteValue, StoreError> {
        let request = clients.secrets.get_secret_value().secret_id(&locator.key);
        let (request, named) = match &locator.pin {
            Pin::Current => (request.version_stage(CURRENT), String::new()),
            Pin::Version(version) => (request.version_id(version), format!(" version {version:?}")),
            Pin::Stage(stage) => (request.version_stage(stage), format!(" stage {stage:?}")),
        };
        let what = format!("reading {:?}{named}", locator.key);
        let attempt = self.attempt(&what, "secretsmanager:GetSecretValue");
        let answer = request.send().await.map_err(|error| translate(&error, attempt))?;
        let bytes = match (answer.secret_string, answer.secret_binary) {
            (Some(text), _) => Some(SecretBytes::from(text)),
            (None, Some(binary)) => Some(SecretBytes::new(binary.into_inner())),
            (None, None) => None,
        };
        bytes.zip(answer.version_id).map(|(bytes, version)| RemoteValue { bytes, version }).ok_or_else(|| {
            let text = format!("{what} at {}: the answer holds no value or no version", self.place);
            StoreError::new(StoreErrorKind::Malformed, text)
        })
    }

    /// The stages of a secret; `None` when there is none.
    async fn stages(&self, clients: &Clients, key: &str) -> Result<Option<Stages>, StoreError> {
        let what = format!("looking at the versions of {key:?}");
        let attempt = self.attempt(&what, "secretsmanager:DescribeSecret");
        let answer = match clients.secrets.describe_secret().secret_id(key).send().await {
            Err(error) if is_code(&error, "ResourceNotFoundException") => return Ok(None),
            result => result.map_err(|error| translate(&error, attempt))?,
        };
        if answer.deleted_date.is_some() {
            let text = format!("{key:?} at {} is scheduled for deletion", self.place);
            return Err(StoreError::new(StoreErrorKind::NotFound, text));
        }
        let versions = answer.version_ids_to_stages.unwrap_or_default();
        let holder = |stage: &str| {
            versions.iter().find(|(_, stages)| stages.iter().any(|other| other == stage)).map(|(id, _)| id.clone())
        };
        Ok(Some(Stages { current: holder(CURRENT), pending: holder(PENDING) }))
    }

    async fn write_with(&self, clients: &Clients, write: &Write) -> Result<String, StoreError> {
        let token = write.token.to_string();
        let mut step = self.next(clients, write).await?;
        if step == Step::Create {
            if self.create(clients, write).await? {
                return Ok(token);
            }
            // Somebody created it meanwhile; it may have been us.
            step = self.next(clients, write).await?;
        }
        match step {
            Step::Done { marked: false } => {}
            Step::Done { marked: true } => self.unmark(clients, write).await,
            Step::Promote { from } => {
                self.put(clients, write).await?;
                let promoted = self.promote(clients, write, from).await;
                // Also after a conflict: a pending version that stays would stop everybody's next write.
                if promoted.as_ref().err().is_none_or(|error| error.kind == StoreErrorKind::Conflict) {
                    self.unmark(clients, write).await;
                }
                promoted?;
            }
            Step::Create => {
                let text = format!("writing {:?}: it is being created and deleted by somebody else", write.key);
                return Err(StoreError::new(StoreErrorKind::Conflict, text));
            }
        }
        Ok(token)
    }

    /// Looks at the secret and decides.
    async fn next(&self, clients: &Clients, write: &Write) -> Result<Step, StoreError> {
        let seen = self.stages(clients, &write.key).await?;
        let step = decide(seen.as_ref(), write);
        let ours = Some(write.token.to_string());
        if step.is_err() && seen.is_some_and(|seen| seen.pending == ours) {
            self.unmark(clients, write).await; // an earlier try of this write left it
        }
        step
    }

    /// Creates the secret; `false` when there is one already.
    async fn create(&self, clients: &Clients, write: &Write) -> Result<bool, StoreError> {
        let what = format!("creating {:?}", write.key);
        let attempt = self.attempt(&what, "secretsmanager:CreateSecret");
        let request = clients.secrets.create_secret().name(&write.key).client_request_token(write.token);
        let request = match write.bytes.expose_text() {
            Some(text) => request.secret_string(text),
            None => request.secret_binary(Blob::new(write.bytes.expose())),
        };
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_code(&error, "ResourceExistsException") => Ok(false),
            Err(error) => Err(translate(&error, attempt)),
        }
    }

    /// Adds the value as a pending version. Repeated, it changes nothing.
    async fn put(&self, clients: &Clients, write: &Write) -> Result<(), StoreError> {
        let what = format!("writing {:?}", write.key);
        let attempt = self.attempt(&what, "secretsmanager:PutSecretValue");
        let request = clients.secrets.put_secret_value().secret_id(&write.key).client_request_token(write.token);
        let request = match write.bytes.expose_text() {
            Some(text) => request.secret_string(text),
            None => request.secret_binary(Blob::new(write.bytes.expose())),
        };
        request.version_stages(PENDING).send().await.map(drop).map_err(|error| translate(&error, attempt))
    }

    /// Moves `AWSCURRENT` from the base to the new version; AWS refuses when the base does not hold it any more.
    async fn promote(&self, clients: &Clients, write: &Write, from: Option<String>) -> Result<(), StoreError> {
        let token = write.token.to_string();
        // AWS makes the first version of a secret current by itself.
        if from.is_none() && matches!(self.next(clients, write).await?, Step::Done { .. }) {
            return Ok(());
        }
        let what = format!("making version {token} of {:?} current", write.key);
        let attempt = self.attempt(&what, "secretsmanager:UpdateSecretVersionStage");
        let request = clients.secrets.update_secret_version_stage().secret_id(&write.key).version_stage(CURRENT);
        let moved = request.move_to_version_id(&token).set_remove_from_version_id(from).send().await;
        match moved {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, "InvalidParameterException") => {
                let text = format!("writing {:?}: somebody else made another version current", write.key);
                Err(StoreError::new(StoreErrorKind::Conflict, text))
            }
            Err(error) => Err(translate(&error, attempt)),
        }
    }

    /// Takes the pending mark off our version. What was to be decided is decided then, so a failure is only told.
    async fn unmark(&self, clients: &Clients, write: &Write) {
        let request = clients.secrets.update_secret_version_stage().secret_id(&write.key).version_stage(PENDING);
        match request.remove_from_version_id(write.token).send().await {
            Ok(_) => {}
            Err(error) if is_code(&error, "InvalidParameterException") => {} // it does not carry the mark
            Err(error) => {
                let what = format!("taking {PENDING} off our version of {:?}", write.key);
                let error = translate(&error, self.attempt(&what, "secretsmanager:UpdateSecretVersionStage"));
                tracing::warn!(%error, "a version keeps a stage it should not have");
            }
        }
    }

    async fn probe_with(&self, clients: &Clients) -> Result<Probe, StoreError> {
        let attempt = self.attempt("asking who we are", "sts:GetCallerIdentity");
        let identity = match clients.sts.get_caller_identity().send().await {
            Ok(answer) => answer.arn.map_or_else(|| "a caller without ARN".to_owned(), |arn| printable(&arn)),
            Err(_) if self.overridden && self.is_known(clients).await? => format!("an access key at {}", self.place),
            Err(error) => return Err(translate(&error, attempt)),
        };
        Ok(Probe { identity, capabilities: self.rights.capabilities() })
    }

    /// Whether Secrets Manager itself knows the credential, for endpoints without STS: it then refuses to describe a
    /// secret that is not there, but not the caller.
    async fn is_known(&self, clients: &Clients) -> Result<bool, StoreError> {
        let attempt = self.attempt("trying the credential", "secretsmanager:DescribeSecret");
        match clients.secrets.describe_secret().secret_id("rekey-probe").send().await {
            Ok(_) => Ok(true),
            Err(error) if is_known_caller(&error) => Ok(true),
            Err(error) => Err(translate(&error, attempt)),
        }
    }
}

/// Text of a server that is to be shown: short and printable.
fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(256).collect()
}

#[async_trait]
impl Store for SecretsManager {
    async fn probe(&self) -> Result<Probe, StoreError> {
        within(&self.place, self.session.call(|clients| async move { self.probe_with(&clients).await })).await
    }

    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        let call = self.session.call(|clients| async move { self.read_with(&clients, locator).await });
        within(&self.place, call).await
    }

    async fn write(&self, write: &Write) -> Result<String, StoreError> {
        self.rights.write()?;
        if write.bytes.is_empty() || write.bytes.len() > LARGEST {
            let text = format!("writing {:?}: Secrets Manager takes values of 1 to {LARGEST} bytes", write.key);
            return Err(StoreError::new(StoreErrorKind::Invalid, text));
        }
        let call = self.session.call(|clients| async move { self.write_with(&clients, write).await });
        within(&self.place, call).await
    }

    async fn finish(&self, key: &str, version: &str) -> Result<(), StoreError> {
        let Ok(token) = Uuid::parse_str(version) else {
            return Ok(()); // not a version of ours
        };
        let write = &Write { key: key.to_owned(), base: None, token, bytes: SecretBytes::default() };
        let call = self.session.call(|clients| async move {
            let seen = self.stages(&clients, key).await?;
            let ours = Some(version.to_owned());
            if seen.is_some_and(|seen| seen.current == ours && seen.pending == ours) {
                self.unmark(&clients, write).await;
            }
            Ok(())
        });
        within(&self.place, call).await
    }
}
