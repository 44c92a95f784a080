//! The two kinds of store, and what they have in common.

use rekey_api::{ClusterRemoteStore, RemoteStore, RemoteStoreStatus, reference::StoreKind};
use rekey_core::StoreSpec;

use crate::{
    cluster::{Kind, Object, ObjectName},
    queue::{Queue, Queues},
};

/// What both kinds of store have in common.
pub trait StoreObject: Kind<Status = RemoteStoreStatus, Spec = StoreSpec> {
    /// How references call it.
    const STORE: StoreKind;

    fn queue(queues: &Queues) -> &Queue<ObjectName>;
}

impl<K: StoreObject> Object<K> {
    /// Whether the store's status says that it can be used; `None`: there is no status yet.
    #[must_use]
    pub fn is_ready(&self) -> Option<bool> {
        let status = self.readable()?.status()?;
        Some(status.conditions.iter().any(|at| at.type_ == "Ready" && at.status == "True"))
    }
}

impl StoreObject for RemoteStore {
    const STORE: StoreKind = StoreKind::RemoteStore;

    fn queue(queues: &Queues) -> &Queue<ObjectName> {
        &queues.stores
    }
}

impl StoreObject for ClusterRemoteStore {
    const STORE: StoreKind = StoreKind::ClusterRemoteStore;

    fn queue(queues: &Queues) -> &Queue<ObjectName> {
        &queues.cluster_stores
    }
}
