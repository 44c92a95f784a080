//! What a rotation sees: freshly read wherever a step is decided by it.

use k8s_openapi::api::core::v1::{Pod as KubePod, Secret};
use kube::{Api, ResourceExt, api::ListParams};
use rekey_api::{
    RotationSchedule, SecretPolicy,
    condition::ConditionType,
    names,
    policy::{ConsumerState, Immutability},
};
use rekey_core::{
    SecretBytes,
    policy::effective_secret,
    rollout::Pod,
    rotation::{self, Due, Pending, Plan, PolicyView, Seen, State},
    workload::uses,
};

use super::{new_id, read};
use crate::{context::Context, error::Error, table::ObjectName, workload};

/// Looks.
pub async fn observe(
    ctx: &Context,
    object: &RotationSchedule,
    plan: &Plan,
    state: &State,
    due: Due,
) -> Result<Seen, Error> {
    let finalizer = object.finalizers().iter().any(|name| name == names::FINALIZER);
    // An idle schedule without finalizer has no pending Secret: nothing to ask for.
    let pending = if *state == State::Idle && !finalizer { None } else { pending(ctx, plan).await? };
    let stored = match (state, &pending) {
        (State::Publishing(_), Some(pending)) => {
            let read = read(ctx, plan).await?;
            Some(rotation::stored(plan, pending, read.as_ref(), &ctx.digest_key)?)
        }
        _ => None,
    };
    let policy = ctx.known.policies.get(&ObjectName::new(plan.namespace.as_str(), plan.policy.as_str()));
    let policy = policy.as_ref().and_then(|row| row.parsed.as_ref().ok());
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
        policy: policy.map_or_else(missing, |policy| view(ctx, plan, policy)),
        old_pods,
        suspended: plan.suspended,
        deleted: plan.deleted,
    })
}

/// The pending Secret of this schedule, whichever rotation it belongs to.
async fn pending(ctx: &Context, plan: &Plan) -> Result<Option<Pending>, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &plan.namespace);
    let params = ListParams::default().labels(&format!("{}={}", names::SCHEDULE_UID, plan.uid));
    let list = api.list(&params).await.map_err(Error::api("list the pending Secrets of", &plan.name))?;
    let live = list
        .items
        .into_iter()
        .filter(|secret| secret.metadata.deletion_timestamp.is_none() || !secret.finalizers().is_empty());
    Ok(live
        .filter_map(|secret| {
            let data = secret.data.unwrap_or_default();
            let data = data.into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect();
            Pending::read(&secret.metadata, data)
        })
        .min_by(|a, b| a.id.cmp(&b.id)))
}

fn missing() -> PolicyView {
    let unable = Some("the SecretPolicy of spec.policyRef does not exist, or cannot be read".to_owned());
    PolicyView { unable, ..PolicyView::default() }
}

fn view(ctx: &Context, plan: &Plan, policy: &SecretPolicy) -> PolicyView {
    let status = policy.status.clone().unwrap_or_default();
    let current = status.observed_generation == policy.metadata.generation;
    let consumers = status.consumers.iter().flat_map(|consumers| &consumers.items);
    let behind = consumers
        .filter(|item| !matches!(item.state, ConsumerState::Current | ConsumerState::Assumed))
        .map(|item| format!("{} {} ({:?})", item.kind, item.name, item.state))
        .collect();
    PolicyView {
        unable: unable(ctx, plan, policy),
        published: status.rotation.map(|published| published.id),
        behind: current.then_some(behind),
    }
}

/// Why the policy could not publish a new value now: all that would keep the rotation from being finished is asked
/// before it begins.
fn unable(ctx: &Context, plan: &Plan, policy: &SecretPolicy) -> Option<String> {
    let name = policy.name_any();
    let spec = &policy.spec;
    if spec.suspend {
        return Some(format!("SecretPolicy {name} is suspended"));
    }
    if spec.immutability == Immutability::Locked {
        return Some(format!("SecretPolicy {name} is Locked: a new value could not be published"));
    }
    let status = policy.status.as_ref();
    let ready = status
        .and_then(|status| status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str()));
    if status.is_none_or(|status| status.observed_generation != policy.metadata.generation)
        || ready.is_none_or(|ready| ready.status != "True")
    {
        return Some(format!("SecretPolicy {name} is not Ready"));
    }
    let remote = spec.source.remote.as_ref()?;
    let mut matching = remote.data.iter().filter(|item| {
        let store = item.store_ref.as_ref().unwrap_or(&remote.store_ref);
        *store == plan.store && item.remote_ref.key == plan.key
    });
    let pinned =
        |item: &&rekey_api::policy::RemoteData| item.remote_ref.version.is_some() || item.remote_ref.stage.is_some();
    match matching.clone().next() {
        None => return Some(format!("SecretPolicy {name} does not read key {:?} of {}", plan.key, plan.store.name)),
        Some(_) if matching.any(|item| pinned(&item)) => {
            return Some(format!("SecretPolicy {name} pins a version of key {:?}", plan.key));
        }
        Some(_) => {}
    }
    let others = ctx.known.schedules.in_namespace(&plan.namespace);
    let first = others
        .into_iter()
        .filter(|(_, row)| row.parsed.as_ref().is_ok_and(|other| other.spec.policy_ref.name == plan.policy))
        .map(|(name, row)| (row.metadata.creation_timestamp.clone().map(|time| time.0), name))
        .min();
    first.filter(|(_, first)| *first != plan.name).map(|(_, first)| {
        format!("RotationSchedule {first} rotates SecretPolicy {name} already; delete one of the two")
    })
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
        let Pod { started, marker, .. } = workload::project(pod);
        let wanted = published.digests.consumed(&how.keys);
        let changed = published.changed(&how.keys);
        marker.0.get(&secret) != Some(&wanted)
            && !how.refreshes(live_reload)
            && started.zip(changed).is_some_and(|(started, changed)| started < changed)
    };
    Ok(list.items.iter().filter(|pod| workload::is_live(pod) && holds_old(pod)).map(ResourceExt::name_any).collect())
}
