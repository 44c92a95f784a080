//! Composes what the reconcilers work with.

use std::{marker::PhantomData, sync::Arc};

use kube::Client;
use rekey_core::{
    chance::Chance,
    digest::DigestKey,
    rotator::{database::Databases, port::Prove},
    store::Connect,
    time::Clock,
};

use crate::{
    cluster::Cluster,
    kinds::{policy::Policies, rotation::Schedules, store::Probes, workload::Workloads},
    line::{RestartLine, Rollouts},
    memory::Memory,
    metrics::Metrics,
    namespaces::heeding,
    notify::Notify,
    pages::Pages,
    pulse::Pulse,
    queue::{Crew, Queues},
    settings::Settings,
    stores::{self, StoreObject, Stores},
    watch::Watches,
    workshop::Workshop,
    write::Writer,
};

/// What the binary brings.
pub struct Parts {
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
    /// Proves new credentials.
    pub prove: Arc<dyn Prove>,
    /// Asks databases, and alters users there.
    pub databases: Arc<dyn Databases>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Signs of life.
    pub pulse: Arc<Pulse>,
}

/// What the reconcilers share. Each gets the parts that it needs, and no more.
pub struct Context {
    /// What the binary has brought.
    pub parts: Parts,
    pub settings: Arc<Settings>,
    pub digest_key: DigestKey,
    pub cluster: Arc<Cluster>,
    pub queues: Arc<Queues>,
    /// Savings of work.
    pub memory: Arc<Memory>,
    pub stores: Arc<Stores>,
    /// Who is restarted next.
    pub line: Arc<RestartLine>,
    /// Queues what a change concerns.
    pub notify: Arc<Notify>,
    pub write: Arc<Writer>,
    /// Lists take turns.
    pub pages: Arc<Pages>,
    /// Where templates are rendered.
    pub workshop: Arc<Workshop>,
}

impl Context {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(parts: Parts, digest_key: DigestKey) -> Self {
        let settings = Arc::new(parts.settings.clone());
        let cluster = Arc::new(Cluster::new(settings.account.clone()));
        let parts = Parts { client: heeding(&parts.client, &cluster), ..parts };
        let (queues, memory) = (Arc::new(Queues::new(settings.concurrency)), Arc::<Memory>::default());
        let rollouts = Rollouts::new(settings.rollouts, Arc::clone(&parts.metrics));
        let line = Arc::new(RestartLine::new(rollouts));
        let stores = Arc::new(Stores::new(stores::Parts {
            client: parts.client.clone(),
            connect: Arc::clone(&parts.connect),
            cluster: Arc::clone(&cluster),
            queues: Arc::clone(&queues),
            metrics: Arc::clone(&parts.metrics),
            settings: Arc::clone(&settings),
        }));
        let notify = Notify::new(
            Arc::clone(&cluster),
            Arc::clone(&queues),
            Arc::clone(&memory),
            Arc::clone(&stores),
            Arc::clone(&line),
        );
        let write = Writer::new(
            parts.client.clone(),
            Arc::clone(&cluster),
            Arc::clone(&memory),
            Arc::clone(&parts.metrics),
            &settings.instance,
        );
        let workshop = Arc::new(Workshop::new(&parts.pulse));
        let (notify, write, pages) = (Arc::new(notify), Arc::new(write), Arc::default());
        Self { parts, settings, digest_key, cluster, queues, memory, stores, line, notify, write, pages, workshop }
    }

    /// What workers are counted and watched by.
    #[must_use]
    pub fn crew(&self) -> Crew {
        let (pulse, metrics) = (Arc::clone(&self.parts.pulse), Arc::clone(&self.parts.metrics));
        Crew { size: self.settings.concurrency, pulse, metrics }
    }

    /// For the watches.
    #[must_use]
    pub fn watches(&self) -> Watches {
        Watches {
            client: self.parts.client.clone(),
            watch_client: self.parts.watch_client.clone(),
            settings: Arc::clone(&self.settings),
            cluster: Arc::clone(&self.cluster),
            queues: Arc::clone(&self.queues),
            notify: Arc::clone(&self.notify),
            stores: Arc::clone(&self.stores),
            pages: Arc::clone(&self.pages),
            pulse: Arc::clone(&self.parts.pulse),
        }
    }

    /// For stores of one kind.
    #[must_use]
    pub fn probes<K: StoreObject>(&self) -> Probes<K> {
        Probes {
            cluster: Arc::clone(&self.cluster),
            queues: Arc::clone(&self.queues),
            notify: Arc::clone(&self.notify),
            stores: Arc::clone(&self.stores),
            write: Arc::clone(&self.write),
            clock: Arc::clone(&self.parts.clock),
            operator_namespace: self.settings.operator_namespace.clone(),
            kind: PhantomData,
        }
    }

    /// For `SecretPolicy`.
    #[must_use]
    pub fn policies(&self) -> Policies {
        Policies {
            client: self.parts.client.clone(),
            settings: Arc::clone(&self.settings),
            cluster: Arc::clone(&self.cluster),
            queues: Arc::clone(&self.queues),
            notify: Arc::clone(&self.notify),
            stores: Arc::clone(&self.stores),
            write: Arc::clone(&self.write),
            memory: Arc::clone(&self.memory),
            pages: Arc::clone(&self.pages),
            strays: Arc::default(),
            workshop: Arc::clone(&self.workshop),
            digest_key: self.digest_key.clone(),
            clock: Arc::clone(&self.parts.clock),
            chance: Arc::clone(&self.parts.chance),
        }
    }

    /// For `RotationSchedule`.
    #[must_use]
    pub fn schedules(&self) -> Schedules {
        Schedules {
            client: self.parts.client.clone(),
            cluster: Arc::clone(&self.cluster),
            queues: Arc::clone(&self.queues),
            notify: Arc::clone(&self.notify),
            stores: Arc::clone(&self.stores),
            write: Arc::clone(&self.write),
            memory: Arc::clone(&self.memory),
            pages: Arc::clone(&self.pages),
            digest_key: self.digest_key.clone(),
            clock: Arc::clone(&self.parts.clock),
            chance: Arc::clone(&self.parts.chance),
            prove: Arc::clone(&self.parts.prove),
            databases: Arc::clone(&self.parts.databases),
            workshop: Arc::clone(&self.workshop),
            allow_alpha: self.parts.settings.allow_alpha,
            policies: self.policies(),
        }
    }

    /// For workloads.
    #[must_use]
    pub fn workloads(&self) -> Workloads {
        Workloads {
            client: self.parts.client.clone(),
            cluster: Arc::clone(&self.cluster),
            queues: Arc::clone(&self.queues),
            notify: Arc::clone(&self.notify),
            write: Arc::clone(&self.write),
            memory: Arc::clone(&self.memory),
            line: Arc::clone(&self.line),
            pages: Arc::clone(&self.pages),
            clock: Arc::clone(&self.parts.clock),
        }
    }
}
