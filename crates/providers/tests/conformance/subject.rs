//! What the suite needs of a store.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use rekey_api::store::RemoteStoreSpec;
use rekey_core::{
    SecretBytes,
    store::{Allowance, Connect, Locator, Network, Pin, RemoteValue, Search, Store, StoreError, StoreErrorKind, Write},
};
use rekey_providers::Stores;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::keeper::Keeper;

/// Part of every value of the suite; must never appear in an error or a log.
pub const CANARY: &str = "canary-value-4f1c";
/// Part of the credentials of the suite that are refused; must never appear either.
pub const BAD: &str = "canary-credential-9e7d";

/// A real server with the credentials for it.
#[async_trait]
pub trait Subject: Send + Sync {
    /// For the names of the cases.
    fn name(&self) -> &'static str;
    /// `spec.provider` for the server, or for another address.
    fn provider(&self, address: Option<&str>) -> Value;
    /// Fills in the credentials that are accepted.
    fn good(&self, keeper: &Keeper);
    /// Fills in credentials that are refused.
    fn bad(&self, keeper: &Keeper);
    /// Texts of the accepted credentials that must never appear.
    fn secrets(&self) -> Vec<String>;
    /// A value in the form the store holds.
    fn value(&self, text: &str) -> Vec<u8>;
    /// Writes past us; returns the version.
    async fn put(&self, key: &str, value: &[u8]) -> Result<String>;
    /// The same, with tags; for stores that are searched by them.
    async fn put_tagged(&self, _key: &str, _value: &[u8], _tags: &[(&str, &str)]) -> Result<()> {
        anyhow::bail!("{} has no tags", self.name())
    }
    /// JSON that is no answer of this store.
    fn other_json(&self) -> &'static str {
        "{\"data\":{\"a\":1}}"
    }
    /// The address of a server that checks credentials, and the key of a value on it.
    fn guarded(&self) -> (Option<String>, String);
    /// Whether a write sent twice is recognised.
    fn is_idempotent(&self) -> bool;
    /// Whether it says when a version was made.
    fn has_times(&self) -> bool {
        true
    }
    /// Whether it says so where several keys are read at once.
    fn has_times_in_batches(&self) -> bool {
        true
    }
    /// A key in the form that the store requires.
    fn path(&self, key: &str) -> String {
        key.to_owned()
    }
    /// A key that no other case uses.
    fn key(&self, case: &str) -> String {
        self.path(&crate::cases::key(case))
    }
    /// About how many bytes of a value the suite may use.
    fn room(&self) -> usize {
        300 * 1024
    }
    /// What the identity of the probe must contain.
    fn identity(&self) -> &'static str;
}

/// A store on a subject, with its credentials at hand.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its credentials.
    pub keeper: Arc<Keeper>,
}

impl Opened {
    /// Searches with room for all there is.
    pub async fn find(&self, search: &Search) -> Result<Vec<String>, StoreError> {
        self.store.find(search, &Allowance::new(usize::MAX)).await
    }

    /// Reads with room for all there is.
    pub async fn read_all(&self, locators: &[Locator]) -> Vec<Result<RemoteValue, StoreError>> {
        self.store.read_all(locators, &Allowance::new(usize::MAX)).await
    }
}

/// Opens any provider.
pub async fn open(provider: Value, keeper: Arc<Keeper>) -> Result<Opened> {
    open_for("ReadWrite", provider, keeper).await
}

/// Opens any provider with some access.
pub async fn open_for(access: &str, provider: Value, keeper: Arc<Keeper>) -> Result<Opened> {
    let spec: RemoteStoreSpec = serde_json::from_value(json!({ "access": access, "provider": provider }))?;
    let stores = Stores::new(Network { insecure: true, ..Network::default() });
    let store = stores.connect(&spec, Arc::clone(&keeper) as Arc<_>).await?;
    Ok(Opened { store, keeper })
}

/// Opens a subject, or another address as if it were one, with good credentials.
pub async fn opened(subject: &dyn Subject, address: Option<&str>) -> Result<Opened> {
    let keeper = Arc::new(Keeper::default());
    subject.good(&keeper);
    open(subject.provider(address), keeper).await
}

impl Opened {
    /// Reads the current value of a key.
    pub async fn read(&self, key: &str) -> Result<(Vec<u8>, String), StoreError> {
        self.read_at(key, Pin::Current).await
    }

    /// Reads a value of a key.
    pub async fn read_at(&self, key: &str, pin: Pin) -> Result<(Vec<u8>, String), StoreError> {
        let value = self.store.read(&Locator { key: key.to_owned(), pin }).await?;
        Ok((value.bytes.expose().to_vec(), value.version))
    }

    /// Writes a new value.
    pub async fn write(&self, key: &str, base: Option<&str>, value: &[u8]) -> Result<String, StoreError> {
        self.store.write(&write(key, base, value)).await
    }
}

/// A write with a token of its own.
pub fn write(key: &str, base: Option<&str>, value: &[u8]) -> Write {
    let token = Uuid::now_v7();
    Write { key: key.to_owned(), base: base.map(str::to_owned), token, bytes: SecretBytes::new(value.to_vec()) }
}

/// The expected error; its texts show no secret.
pub fn refused<T>(subject: &dyn Subject, result: Result<T, StoreError>, kind: StoreErrorKind) -> Result<StoreError> {
    let error = result.err().context("this should have failed")?;
    ensure!(error.kind == kind, "{kind:?} was expected: {error:?}");
    let texts = format!("{error} {error:?}");
    for secret in subject.secrets().iter().map(String::as_str).chain([CANARY, BAD]) {
        ensure!(!texts.contains(secret), "this error shows a secret: {texts}");
    }
    Ok(error)
}
