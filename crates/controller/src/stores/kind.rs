//! The two kinds of store, and what they have in common.

use rekey_api::{ClusterRemoteStore, RemoteStore, RemoteStoreStatus, reference::StoreKind, store::RemoteStoreSpec};
use rekey_core::{SpecError, grant::Grants};

use crate::{
    cluster::{Kind, Object, ObjectName},
    queue::{Queue, Queues},
};

/// What both kinds of store have in common.
pub trait StoreObject: Kind<Status = RemoteStoreStatus> {
    /// How references call it.
    const STORE: StoreKind;

    /// How to connect, as a store of one namespace would say it.
    fn connection(&self) -> RemoteStoreSpec;

    /// Checks what only this kind has.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self) -> Result<(), SpecError>;

    /// Its queue.
    fn queue(queues: &Queues) -> &Queue<ObjectName>;
}

impl<K: StoreObject> Object<K> {
    /// Whether the store's status says that it can be used; `None`: there is no status yet.
    #[must_use]
    pub fn is_ready(&self) -> Option<bool> {
        let status = self.parsed.as_ref().ok()?.status()?;
        Some(status.conditions.iter().any(|at| at.type_ == "Ready" && at.status == "True"))
    }
}

impl StoreObject for RemoteStore {
    const STORE: StoreKind = StoreKind::RemoteStore;

    fn connection(&self) -> RemoteStoreSpec {
        self.spec.clone()
    }

    fn check(&self) -> Result<(), SpecError> {
        Ok(())
    }

    fn queue(queues: &Queues) -> &Queue<ObjectName> {
        &queues.stores
    }
}

impl StoreObject for ClusterRemoteStore {
    const STORE: StoreKind = StoreKind::ClusterRemoteStore;

    fn connection(&self) -> RemoteStoreSpec {
        RemoteStoreSpec {
            access: self.spec.access,
            limits: self.spec.limits.clone(),
            provider: self.spec.provider.clone(),
        }
    }

    fn check(&self) -> Result<(), SpecError> {
        Grants::parse(&self.spec.grants).map(drop)
    }

    fn queue(queues: &Queues) -> &Queue<ObjectName> {
        &queues.cluster_stores
    }
}
