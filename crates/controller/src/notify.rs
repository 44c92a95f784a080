//! What has to be looked at because something changed.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use rekey_api::{
    RotationSchedule, SecretPolicy,
    reference::{StoreKind, StoreRef},
};
use rekey_core::{
    policy::effective_secret,
    workload::{Kind, WorkloadId},
};

use crate::{
    cluster::{
        Change, Holder, NamespaceRow, Object, ObjectName, Referent, Row, SecretRow, Table, WorkloadRow, stores_of,
    },
    context::Context,
    queue::Lane,
    store_kind::StoreObject,
};

/// A `SecretPolicy`.
pub fn policy(ctx: &Context, change: &Change<Object<SecretPolicy>>) {
    ctx.namespaces.wake();
    let (before, now) = (change.before.as_deref(), change.now.as_deref());
    if asks(before, now) {
        ctx.queues.policies.add(change.name.clone(), Lane::Urgent);
        for object in [before, now].into_iter().flatten().filter_map(|row| row.parsed.as_ref().ok()) {
            workloads_of(ctx, &change.name.namespace, &effective_secret(object));
        }
    }
    let schedules = ctx.known.schedules.referring(&change.name.namespace, Referent::Policy, &change.name.name);
    for (name, _) in schedules {
        ctx.queues.schedules.add(ObjectName::new(change.name.namespace.as_str(), name), Lane::Urgent);
    }
    if now.is_none()
        && let Some(Ok(gone)) = before.map(|row| row.parsed.as_ref())
    {
        let secret = ObjectName::new(change.name.namespace.as_str(), effective_secret(gone));
        ctx.memory.forget_policy(gone.metadata.uid.as_deref().unwrap_or_default(), &secret);
    }
}

/// A `RotationSchedule`.
pub fn schedule(ctx: &Context, change: &Change<Object<RotationSchedule>>) {
    ctx.namespaces.wake();
    let (before, now) = (change.before.as_deref(), change.now.as_deref());
    if asks(before, now) {
        ctx.queues.schedules.add(change.name.clone(), Lane::Urgent);
    }
    let uid = |row: Option<&Object<RotationSchedule>>| row.and_then(|row| row.metadata().uid.clone());
    if uid(before) != uid(now) {
        ctx.memory.forget_effect(&change.name);
    }
    if now.is_none() {
        // It may have been the first of two, and the second one's turn comes now.
        for (name, _) in ctx.known.schedules.in_namespace(&change.name.namespace) {
            ctx.queues.schedules.add(ObjectName::new(change.name.namespace.as_str(), name), Lane::Urgent);
        }
    }
    for row in [before, now].into_iter().flatten() {
        if let Ok(schedule) = &row.parsed {
            let policy = ObjectName::new(change.name.namespace.as_str(), schedule.spec.policy_ref.name.as_str());
            if ctx.known.policies.get(&policy).is_some() {
                ctx.queues.policies.add(policy, Lane::Urgent);
            }
        }
    }
}

/// A store.
pub fn store<K: StoreObject>(ctx: &Context, change: &Change<Object<K>>) {
    ctx.namespaces.wake();
    ctx.listings.wake();
    let (before, now) = (change.before.as_deref(), change.now.as_deref());
    let asked = asks(before, now);
    if asked {
        ctx.connections.forget(&change.name);
        K::queue(ctx).add(change.name.clone(), Lane::Urgent);
    }
    let ready = |row: Option<&Object<K>>| row.and_then(Object::is_ready);
    if asked || ready(before) != ready(now) {
        let namespace = Some(change.name.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        users_of(ctx, K::STORE, Some(&change.name.name), namespace);
    }
}

/// Wants everybody looked at who uses a store of this kind: the named one, if one is named, and in one namespace only, if
/// that is named.
pub fn users_of(ctx: &Context, kind: StoreKind, name: Option<&str>, namespace: Option<&str>) {
    let is_meant = |reference: &StoreRef| reference.kind == kind && name.is_none_or(|name| reference.name == name);
    for (policy, row) in rows(&ctx.known.policies, name, namespace) {
        if stores(&row).iter().any(is_meant) {
            // A schedule that does not say where it writes writes where its policy reads.
            let schedules =
                ctx.known.schedules.referring(&policy.namespace, Referent::Policy, &policy.name).into_iter();
            for (name, _) in schedules.filter(|(_, row)| written(row).is_none()) {
                ctx.queues.schedules.add(ObjectName::new(policy.namespace.as_str(), name), Lane::Urgent);
            }
            ctx.queues.policies.add(policy, Lane::Urgent);
        }
    }
    for (schedule, row) in rows(&ctx.known.schedules, name, namespace) {
        if written(&row).is_some_and(is_meant) {
            ctx.queues.schedules.add(schedule, Lane::Urgent);
        }
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

/// Whether a policy or schedule of the namespace names the `ClusterRemoteStore`.
#[must_use]
pub fn uses_cluster_store(ctx: &Context, namespace: &str, name: &str) -> bool {
    let is_meant = |store: &StoreRef| store.kind == StoreKind::ClusterRemoteStore && store.name == name;
    let policies = ctx.known.policies.referring(namespace, Referent::Store, name);
    let schedules = ctx.known.schedules.referring(namespace, Referent::Store, name);
    policies.iter().flat_map(|(_, row)| stores(row)).any(|store| is_meant(&store))
        || schedules.iter().filter_map(|(_, row)| written(row)).any(is_meant)
}

/// The store that a schedule names.
fn written(row: &Object<RotationSchedule>) -> Option<&StoreRef> {
    row.parsed.as_ref().ok()?.spec.write_to.as_ref().map(|to| &to.store_ref)
}

/// The stores that a policy names.
fn stores(row: &Object<SecretPolicy>) -> Vec<StoreRef> {
    let Ok(policy) = &row.parsed else {
        return Vec::new();
    };
    let source = &policy.spec.source;
    let engine = source.vault_engine.iter().map(|engine| engine.store_ref.clone());
    source.remote.iter().flat_map(stores_of).chain(engine).collect()
}

/// A namespace's labels, which grants may go by.
pub fn namespace(ctx: &Context, change: &Change<NamespaceRow>) {
    let labels = |row: &Option<Arc<NamespaceRow>>| row.as_ref().map(|row| row.labels.clone());
    if labels(&change.before) != labels(&change.now) {
        users_of(ctx, StoreKind::ClusterRemoteStore, None, Some(&change.name.name));
    }
}

/// A Secret.
pub fn secret(ctx: &Context, change: &Change<SecretRow>) {
    let namespace = &change.name.namespace;
    let rows = [change.before.as_deref(), change.now.as_deref()];
    for row in rows.into_iter().flatten() {
        match &row.holder {
            Holder::Policy(managed) => {
                let policy = ObjectName::new(namespace.as_str(), managed.published.policy.as_str());
                ctx.queues.policies.add(policy, Lane::Urgent);
            }
            Holder::Rotation { schedule } => {
                for (name, row) in ctx.known.schedules.in_namespace(namespace) {
                    if row.metadata().uid.as_deref() == Some(schedule.as_ref()) {
                        ctx.queues.schedules.add(ObjectName::new(namespace.as_str(), name), Lane::Urgent);
                    }
                }
            }
            Holder::Other { .. } => {}
        }
    }
    for (name, _) in ctx.known.policies.referring(namespace, Referent::Secret, &change.name.name) {
        ctx.queues.policies.add(ObjectName::new(namespace.as_str(), name), Lane::Urgent);
    }
    for (name, _) in ctx.known.stores.referring(namespace, Referent::Secret, &change.name.name) {
        let store = ObjectName::new(namespace.as_str(), name);
        // Its credential may have changed, or the consent to use it: the next use reads it anew.
        ctx.connections.reopen(&store);
        ctx.queues.stores.add(store, Lane::Urgent);
    }
    if has_new_values(change) {
        workloads_of(ctx, namespace, &change.name.name);
    }
}

/// Whether other values are published than before.
pub fn has_new_values(change: &Change<SecretRow>) -> bool {
    let [before, now] = [&change.before, &change.now].map(|row| row.as_deref().and_then(SecretRow::managed));
    before.map(|managed| &managed.published.digests) != now.map(|managed| &managed.published.digests)
}

/// A workload.
pub fn workload(ctx: &Context, change: &Change<WorkloadRow>) {
    let rows: Vec<_> = [&change.before, &change.now].into_iter().flatten().collect();
    let mut managed = false;
    if ended(change.before.as_deref(), change.now.as_deref()) {
        wake(ctx, &rows);
    }
    for policy in naming(ctx, &rows) {
        managed = true;
        ctx.queues.policies.add(policy, Lane::Urgent);
    }
    for secret in rows.iter().flat_map(|row| row.0.uses.keys()) {
        let name = ObjectName::new(change.name.namespace.as_str(), secret.as_str());
        let row = ctx.known.secrets.get(&name);
        if let Some(of) = row.as_deref().and_then(SecretRow::managed) {
            managed = true;
            let policy = ObjectName::new(change.name.namespace.as_str(), of.published.policy.as_str());
            ctx.queues.policies.add(policy, Lane::Urgent);
        }
    }
    match &change.now {
        Some(row) if managed => ctx.queues.workloads.add(row.0.id.clone(), Lane::Urgent),
        Some(_) => {}
        None => rows.iter().for_each(|row| ctx.memory.forget_workload(&row.0.uid)),
    }
}

/// Whether a rollout has ended with this change, or the workload is gone.
fn ended(before: Option<&WorkloadRow>, now: Option<&WorkloadRow>) -> bool {
    before.is_some_and(|row| row.0.is_moving()) && !now.is_some_and(|row| row.0.is_moving())
}

/// Calls those that come next after a workload, which is restarted for the sake of the Secrets in its marker.
fn wake(ctx: &Context, rows: &[&Arc<WorkloadRow>]) {
    for row in rows {
        for secret in row.0.marker.0.keys() {
            next(ctx, &ObjectName::new(row.0.id.namespace.as_str(), secret.as_str()));
        }
    }
}

/// Wants those looked at whose turn with the Secret comes next.
pub fn next(ctx: &Context, secret: &ObjectName) {
    let published = ctx.known.secrets.get(secret);
    let policy = published.as_deref().and_then(SecretRow::managed).and_then(|managed| {
        let policy = ObjectName::new(secret.namespace.as_str(), managed.published.policy.as_str());
        ctx.known.policies.get(&policy)?.policy()
    });
    // Without a policy there is no order to keep.
    for id in ctx.turns.call(secret, policy.map_or(usize::MAX, |policy| policy.concurrency)) {
        ctx.queues.workloads.add(id, Lane::Urgent);
    }
}

/// Policies that name the workload.
fn naming(ctx: &Context, rows: &[&Arc<WorkloadRow>]) -> Vec<ObjectName> {
    let Some(id) = rows.first().map(|row| &row.0.id) else {
        return Vec::new();
    };
    let policies = ctx.policies_naming(id).into_iter();
    policies.map(|(name, _)| ObjectName::new(id.namespace.as_str(), name)).collect()
}

/// Wants every workload that consumes the Secret looked at.
pub fn workloads_of(ctx: &Context, namespace: &str, secret: &str) {
    for (_, row) in ctx.known.workloads.referring(namespace, Referent::Secret, secret) {
        ctx.queues.workloads.add(row.0.id.clone(), Lane::Urgent);
    }
    for (_, row) in ctx.known.policies.referring(namespace, Referent::Secret, secret) {
        let Ok(policy) = &row.parsed else { continue };
        for (kind, reference) in policy.spec.rollout.consumers.iter().filter_map(|at| Some((Kind::named(at)?, at))) {
            let id = WorkloadId { kind, namespace: namespace.to_owned(), name: reference.name.clone() };
            ctx.queues.workloads.add(id, Lane::Urgent);
        }
    }
}

/// Whether a change is somebody's wish: not a status, which is ours.
fn asks<K: Resource<DynamicType = ()>>(before: Option<&Object<K>>, now: Option<&Object<K>>) -> bool {
    let (Some(before), Some(now)) = (before, now) else {
        return true;
    };
    wish(before.metadata()) != wish(now.metadata())
}

fn wish(metadata: &ObjectMeta) -> impl PartialEq {
    let ObjectMeta { generation, annotations, deletion_timestamp, uid, finalizers, .. } = metadata;
    (generation, annotations, deletion_timestamp.is_some(), uid, finalizers)
}

/// What needs the binding was refused: the namespace may have been closed.
pub fn refused(ctx: &Context, namespace: &str) {
    ctx.namespaces.close(namespace);
    whole_namespace(ctx, namespace);
}

/// Every object of the namespace is looked at again.
pub fn whole_namespace(ctx: &Context, namespace: &str) {
    let name = |name: String| ObjectName::new(namespace, name);
    for (policy, _) in ctx.known.policies.in_namespace(namespace) {
        ctx.queues.policies.add(name(policy), Lane::Urgent);
    }
    for (schedule, _) in ctx.known.schedules.in_namespace(namespace) {
        ctx.queues.schedules.add(name(schedule), Lane::Urgent);
    }
    for (store, _) in ctx.known.stores.in_namespace(namespace) {
        ctx.queues.stores.add(name(store), Lane::Urgent);
    }
    for (_, row) in ctx.known.workloads.in_namespace(namespace) {
        ctx.queues.workloads.add(row.0.id.clone(), Lane::Urgent);
    }
}
