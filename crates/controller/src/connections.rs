//! Open stores: one client per store object and generation, shared by all who use it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::ResourceExt as _;
use rekey_api::{RemoteStore, reference::StoreRef, store::Access};
use rekey_core::{
    SpecError,
    store::{Locator, RemoteValue, Store, StoreError, StoreErrorKind, Write},
};

use crate::{
    context::Context, credentials::ClusterCredentials, error::Error, queue::Lane, rows::Object, table::ObjectName,
};

/// An open store that counts what is asked of it.
#[derive(Clone)]
pub struct Connection {
    /// Kind and name, for messages.
    pub label: String,
    /// Whether it may be written.
    pub access: Access,
    name: ObjectName,
    store: Arc<dyn Store>,
}

/// See the [module documentation](self).
#[derive(Default)]
pub struct Connections {
    open: Mutex<HashMap<ObjectName, (String, i64, Connection)>>,
}

impl Connections {
    /// Forgets the client of a store that is gone or whose credential has changed.
    pub fn forget(&self, name: &ObjectName) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn get(&self, name: &ObjectName, uid: &str, generation: i64) -> Option<Connection> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, at, connection) = open.get(name)?;
        (of == uid && *at == generation).then(|| connection.clone())
    }

    fn put(&self, name: &ObjectName, uid: &str, generation: i64, connection: &Connection) {
        let entry = (uid.to_owned(), generation, connection.clone());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), entry);
    }
}

/// Opens the store that an object of `namespace` refers to.
///
/// # Errors
/// When it does not exist or cannot be opened.
pub async fn open(ctx: &Context, namespace: &str, reference: &StoreRef) -> Result<Connection, Error> {
    let name = ObjectName::new(namespace, reference.name.as_str());
    let label = format!("{}/{}", reference.kind.as_str(), reference.name);
    let row = ctx.known.stores.get(&name).ok_or_else(|| Error::StoreNotFound { store: label.clone() })?;
    match &row.parsed {
        Ok(store) => connect(ctx, store).await.map_err(|error| match error {
            // It is the store's spec that is refused, not that of the object that uses it.
            Error::Spec(error) => Error::StoreNotAllowed { store: label, text: error.to_string() },
            other => other,
        }),
        Err(text) => Err(Error::StoreNotAllowed { store: label, text: format!("the object is malformed: {text}") }),
    }
}

/// The client of `object`, made at first need.
///
/// # Errors
/// When its spec cannot work.
pub async fn connect(ctx: &Context, object: &RemoteStore) -> Result<Connection, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let name = ObjectName::new(namespace.as_str(), object.name_any());
    let (uid, generation) = (object.uid().unwrap_or_default(), object.metadata.generation.unwrap_or_default());
    if let Some(connection) = ctx.connections.get(&name, &uid, generation) {
        return Ok(connection);
    }
    let label = format!("RemoteStore/{}", name.name);
    if object.spec.limits != rekey_api::store::Limits::default() {
        return Err(SpecError::not_yet("spec.limits", "remove it").into());
    }
    let credentials =
        ClusterCredentials::new(ctx.client.clone(), &namespace, label.clone(), ctx.settings.require_consent);
    let store = ctx.connect.connect(&object.spec, credentials).await.map_err(|error| spec_or_store(error, &label))?;
    let connection = Connection { label, access: object.spec.access, name: name.clone(), store };
    ctx.connections.put(&name, &uid, generation, &connection);
    Ok(connection)
}

/// What is not built yet is a matter of the spec, not of the store.
fn spec_or_store(error: StoreError, label: &str) -> Error {
    match error.text.split_once(" is not supported yet") {
        Some((field, fix)) if error.kind == StoreErrorKind::Invalid => {
            SpecError::not_yet(field, fix.trim_start_matches([';', ':', ' '])).into()
        }
        _ => Error::store("open", label)(error),
    }
}

impl Connection {
    /// Who we are to the store and what may be done.
    ///
    /// # Errors
    /// As [`Store::probe`].
    pub async fn probe(&self, ctx: &Context) -> Result<rekey_core::store::Probe, Error> {
        let answer = self.store.probe().await;
        count(ctx, "probe", answer.as_ref().err());
        answer.map_err(Error::store("log in to", &self.label))
    }

    /// Reads a value.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn read(&self, ctx: &Context, locator: &Locator) -> Result<RemoteValue, Error> {
        let answer = self.store.read(locator).await;
        count(ctx, "read", answer.as_ref().err());
        self.compare(ctx, answer.as_ref().err().map(|error| error.kind));
        answer.map_err(Error::store("read", format!("key {:?} of {}", locator.key, self.label)))
    }

    /// Has the store tried at once when a read does not go with what its status says: it went away, or came back.
    fn compare(&self, ctx: &Context, failure: Option<StoreErrorKind>) {
        let answers = match failure {
            None | Some(StoreErrorKind::NotFound) => true,
            Some(StoreErrorKind::Unavailable | StoreErrorKind::Denied) => false,
            Some(
                StoreErrorKind::Throttled
                | StoreErrorKind::Conflict
                | StoreErrorKind::Invalid
                | StoreErrorKind::Malformed,
            ) => return,
        };
        if ctx.known.stores.get(&self.name).is_some_and(|row| is_ready(&row) != answers) {
            ctx.queues.stores.add(self.name.clone(), Lane::Routine);
        }
    }

    /// As [`Connection::read`], with `None` for a key that does not exist.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn find(&self, ctx: &Context, locator: &Locator) -> Result<Option<RemoteValue>, Error> {
        match self.read(ctx, locator).await {
            Ok(value) => Ok(Some(value)),
            Err(Error::Store { source, .. }) if source.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Clears away what a write that was cut short may have left.
    ///
    /// # Errors
    /// As [`Store::finish`].
    pub async fn finish(&self, ctx: &Context, key: &str, version: &str) -> Result<(), Error> {
        let answer = self.store.finish(key, version).await;
        count(ctx, "finish", answer.as_ref().err());
        answer.map_err(Error::store("tidy up", format!("key {key:?} of {}", self.label)))
    }

    /// Writes a value.
    ///
    /// # Errors
    /// `StoreNotAllowed` unless the store is `ReadWrite`; else as [`Store::write`].
    pub async fn write(&self, ctx: &Context, write: &Write) -> Result<String, Error> {
        if self.access != Access::ReadWrite {
            return Err(Error::StoreNotAllowed {
                store: self.label.clone(),
                text: "it is read-only; set spec.access to ReadWrite to let rotations write".to_owned(),
            });
        }
        let answer = self.store.write(write).await;
        count(ctx, "write", answer.as_ref().err());
        answer.map_err(Error::store("write", format!("key {:?} of {}", write.key, self.label)))
    }
}

/// Whether the store's status says that it can be used.
fn is_ready(store: &Object<RemoteStore>) -> bool {
    let status = store.parsed.as_ref().ok().and_then(|store| store.status.as_ref());
    status.is_some_and(|status| status.conditions.iter().any(|at| at.type_ == "Ready" && at.status == "True"))
}

fn count(ctx: &Context, operation: &'static str, error: Option<&StoreError>) {
    let result = match error.map(|error| error.kind) {
        None => "ok",
        Some(StoreErrorKind::NotFound) => "not_found",
        Some(StoreErrorKind::Denied) => "denied",
        Some(StoreErrorKind::Throttled) => "throttled",
        Some(StoreErrorKind::Unavailable) => "unavailable",
        Some(StoreErrorKind::Conflict) => "conflict",
        Some(StoreErrorKind::Invalid) => "invalid",
        Some(StoreErrorKind::Malformed) => "malformed",
    };
    ctx.metrics.store_request(operation, result);
}
