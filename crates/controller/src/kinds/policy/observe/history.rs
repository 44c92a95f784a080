//! What was published before, and what became of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::{Api, api::ListParams};
use rekey_api::{SecretPolicy, names};
use rekey_core::{
    policy::{Earlier, History, PolicySpec, Reread},
    published::Published,
    time,
};

use super::{super::Policies, content, place::plain_name, since};
use crate::{
    cluster::{Managed, ObjectName, SecretRow, SecretVersion, policy_name},
    error::{Error, Operation},
};

/// What is published from now on is an earlier value again.
pub fn went_back(ctx: &Policies, policy: &PolicySpec, to: &Arc<Published>) {
    ctx.memory.set_published(&plain_name(policy), to);
}

/// The earlier values that are still there, and what became of them.
pub fn history(ctx: &Policies, policy: &PolicySpec) -> History {
    if !policy.has_history() {
        return History::default();
    }
    let name = policy_name(policy);
    let all = if policy.names.is_versioned() {
        ctx.cluster.all_versions(&name, &policy.names)
    } else {
        ctx.cluster.versions_and_copies(&name, &policy.names)
    };
    let value = |at: SecretVersion| Earlier { mark: at.mark(), published: at.published, reread: None };
    History {
        values: all.into_iter().map(value).collect(),
        complete: complete(ctx, policy),
        rotated: rotated(ctx, policy),
    }
}

/// The same for a decision: where a value was rolled back, what is kept is read again if the digest key was lost that its record
/// was made with.
pub async fn recalled(ctx: &Policies, policy: &PolicySpec) -> Result<History, Error> {
    let mut history = history(ctx, policy);
    if history.rolled_back().next().is_none() {
        return Ok(history);
    }
    for at in history.values.iter_mut().filter(|at| !at.published.is_by(&ctx.digest_key)) {
        let name = ObjectName::new(policy.namespace.as_str(), policy.names.version(&at.published.revision));
        let found = content(ctx, policy, &name).await?.filter(|found| found.immutable);
        at.reread = found.map(|found| Reread {
            digests: policy.digests_of(&ctx.digest_key, &found.data, None),
            version: found.version,
        });
    }
    Ok(history)
}

/// The revision whose rollout was complete last: where references move, the plain Secret follows only then.
fn complete(ctx: &Policies, policy: &PolicySpec) -> Option<String> {
    if !policy.keeps_plain() {
        return None;
    }
    let plain = ctx.cluster.secrets.get(&plain_name(policy));
    // Whoever may write Secrets can write any revision on it, but not as our field manager.
    let is_our_word = |managed: &&Managed| {
        let revision = &managed.published.revision;
        let is_ours = managed.annotations.has_ours(names::REVISION, revision) && managed.is_made_by_us;
        managed.published.policy == policy.name && is_ours
    };
    let plain = plain.as_deref().and_then(SecretRow::managed).filter(is_our_word);
    plain.map(|plain| plain.published.revision.clone())
}

/// When the last rotation that has ended began: the schedule says so.
fn rotated(ctx: &Policies, policy: &PolicySpec) -> Option<DateTime<Utc>> {
    let schedules = ctx.cluster.schedules_of(&policy.namespace, &policy.name);
    let statuses = schedules.iter().filter_map(|schedule| schedule.readable()?.status.as_ref());
    let began = statuses.filter_map(|status| {
        // One that has failed may have changed the credential, too.
        let began = status.history.iter().map(|past| &past.started_at).max();
        began.or(status.last_rotation_time.as_ref()).map(time::chrono)
    });
    began.max()
}

/// Since when there is no Secret: this process saw it go; or it was there when the leader before this one was alive last, or
/// when the status was written. The row has no room for what only this asks.
pub async fn gone(ctx: &Policies, object: &SecretPolicy, policy: &PolicySpec) -> Result<Option<DateTime<Utc>>, Error> {
    let name = plain_name(policy);
    if let Some(gone) = ctx.memory.gone(&name) {
        return Ok(Some(ctx.clock.now() - since(gone)));
    }
    let was_published = object.status.as_ref().is_some_and(|status| status.revision.is_some());
    let is_there = ctx.cluster.secrets.get(&name).is_some();
    if policy.names.is_versioned() || is_there || !was_published {
        return Ok(None);
    }
    let api: Api<SecretPolicy> = Api::namespaced(ctx.client.clone(), &policy.namespace);
    // There is no right to get one.
    let only = ListParams::default().fields(&format!("metadata.name={}", policy.name));
    let found = api.list(&only).await.map_err(Error::api(Operation::ReadPolicy, policy_name(policy)))?;
    let entries = found.items.into_iter().flat_map(|found| found.metadata.managed_fields.unwrap_or_default());
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(names::MANAGER_STATUS));
    let written = ours.filter_map(|entry| entry.time).map(|at| time::chrono(&at));
    Ok(written.chain(ctx.settings.predecessor).max())
}
