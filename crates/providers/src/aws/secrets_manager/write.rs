//! A new value: first pending, then current, so that the change happens once and only over the version that it was made
//! from.

use aws_smithy_types::Blob;
use rekey_core::store::{StoreError, StoreErrorKind, Write};

use super::{
    SecretsManager,
    stages::{CURRENT, PENDING, Stages, Step, decide},
};
use crate::aws::{
    clients::Clients,
    errors::{is_code, translate},
};

impl SecretsManager {
    /// The stages of a secret; `None` when there is none.
    pub(super) async fn stages(&self, clients: &Clients, key: &str) -> Result<Option<Stages>, StoreError> {
        let what = format!("reading the versions of {key:?}");
        let attempt = self.service.attempt(&what, "secretsmanager:DescribeSecret");
        let answer = match clients.secrets.describe_secret().secret_id(key).send().await {
            Err(error) if is_code(&error, "ResourceNotFoundException") => return Ok(None),
            result => result.map_err(|error| translate(&error, attempt))?,
        };
        if answer.deleted_date.is_some() {
            let text = format!("{key:?} at {} is scheduled for deletion", self.service.place);
            return Err(StoreError::new(StoreErrorKind::NotFound, text));
        }
        let versions = answer.version_ids_to_stages.unwrap_or_default();
        let holder = |stage: &str| {
            versions.iter().find(|(_, stages)| stages.iter().any(|other| other == stage)).map(|(id, _)| id.clone())
        };
        Ok(Some(Stages { current: holder(CURRENT), pending: holder(PENDING) }))
    }

    pub(super) async fn write_with(&self, clients: &Clients, write: &Write) -> Result<String, StoreError> {
        let token = write.token.to_string();
        let mut step = self.next(clients, write).await?;
        if step == Step::Create {
            if self.create(clients, write).await? {
                return Ok(token);
            }
            // It was created meanwhile, perhaps by us.
            step = self.next(clients, write).await?;
        }
        match step {
            Step::Done { marked: false } => {}
            Step::Done { marked: true } => self.unmark(clients, write).await,
            Step::Promote { from } => {
                self.put(clients, write).await?;
                let promoted = self.promote(clients, write, from).await;
                // Also after a conflict: a pending version that stays would stop every later write.
                if promoted.as_ref().err().is_none_or(|error| error.kind == StoreErrorKind::Conflict) {
                    self.unmark(clients, write).await;
                }
                promoted?;
            }
            Step::Create => {
                let text = format!("writing {:?}: another tool creates and deletes it at the same time", write.key);
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
        let attempt = self.service.attempt(&what, "secretsmanager:CreateSecret");
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
        let attempt = self.service.attempt(&what, "secretsmanager:PutSecretValue");
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
        let attempt = self.service.attempt(&what, "secretsmanager:UpdateSecretVersionStage");
        let request = clients.secrets.update_secret_version_stage().secret_id(&write.key).version_stage(CURRENT);
        let moved = request.move_to_version_id(&token).set_remove_from_version_id(from).send().await;
        match moved {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, "InvalidParameterException") => {
                let text = format!("writing {:?}: another tool made another version current", write.key);
                Err(StoreError::new(StoreErrorKind::Conflict, text))
            }
            Err(error) => Err(translate(&error, attempt)),
        }
    }

    /// Takes the pending mark off our version. The write is decided by then, so a failure is only logged.
    pub(super) async fn unmark(&self, clients: &Clients, write: &Write) {
        let request = clients.secrets.update_secret_version_stage().secret_id(&write.key).version_stage(PENDING);
        match request.remove_from_version_id(write.token).send().await {
            Ok(_) => {}
            Err(error) if is_code(&error, "InvalidParameterException") => {} // it does not carry the mark
            Err(error) => {
                let what = format!("taking {PENDING} off our version of {:?}", write.key);
                let error = translate(&error, self.service.attempt(&what, "secretsmanager:UpdateSecretVersionStage"));
                tracing::warn!(%error, "the pending stage stays on a version of ours");
            }
        }
    }
}
