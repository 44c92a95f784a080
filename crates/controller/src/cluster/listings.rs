//! How far the cluster-wide lists are that some decisions need. Before a list is complete, what is not in it may exist
//! all the same.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

/// The list of `ClusterRemoteStore`s.
pub const CLUSTER_STORES: &str = "ClusterRemoteStore";
/// The list of namespaces with their labels.
pub const NAMESPACES: &str = "Namespace";

/// How far a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Not complete.
    Pending,
    /// Complete, and followed by a watch.
    Done,
    /// The API server does not let us have it.
    Refused,
}

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Listings {
    known: Mutex<BTreeMap<&'static str, Listing>>,
    changed: Notify,
}

impl Listings {
    /// How far the list of this kind is.
    #[must_use]
    pub fn get(&self, kind: &str) -> Listing {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(kind).copied().unwrap_or(Listing::Pending)
    }

    /// A store came or changed: it may need another list.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits for the next [`Listings::wake`].
    pub async fn woken(&self) {
        self.changed.notified().await;
    }

    /// Notes how far it is.
    pub fn set(&self, kind: &'static str, listing: Listing) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, listing);
    }
}
