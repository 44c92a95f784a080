//! Credentials from memory, which can be changed under an open store.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use chrono::DateTime;
use rekey_core::{
    SecretBytes,
    store::{AccountToken, Credentials, StoreError, StoreErrorKind},
};

/// The entry that lets a store use the operator's own credentials.
pub const OWN: &str = "the operator's own";

/// The Secrets, `ConfigMap`s and `ServiceAccount`s of a namespace, by `name/key` (accounts: by name; their annotations: by
/// `name@annotation`).
#[derive(Default)]
pub struct Keeper {
    held: Mutex<BTreeMap<String, String>>,
    reads: AtomicUsize,
}

impl Keeper {
    /// Puts or replaces an entry.
    pub fn set(&self, place: &str, value: &str) {
        if let Ok(mut held) = self.held.lock() {
            held.insert(place.to_owned(), value.to_owned());
        }
    }

    /// How often something was read.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn find(&self, place: &str) -> Result<String, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let held = self.held.lock().ok().and_then(|held| held.get(place).cloned());
        held.ok_or_else(|| StoreError::new(StoreErrorKind::Invalid, format!("there is no {place}")))
    }
}

#[async_trait]
impl Credentials for Keeper {
    async fn secret(&self, name: &str, key: &str) -> Result<SecretBytes, StoreError> {
        self.find(&format!("{name}/{key}")).map(SecretBytes::from)
    }

    async fn config(&self, name: &str, key: &str) -> Result<String, StoreError> {
        self.find(&format!("{name}/{key}"))
    }

    async fn account_token(&self, name: &str, _: &[String]) -> Result<AccountToken, StoreError> {
        let token = SecretBytes::from(self.find(name)?);
        Ok(AccountToken { token, expires: DateTime::UNIX_EPOCH })
    }

    async fn account_annotation(&self, name: &str, annotation: &str) -> Result<Option<String>, StoreError> {
        Ok(self.held.lock().ok().and_then(|held| held.get(&format!("{name}@{annotation}")).cloned()))
    }

    fn is_ambient_allowed(&self) -> bool {
        self.held.lock().is_ok_and(|held| held.contains_key(OWN))
    }
}
