//! The kinds of object that are ours.

use std::fmt::Debug;

use kube::{Api, Client, core::object::HasStatus};
use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy};
use rekey_core::Parse;
use serde::{Serialize, de::DeserializeOwned};

use super::{Cluster, Object, Refers, Table};

/// A kind of ours.
pub trait Kind:
    Parse
    + HasStatus<Status: DeserializeOwned + Serialize + PartialEq>
    + Refers
    + Clone
    + Serialize
    + DeserializeOwned
    + Debug
    + Send
    + Sync
    + 'static
{
    /// Its API: of the namespace, for a namespaced kind.
    fn api(client: &Client, namespace: &str) -> Api<Self>;

    fn table(cluster: &Cluster) -> &Table<Object<Self>>;
}

impl Kind for SecretPolicy {
    fn api(client: &Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client.clone(), namespace)
    }

    fn table(cluster: &Cluster) -> &Table<Object<Self>> {
        &cluster.policies
    }
}

impl Kind for RotationSchedule {
    fn api(client: &Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client.clone(), namespace)
    }

    fn table(cluster: &Cluster) -> &Table<Object<Self>> {
        &cluster.schedules
    }
}

impl Kind for RemoteStore {
    fn api(client: &Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client.clone(), namespace)
    }

    fn table(cluster: &Cluster) -> &Table<Object<Self>> {
        &cluster.stores
    }
}

impl Kind for ClusterRemoteStore {
    fn api(client: &Client, _namespace: &str) -> Api<Self> {
        Api::all(client.clone())
    }

    fn table(cluster: &Cluster) -> &Table<Object<Self>> {
        &cluster.cluster_stores
    }
}
