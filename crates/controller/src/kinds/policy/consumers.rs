//! What consumes the Secret of a policy, as far as it is known: workloads from the tables, and other pods from a list
//! that is taken after a change.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Pod as KubePod;
use rekey_api::SecretPolicyStatus;
use rekey_core::{
    policy::{self, Consumer, Consumers, PolicySpec},
    published::Published,
    rollout::{Settled, Stray, Urgency},
    workload::{Makers, is_live},
};

use super::{Policies, observe::published, sets};
use crate::{
    cluster::{ObjectName, SecretRow, policy_name, versions_of},
    error::Error,
    locks::Locks,
    pages,
    queue::Lane,
};

/// The pods of a namespace that none of its workloads has made: one list serves all of its policies.
#[derive(Default)]
pub struct Strays {
    looks: Mutex<HashMap<String, Looked>>,
    looking: Locks,
}

#[derive(Clone)]
struct Looked {
    at: DateTime<Utc>,
    all: Arc<[Stray]>,
}

impl Strays {
    /// When the namespace was last looked at, and what was found.
    fn last(&self, namespace: &str) -> (Option<DateTime<Utc>>, Arc<[Stray]>) {
        let looks = self.state();
        looks.get(namespace).map_or_else(Default::default, |looked| (Some(looked.at), Arc::clone(&looked.all)))
    }

    fn state(&self) -> MutexGuard<'_, HashMap<String, Looked>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that consumes the policy's Secret. `before`: the status so far.
pub async fn observe(ctx: &Policies, policy: &PolicySpec, before: &SecretPolicyStatus) -> Consumers {
    if let Some(published) = published(&ctx.cluster, policy)
        && let Err(error) = look(ctx, policy, before, &published).await
    {
        tracing::info!(%error, "the pods of the namespace are looked at with the next round");
    }
    if before.observed_generation.is_some() && !policy.is_seen_by(before) {
        for row in ctx.cluster.consumers_of(policy) {
            ctx.memory.workloads.try_again(&row.uid);
            ctx.queues.workloads.add(row.id.clone(), Lane::Urgent);
        }
    }
    known(ctx, policy, before)
}

/// The same, without a look.
pub fn known(ctx: &Policies, policy: &PolicySpec, status: &SecretPolicyStatus) -> Consumers {
    let (published, versions) = (published(&ctx.cluster, policy), versions_of(&ctx.cluster, policy));
    let secret = &ctx.cluster.current(&policy_name(policy), &policy.names).name;
    let rows = ctx.cluster.consumers_of(policy).into_iter();
    let workloads = rows.filter_map(|row| {
        policy.how(&row)?;
        let input = published.as_ref().and_then(|published| policy.input(published, &row, &versions));
        let input = input.as_ref();
        let settled = input.map(|input| ctx.memory.workloads.settled_on(&row, input, Some(status)));
        let settled = settled.unwrap_or(Settled::NotYet);
        let look = ctx.memory.workloads.look(&row.uid, secret);
        let reverted = ctx.memory.workloads.is_reverted(&row, secret) || policy.was_put_back(status, &row);
        let waits = ctx.memory.workloads.waits(&row.uid);
        let before = input.map(|input| ctx.memory.workloads.before(&row, input)).unwrap_or_default();
        let counted = published.as_ref().and_then(|at| policy::counted(status, at, &row.id));
        let set_held_by = sets::held_by(ctx, policy, &row);
        Some(Consumer { workload: row, look, settled, counted, reverted, before, waits, set_held_by })
    });
    let urgency = published.as_ref().map_or(Urgency::Usual, |at| ctx.cluster.urgency(&policy.namespace, at));
    Consumers { workloads: workloads.collect(), strays: ctx.strays.last(&policy.namespace).1, versions, urgency }
}

/// When the pods of the namespace have to be listed next for the sake of the policy.
pub fn next_look(
    ctx: &Policies,
    policy: &PolicySpec,
    status: &SecretPolicyStatus,
    published: &Published,
) -> Option<DateTime<Utc>> {
    policy::next_look(status, published, ctx.strays.last(&policy.namespace).0, ctx.clock.now())
}

/// Lists the pods of the namespace, if that is due and no other policy has just done so.
async fn look(
    ctx: &Policies,
    policy: &PolicySpec,
    before: &SecretPolicyStatus,
    published: &Published,
) -> Result<(), Error> {
    let namespace = policy.namespace.as_str();
    let is_due = || next_look(ctx, policy, before, published).is_some_and(|at| at <= ctx.clock.now());
    if !is_due() {
        return Ok(());
    }
    let _one_at_a_time = ctx.strays.looking.hold(&[ObjectName::new(namespace, "")].into()).await;
    if !is_due() {
        return Ok(());
    }
    let at = ctx.clock.now();
    let rows = ctx.cluster.workloads.in_namespace(namespace);
    let makers = Makers::of(rows.iter().map(|(_, row)| row.as_ref()));
    let is_published = |secret: &str| {
        let row = ctx.cluster.secrets.get(&ObjectName::new(namespace, secret));
        row.as_deref().and_then(SecretRow::managed).is_some()
    };
    let stray = |pod: &KubePod| {
        let is_stray = is_live(pod) && !makers.have_made(pod);
        is_stray.then(|| Stray::of(pod, is_published)).flatten()
    };
    let list = pages::Pods { namespace, selector: None };
    let found = list.each(&ctx.client, &ctx.pages, namespace, stray).await;
    // One that failed is not repeated at once.
    let all = found.as_ref().map_or_else(|_| ctx.strays.last(namespace).1, |all| all.clone().into());
    ctx.strays.state().insert(namespace.to_owned(), Looked { at, all });
    found.map(drop)
}
