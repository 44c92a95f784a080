//! The tags of a secret.

use rekey_core::store::{RemoteValue, StoreError, StoreErrorKind};

use super::SecretsManager;
use crate::aws::{
    clients::Clients,
    errors::translate,
    tags::{pair, value},
};

impl SecretsManager {
    pub(super) async fn tags(&self, clients: &Clients, key: &str) -> Result<RemoteValue, StoreError> {
        let what = format!("reading the tags of {key:?}");
        let attempt = self.service.attempt(&what, "secretsmanager:DescribeSecret");
        let answer = clients.secrets.describe_secret().secret_id(key).send().await;
        let answer = answer.map_err(|error| translate(&error, attempt))?;
        // AWS still describes it then, but refuses its value.
        if answer.deleted_date.is_some() {
            let text = format!("{key:?} at {} is scheduled for deletion", self.service.place);
            return Err(StoreError::new(StoreErrorKind::NotFound, text));
        }
        Ok(value(answer.tags.unwrap_or_default().into_iter().filter_map(|tag| pair(tag.key, tag.value))))
    }
}
