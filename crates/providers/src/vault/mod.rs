//! Vault and `OpenBao`: KV version 2, with token and Kubernetes login.

mod login;
mod open;
mod paths;
mod server;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use rekey_core::{
    SecretBytes,
    store::{Locator, Pin, Probe, RemoteValue, Store, StoreError, StoreErrorKind, Write},
};
use rustify::Endpoint;
use serde_json::Value;
use vaultrs::api::{
    kv2::requests::{ReadSecretRequest, SetSecretRequest},
    token::requests::LookupTokenSelfRequest,
};

use self::{
    login::Login,
    server::{Server, Verbatim},
};
use crate::{
    http::{Answer, within},
    rights::Rights,
    session::Shared,
};

/// A KV version 2 mount of one server.
struct Vault {
    server: Arc<Server>,
    mount: String,
    rights: Rights,
    session: Shared<Login>,
}

impl Vault {
    /// The store; logs in at the first call.
    fn new(mount: String, rights: Rights, login: Login) -> Self {
        Self { server: Arc::clone(&login.server), mount, rights, session: Shared::new(login) }
    }

    fn place(&self) -> &str {
        &self.server.place
    }

    /// How texts call a key.
    fn named(&self, key: &str) -> String {
        format!("key {key:?} of mount {:?} at {}", self.mount, self.place())
    }

    async fn get(&self, token: &SecretBytes, key: &str, version: Option<u64>) -> Result<Answer, StoreError> {
        let endpoint = ReadSecretRequest { mount: self.mount.clone(), path: paths::key(key)?, version };
        self.server.call(Some(token), endpoint).await
    }

    async fn read_with(&self, token: &SecretBytes, key: &str, version: Option<u64>) -> Result<RemoteValue, StoreError> {
        let answer = self.get(token, key, version).await?;
        match answer.status {
            200 => wire::value(answer.body.expose())
                .map_err(|malformed| StoreError::new(malformed.kind(), format!("{}: {malformed}", self.named(key)))),
            404 => Err(StoreError::new(StoreErrorKind::NotFound, self.missing(key, version, &answer))),
            _ => Err(self.server.refusal(&answer, &format!("reading {}", self.named(key)), &self.hint(key))),
        }
    }

    fn missing(&self, key: &str, version: Option<u64>, answer: &Answer) -> String {
        let named = self.named(key);
        match (wire::gone(answer.body.expose()), version) {
            (Some(gone), _) => format!("version {} of {named} is {}", gone.version, gone.how()),
            (None, Some(version)) => format!("there is no version {version} of {named}"),
            (None, None) => format!("there is no {named}: check the key, and that the mount is KV version 2"),
        }
    }

    fn hint(&self, key: &str) -> String {
        format!("check that a policy of {} allows {}/data/{key}", self.session.login().identity(), self.mount)
    }

    async fn write_with(&self, token: &SecretBytes, write: &Write, cas: u64) -> Result<String, StoreError> {
        let path = paths::key(&write.key)?;
        let body = wire::write(cas, write.bytes.expose())?;
        // Its own body would change the value on the way, and counts versions in 32 bits.
        let endpoint = SetSecretRequest { mount: self.mount.clone(), path, data: Value::Null, options: None };
        let answer = self.server.call(Some(token), endpoint.with_middleware(&Verbatim(&body))).await?;
        let named = self.named(&write.key);
        match answer.status {
            200 => wire::written(answer.body.expose())
                .map_err(|malformed| StoreError::new(malformed.kind(), format!("writing {named}: {malformed}"))),
            400 if wire::is_cas_mismatch(answer.body.expose()) => {
                Err(StoreError::new(StoreErrorKind::Conflict, conflict(&named, cas)))
            }
            _ => Err(self.server.refusal(&answer, &format!("writing {named}"), &self.hint(&write.key))),
        }
    }

    /// Writes a key that must not exist. One whose latest version is deleted counts as missing, as it does in
    /// [`Store::read`], but the server wants that version named.
    async fn create_with(&self, token: &SecretBytes, write: &Write) -> Result<String, StoreError> {
        let refused = match self.write_with(token, write, 0).await {
            Err(error) if error.kind == StoreErrorKind::Conflict => error,
            result => return result,
        };
        let answer = self.get(token, &write.key, None).await?;
        match wire::gone(answer.body.expose()).filter(|_| answer.status == 404) {
            Some(gone) => self.write_with(token, write, gone.version).await,
            None => Err(refused),
        }
    }

    async fn probe_with(&self, token: &SecretBytes) -> Result<Probe, StoreError> {
        let what = format!("looking up our own token at {}", self.place());
        let answer = self.server.call(Some(token), LookupTokenSelfRequest {}).await?;
        let identity = match answer.status {
            200 => {
                let name = wire::display_name(answer.body.expose())
                    .map_err(|malformed| StoreError::new(malformed.kind(), format!("{what}: {malformed}")))?;
                self.session.login().identity_named(&name)
            }
            // A token without the policy `default` is good for what its own policies allow.
            403 if wire::is_policy_denial(answer.body.expose()) => self.session.login().identity(),
            _ => return Err(self.server.refusal(&answer, &what, "check that the token is valid and not expired")),
        };
        let identity = format!("{identity} at {}", self.place());
        Ok(Probe { identity, capabilities: self.rights.capabilities() })
    }
}

fn conflict(named: &str, cas: u64) -> String {
    match cas {
        0 => format!("{named} exists already"),
        _ => format!("the current version of {named} is not {cas} any more: somebody else wrote it"),
    }
}

/// A version as KV version 2 counts them.
fn version(text: &str) -> Result<u64, StoreError> {
    text.parse().ok().filter(|version| *version > 0).ok_or_else(|| {
        let text = format!("version {text:?} is not one of KV version 2, which counts 1, 2, 3, …");
        StoreError::new(StoreErrorKind::Invalid, text)
    })
}

#[async_trait]
impl Store for Vault {
    async fn probe(&self) -> Result<Probe, StoreError> {
        within(self.place(), self.session.call(|token| async move { self.probe_with(&token).await })).await
    }

    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        let pinned = match &locator.pin {
            Pin::Current => None,
            Pin::Version(text) => Some(version(text)?),
            Pin::Stage(_) => {
                let text = "Vault knows no stages: use remoteRef.version, or neither for the latest version";
                return Err(StoreError::new(StoreErrorKind::Invalid, text));
            }
        };
        let key = &locator.key;
        within(self.place(), self.session.call(|token| async move { self.read_with(&token, key, pinned).await })).await
    }

    async fn write(&self, write: &Write) -> Result<String, StoreError> {
        self.rights.write()?;
        let base = write.base.as_deref().map(version).transpose()?;
        let call = self.session.call(|token| async move {
            match base {
                Some(base) => self.write_with(&token, write, base).await,
                None => self.create_with(&token, write).await,
            }
        });
        within(self.place(), call).await
    }
}
