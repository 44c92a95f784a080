//! A store of a few values.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use rekey_api::{condition::Reason, store::RemoteStoreSpec};
use rekey_core::{
    SecretBytes,
    rotator::{
        database::{Changed, Databases, Login, Role, RoleChange, Server},
        port::{Proof, Prove},
    },
    store::{Connect, Credentials, Locator, Probe, RemoteValue, Store, StoreError, StoreErrorKind, Write},
};

/// Values by key, with the version that each has.
#[derive(Default)]
pub struct Values {
    held: Mutex<BTreeMap<String, (String, u64)>>,
    /// What it refuses, by operation.
    refused: Mutex<BTreeMap<&'static str, StoreErrorKind>>,
    reads: Mutex<usize>,
    logins: Mutex<usize>,
    /// The users of a database, if there is one.
    roles: Mutex<Option<Vec<Role>>>,
    looks: Mutex<usize>,
}

impl Values {
    /// Puts a value there, in its next version.
    pub fn put(&self, key: &str, text: &str) {
        let mut values = self.held.lock().unwrap();
        let version = values.get(key).map_or(1, |(_, version)| version + 1);
        values.insert(key.to_owned(), (text.to_owned(), version));
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<String> {
        self.held.lock().unwrap().get(key).map(|(text, _)| text.clone())
    }

    /// Answers `operation` (`read`, `write`, `tidy up`, `log in` or `ask the database`) like this from now on; `None`: as a store should.
    pub fn refuse(&self, operation: &'static str, kind: Option<StoreErrorKind>) {
        let mut refused = self.refused.lock().unwrap();
        refused.remove(operation);
        refused.extend(kind.map(|kind| (operation, kind)));
    }

    /// How often a value was read.
    pub fn reads(&self) -> usize {
        *self.reads.lock().unwrap()
    }

    /// There is a database with these users.
    pub fn put_roles(&self, roles: &[Role]) {
        *self.roles.lock().unwrap() = Some(roles.to_vec());
    }

    /// Changes each of them.
    pub fn change_roles(&self, change: impl FnMut(&mut Role)) {
        self.roles.lock().unwrap().iter_mut().flatten().for_each(change);
    }

    /// How often the database was asked.
    pub fn looks(&self) -> usize {
        *self.looks.lock().unwrap()
    }

    /// How often a new credential was tried.
    pub fn logins(&self) -> usize {
        *self.logins.lock().unwrap()
    }

    fn may(&self, operation: &'static str) -> Result<(), StoreError> {
        let kind = self.refused.lock().unwrap().get(operation).copied();
        kind.map_or(Ok(()), |kind| Err(StoreError::new(kind, format!("not allowed to {operation}"))))
    }
}

/// Opens the one store that there is.
pub struct Opens(pub Arc<Values>);

#[async_trait]
impl Connect for Opens {
    async fn connect(&self, _: &RemoteStoreSpec, _: Arc<dyn Credentials>) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::clone(&self.0) as Arc<dyn Store>)
    }
}

#[async_trait]
impl Prove for Values {
    async fn prove(&self, _: &Proof) -> Result<(), StoreError> {
        *self.logins.lock().unwrap() += 1;
        self.may("log in")
    }
}

#[async_trait]
impl Databases for Values {
    async fn roles(&self, _: &Server, _: &Login, _: &[&str]) -> Result<Vec<Role>, StoreError> {
        *self.looks.lock().unwrap() += 1;
        self.may("ask the database").map_err(|error| error.because(Reason::InvalidCredentials))?;
        let none = || StoreError::new(StoreErrorKind::Unavailable, "there is no database");
        self.roles.lock().unwrap().clone().ok_or_else(none)
    }

    async fn change(&self, _: &Server, _: &Login, _: &RoleChange) -> Result<Changed, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unavailable, "there is no database"))
    }

    async fn login(&self, _: &Server, _: &Login, _: Option<&str>) -> Result<(), StoreError> {
        *self.logins.lock().unwrap() += 1;
        self.may("log in").map_err(|error| error.because(Reason::InvalidCredentials))
    }
}

#[async_trait]
impl Store for Values {
    async fn probe(&self) -> Result<Probe, StoreError> {
        Ok(Probe { identity: "nobody".to_owned(), capabilities: Vec::new() })
    }

    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        *self.reads.lock().unwrap() += 1;
        self.may("read")?;
        let values = self.held.lock().unwrap();
        let missing = || StoreError::new(StoreErrorKind::NotFound, "it does not exist");
        let (text, version) = values.get(&locator.key).ok_or_else(missing)?;
        let bytes = SecretBytes::from(text.as_str());
        Ok(RemoteValue { bytes, version: version.to_string(), created: None })
    }

    async fn write(&self, write: &Write) -> Result<String, StoreError> {
        self.may("write")?;
        let mut values = self.held.lock().unwrap();
        let before = values.get(&write.key).map(|(_, version)| *version);
        if before.map(|version| version.to_string()) != write.base {
            return Err(StoreError::new(StoreErrorKind::Conflict, "it has changed"));
        }
        let version = before.unwrap_or_default() + 1;
        let text = String::from_utf8(write.bytes.expose().to_vec()).unwrap();
        values.insert(write.key.clone(), (text, version));
        Ok(version.to_string())
    }

    async fn finish(&self, _: &str, _: &str) -> Result<(), StoreError> {
        self.may("tidy up")
    }
}
