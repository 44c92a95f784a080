//! KV version 2: values with versions, written by check-and-set.

use rekey_core::{
    SecretBytes,
    store::{RemoteValue, StoreError, StoreErrorKind, Write},
};
use rustify::Endpoint as _;
use serde_json::Value;
use vaultrs::api::kv2::requests::{ReadSecretRequest, SetSecretRequest};

use super::{Vault, paths, server::Verbatim, wire};
use crate::http::Answer;

impl Vault {
    async fn get(&self, token: &SecretBytes, key: &str, version: Option<u64>) -> Result<Answer, StoreError> {
        let endpoint = ReadSecretRequest { mount: self.mount.path.clone(), path: paths::key(key)?, version };
        self.server.call(Some(token), endpoint).await
    }

    /// Reads a version of a key, `None` for the latest.
    pub(super) async fn read_version(
        &self,
        token: &SecretBytes,
        key: &str,
        version: Option<u64>,
    ) -> Result<RemoteValue, StoreError> {
        let answer = self.get(token, key, version).await?;
        match answer.status {
            200 => wire::value(answer.body.expose())
                .map_err(|malformed| StoreError::new(malformed.kind(), format!("{}: {malformed}", self.named(key)))),
            404 if wire::is_missing(answer.body.expose()) => {
                Err(StoreError::new(StoreErrorKind::NotFound, self.missing(key, version, &answer)))
            }
            _ => {
                let hint = self.hint_of_key("read", key, &self.data(key));
                Err(self.server.refusal(&answer, &format!("reading {}", self.named(key)), &hint))
            }
        }
    }

    fn missing(&self, key: &str, version: Option<u64>, answer: &Answer) -> String {
        let named = self.named(key);
        match (wire::gone(answer.body.expose()), version) {
            (Some(gone), _) => format!("version {} of {named} is {}", gone.version, gone.how()),
            (None, Some(version)) => format!("there is no version {version} of {named}"),
            (None, None) => {
                let advice = self.advice(key);
                let advice = advice.unwrap_or_else(|| "check the key, and that the mount is KV version 2".to_owned());
                format!("there is no {named}: {advice}")
            }
        }
    }

    /// The path that policies name.
    fn data(&self, key: &str) -> String {
        format!("{}/data/{key}", self.mount.path)
    }

    /// Writes a key over the version it is based on.
    pub(super) async fn write_version(&self, token: &SecretBytes, write: &Write) -> Result<String, StoreError> {
        match write.base.as_deref().map(version).transpose()? {
            Some(base) => self.write_over(token, write, base).await,
            None => self.create(token, write).await,
        }
    }

    async fn write_over(&self, token: &SecretBytes, write: &Write, cas: u64) -> Result<String, StoreError> {
        let path = paths::key(&write.key)?;
        let body = wire::write(cas, write.bytes.expose())?;
        // vaultrs' own body would change the value on the way, and counts versions in 32 bits.
        let endpoint = SetSecretRequest { mount: self.mount.path.clone(), path, data: Value::Null, options: None };
        let answer = self.server.call(Some(token), endpoint.with_middleware(&Verbatim(&body))).await?;
        let named = self.named(&write.key);
        match answer.status {
            200 => wire::written(answer.body.expose())
                .map_err(|malformed| StoreError::new(malformed.kind(), format!("writing {named}: {malformed}"))),
            400 if wire::is_cas_mismatch(answer.body.expose()) => {
                Err(StoreError::new(StoreErrorKind::Conflict, conflict(&named, cas)))
            }
            _ => {
                let hint = self.hint_of_key("create and update", &write.key, &self.data(&write.key));
                Err(self.server.refusal(&answer, &format!("writing {named}"), &hint))
            }
        }
    }

    /// Writes a key that must not exist. One whose latest version is deleted counts as missing, as it does in a read,
    /// but the server requires the number of that version.
    async fn create(&self, token: &SecretBytes, write: &Write) -> Result<String, StoreError> {
        let refused = match self.write_over(token, write, 0).await {
            Err(error) if error.kind == StoreErrorKind::Conflict => error,
            result => return result,
        };
        let answer = self.get(token, &write.key, None).await?;
        match wire::gone(answer.body.expose()).filter(|_| answer.status == 404) {
            Some(gone) => self.write_over(token, write, gone.version).await,
            None => Err(refused),
        }
    }
}

fn conflict(named: &str, cas: u64) -> String {
    match cas {
        0 => format!("{named} exists already"),
        _ => format!("the current version of {named} is not {cas} any more: another tool wrote it"),
    }
}

/// A version as KV version 2 counts them.
pub(super) fn version(text: &str) -> Result<u64, StoreError> {
    text.parse().ok().filter(|version| *version > 0).ok_or_else(|| {
        let text = format!("version {text:?} is not one of KV version 2, which counts 1, 2, 3, …");
        StoreError::new(StoreErrorKind::InvalidKey, text)
    })
}
