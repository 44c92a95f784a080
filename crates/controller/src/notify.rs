//! What has to be looked at because something changed: a change comes in, keys go into the queues, and what is
//! remembered of objects that are gone is forgotten.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::{RotationSchedule, SecretPolicy, condition::Reason, reference::StoreKind};
use rekey_core::{
    Parse, SecretNames,
    policy::PolicySpec,
    published::Published,
    workload::{Keys, Kind, Progress, Workload, WorkloadId},
};
use tokio::time::Instant;

use crate::{
    cluster::{Change, Cluster, Holder, Managed, NamespaceRow, Object, ObjectName, Referent, SecretRow},
    line::{RestartLine, Stand},
    memory::Memory,
    queue::{Lane, Queues},
    stores::{StoreObject, Stores},
};

/// See the [module documentation](self).
pub struct Notify {
    cluster: Arc<Cluster>,
    queues: Arc<Queues>,
    memory: Arc<Memory>,
    stores: Arc<Stores>,
    line: Arc<RestartLine>,
}

impl Notify {
    /// With these.
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        queues: Arc<Queues>,
        memory: Arc<Memory>,
        stores: Arc<Stores>,
        line: Arc<RestartLine>,
    ) -> Self {
        Self { cluster, queues, memory, stores, line }
    }

    pub fn policy(&self, change: &Change<Object<SecretPolicy>>) {
        let gone = change.before.as_deref().filter(|_| change.now.is_none()).and_then(Object::readable);
        if gone.is_some_and(|gone| !self.cluster.versions(&change.name, &SecretNames::of(gone)).is_empty()) {
            self.cluster.leaving.add(change.name.clone());
        }
        self.cluster.namespaces.wake();
        let (before, now) = (change.before.as_deref(), change.now.as_deref());
        if asks(before, now) {
            self.queues.policies.add(change.name.clone(), Lane::Urgent);
            for object in [before, now].into_iter().flatten().filter_map(Object::readable) {
                self.workloads_of(&change.name.namespace, SecretNames::of(object).base());
            }
        }
        let schedules = self.cluster.schedules.referring(&change.name.namespace, Referent::Policy, &change.name.name);
        for (name, _) in schedules {
            self.queues.schedules.add(ObjectName::new(change.name.namespace.as_str(), name), Lane::Urgent);
        }
        if now.is_none()
            && let Some(gone) = before.and_then(Object::readable)
        {
            let secret = ObjectName::new(change.name.namespace.as_str(), SecretNames::of(gone).base());
            self.memory.forget_policy(gone.metadata.uid.as_deref().unwrap_or_default(), &secret);
        }
    }

    pub fn schedule(&self, change: &Change<Object<RotationSchedule>>) {
        self.cluster.namespaces.wake();
        let (before, now) = (change.before.as_deref(), change.now.as_deref());
        if asks(before, now) {
            self.queues.schedules.add(change.name.clone(), Lane::Urgent);
        }
        let uid = |row: Option<&Object<RotationSchedule>>| row.and_then(|row| row.metadata().uid.clone());
        if uid(before) != uid(now) {
            self.memory.forget_schedule(&change.name);
        }
        let generation = |row: Option<&Object<RotationSchedule>>| row.and_then(|row| row.metadata().generation);
        if before.is_some() && generation(before) != generation(now) {
            // It may have been the first of two, and the second one's turn comes now.
            let rows = self.cluster.schedules.all().into_iter();
            for (name, _) in rows.filter(|(_, row)| is_second(row)) {
                self.queues.schedules.add(name, Lane::Urgent);
            }
        }
        for row in [before, now].into_iter().flatten() {
            if let Some(schedule) = row.readable() {
                let policy = ObjectName::new(change.name.namespace.as_str(), schedule.spec.policy_ref.name.as_str());
                if self.cluster.policies.get(&policy).is_some() {
                    self.queues.policies.add(policy, Lane::Urgent);
                }
            }
        }
    }

    pub fn store<K: StoreObject>(&self, change: &Change<Object<K>>) {
        self.cluster.namespaces.wake();
        self.cluster.listings.wake();
        let (before, now) = (change.before.as_deref(), change.now.as_deref());
        let asked = asks(before, now);
        if asked {
            self.stores.forget(&change.name);
            K::queue(&self.queues).add(change.name.clone(), Lane::Urgent);
        }
        let ready = |row: Option<&Object<K>>| row.and_then(Object::is_ready);
        if asked || ready(before) != ready(now) {
            let namespace = Some(change.name.namespace.as_str()).filter(|namespace| !namespace.is_empty());
            self.users_of(K::STORE, Some(&change.name.name), namespace);
        }
    }

    /// Queues all that use a store: see [`Cluster::users`].
    pub fn users_of(&self, kind: StoreKind, name: Option<&str>, namespace: Option<&str>) {
        self.queues.add_users(self.cluster.users(kind, name, namespace));
    }

    /// A namespace's labels, by which grants may select.
    pub fn namespace(&self, change: &Change<NamespaceRow>) {
        let labels = |row: &Option<Arc<NamespaceRow>>| row.as_ref().map(|row| row.labels.clone());
        if labels(&change.before) != labels(&change.now) {
            self.users_of(StoreKind::ClusterRemoteStore, None, Some(&change.name.name));
        }
    }

    pub fn secret(&self, change: &Change<SecretRow>) {
        let namespace = &change.name.namespace;
        let was_ours = change.before.as_deref().is_some_and(|row| row.managed().is_some());
        match &change.now {
            None if was_ours && !was_version(change) => self.memory.set_gone(&change.name, Some(Instant::now())),
            None => {}
            Some(_) => self.memory.set_gone(&change.name, None),
        }
        let rows = [change.before.as_deref(), change.now.as_deref()];
        for row in rows.into_iter().flatten() {
            match &row.holder {
                Holder::Policy(managed) => {
                    let policy = ObjectName::new(namespace.as_str(), managed.published.policy.as_str());
                    self.queues.policies.add(policy, Lane::Urgent);
                }
                Holder::Rotation { schedule } => {
                    for (name, row) in self.cluster.schedules.in_namespace(namespace) {
                        if row.metadata().uid.as_deref() == Some(schedule.as_ref()) {
                            self.queues.schedules.add(ObjectName::new(namespace.as_str(), name), Lane::Urgent);
                        }
                    }
                }
                Holder::Other { .. } => {}
            }
        }
        self.policies_of(&change.name);
        for (name, _) in self.cluster.stores.referring(namespace, Referent::Secret, &change.name.name) {
            let store = ObjectName::new(namespace.as_str(), name);
            // Its credential may have changed, or the consent to use it: the next use reads it again.
            self.stores.reopen(&store);
            self.queues.stores.add(store, Lane::Urgent);
        }
        if has_new_values(change) {
            self.workloads_of(namespace, &change.name.name);
        }
        if change.now.is_none() {
            for (_, row) in self.cluster.workloads.referring(namespace, Referent::Mountable, &change.name.name) {
                self.queues.workloads.add(row.id.clone(), Lane::Urgent);
            }
            self.memory.forget_verified(&change.name);
        }
    }

    pub fn workload(&self, change: &Change<Workload>) {
        let rows: Vec<_> = [&change.before, &change.now].into_iter().flatten().collect();
        let mut managed = false;
        if let Some(before) = change.before.as_deref().filter(|before| has_left(before, change.now.as_deref())) {
            self.wake(before);
        }
        for policy in self.naming(&rows) {
            managed = true;
            self.queues.policies.add(policy, Lane::Urgent);
        }
        for secret in rows.iter().flat_map(|row| row.uses.keys()) {
            let name = ObjectName::new(change.name.namespace.as_str(), secret.as_str());
            let row = self.cluster.secrets.get(&name);
            if let Some(of) = row.as_deref().and_then(SecretRow::managed) {
                managed = true;
                let policy = ObjectName::new(change.name.namespace.as_str(), of.published.policy.as_str());
                self.queues.policies.add(policy, Lane::Urgent);
            } else {
                // It may be the name of a version that is gone: its policy says which one to write instead. Or that of another
                // tool's Secret, which references leave for the versions that are made of it.
                let has_original =
                    |row: Arc<Object<SecretPolicy>>| row.policy().is_some_and(|policy| policy.has_original());
                managed |=
                    self.cluster.policies_of(&name.namespace, secret).into_iter().any(|(_, row)| has_original(row));
                self.policies_of(&name);
            }
        }
        match &change.now {
            Some(row) if managed || row.mountable.is_some() => self.queues.workloads.add(row.id.clone(), Lane::Urgent),
            Some(_) => {}
            None => rows.iter().for_each(|row| {
                self.memory.workloads.forget(&row.uid);
                self.call(self.line.rollouts.note(&row.id, Stand::Rests));
            }),
        }
    }

    /// Calls those that come next after a workload, which is restarted for the sake of the Secrets in its marker.
    pub fn wake(&self, workload: &Workload) {
        for secret in workload.marker.0.keys().chain(workload.uses.keys()) {
            self.next(&ObjectName::new(workload.id.namespace.as_str(), secret.as_str()));
        }
    }

    /// Nothing of the namespace is seen any more.
    pub fn unseen(&self, namespace: &str) {
        self.call(self.line.rollouts.forget(namespace));
    }

    fn call(&self, workloads: Vec<WorkloadId>) {
        for id in workloads {
            self.queues.workloads.add(id, Lane::Urgent);
        }
    }

    /// Queues those whose turn with the Secret comes next.
    pub fn next(&self, secret: &ObjectName) {
        let published = self.cluster.secrets.get(secret);
        let policy = published.as_deref().and_then(SecretRow::managed).and_then(|managed| {
            let policy = ObjectName::new(secret.namespace.as_str(), managed.published.policy.as_str());
            self.cluster.policies.get(&policy)?.policy()
        });
        // Without a policy there is no order to keep.
        self.call(self.line.call(secret, policy.map_or(usize::MAX, |policy| policy.rollout.concurrency)));
    }

    /// Queues the policies whose Secret this is, by its name.
    fn policies_of(&self, secret: &ObjectName) {
        for (policy, _) in self.cluster.policies_of(&secret.namespace, &secret.name) {
            self.queues.policies.add(ObjectName::new(secret.namespace.as_str(), policy), Lane::Urgent);
        }
    }

    /// Policies that name the workload.
    fn naming(&self, rows: &[&Arc<Workload>]) -> Vec<ObjectName> {
        let Some(id) = rows.first().map(|row| &row.id) else {
            return Vec::new();
        };
        let policies = self.cluster.policies_naming(id).into_iter();
        policies.map(|(name, _)| ObjectName::new(id.namespace.as_str(), name)).collect()
    }

    /// Queues every workload that consumes the Secret.
    pub fn workloads_of(&self, namespace: &str, secret: &str) {
        for (_, row) in self.cluster.workloads.referring(namespace, Referent::Secret, secret) {
            self.queues.workloads.add(row.id.clone(), Lane::Urgent);
        }
        for (_, row) in self.cluster.policies_of(namespace, secret) {
            // Of a new version nobody knows the name yet.
            if let Some(policy) = row.policy().filter(|policy| policy.moves_references()) {
                self.consumers_of(&policy);
            }
            let Some(policy) = row.readable() else { continue };
            for (kind, reference) in policy.spec.rollout.consumers.iter().filter_map(|at| Some((Kind::named(at)?, at)))
            {
                let id = WorkloadId { kind, namespace: namespace.to_owned(), name: reference.name.clone() };
                self.queues.workloads.add(id, Lane::Urgent);
            }
        }
    }

    /// Queues every workload that consumes a policy's Secret, under whichever of its names, and every account that lists it.
    fn consumers_of(&self, policy: &PolicySpec) {
        let (namespace, names) = (&policy.namespace, &policy.names);
        let is_its = |name: &str| names.covers(name);
        for (_, row) in self.cluster.workloads.referring_to_any(namespace, Referent::Mountable, names.base(), is_its) {
            self.queues.workloads.add(row.id.clone(), Lane::Urgent);
        }
        for row in self.cluster.consumers_of(policy) {
            self.queues.workloads.add(row.id.clone(), Lane::Urgent);
        }
    }

    /// Every object of the namespace is looked at again.
    pub fn whole_namespace(&self, namespace: &str) {
        let name = |name: String| ObjectName::new(namespace, name);
        for (policy, _) in self.cluster.policies.in_namespace(namespace) {
            self.queues.policies.add(name(policy), Lane::Urgent);
        }
        // What policies have left that are gone: their versions have no owner.
        let policy_of = |row: &SecretRow| row.managed().map(|managed| name(managed.published.policy.clone()));
        let is_left = |_: &str, row: &SecretRow| {
            policy_of(row).is_some_and(|policy| self.cluster.policies.get(&policy).is_none())
        };
        for (_, row) in self.cluster.secrets.starting(namespace, "", is_left) {
            if let Some(policy) = policy_of(&row) {
                self.queues.policies.add(policy, Lane::Urgent);
            }
        }
        for (schedule, _) in self.cluster.schedules.in_namespace(namespace) {
            self.queues.schedules.add(name(schedule), Lane::Urgent);
        }
        for (store, _) in self.cluster.stores.in_namespace(namespace) {
            self.queues.stores.add(name(store), Lane::Urgent);
        }
        for (_, row) in self.cluster.workloads.in_namespace(namespace) {
            self.queues.workloads.add(row.id.clone(), Lane::Urgent);
        }
    }
}

/// Whether other values are published than before, or pods may have read something else meanwhile. So they are when a
/// Secret with an old value becomes a policy's, and when it is one no more.
pub fn has_new_values(change: &Change<SecretRow>) -> bool {
    let [before, now] = [&change.before, &change.now].map(|row| row.as_deref().and_then(SecretRow::managed));
    before.map(said) != now.map(said)
}

/// All that decides which value a Secret publishes.
fn said(managed: &Managed) -> impl PartialEq {
    let Published { policy, revision, digests, changes, .. } = &*managed.published;
    let is_its = (managed.is_made_by_us, managed.is_going, managed.mark());
    (policy, revision, digests, changes.publication, managed.published.edge(&Keys::All), is_its)
}

/// Whether a workload keeps no others any more with what it was restarted onto: it is gone, was restarted onto
/// something else, or waits for a user.
fn has_left(before: &Workload, now: Option<&Workload>) -> bool {
    let Some(now) = now else { return true };
    let waits = |workload: &Workload| matches!(workload.progress, Progress::Waiting(_));
    before.marker != now.marker || before.uses != now.uses || !waits(before) && waits(now)
}

/// Whether another schedule rotates the same already.
fn is_second(row: &Object<RotationSchedule>) -> bool {
    let status = row.readable().and_then(|schedule| schedule.status.as_ref());
    let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
    conditions.any(|at| at.reason == Reason::DuplicateSchedule.as_str())
}

/// Whether a change is a user's: not a status, which is ours.
fn asks<K: Parse>(before: Option<&Object<K>>, now: Option<&Object<K>>) -> bool {
    let (Some(before), Some(now)) = (before, now) else {
        return true;
    };
    wish(before.metadata()) != wish(now.metadata())
}

fn wish(metadata: &ObjectMeta) -> impl PartialEq {
    let ObjectMeta { generation, annotations, deletion_timestamp, uid, finalizers, .. } = metadata;
    (generation, annotations, deletion_timestamp.is_some(), uid, finalizers)
}

/// Whether a Secret has gone that was a version: nobody waits for it to come back, and there may be many.
fn was_version(change: &Change<SecretRow>) -> bool {
    let published = change.before.as_deref().and_then(SecretRow::managed).map(|managed| &managed.published);
    published.is_some_and(|published| change.name.name.ends_with(&format!("-{}", published.revision)))
}
