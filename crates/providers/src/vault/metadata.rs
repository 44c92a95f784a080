//! What KV version 2 keeps of a key beside its versions.

use rekey_core::{
    SecretBytes,
    store::{RemoteValue, StoreError, StoreErrorKind},
};
use vaultrs::api::kv2::requests::ReadSecretMetadataRequest;

use super::{
    Vault, paths,
    wire::{self, metadata::Metadata},
};

impl Vault {
    /// Reads the custom metadata of a key. It stays when the value is deleted, and is deleted with the key.
    pub(super) async fn read_metadata(&self, token: &SecretBytes, key: &str) -> Result<RemoteValue, StoreError> {
        let hint = self.hint_of_key("read", key, &self.metadata_path(key));
        let metadata = self.metadata(token, key, &hint).await?;
        metadata.map(|metadata| metadata.value()).ok_or_else(|| {
            let advice = self.advice(key).unwrap_or_else(|| "check the key".to_owned());
            let text = format!("there is no {}, and so no metadata of it: {advice}", self.named(key));
            StoreError::new(StoreErrorKind::NotFound, text)
        })
    }

    /// The same from the server; `None` when there is no such key. `hint` says what to check after a refusal.
    pub(super) async fn metadata(
        &self,
        token: &SecretBytes,
        key: &str,
        hint: &str,
    ) -> Result<Option<Metadata>, StoreError> {
        let endpoint = ReadSecretMetadataRequest { mount: self.mount.path.clone(), path: paths::key(key)? };
        let answer = self.server.call(Some(token), endpoint).await?;
        let what = format!("reading the metadata of {}", self.named(key));
        match answer.status {
            200 => wire::metadata::read(answer.body.expose())
                .map(Some)
                .map_err(|malformed| StoreError::new(malformed.kind(), format!("{what}: {malformed}"))),
            404 if wire::is_bare_refusal(answer.body.expose()) => Ok(None),
            _ => Err(self.server.refusal(&answer, &what, hint)),
        }
    }

    /// The path that policies name.
    pub(super) fn metadata_path(&self, key: &str) -> String {
        format!("{}/metadata/{key}", self.mount.path)
    }
}
