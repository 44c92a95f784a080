//! The port to a secret store.

mod allowance;
mod engine_path;
mod error;
pub mod place;
pub mod provider;
mod search;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekey_api::store::{Capability, RemoteStoreSpec};
use uuid::Uuid;

pub use self::{
    allowance::{Allowance, Taken},
    engine_path::engine_path,
    error::{StoreError, StoreErrorKind},
    search::{NamePattern, Search},
};
use crate::SecretBytes;
pub use crate::network::{Addresses, Network};

/// Which revision of a remote value to read, or what else of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Pin {
    /// The one that the store calls current (KV v2: the latest, AWS: stage `AWSCURRENT`).
    #[default]
    Current,
    /// Exactly this version (KV v2: a number, AWS: a version id).
    Version(String),
    /// The version a label points to (AWS Secrets Manager stage, Parameter Store label).
    Stage(String),
    /// Not the value: the metadata that the store keeps of it now (KV v2: the custom metadata, AWS: the tags), as a JSON object
    /// of texts. It has no revisions.
    Metadata,
}

/// Another way to write a key that was not found or may not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Respelling {
    /// Names the same value: we use it as the key.
    Same(String),
    /// What the author most likely meant. If it exists, the key is misspelt.
    Meant(String),
}

impl Respelling {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Same(key) | Self::Meant(key) => key,
        }
    }
}

/// A remote value's address inside a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Locator {
    /// The key as users write it, for example `shop/orders-db`.
    pub key: String,
    /// Which of its versions, or its metadata.
    pub pin: Pin,
}

/// What a store holds under a [`Locator`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteValue {
    /// The whole value: for KV the JSON text of the data object, for AWS the secret string or the binary.
    pub bytes: SecretBytes,
    /// The store's own id of this version; empty where there is none that changes whenever the value does (KV version 1, tags).
    pub version: String,
    /// When this version was created, by the store's clock; `None` where the store does not say (KV version 1, engines,
    /// several secrets of AWS Secrets Manager at once).
    pub created: Option<DateTime<Utc>>,
}

impl RemoteValue {
    /// The same, if the allowance has room for it.
    ///
    /// # Errors
    /// `TooMuch` when it has none.
    pub fn within(self, allowance: &Allowance) -> Result<Self, StoreError> {
        allowance.keep(self.bytes.len()).map(|()| self)
    }
}

/// How an engine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallMethod {
    /// Read.
    Get,
    /// Write, with the parameters in the body.
    Post,
}

/// A request to a Vault engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// Path with the mount of the engine, for example `database/static-creds/app`.
    pub path: String,
    /// The method.
    pub method: CallMethod,
    /// Its parameters: in the query of a `Get`, in the body of a `Post`.
    pub parameters: BTreeMap<String, String>,
}

/// What an engine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The data object as JSON text. Its version is what distinguishes one answer of the engine from another (a static
    /// role's `last_vault_rotation`, a certificate's `serial_number`), else empty.
    pub value: RemoteValue,
    /// How long it is good from now on; `None`: the engine does not say.
    pub lifetime: Option<Duration>,
    /// Whether asking again gives the same until then (static roles). Otherwise each request makes something new.
    pub is_stable: bool,
}

/// A new value for a key, written at most once however often it is sent.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key.
    pub key: String,
    /// The version that must be current for the write to happen; `None`: the key must not exist.
    pub base: Option<String>,
    /// Identifies this write: sent again with the same value it changes nothing (AWS `ClientRequestToken`).
    pub token: Uuid,
    /// The whole new value, in the form of [`RemoteValue::bytes`].
    pub bytes: SecretBytes,
}

/// What a probe of a store has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who we are to the store, for example `role shop at bao.infra`. Never a credential.
    pub identity: String,
    /// What the store allows.
    pub capabilities: Vec<Capability>,
}

/// An open store. Every call is bounded by a deadline of the implementation (15 s at most).
#[async_trait]
pub trait Store: Send + Sync {
    /// Logs in if needed and says who we are. Reads no secret value.
    ///
    /// # Errors
    /// `Denied` for a refused credential, `Unavailable` when the server is not responding.
    async fn probe(&self) -> Result<Probe, StoreError>;

    /// Reads one value.
    ///
    /// # Errors
    /// `NotFound` when there is no such key or version, or it is deleted; `InvalidKey` when there can be none.
    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError>;

    /// Reads several values, with as few requests as the store allows, and as many as the allowance holds; the others get
    /// the error `TooMuch`, and are not asked for. Answers come in the order of `locators`.
    async fn read_all(&self, locators: &[Locator], allowance: &Allowance) -> Vec<Result<RemoteValue, StoreError>> {
        let mut answers = Vec::with_capacity(locators.len());
        for locator in locators {
            answers.push(match allowance.check() {
                Ok(()) => {
                    allowance.count_request();
                    self.read(locator).await.and_then(|value| value.within(allowance))
                }
                Err(over) => Err(over),
            });
        }
        answers
    }

    /// Other ways to write a key, the likeliest first. Makes no request.
    fn respellings(&self, _key: &str) -> Vec<Respelling> {
        Vec::new()
    }

    /// How many values one request can carry.
    fn values_per_request(&self) -> usize {
        1
    }

    /// Finds the keys that fit a search, sorted. Reads no secret value.
    ///
    /// # Errors
    /// `InvalidKey` when the store cannot search that way, `Invalid` when too much fits; `TooMuch` when the lists are
    /// larger than the allowance.
    async fn find(&self, _search: &Search, _allowance: &Allowance) -> Result<Vec<String>, StoreError> {
        Err(StoreError::new(
            StoreErrorKind::InvalidKey,
            "this store cannot be searched: name each key in data or extract",
        ))
    }

    /// Asks an engine of a Vault server.
    ///
    /// # Errors
    /// `InvalidKey` for stores that have none, `Invalid` for answers that come with a lease.
    async fn call(&self, _call: &Call) -> Result<Answer, StoreError> {
        Err(StoreError::new(
            StoreErrorKind::InvalidKey,
            "this store has no engines; spec.source.vaultEngine.storeRef must name a store with provider.vault",
        ))
    }

    /// Makes a new value the current one, and returns its version. Repeating a write that has happened returns the
    /// same version where the store recognises it (AWS); elsewhere it is a `Conflict`, and the caller compares values.
    ///
    /// # Errors
    /// `Conflict` when the current version is not `write.base`, or another client's write is pending.
    async fn write(&self, write: &Write) -> Result<String, StoreError>;

    /// Removes what an interrupted write may have left beside its value, now that `version` is current. Most
    /// stores leave nothing.
    ///
    /// # Errors
    /// As for [`Store::read`].
    async fn finish(&self, _key: &str, _version: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A token issued to a `ServiceAccount`.
#[derive(Clone, Debug)]
pub struct AccountToken {
    /// The token.
    pub token: SecretBytes,
    /// When it ends.
    pub expires: DateTime<Utc>,
}

/// Where a store gets its credentials from: bound to the namespace of the store object, so that no name given to it
/// can reach another one. Each call reads afresh.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// One key of a credential Secret.
    ///
    /// # Errors
    /// `Denied` when the operator may not read or use it, `Invalid` when the Secret or key is missing.
    async fn secret(&self, name: &str, key: &str) -> Result<SecretBytes, StoreError>;

    /// One key of a `ConfigMap` (CA bundles).
    ///
    /// # Errors
    /// As for [`Credentials::secret`].
    async fn config(&self, name: &str, key: &str) -> Result<String, StoreError>;

    /// A token of a `ServiceAccount` for these audiences, by the `TokenRequest` API.
    ///
    /// # Errors
    /// As for [`Credentials::secret`].
    async fn account_token(&self, name: &str, audiences: &[String]) -> Result<AccountToken, StoreError>;

    /// An annotation of a `ServiceAccount` (the role of web identity).
    ///
    /// # Errors
    /// As for [`Credentials::secret`].
    async fn account_annotation(&self, name: &str, annotation: &str) -> Result<Option<String>, StoreError>;

    /// Whether a store without `auth` may use the operator's own credentials: a `ClusterRemoteStore`, or any with
    /// `--allow-ambient-credentials`.
    fn is_ambient_allowed(&self) -> bool;
}

/// Opens stores.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Builds a client for `spec`. Does not log in yet: [`Store::probe`] does.
    ///
    /// # Errors
    /// `Invalid` when the spec cannot work (also for a feature that is not built yet, naming the field).
    async fn connect(
        &self,
        spec: &RemoteStoreSpec,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Arc<dyn Store>, StoreError>;
}
