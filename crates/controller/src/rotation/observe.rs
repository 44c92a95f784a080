//! What a rotation sees: freshly read wherever a step is decided by it.

use k8s_openapi::api::core::v1::{Pod as KubePod, Secret};
use kube::{Api, ResourceExt, api::ListParams};
use rekey_api::{
    RotationSchedule, SecretPolicy,
    condition::{ConditionType, Reason},
    names,
    policy::ConsumerState,
};
use rekey_core::{
    SecretBytes,
    policy::{Policy, Refresh, Source, effective_secret},
    rollout,
    rotation::{self, Due, Pending, Plan, PolicyView, Seen, State, Stored, Wait},
    workload::uses,
};

use super::{new_id, read};
use crate::{connections, context::Context, error::Error, table::ObjectName, workload};

/// Looks.
pub async fn observe(
    ctx: &Context,
    object: &RotationSchedule,
    plan: &Plan,
    state: &State,
    due: Due,
) -> Result<Seen, Error> {
    let finalizer = object.finalizers().iter().any(|name| name == names::FINALIZER);
    let pending = match state {
        // Without the finalizer there is no pending Secret, and in the later steps nothing depends on it.
        State::Idle if !finalizer => None,
        State::RollingOut(_) | State::Settling(_) => None,
        State::Idle | State::Preparing(_) | State::Publishing(_) => pending(ctx, &plan.namespace, &plan.uid).await?,
    };
    let (stored, store_gone) = match (state, &pending) {
        (State::Publishing(_), Some(pending)) => stored(ctx, plan, pending).await?,
        _ => (None, false),
    };
    let policy = ctx.known.policies.get(&ObjectName::new(plan.namespace.as_str(), plan.policy.as_str()));
    let policy = policy.as_ref().and_then(|row| row.parsed.as_ref().ok());
    let seen_policy = match policy {
        Some(policy) => view(ctx, plan, policy, matches!((state, &due), (State::Idle, Due::Now { .. }))).await?,
        None => missing(),
    };
    let old_pods = match (state, policy) {
        (State::Settling(_), Some(policy)) => Some(old_pods(ctx, plan, policy).await?),
        _ => None,
    };
    let history = object.status.iter().flat_map(|status| &status.history);
    let pending_ended = pending.as_ref().is_some_and(|pending| history.clone().any(|past| past.id == pending.id));
    Ok(Seen {
        due,
        new_id: new_id(ctx),
        pending,
        pending_ended,
        finalizer,
        stored,
        store_gone,
        policy: seen_policy,
        old_pods,
        suspended: plan.suspended,
        deleted: plan.deleted,
    })
}

/// How the store's value relates to the pending one, and whether there is no store to ask any more.
async fn stored(ctx: &Context, plan: &Plan, pending: &Pending) -> Result<(Option<Stored>, bool), Error> {
    match read(ctx, plan).await {
        Ok(read) => Ok((Some(rotation::stored(plan, pending, read.as_ref(), &ctx.digest_key)?), false)),
        Err(Error::StoreNotFound { .. }) if plan.deleted => Ok((None, true)),
        Err(error) => Err(error),
    }
}

/// The pending Secret of the schedule with this uid, whichever rotation it belongs to.
pub async fn pending(ctx: &Context, namespace: &str, uid: &str) -> Result<Option<Pending>, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{}={uid}", names::SCHEDULE_UID));
    let list = api.list(&params).await.map_err(Error::api("list the pending Secrets in", namespace))?;
    Ok(list
        .items
        .into_iter()
        .filter_map(|secret| {
            let data = secret.data.unwrap_or_default();
            let data = data.into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
            Pending::read(&secret.metadata, data)
        })
        .min_by(|a, b| a.id.cmp(&b.id)))
}

fn missing() -> PolicyView {
    let text = "the SecretPolicy of spec.policyRef does not exist, or cannot be read";
    PolicyView { unable: Some(Wait::new(Reason::PolicyNotReady, text)), ..PolicyView::default() }
}

/// `begins`: whether a rotation would begin now, so that it matters if it could be finished.
async fn view(ctx: &Context, plan: &Plan, policy: &SecretPolicy, begins: bool) -> Result<PolicyView, Error> {
    let status = policy.status.clone().unwrap_or_default();
    let current = status.observed_generation == policy.metadata.generation;
    let consumers = status.consumers.iter().flat_map(|consumers| &consumers.items);
    let behind = consumers
        .filter(|item| !matches!(item.state, ConsumerState::Current | ConsumerState::Assumed))
        .map(|item| format!("{} {} ({:?})", item.kind, item.name, item.state))
        .collect();
    Ok(PolicyView {
        unable: if begins { unable(ctx, plan, policy).await? } else { None },
        published: status.rotation.map(|published| published.id),
        behind: current.then_some(behind),
    })
}

/// Why a new value could not be written and published now: all that would keep the rotation from being finished is
/// asked before it begins.
async fn unable(ctx: &Context, plan: &Plan, policy: &SecretPolicy) -> Result<Option<Wait>, Error> {
    match connections::may_write(ctx, &plan.namespace, &plan.store, &plan.key) {
        Ok(()) => {}
        Err(error @ Error::StoreNotAllowed { .. }) => {
            return Ok(Some(Wait::new(Reason::StoreNotAllowed, error.to_string())));
        }
        Err(error) => return Err(error),
    }
    if let Some(text) = refusal(plan, policy) {
        return Ok(Some(Wait::new(Reason::PolicyNotReady, text)));
    }
    let status = policy.status.clone().unwrap_or_default();
    let is = |kind: ConditionType| status.conditions.iter().any(|at| at.type_ == kind.as_str() && at.status == "True");
    let seen = status.observed_generation == policy.metadata.generation;
    if seen && is(ConditionType::Ready) {
        return Ok(None);
    }
    // A policy that has never published may be waiting for the very value that this rotation makes.
    if seen && status.revision.is_none() && !is(ConditionType::Stalled) {
        let read = read(ctx, plan).await?;
        if rotation::lacks(plan, read.as_ref())? {
            return Ok(None);
        }
    }
    Ok(Some(Wait::new(Reason::PolicyNotReady, format!("SecretPolicy {} is not Ready", policy.name_any()))))
}

/// What in the policy's spec keeps it from publishing a new value.
fn refusal(plan: &Plan, policy: &SecretPolicy) -> Option<String> {
    let name = policy.name_any();
    let Ok(parsed) = Policy::try_from(policy) else {
        return Some(format!("SecretPolicy {name} is not valid; see its status"));
    };
    if parsed.suspended {
        return Some(format!("SecretPolicy {name} is suspended"));
    }
    if parsed.locked {
        return Some(format!("SecretPolicy {name} is Locked: a new value could not be published"));
    }
    let Source::Remote(remote) = &parsed.source else {
        return Some(format!("SecretPolicy {name} does not read a store: its source is {}", parsed.source.text()));
    };
    if remote.refresh == Refresh::Once {
        return Some(format!("SecretPolicy {name} is CreatedOnce: a new value would not be read"));
    }
    match remote.follows(&plan.store, &plan.key) {
        None => Some(format!("SecretPolicy {name} does not read key {:?} of {}", plan.key, plan.store.name)),
        Some(false) => Some(format!("SecretPolicy {name} pins a version of key {:?}", plan.key)),
        Some(true) => None,
    }
}

/// Live pods that still hold an older value of the policy's Secret, whoever made them.
async fn old_pods(ctx: &Context, plan: &Plan, policy: &SecretPolicy) -> Result<Vec<String>, Error> {
    let secret = effective_secret(policy);
    let row = ctx.known.secrets.get(&ObjectName::new(plan.namespace.as_str(), secret.as_str()));
    let Some(published) = row.as_deref().and_then(|row| row.managed()).map(|managed| &managed.published) else {
        return Ok(vec![format!("(Secret {secret} is gone)")]);
    };
    let api: Api<KubePod> = Api::namespaced(ctx.client.clone(), &plan.namespace);
    let list = api.list(&ListParams::default()).await.map_err(Error::api("list the pods of", &plan.namespace))?;
    let workloads = ctx.known.workloads.in_namespace(&plan.namespace);
    let live_reload = workloads.iter().any(|(_, row)| row.0.live_reload && row.0.uses.contains_key(&secret));
    let holds_old = |pod: &KubePod| {
        let Some(how) = pod.spec.as_ref().and_then(|spec| uses(spec).remove(&secret)) else {
            return false;
        };
        let wanted = published.consumed(&how.keys);
        let changed = published.changed(&how.keys);
        !how.refreshes(live_reload)
            && changed.is_some_and(|changed| rollout::holds_old(&workload::project(pod), &secret, &wanted, changed))
    };
    Ok(list.items.iter().filter(|pod| workload::is_live(pod) && holds_old(pod)).map(ResourceExt::name_any).collect())
}
