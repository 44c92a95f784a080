//! Vault and `OpenBao`: KV version 1 and 2, searches, and requests to any engine.

mod engine;
mod find;
mod kv1;
mod kv2;
mod login;
mod metadata;
mod open;
mod paths;
mod server;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use rekey_api::{provider::KvVersion, store::Capability};
use rekey_core::{
    SecretBytes,
    store::{
        Allowance, Answer, Call, CallMethod, Locator, Pin, Probe, RemoteValue, Respelling, Search, Store, StoreError,
        StoreErrorKind, Write,
    },
};
use tokio::time::{Instant, timeout_at};
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use self::{
    login::{Login, Session},
    server::Server,
};
use crate::{
    http::{DEADLINE, Failure, with_allowance, within},
    rights::Rights,
    session::Shared,
};

/// How many requests of one call of ours a server gets at the same time.
const AT_ONCE: usize = 8;

/// A key-value engine of a server.
struct Mount {
    /// Where it is mounted.
    path: String,
    /// What it is.
    version: KvVersion,
}

/// What to read of a key.
#[derive(Clone, Copy)]
enum Asked {
    /// The value that KV version 1 has.
    Plain,
    /// A version of KV version 2, `None` for the latest.
    Version(Option<u64>),
    /// The custom metadata of KV version 2.
    Metadata,
}

/// A key-value mount of one server, and the engines beside it.
struct Vault {
    server: Arc<Server>,
    mount: Mount,
    rights: Rights,
    session: Shared<Login>,
}

impl Vault {
    /// The store; logs in at the first call, and keeps the login renewed until it is dropped.
    fn new(mount: Mount, rights: Rights, login: Login) -> Self {
        Self { server: Arc::clone(&login.server), mount, rights, session: Shared::kept(login) }
    }

    fn place(&self) -> &str {
        &self.server.place
    }

    /// The name of a key in texts.
    fn named(&self, key: &str) -> String {
        format!("key {key:?} of mount {:?} at {}", self.mount.path, self.place())
    }

    /// What to check when a policy does not allow `right` on the key, which is at `path`.
    fn hint_of_key(&self, right: &str, key: &str, path: &str) -> String {
        let hint = self.hint(right, path);
        self.advice(key).map_or_else(|| hint.clone(), |advice| format!("{advice}; or {hint}"))
    }

    /// What to write instead of a key that carries parts of a request.
    fn advice(&self, key: &str) -> Option<String> {
        let meant = paths::meant(key, &self.mount)?;
        Some(format!("a key is written without the mount, `data/` and escapes: write {meant:?}"))
    }

    /// What to check when a policy does not allow `right` on `path`.
    fn hint(&self, right: &str, path: &str) -> String {
        format!("check that a policy of {} allows {right} on {path}", self.session.login().identity())
    }

    async fn probe_with(&self, token: &SecretBytes) -> Result<Probe, StoreError> {
        let what = format!("looking up the store's token at {}", self.place());
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
        let mut capabilities = self.rights.capabilities();
        capabilities.push(Capability::Find);
        Ok(Probe { identity: format!("{identity} at {}", self.place()), capabilities })
    }

    /// What to read, in terms of this mount.
    fn asked(&self, pin: &Pin) -> Result<Asked, StoreError> {
        let text = match (pin, self.mount.version) {
            (Pin::Current, KvVersion::V1) => return Ok(Asked::Plain),
            (Pin::Current, KvVersion::V2) => return Ok(Asked::Version(None)),
            (Pin::Version(text), KvVersion::V2) => {
                return kv2::version(text).map(|version| Asked::Version(Some(version)));
            }
            (Pin::Metadata, KvVersion::V2) => return Ok(Asked::Metadata),
            (Pin::Version(_), KvVersion::V1) => {
                "KV version 1 has no versions: remove remoteRef.version, or use a mount of KV version 2"
            }
            (Pin::Metadata, KvVersion::V1) => {
                "KV version 1 has no metadata: write metadataPolicy: None, or use a mount of KV version 2"
            }
            (Pin::Stage(_), _) => "Vault has no stages: use remoteRef.version, or neither for the latest version",
        };
        Err(StoreError::new(StoreErrorKind::InvalidKey, text))
    }
}

#[async_trait]
impl Store for Vault {
    async fn probe(&self) -> Result<Probe, StoreError> {
        let call = self.session.call(|session: Arc<Session>| async move { self.probe_with(&session.token).await });
        within(self.place(), call).await
    }

    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        let asked = self.asked(&locator.pin)?;
        let key = &paths::key(&locator.key)?;
        let call = self.session.call(|session: Arc<Session>| async move {
            match asked {
                Asked::Plain => self.read_plain(&session.token, key).await,
                Asked::Version(version) => self.read_version(&session.token, key, version).await,
                Asked::Metadata => self.read_metadata(&session.token, key).await,
            }
        });
        within(self.place(), call).await
    }

    /// There is no call for many keys: we read them side by side, all within the deadline of one call.
    async fn read_all(&self, locators: &[Locator], allowance: &Allowance) -> Vec<Result<RemoteValue, StoreError>> {
        let deadline = Instant::now() + DEADLINE;
        let reads = stream::iter(locators.to_vec()).map(|locator| async move {
            allowance.check()?;
            let answer = timeout_at(deadline, self.read(&locator)).await;
            answer.unwrap_or_else(|_| Err(Failure::Timeout.error(self.place())))?.within(allowance)
        });
        with_allowance(allowance, reads.buffered(AT_ONCE).collect()).await
    }

    fn respellings(&self, key: &str) -> Vec<Respelling> {
        paths::respellings(key, &self.mount)
    }

    /// Finds keys below a path by listing it and the folders in it; a key that is named like the path itself is
    /// not below it. A key whose latest version is deleted is still listed.
    async fn find(&self, search: &Search, allowance: &Allowance) -> Result<Vec<String>, StoreError> {
        let path = search.path.as_deref().map(|path| path.strip_prefix('/').unwrap_or(path).to_owned());
        let search = &Search { path, ..search.clone() };
        let call = self
            .session
            .call(|session: Arc<Session>| async move { self.find_with(&session.token, search, allowance).await });
        within(self.place(), with_allowance(allowance, call)).await
    }

    /// A `Post` may change or delete what an engine holds, another key-value mount too, so it needs a store that is
    /// `ReadWrite`. Refuses paths that lead to no engine.
    async fn call(&self, call: &Call) -> Result<Answer, StoreError> {
        match call.method {
            CallMethod::Get => {}
            CallMethod::Post => self.rights.post()?,
        }
        let path = paths::engine(&call.path, &self.mount.path)?;
        let path = path.as_str();
        let asked =
            self.session.call(|session: Arc<Session>| async move { self.call_with(&session.token, path, call).await });
        within(self.place(), asked).await
    }

    async fn write(&self, write: &Write) -> Result<String, StoreError> {
        self.rights.write()?;
        let write = &Write { key: paths::key(&write.key)?, ..write.clone() };
        let call = self.session.call(|session: Arc<Session>| async move {
            match self.mount.version {
                KvVersion::V1 => self.write_plain(&session.token, write).await,
                KvVersion::V2 => self.write_version(&session.token, write).await,
            }
        });
        within(self.place(), call).await
    }
}
