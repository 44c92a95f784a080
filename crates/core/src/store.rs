//! The port to a secret store, and the only error a store answers with.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use regex::{Regex, RegexBuilder};
use rekey_api::store::{Capability, RemoteStoreSpec};
use uuid::Uuid;

use crate::SecretBytes;
pub use crate::network::{Addresses, Network};

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

/// A regular expression on names, with its size bounded. Two are equal when they are written alike.
#[derive(Clone, Debug)]
pub struct NamePattern(Regex);

impl NamePattern {
    /// The memory one expression may take, in bytes.
    const SIZE: usize = 256 * 1024;

    /// Reads an expression in the syntax of the crate `regex` (<https://docs.rs/regex/latest/regex/#syntax>), which
    /// matches in linear time.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        RegexBuilder::new(text).size_limit(Self::SIZE).build().map(Self).map_err(|error| {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })
    }

    /// The expression.
    #[must_use]
    pub fn regex(&self) -> &Regex {
        &self.0
    }

    /// Whether it matches somewhere in `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for NamePattern {}

impl PartialOrd for NamePattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NamePattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl Hash for NamePattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

/// A search for keys. What is set must all fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Search {
    /// Keys below this path, as users write it (`shop/`): a key fits when it begins with it, up to a `/`.
    pub path: Option<String>,
    /// Keys this matches. The whole key is matched, with its path.
    pub name: Option<NamePattern>,
    /// Keys that carry all these tags (KV v2: custom metadata).
    pub tags: BTreeMap<String, String>,
}

impl Search {
    /// Whether `key` lies below the path and fits the pattern; tags are the store's to look at.
    #[must_use]
    pub fn fits(&self, key: &str) -> bool {
        let below = self.path.as_deref().is_none_or(|path| {
            let path = path.trim_end_matches('/');
            path.is_empty() || key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        below && self.name.as_ref().is_none_or(|pattern| pattern.matches(key))
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
    /// The data object as JSON text. Its version is what the engine itself tells one answer from another by (a static
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

    /// Reads several values, with as few calls as the store allows. Answers stand in the order of `locators`.
    async fn read_all(&self, locators: &[Locator]) -> Vec<Result<RemoteValue, StoreError>> {
        let mut answers = Vec::with_capacity(locators.len());
        for locator in locators {
            answers.push(self.read(locator).await);
        }
        answers
    }

    /// Finds the keys that fit a search, sorted. Reads no secret value.
    ///
    /// # Errors
    /// `Invalid` when the store cannot search that way, or so much fits that it cannot be meant.
    async fn find(&self, _search: &Search) -> Result<Vec<String>, StoreError> {
        Err(StoreError::new(StoreErrorKind::Invalid, "this store cannot be searched: name each key in data or extract"))
    }

    /// Asks an engine of a Vault server.
    ///
    /// # Errors
    /// `Invalid` for stores that have none, and for answers that come with a lease.
    async fn call(&self, _call: &Call) -> Result<Answer, StoreError> {
        Err(StoreError::new(
            StoreErrorKind::Invalid,
            "this store has no engines; spec.source.vaultEngine.storeRef must name a store with provider.vault",
        ))
    }

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
