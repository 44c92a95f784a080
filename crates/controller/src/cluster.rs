//! What is known of the cluster: rows of its objects, by name, by what they refer to, and how complete the lists are.
//! Nothing here knows a queue, a store or what a change leads to.

pub mod listings;

mod extensions;
mod identity;
mod index;
mod kind;
mod leaving;
mod name;
mod namespace;
mod rows;
mod table;
mod users;
mod versions;
mod wide;

use std::sync::Arc;

use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy};
use rekey_core::{
    SecretNames,
    policy::PolicySpec,
    published::Published,
    rollout::{Urgency, urgency},
    workload::{Workload, WorkloadId},
};

use self::listings::Listings;
pub use self::{
    identity::{Uid, Version},
    index::{References, Referent, Refers, stores_of},
    kind::Kind,
    leaving::Leaving,
    name::{ObjectName, row_name, workload_name},
    namespace::{Hint, NamespaceAccess, Namespaces},
    rows::{
        Holder, Managed, NamespaceRow, Object, Owner, SecretRow, other_annotations, own_tags, owns_annotation, values,
    },
    table::{Answer, Change, Row, Table},
    users::Users,
    versions::{Version as SecretVersion, backups, policy_name, versions_of},
};
use crate::error::Error;

/// What is known.
#[derive(Default)]
#[expect(clippy::struct_field_names, reason = "`ClusterRemoteStore` is the name of a kind")]
pub struct Cluster {
    pub policies: Table<Object<SecretPolicy>>,
    pub schedules: Table<Object<RotationSchedule>>,
    pub stores: Table<Object<RemoteStore>>,
    pub cluster_stores: Table<Object<ClusterRemoteStore>>,
    /// Labels of namespaces, while a grant selects by them.
    pub labels: Table<NamespaceRow>,
    /// Secrets of opened namespaces.
    pub secrets: Table<SecretRow>,
    /// Workloads of opened namespaces; the name carries the kind.
    pub workloads: Table<Workload>,
    pub namespaces: Namespaces,
    pub leaving: Leaving,
    /// How far the cluster-wide lists are.
    pub listings: Listings,
    /// The flag of `kubectl create rolebinding` that names the operator, for messages.
    account: String,
}

impl Cluster {
    /// Nothing is known yet. `account`: the flag of `kubectl create rolebinding` that names the operator.
    #[must_use]
    pub fn new(account: String) -> Self {
        Self { account, ..Self::default() }
    }

    /// Whether the namespace can be worked on; false: it is not known yet, and every object in it is queued again when
    /// it is.
    ///
    /// # Errors
    /// When it is closed to us.
    pub fn is_open(&self, namespace: &str) -> Result<bool, Error> {
        match self.namespaces.access(namespace) {
            NamespaceAccess::Open => Ok(true),
            NamespaceAccess::Pending => Ok(false),
            NamespaceAccess::Closed => {
                let missing = self.namespaces.missing(namespace);
                Err(Error::NamespaceNotOpened {
                    namespace: namespace.to_owned(),
                    account: self.account.clone(),
                    missing,
                })
            }
        }
    }

    /// The workloads that consume a policy's Secret: those that refer to it, and those that the policy names.
    #[must_use]
    pub fn consumers_of(&self, policy: &PolicySpec) -> Vec<Arc<Workload>> {
        let (namespace, names) = (&policy.namespace, &policy.names);
        let referring = if names.is_versioned() {
            self.workloads.referring_to_any(namespace, Referent::Secret, names.base(), |name| names.covers(name))
        } else {
            self.workloads.referring(namespace, Referent::Secret, names.base())
        };
        let mut rows: Vec<Arc<Workload>> = referring.into_iter().map(|(_, row)| row).collect();
        for (kind, name) in &policy.named {
            let name = ObjectName::new(policy.namespace.as_str(), row_name(*kind, name));
            let row = self.workloads.get(&name).filter(|row| policy.names.covered(&row.uses).next().is_none());
            rows.extend(row);
        }
        rows
    }

    /// What the change to what a policy has published asks for, by the rotations that are open.
    #[must_use]
    pub fn urgency(&self, namespace: &str, published: &Published) -> Urgency {
        if published.changes.rotation.is_none() {
            return Urgency::Usual;
        }
        let rows = self.schedules.referring(namespace, Referent::Policy, &published.policy);
        let open = rows.iter().filter_map(|(_, row)| row.readable()?.status.as_ref()?.rotation.as_ref());
        urgency(published, open)
    }

    /// The policies whose Secret this is, by its name.
    #[must_use]
    pub fn policies_of(&self, namespace: &str, secret: &str) -> Vec<(String, Arc<Object<SecretPolicy>>)> {
        let rows =
            SecretNames::bases(secret).flat_map(|base| self.policies.referring(namespace, Referent::Secret, base));
        let covers = |row: &Object<SecretPolicy>| row.readable().is_some_and(|at| SecretNames::of(at).covers(secret));
        rows.filter(|(_, row)| covers(row)).collect()
    }

    /// The policies that name a workload, which need not refer to their Secrets.
    #[must_use]
    pub fn policies_naming(&self, id: &WorkloadId) -> Vec<(String, Arc<Object<SecretPolicy>>)> {
        self.policies.referring(&id.namespace, Referent::Workload, &row_name(id.kind, &id.name))
    }

    /// The schedules of a policy, the one that came first first: it is the one that counts.
    #[must_use]
    pub fn schedules_of(&self, namespace: &str, policy: &str) -> Vec<Arc<Object<RotationSchedule>>> {
        let rows = self.schedules.referring(namespace, Referent::Policy, policy).into_iter();
        let mut found: Vec<_> = rows.map(|(_, row)| row).filter(|row| row.readable().is_some()).collect();
        found.sort_by_key(|row| {
            let metadata = row.metadata();
            (metadata.creation_timestamp.as_ref().map(|time| time.0), metadata.name.clone())
        });
        found
    }
}
