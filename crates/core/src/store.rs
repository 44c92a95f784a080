//! The port to a secret store, and the only error a store answers with.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use rekey_api::store::{Capability, RemoteStoreSpec};
use uuid::Uuid;

use crate::SecretBytes;

/// Which revision of a remote value is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Pin {
    /// The one the store calls current (KV v2: the latest, AWS: stage `AWSCURRENT`).
    #[default]
    Current,
    /// Exactly this version (KV v2: a number, AWS: a version id).
    Version(String),
    /// The version a label points to (AWS Secrets Manager stage, Parameter Store label).
    Stage(String),
}

/// A remote value's address inside a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator {
    /// The key as users write it, for example `shop/orders-db`.
    pub key: String,
    /// Which of its versions.
    pub pin: Pin,
}

/// What a store holds under a [`Locator`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteValue {
    /// The whole value: for KV the JSON text of the data object, for AWS the secret string or the binary.
    pub bytes: SecretBytes,
    /// The store's own id of this version.
    pub version: String,
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

/// What was seen when a store was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who we are to the store, for example `role shop at bao.infra`. Never a credential.
    pub identity: String,
    /// What can be done through it.
    pub capabilities: Vec<Capability>,
}

/// An open store. Every call is bounded by a deadline of the implementation (15 s at most).
#[async_trait]
pub trait Store: Send + Sync {
    /// Logs in if needed and tells who we are. Reads no secret value.
    ///
    /// # Errors
    /// `Denied` for a refused credential, `Unavailable` when nobody answers.
    async fn probe(&self) -> Result<Probe, StoreError>;

    /// Reads one value.
    ///
    /// # Errors
    /// `NotFound` when there is no such key or version, or it is deleted.
    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError>;

    /// Makes a new value the current one, and returns its version. Repeating a write that has happened returns the
    /// same version where the store can tell (AWS); elsewhere it answers `Conflict`, and the caller compares values.
    ///
    /// # Errors
    /// `Conflict` when the current version is not `write.base`, or somebody else's write is pending.
    async fn write(&self, write: &Write) -> Result<String, StoreError>;

    /// Clears away what a write that was cut short may have left beside its value, now that `version` is current. Most
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
    /// `Denied` when it may not be read or used, `Invalid` when the Secret or key is missing.
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
}

/// What the operator's settings allow for connections to stores.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Allow `http://` and all addresses (`--allow-insecure-stores`, for development).
    pub insecure: bool,
    /// Ranges that stores may be in although they are refused otherwise, also by `refuse` (`--allow-addresses`).
    pub allow: Vec<IpNet>,
    /// Addresses that no store may have: those of the API server.
    pub refuse: Vec<IpAddr>,
    /// Proxy for all stores (`--store-proxy`); the environment's proxies are never used.
    pub proxy: Option<String>,
    /// Allow stores without `auth` to use the operator's own AWS credential chain (`--allow-ambient-credentials`).
    pub ambient: bool,
}

/// Opens stores.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Builds a client for `spec`. Does not log in yet: [`Store::probe`] does.
    ///
    /// # Errors
    /// `Invalid` when the spec cannot work (also: a feature that is not built yet, saying which field).
    async fn connect(
        &self,
        spec: &RemoteStoreSpec,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Arc<dyn Store>, StoreError>;
}

/// What kind of failure a store answered with; decides condition, retry and log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// There is no such key, version or secret.
    NotFound,
    /// The credential is refused, or not allowed to do this.
    Denied,
    /// Asked to slow down.
    Throttled,
    /// Nobody answers, a timeout, sealed, or a server error.
    Unavailable,
    /// Somebody else changed it first.
    Conflict,
    /// The request can never work as it is; the spec must change.
    Invalid,
    /// The answer is not in the form the store documents.
    Malformed,
}

/// A store's failure. The text is always ours: what a server answered is never quoted, since it may hold values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// The kind.
    pub kind: StoreErrorKind,
    /// How long the store asked us to wait, capped by the implementation.
    pub retry_after: Option<Duration>,
    /// What happened and how to mend it, in our words.
    pub text: String,
}

impl StoreError {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: StoreErrorKind, text: impl Into<String>) -> Self {
        Self { kind, retry_after: None, text: text.into() }
    }

    /// The same with the wait the store asked for.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for StoreError {}
