//! What has to be looked at because something changed.

use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy, provider::Provider};
use rekey_core::policy::effective_secret;

use crate::{
    context::Context,
    queue::Lane,
    rows::{Holder, Object, SecretRow, WorkloadRow},
    table::{Change, ObjectName},
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
    for (name, row) in ctx.known.schedules.in_namespace(&change.name.namespace) {
        if row.parsed.as_ref().is_ok_and(|schedule| schedule.spec.policy_ref.name == change.name.name) {
            ctx.queues.schedules.add(ObjectName::new(change.name.namespace.as_str(), name), Lane::Urgent);
        }
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

/// A `RemoteStore`.
pub fn store(ctx: &Context, change: &Change<Object<RemoteStore>>) {
    ctx.namespaces.wake();
    let (before, now) = (change.before.as_deref(), change.now.as_deref());
    let namespace = &change.name.namespace;
    if asks(before, now) {
        ctx.connections.forget(&change.name);
        ctx.queues.stores.add(change.name.clone(), Lane::Urgent);
    }
    let ready = |row: Option<&Object<RemoteStore>>| {
        let status = row.and_then(|row| row.parsed.as_ref().ok()?.status.as_ref());
        status.map(|status| status.conditions.iter().any(|at| at.type_ == "Ready" && at.status == "True"))
    };
    if ready(before) == ready(now) && !asks(before, now) {
        return;
    }
    for (name, row) in ctx.known.policies.in_namespace(namespace) {
        let Ok(policy) = &row.parsed else { continue };
        let Some(remote) = &policy.spec.source.remote else { continue };
        let named = remote.data.iter().filter_map(|item| item.store_ref.as_ref()).chain([&remote.store_ref]);
        if named.into_iter().any(|reference| reference.name == change.name.name) {
            ctx.queues.policies.add(ObjectName::new(namespace.as_str(), name), Lane::Urgent);
        }
    }
    for (name, row) in ctx.known.schedules.in_namespace(namespace) {
        let Ok(schedule) = &row.parsed else { continue };
        if schedule.spec.write_to.as_ref().is_some_and(|to| to.store_ref.name == change.name.name) {
            ctx.queues.schedules.add(ObjectName::new(namespace.as_str(), name), Lane::Urgent);
        }
    }
}

/// A `ClusterRemoteStore`.
pub fn cluster_store(ctx: &Context, change: &Change<Object<ClusterRemoteStore>>) {
    if asks(change.before.as_deref(), change.now.as_deref()) {
        ctx.queues.cluster_stores.add(change.name.clone(), Lane::Urgent);
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
                    if row.metadata.uid.as_ref() == Some(schedule) {
                        ctx.queues.schedules.add(ObjectName::new(namespace.as_str(), name), Lane::Urgent);
                    }
                }
            }
            Holder::Other { .. } => {}
        }
    }
    for (name, row) in ctx.known.policies.in_namespace(namespace) {
        if row.parsed.as_ref().is_ok_and(|policy| effective_secret(policy) == change.name.name) {
            ctx.queues.policies.add(ObjectName::new(namespace.as_str(), name), Lane::Urgent);
        }
    }
    for (name, row) in ctx.known.stores.in_namespace(namespace) {
        if row.parsed.as_ref().is_ok_and(|store| credentials(&store.spec.provider).contains(&change.name.name.as_str()))
        {
            ctx.queues.stores.add(ObjectName::new(namespace.as_str(), name), Lane::Urgent);
        }
    }
    let digests =
        |row: Option<&SecretRow>| row.and_then(SecretRow::managed).map(|managed| managed.published.digests.clone());
    if digests(change.before.as_deref()) != digests(change.now.as_deref()) {
        workloads_of(ctx, namespace, &change.name.name);
    }
}

/// A workload.
pub fn workload(ctx: &Context, change: &Change<WorkloadRow>) {
    let rows: Vec<_> = [&change.before, &change.now].into_iter().flatten().collect();
    let mut managed = false;
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

/// Wants every workload that consumes the Secret looked at.
pub fn workloads_of(ctx: &Context, namespace: &str, secret: &str) {
    for (_, row) in ctx.known.workloads.in_namespace(namespace) {
        if row.0.uses.contains_key(secret) {
            ctx.queues.workloads.add(row.0.id.clone(), Lane::Urgent);
        }
    }
}

/// Whether a change is somebody's wish: not a status, which is ours.
fn asks<K>(before: Option<&Object<K>>, now: Option<&Object<K>>) -> bool {
    let (Some(before), Some(now)) = (before, now) else {
        return true;
    };
    let wish = |row: &Object<K>| {
        let metadata = &row.metadata;
        let parts = (metadata.generation, metadata.annotations.clone(), metadata.deletion_timestamp.is_some());
        (parts, metadata.uid.clone(), metadata.finalizers.clone())
    };
    wish(before) != wish(now)
}

/// Names of the Secrets that a store takes its credential from.
fn credentials(provider: &Provider) -> Vec<&str> {
    let mut names = Vec::new();
    if let Some(token) = provider.vault.as_ref().and_then(|vault| vault.auth.token.as_ref()) {
        names.push(token.secret_ref.name.as_str());
    }
    let aws = provider.aws.as_ref().and_then(|aws| aws.auth.as_ref()?.secret_ref.as_ref());
    if let Some(keys) = aws {
        names.push(keys.access_key_id.name.as_str());
        names.push(keys.secret_access_key.name.as_str());
        names.extend(keys.session_token.iter().map(|key| key.name.as_str()));
    }
    names
}
