//! Who uses a store.

use std::sync::Arc;

use rekey_api::{
    RotationSchedule, SecretPolicy,
    reference::{StoreKind, StoreRef},
};

use super::{Cluster, Object, ObjectName, Referent, Row, Table, stores_of};

/// Policies and schedules.
#[derive(Debug, Default)]
pub struct Users {
    /// They read it.
    pub policies: Vec<ObjectName>,
    /// They write it.
    pub schedules: Vec<ObjectName>,
}

impl Cluster {
    /// All that use a store of this kind: the named one, if one is named, and in one namespace only, if that is named.
    #[must_use]
    pub fn users(&self, kind: StoreKind, name: Option<&str>, namespace: Option<&str>) -> Users {
        let is_meant = |reference: &StoreRef| reference.kind == kind && name.is_none_or(|name| reference.name == name);
        let mut users = Users::default();
        for (policy, row) in rows(&self.policies, name, namespace) {
            if read(&row).iter().any(is_meant) {
                // A schedule that does not say where it writes writes where its policy reads.
                let schedules = self.schedules.referring(&policy.namespace, Referent::Policy, &policy.name).into_iter();
                let silent = schedules.filter(|(_, row)| written(row).is_none());
                users.schedules.extend(silent.map(|(name, _)| ObjectName::new(policy.namespace.as_str(), name)));
                users.policies.push(policy);
            }
        }
        let schedules = rows(&self.schedules, name, namespace).into_iter();
        users.schedules.extend(schedules.filter(|(_, row)| written(row).is_some_and(is_meant)).map(|(name, _)| name));
        users
    }

    /// Whether a policy or schedule of the namespace names the `ClusterRemoteStore`.
    #[must_use]
    pub fn uses_cluster_store(&self, namespace: &str, name: &str) -> bool {
        let is_meant = |store: &StoreRef| store.kind == StoreKind::ClusterRemoteStore && store.name == name;
        let policies = self.policies.referring(namespace, Referent::Store, name);
        let schedules = self.schedules.referring(namespace, Referent::Store, name);
        policies.iter().flat_map(|(_, row)| read(row)).any(|store| is_meant(&store))
            || schedules.iter().filter_map(|(_, row)| written(row)).any(is_meant)
    }
}

/// The rows that may name a store: those that refer to one of this name, if one is given.
fn rows<T: Row>(table: &Table<T>, store: Option<&str>, namespace: Option<&str>) -> Vec<(ObjectName, Arc<T>)> {
    let namespaces = namespace.map_or_else(|| table.namespaces(), |namespace| [namespace.to_owned()].into());
    let of = |namespace: &String| match store {
        Some(store) => table.referring(namespace, Referent::Store, store),
        None => table.in_namespace(namespace),
    };
    let named = |namespace: String| {
        let rows = of(&namespace).into_iter();
        rows.map(move |(name, row)| (ObjectName::new(namespace.as_str(), name), row)).collect::<Vec<_>>()
    };
    namespaces.into_iter().flat_map(named).collect()
}

/// The store that a schedule names.
fn written(row: &Object<RotationSchedule>) -> Option<&StoreRef> {
    row.readable()?.spec.write_to.as_ref().map(|to| &to.store_ref)
}

/// The stores that a policy names.
fn read(row: &Object<SecretPolicy>) -> Vec<StoreRef> {
    let Some(policy) = row.readable() else {
        return Vec::new();
    };
    let source = &policy.spec.source;
    let engine = source.vault_engine.iter().map(|engine| engine.store_ref.clone());
    source.remote.iter().flat_map(stores_of).chain(engine).collect()
}
