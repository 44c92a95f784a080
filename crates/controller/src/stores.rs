//! Open stores: one client per store object and generation, shared by all who use it and by no others. A
//! `ClusterRemoteStore` that logs in as a `ServiceAccount` of its consumers has one client for each of their
//! namespaces.

mod budget;
mod client;
mod connection;
mod credentials;
mod gate;
mod grants;
mod kind;
mod reads;
mod slots;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use rekey_api::{
    ClusterRemoteStore, RemoteStore,
    reference::{NamespaceFrom, StoreKind, StoreRef},
    store::{Access, GrantOperation},
};
use rekey_core::{
    consent::User,
    grant::{Target, Wish},
    policy::Source,
    store::{Connect, Credentials},
};
use tokio::sync::OnceCell;

use self::{
    budget::Budget,
    client::Client,
    credentials::{ClusterCredentials, Place},
    grants::Granted,
    slots::StoreSlots,
};
pub use self::{
    budget::{ROUND, Room, SMALL},
    connection::{Asked, Connection, Keys},
    credentials::consent,
    kind::StoreObject,
};
use crate::{
    cluster::{Cluster, NamespaceAccess, Object, ObjectName},
    error::Error,
    metrics::Metrics,
    pool::Pool,
    queue::Queues,
    settings::Settings,
};

/// See the [module documentation](self).
pub struct Stores {
    parts: Parts,
    open: Mutex<HashMap<Identity, Entry>>,
    /// Slots while they are in use, by what they are taken at.
    slots: Mutex<HashMap<Stand, Weak<Pool>>>,
    /// What may be in memory of what stores answer.
    pub budget: Arc<Budget>,
}

/// What stores are opened with.
pub struct Parts {
    /// Reads credentials.
    pub client: kube::Client,
    /// Opens stores.
    pub connect: Arc<dyn Connect>,
    /// Whose the stores are, and what is granted.
    pub cluster: Arc<Cluster>,
    /// Whose objects are queued when a store comes or goes.
    pub queues: Arc<Queues>,
    /// Requests are counted.
    pub metrics: Arc<Metrics>,
    pub settings: Arc<Settings>,
}

/// Whose a client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    /// The store; without a namespace it is one of the cluster.
    store: ObjectName,
    /// The namespace whose `ServiceAccount` it logs in as, if not the store's own.
    consumer: Option<String>,
}

/// What slots are taken at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stand {
    /// A store on behalf of a namespace.
    Both(ObjectName, String),
    /// Any store on behalf of this namespace.
    Namespace(String),
    /// This store.
    Store(ObjectName),
}

struct Entry {
    uid: String,
    generation: i64,
    /// Filled once the client is made, which several may wait for.
    client: Arc<OnceCell<Arc<Client>>>,
}

impl Stores {
    /// None is open yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, open: Mutex::default(), slots: Mutex::default(), budget: Arc::default() }
    }

    /// Forgets the clients of a store that is gone or has changed.
    pub fn forget(&self, name: &ObjectName) {
        self.reopen(name);
    }

    /// Forgets the clients of a store, so that the next ones read afresh what a client is made with.
    pub fn reopen(&self, name: &ObjectName) {
        self.state().retain(|identity, _| identity.store != *name);
    }

    /// Forgets the clients that log in for a namespace that no longer uses the store, and their tokens with them.
    fn keep_used(&self, is_used: impl Fn(&ObjectName, &str) -> bool) {
        let by_consumer = |identity: &Identity| Some((identity.store.clone(), identity.consumer.clone()?));
        let open: Vec<_> = self.state().keys().filter_map(by_consumer).collect();
        // Asked without the lock: the tables have locks of their own.
        for (store, consumer) in open.into_iter().filter(|(store, consumer)| !is_used(store, consumer)) {
            self.state().remove(&Identity { store, consumer: Some(consumer) });
        }
    }

    fn state(&self) -> MutexGuard<'_, HashMap<Identity, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a client of the store in this generation.
    fn place(&self, identity: &Identity, uid: &str, generation: i64) -> Arc<OnceCell<Arc<Client>>> {
        let mut open = self.state();
        match open.get(identity) {
            Some(entry) if entry.uid == uid && entry.generation == generation => Arc::clone(&entry.client),
            Some(_) | None => {
                let client = Arc::new(OnceCell::new());
                let entry = Entry { uid: uid.to_owned(), generation, client: Arc::clone(&client) };
                open.insert(identity.clone(), entry);
                client
            }
        }
    }

    /// The slots of a namespace at a store.
    fn slots(&self, store: &ObjectName, namespace: &str, workers: usize) -> StoreSlots {
        let mut all = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pool = |stand: Stand, make: fn(usize) -> Arc<Pool>| {
            if let Some(slots) = all.get(&stand).and_then(Weak::upgrade) {
                return slots;
            }
            all.retain(|_, slots| slots.strong_count() > 0);
            let slots = make(workers);
            all.insert(stand, Arc::downgrade(&slots));
            slots
        };
        let namespace = namespace.to_owned();
        StoreSlots {
            both: pool(Stand::Both(store.clone(), namespace.clone()), slots::half),
            namespace: pool(Stand::Namespace(namespace.clone()), slots::most),
            store: pool(Stand::Store(store.clone()), slots::most),
            tenant: namespace,
        }
    }

    /// Forgets the clients that log in as `ServiceAccount`s of namespaces whose policies and schedules have stopped
    /// using the store, or that are closed by now. One that is needed again logs in again.
    pub fn release(&self) {
        self.keep_used(|store, namespace| {
            self.parts.cluster.namespaces.access(namespace) != NamespaceAccess::Closed
                && self.parts.cluster.uses_cluster_store(namespace, &store.name)
        });
    }

    /// Opens the store that an object of `namespace` refers to.
    ///
    /// # Errors
    /// When it does not exist or cannot be opened.
    pub async fn open(self: &Arc<Self>, namespace: &str, reference: &StoreRef) -> Result<Connection, Error> {
        match reference.kind {
            StoreKind::RemoteStore => {
                self.open_as::<RemoteStore>(&ObjectName::new(namespace, reference.name.as_str()), namespace).await
            }
            StoreKind::ClusterRemoteStore => {
                self.open_as::<ClusterRemoteStore>(&ObjectName::new("", reference.name.as_str()), namespace).await
            }
        }
    }

    async fn open_as<K: StoreObject>(
        self: &Arc<Self>,
        name: &ObjectName,
        namespace: &str,
    ) -> Result<Connection, Error> {
        let label = label(K::STORE, &name.name);
        let row = K::table(&self.parts.cluster).get(name).ok_or_else(|| match K::STORE {
            StoreKind::RemoteStore => Error::StoreNotFound { store: label.clone() },
            StoreKind::ClusterRemoteStore => grants::missing(&self.parts.cluster, &label),
        })?;
        // It is the store's spec that is refused, not that of the object that uses it.
        self.connect(&row, namespace).await.map_err(|error| Error::unusable_store(&label, error))
    }

    /// The client of a store for those of `namespace` who use it, made at first need.
    ///
    /// # Errors
    /// When its spec cannot work.
    pub async fn connect<K: StoreObject>(
        self: &Arc<Self>,
        row: &Object<K>,
        namespace: &str,
    ) -> Result<Connection, Error> {
        let (metadata, spec) = (row.metadata(), row.spec()?);
        let name =
            ObjectName::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        let label = label(K::STORE, &name.name);
        spec.refuse_audiences(&self.parts.settings.api_audiences)?;
        let is_own = spec.accounts == NamespaceFrom::Consumer;
        let identity = Identity { store: name.clone(), consumer: is_own.then(|| namespace.to_owned()) };
        let (uid, generation) = (metadata.uid.as_deref().unwrap_or_default(), metadata.generation.unwrap_or_default());
        let make = || async {
            let home = match K::STORE {
                StoreKind::RemoteStore => name.namespace.as_str(),
                StoreKind::ClusterRemoteStore => self.parts.settings.operator_namespace.as_str(),
            };
            let place = Place { secrets: home.to_owned(), accounts: if is_own { namespace } else { home }.to_owned() };
            let is_ambient_allowed =
                K::STORE == StoreKind::ClusterRemoteStore || self.parts.settings.allow_ambient_credentials;
            let user = User { label: label.clone(), places: spec.places.clone() };
            let credentials = ClusterCredentials::new(&self.parts, place, user, is_ambient_allowed);
            let store = self
                .parts
                .connect
                .connect(&spec.connection, credentials)
                .await
                .map_err(Error::store("open", &label))?;
            Ok::<_, Error>(Arc::new(Client::new(
                store,
                &spec.connection.limits,
                Arc::clone(&self.parts.metrics),
                Arc::clone(&self.budget),
            )))
        };
        let client = Arc::clone(self.place(&identity, uid, generation).get_or_try_init(make).await?);
        let slots = self.slots(&name, namespace, self.parts.settings.concurrency);
        let (access, namespace) = (spec.connection.access, namespace.to_owned());
        Ok(Connection {
            label,
            access,
            kind: K::STORE,
            name,
            namespace,
            is_own,
            afresh: false,
            client,
            slots,
            stores: Arc::clone(self),
        })
    }

    /// Whether a policy of `namespace` may use what its source names, by what the stores and their grants say now: keys
    /// are read, and an engine is asked as its method says. A `RemoteStore` of the namespace has no grants.
    ///
    /// # Errors
    /// `StoreNotAllowed` when it may not.
    pub fn may_use(&self, namespace: &str, source: &Source) -> Result<(), Error> {
        source.wishes().into_iter().try_for_each(|(store, wish)| self.allowed(namespace, store, wish))
    }

    /// Whether a schedule of `namespace` may do what a rotation does with this key: it reads and writes.
    ///
    /// # Errors
    /// `StoreNotAllowed` when it may not.
    pub fn may_write(&self, namespace: &str, reference: &StoreRef, key: &str) -> Result<(), Error> {
        // The access first: without it no grant helps.
        self.writable(namespace, reference, Wish::key(key, GrantOperation::Write))?;
        self.allowed(namespace, reference, Wish::key(key, GrantOperation::Read))?;
        self.allowed(namespace, reference, Wish::key(key, GrantOperation::Write))
    }

    /// Credentials that an object of the namespace names, for this user alone.
    #[must_use]
    pub fn credentials(&self, namespace: &str, user: User) -> Arc<dyn Credentials> {
        let place = Place { secrets: namespace.to_owned(), accounts: namespace.to_owned() };
        ClusterCredentials::new(&self.parts, place, user, false)
    }

    /// Whether the access of the store lets this be done.
    fn writable(&self, namespace: &str, reference: &StoreRef, wish: Wish<'_>) -> Result<(), Error> {
        let label = label(reference.kind, &reference.name);
        let access = match reference.kind {
            StoreKind::RemoteStore => self.access::<RemoteStore>(&ObjectName::new(namespace, reference.name.as_str())),
            StoreKind::ClusterRemoteStore => {
                self.access::<ClusterRemoteStore>(&ObjectName::new("", reference.name.as_str()))
            }
        };
        let access = access.map_err(|error| Error::unusable_store(&label, error))?;
        // Of a store that is not there the access does not matter yet.
        access.map_or(Ok(()), |access| may(&label, access, wish))
    }

    /// What the store allows its users; `None`: it is not there.
    fn access<K: StoreObject>(&self, name: &ObjectName) -> Result<Option<Access>, Error> {
        let row = K::table(&self.parts.cluster).get(name);
        row.map(|row| row.spec().map(|store| store.connection.access)).transpose()
    }

    /// Whether the store and its grants let this be done now.
    fn allowed(&self, namespace: &str, reference: &StoreRef, wish: Wish<'_>) -> Result<(), Error> {
        self.writable(namespace, reference, wish)?;
        match reference.kind {
            StoreKind::RemoteStore => Ok(()),
            StoreKind::ClusterRemoteStore => {
                let (name, label) =
                    (ObjectName::new("", reference.name.as_str()), label(reference.kind, &reference.name));
                Granted::look(&self.parts.cluster, &name, &label, namespace)?.check(wish)
            }
        }
    }
}

/// Kind and name, as messages and `rekey.dev/usable-by` say it.
#[must_use]
pub fn label(kind: StoreKind, name: &str) -> String {
    format!("{}/{name}", kind.as_str())
}

/// Whether a store with this access lets this be done.
fn may(label: &str, access: Access, wish: Wish<'_>) -> Result<(), Error> {
    match (access, wish.operation, wish.target) {
        (Access::ReadWrite, _, _) | (Access::ReadOnly, GrantOperation::Read, _) => Ok(()),
        (Access::ReadOnly, GrantOperation::Write, Target::Key(_)) => {
            Err(Error::not_allowed(label, "it is read-only; set spec.access to ReadWrite to let rotations write"))
        }
        (Access::ReadOnly, GrantOperation::Write, Target::Engine(path)) => Err(Error::not_allowed(
            label,
            format_args!(
                "it is read-only, and a Post to engine path {path:?} may change or delete what is there; set \
                 spec.access to ReadWrite, or ask with method Get"
            ),
        )),
    }
}
