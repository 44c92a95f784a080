//! What every reconciler works with.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::Client;
use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy};
use rekey_core::{
    chance::Chance, digest::DigestKey, policy::Policy, store::Connect, time::Clock, workload::WorkloadId,
};

use crate::{
    cluster::{
        NamespaceAccess, NamespaceRow, Namespaces, Object, ObjectName, Referent, SecretRow, Table, WorkloadRow,
        listings::Listings, row_name,
    },
    connections::Connections,
    error::Error,
    events::Events,
    locks::Locks,
    memory::Memory,
    metrics::Metrics,
    pages::Pages,
    pulse::Pulse,
    queue::Queue,
    turns::Turns,
    workshop::Workshop,
};

/// Settings from the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Only these namespaces; empty: all.
    pub namespaces: Vec<String>,
    /// The operator's own namespace.
    pub operator_namespace: String,
    /// The flag of `kubectl create rolebinding` that names the operator, for messages.
    pub account: String,
    /// Reconciles of one kind at the same time.
    pub concurrency: usize,
    /// Whether a credential Secret must carry `rekey.dev/usable-by`.
    pub require_consent: bool,
    /// Whether a `RemoteStore` without credentials may use the operator's own.
    pub allow_ambient_credentials: bool,
    /// Audiences of the API server beside its usual ones.
    pub api_audiences: Vec<String>,
    /// Name of this process, for Events.
    pub instance: String,
}

/// What the watches know.
#[derive(Default)]
pub struct Known {
    /// `SecretPolicy`
    pub policies: Table<Object<SecretPolicy>>,
    /// `RotationSchedule`
    pub schedules: Table<Object<RotationSchedule>>,
    /// `RemoteStore`
    pub stores: Table<Object<RemoteStore>>,
    /// `ClusterRemoteStore`
    pub cluster_stores: Table<Object<ClusterRemoteStore>>,
    /// Labels of namespaces, while a grant goes by them.
    pub namespaces: Table<NamespaceRow>,
    /// Secrets of opened namespaces.
    pub secrets: Table<SecretRow>,
    /// Workloads of opened namespaces; the name carries the kind.
    pub workloads: Table<WorkloadRow>,
}

/// The queues.
pub struct Queues {
    /// `SecretPolicy`
    pub policies: Queue<ObjectName>,
    /// `RotationSchedule`
    pub schedules: Queue<ObjectName>,
    /// `RemoteStore`
    pub stores: Queue<ObjectName>,
    /// `ClusterRemoteStore`
    pub cluster_stores: Queue<ObjectName>,
    /// Workloads.
    pub workloads: Queue<WorkloadId>,
}

impl Queues {
    /// Empty ones, for so many workers each.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            policies: Queue::new(workers),
            schedules: Queue::new(workers),
            stores: Queue::new(workers),
            cluster_stores: Queue::new(workers),
            workloads: Queue::new(workers),
        }
    }
}

/// What every reconciler works with.
pub struct Context {
    /// For reads and writes, with a deadline each.
    pub client: Client,
    /// For watches, without a deadline.
    pub watch_client: Client,
    /// Settings.
    pub settings: Settings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// Opens stores.
    pub connect: Arc<dyn Connect>,
    /// Open stores.
    pub connections: Connections,
    /// The installation's digest key.
    pub digest_key: DigestKey,
    /// What the watches know.
    pub known: Known,
    /// The queues.
    pub queues: Queues,
    /// Which namespaces are opened.
    pub namespaces: Namespaces,
    /// How far the cluster-wide lists are.
    pub listings: Listings,
    /// Whose turn it is to list.
    pub pages: Pages,
    /// Savings of work.
    pub memory: Memory,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Signs of life.
    pub pulse: Arc<Pulse>,
    /// Whose turn it is to be restarted.
    pub turns: Turns,
    /// Where templates are rendered.
    pub workshop: Workshop,
    /// Secrets that are being made.
    pub making: Locks,
}

impl Context {
    /// The present time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Whether the namespace can be worked on; false: it is not known yet, and everything in it is wanted again when it is.
    ///
    /// # Errors
    /// When it is closed to us.
    pub fn is_open(&self, namespace: &str) -> Result<bool, Error> {
        match self.namespaces.access(namespace) {
            NamespaceAccess::Open => Ok(true),
            NamespaceAccess::Pending => Ok(false),
            NamespaceAccess::Closed => Err(Error::NamespaceNotOpened {
                namespace: namespace.to_owned(),
                account: self.settings.account.clone(),
            }),
        }
    }

    /// The workloads that consume a policy's Secret: those that refer to it, and those that the policy names.
    #[must_use]
    pub fn consumers_of(&self, policy: &Policy) -> Vec<Arc<WorkloadRow>> {
        let referring = self.known.workloads.referring(&policy.namespace, Referent::Secret, &policy.secret);
        let mut rows: Vec<Arc<WorkloadRow>> = referring.into_iter().map(|(_, row)| row).collect();
        for (kind, name) in &policy.named {
            let name = ObjectName::new(policy.namespace.as_str(), row_name(*kind, name));
            let row = self.known.workloads.get(&name).filter(|row| !row.0.uses.contains_key(&policy.secret));
            rows.extend(row);
        }
        rows
    }

    /// The policies that name a workload, which need not refer to their Secrets.
    #[must_use]
    pub fn policies_naming(&self, id: &WorkloadId) -> Vec<(String, Arc<Object<SecretPolicy>>)> {
        self.known.policies.referring(&id.namespace, Referent::Workload, &row_name(id.kind, &id.name))
    }

    /// The schedules of a policy, the one that came first first: it is the one that counts.
    #[must_use]
    pub fn schedules_of(&self, namespace: &str, policy: &str) -> Vec<RotationSchedule> {
        let rows = self.known.schedules.referring(namespace, Referent::Policy, policy);
        let mut found: Vec<RotationSchedule> =
            rows.iter().filter_map(|(_, row)| row.parsed.as_ref().ok()).cloned().collect();
        found.sort_by_key(|schedule| {
            let metadata = &schedule.metadata;
            (metadata.creation_timestamp.as_ref().map(|time| time.0), metadata.name.clone())
        });
        found
    }
}
