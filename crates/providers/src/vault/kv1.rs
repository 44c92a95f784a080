//! KV version 1: values without versions and without check-and-set.

use rekey_core::{
    SecretBytes,
    store::{RemoteValue, StoreError, StoreErrorKind, Write},
};
use rustify::Endpoint as _;
use vaultrs::api::kv1::requests::{GetSecretRequest, SetSecretRequest};

use super::{Vault, paths, server::Verbatim, wire};

impl Vault {
    /// Reads a key. Its version is empty: the engine has none.
    pub(super) async fn read_plain(&self, token: &SecretBytes, key: &str) -> Result<RemoteValue, StoreError> {
        let endpoint = GetSecretRequest { mount: self.mount.path.clone(), path: paths::key(key)? };
        let answer = self.server.call(Some(token), endpoint).await?;
        let named = self.named(key);
        match answer.status {
            200 => wire::plain_value(answer.body.expose())
                .map_err(|malformed| StoreError::new(malformed.kind(), format!("{named}: {malformed}"))),
            404 if wire::is_bare_refusal(answer.body.expose()) => {
                let advice = self.advice(key);
                let advice = advice.unwrap_or_else(|| "check the key, and that the mount is KV version 1".to_owned());
                let text = format!("there is no {named}: {advice}");
                Err(StoreError::new(StoreErrorKind::NotFound, text))
            }
            _ => {
                let hint = self.hint_of_key("read", key, &format!("{}/{key}", self.mount.path));
                Err(self.server.refusal(&answer, &format!("reading {named}"), &hint))
            }
        }
    }

    /// Writes a key: checks that it exists or not, as expected, writes, and reads back. Writes nothing if the key has
    /// the value already.
    ///
    /// The engine has no check-and-set. We can check whether the key exists, not whether it still has the value that
    /// the new one was made from: **a change that another tool makes between the caller's read and this write is
    /// lost**. One that comes after this write shows in what we read back, and is a conflict. If other tools write the
    /// same key, use KV version 2.
    pub(super) async fn write_plain(&self, token: &SecretBytes, write: &Write) -> Result<String, StoreError> {
        let named = self.named(&write.key);
        let conflict = |text: String| Err(StoreError::new(StoreErrorKind::Conflict, text));
        if !wire::is_object(write.bytes.expose()) {
            let text = "a value for KV version 1 must be a JSON object, not more than 32 levels deep";
            return Err(StoreError::new(StoreErrorKind::Invalid, text));
        }
        let holds = |read: &RemoteValue| wire::is_equal(read.bytes.expose(), write.bytes.expose());
        match (self.read_if_there(token, &write.key).await?, write.base.as_deref()) {
            (Some(read), None | Some("")) if holds(&read) => return Ok(String::new()),
            (None, None) | (Some(_), Some("")) => {}
            (Some(_), None) => return conflict(format!("{named} exists already")),
            (None, Some(_)) => return conflict(format!("{named} is gone: another tool deleted it")),
            (Some(_), Some(version)) => {
                return conflict(format!("{named} has no version {version:?}: the mount is KV version 1"));
            }
        }
        self.set(token, write, &named).await?;
        match self.read_if_there(token, &write.key).await? {
            Some(read) if holds(&read) => Ok(String::new()),
            Some(_) | None => conflict(format!("another tool wrote {named} at the same time")),
        }
    }

    async fn read_if_there(&self, token: &SecretBytes, key: &str) -> Result<Option<RemoteValue>, StoreError> {
        match self.read_plain(token, key).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn set(&self, token: &SecretBytes, write: &Write, named: &str) -> Result<(), StoreError> {
        let (mount, path) = (self.mount.path.clone(), paths::key(&write.key)?);
        let endpoint = SetSecretRequest { mount, path, data: Vec::new() };
        let answer = self.server.call(Some(token), endpoint.with_middleware(&Verbatim(&write.bytes))).await?;
        match answer.status {
            200 | 204 => Ok(()),
            _ => {
                let path = format!("{}/{}", self.mount.path, write.key);
                let hint = self.hint_of_key("create and update", &write.key, &path);
                Err(self.server.refusal(&answer, &format!("writing {named}"), &hint))
            }
        }
    }
}
