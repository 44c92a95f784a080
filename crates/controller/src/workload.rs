//! Workloads: brings their pods onto the present value, once. The only writer of a workload's restart marker.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use k8s_openapi::{
    api::core::v1::{ObjectReference, Pod as KubePod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::ResourceExt as _;
use rekey_api::{names, policy::Restart};
use rekey_core::{
    policy::{Look, Policy, effective_secret},
    rollout::{self, Decision, Input, Pod, Standing, Turn, decide, jobs_known, standing, staying, turn, wanted},
    time,
    workload::{Kind, Marker, Progress, Use, Workload, WorkloadId, uses},
};

use crate::{
    apply,
    cluster::{NamespaceAccess, ObjectName, workload_name},
    context::Context,
    drive::{Next, Reconcile},
    error::Error,
    memory::MARKS,
    notify, pages,
    queue::{Lane, Queue},
};

/// Labels by which controllers tell the pods of one template from those of another.
const TEMPLATE_HASHES: [&str; 3] = ["pod-template-hash", "controller-revision-hash", ROLLOUT_HASH];

/// The one of Argo Rollouts (<https://argo-rollouts.readthedocs.io/en/stable/features/specification/>).
pub const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// A time further in the future was written by a clock that was ahead of ours.
const LONG: TimeDelta = TimeDelta::seconds(10);
/// Who waits for others is called by them; this is for what nobody tells, such as a deadline that passes.
const UNTOLD: Duration = Duration::from_mins(1);

/// Reconciles workloads.
pub struct Workloads;

impl Reconcile for Workloads {
    type Key = WorkloadId;
    const KIND: &'static str = "Workload";

    fn queue(ctx: &Context) -> &Queue<WorkloadId> {
        &ctx.queues.workloads
    }

    async fn ensure(ctx: &Context, key: &WorkloadId) -> Result<Next, Error> {
        let next = ensure(ctx, key).await?;
        for secret in ctx.turns.answered(key) {
            notify::next(ctx, &secret);
        }
        Ok(next)
    }

    async fn failed(ctx: &Context, key: &WorkloadId, error: &Error) -> Result<(), Error> {
        // Consumers that are behind stand in the policy's status; of this one that is not known.
        if matches!(error, Error::TooManyPods { .. })
            && let Some(row) = ctx.known.workloads.get(&workload_name(key))
        {
            ctx.events.tell_about(&reference(&row.0), &error.notice("Restart")).await;
        }
        Ok(())
    }
}

async fn ensure(ctx: &Context, key: &WorkloadId) -> Result<Next, Error> {
    let Some(row) = ctx.known.workloads.get(&workload_name(key)) else {
        return Ok(Next::Change);
    };
    if ctx.namespaces.access(&key.namespace) != NamespaceAccess::Open {
        return Ok(Next::Change); // not all of it is known yet; everything is wanted again when it is
    }
    let workload = &row.0;
    let inputs = inputs(ctx, workload);
    if inputs.is_empty() {
        return Ok(Next::Change);
    }
    let now = ctx.now();
    if workload.id.kind == Kind::CronJob {
        if let Some(known) = jobs_known(&inputs).filter(|known| *known > now && *known - now < LONG) {
            return Ok(Next::After((known - now).to_std().unwrap_or_default()));
        }
        if workload.jobs.is_empty() {
            remember(ctx, workload, &inputs, &[]); // Jobs that start from here on read the present value
        }
    }
    let mut decision = decide(workload, &remembered(ctx, workload, &inputs), None, now);
    if decision == Decision::LookAtPods {
        if let Some(next) = known_outdated(ctx, workload, &inputs).await {
            return Ok(next);
        }
        let all = pods(ctx, workload, &inputs).await?;
        let count = all.len();
        let pods = staying(&workload.progress, all);
        // A rollout under way may be undone, and then the pods that it leaves out stay.
        let underway = matches!(workload.progress, Progress::Underway(_) | Progress::Stuck(_));
        if pods.len() == count || !underway {
            remember(ctx, workload, &inputs, &pods);
        }
        decision = decide(workload, &inputs, Some(&pods), now);
    }
    match decision {
        Decision::Leave | Decision::LookAtPods => Ok(Next::Change),
        Decision::Gather(until) => Ok(Next::After((until - now).to_std().unwrap_or_default())),
        Decision::Hold(reason) => {
            tracing::info!(%reason, "held on an older value");
            Ok(Next::Change)
        }
        Decision::Restart { marker, because } => {
            let because: Vec<Input> = inputs.into_iter().filter(|input| because.contains(&input.secret)).collect();
            restart(ctx, workload, &marker, &because).await
        }
    }
}

/// What is published for a workload, with what each policy wants.
fn inputs(ctx: &Context, workload: &Workload) -> Vec<Input> {
    let namespace = workload.id.namespace.as_str();
    let mut secrets: BTreeSet<String> = workload.uses.keys().cloned().collect();
    secrets.extend(naming(ctx, &workload.id));
    let input = |secret: &String| {
        let row = ctx.known.secrets.get(&ObjectName::new(namespace, secret.as_str()))?;
        let published = &row.managed()?.published;
        let parsed = policy(ctx, namespace, &published.policy)?;
        let ours = parsed.secret == *secret && !parsed.suspended;
        parsed.input(published, workload).filter(|_| ours)
    };
    secrets.iter().filter_map(input).collect()
}

fn policy(ctx: &Context, namespace: &str, name: &str) -> Option<Policy> {
    let row = ctx.known.policies.get(&ObjectName::new(namespace, name))?;
    row.policy()
}

/// Secrets whose policies name the workload.
fn naming(ctx: &Context, id: &WorkloadId) -> Vec<String> {
    let rows = ctx.policies_naming(id);
    rows.iter().filter_map(|(_, row)| row.parsed.as_ref().ok()).map(effective_secret).collect()
}

/// Inputs whose pods were looked at before and found current need no second look.
fn remembered(ctx: &Context, workload: &Workload, inputs: &[Input]) -> Vec<Input> {
    let open = |input: &&Input| {
        let changed = input.published.changed(&input.how.keys);
        standing(workload, input, None) != Standing::Unknown
            || ctx.memory.look(&workload.uid, &input.secret) != Some(Look { changed, current: true })
    };
    inputs.iter().filter(open).cloned().collect()
}

fn remember(ctx: &Context, workload: &Workload, inputs: &[Input], pods: &[Pod]) {
    for input in inputs {
        let changed = input.published.changed(&input.how.keys);
        let current = standing(workload, input, Some(pods)) != Standing::Outdated;
        if ctx.memory.set_look(workload, &input.secret, Look { changed, current }) {
            let policy = ObjectName::new(workload.id.namespace.as_str(), input.published.policy.as_str());
            ctx.queues.policies.add(policy, Lane::Urgent);
        }
    }
}

/// Whoever was seen to run on an older value, and has not changed since, is looked at again when its turn comes: what to
/// do until then.
async fn known_outdated(ctx: &Context, workload: &Workload, inputs: &[Input]) -> Option<Next> {
    let open = remembered(ctx, workload, inputs);
    let unknown: Vec<Input> =
        open.into_iter().filter(|input| standing(workload, input, None) == Standing::Unknown).collect();
    let outdated = |input: &Input| {
        let look = Look { changed: input.published.changed(&input.how.keys), current: false };
        ctx.memory.still_shows(workload, &input.secret, look)
    };
    if !workload.id.kind.rolls() || !unknown.iter().all(outdated) {
        return None;
    }
    let may = |input: &Input| input.restart != Restart::Never && !workload.never_restart;
    let due: Vec<Input> = unknown.into_iter().filter(may).collect();
    let marker = wanted(inputs);
    if !due.is_empty() && ctx.memory.marks(&workload.uid, &marker) >= MARKS {
        return Some(reverted(ctx, workload, &marker).await);
    }
    waits(ctx, workload, &due)
}

/// Takes a place in line, if it is not the workload's turn.
fn waits(ctx: &Context, workload: &Workload, because: &[Input]) -> Option<Next> {
    for input in because {
        let secret = ObjectName::new(workload.id.namespace.as_str(), input.secret.as_str());
        ctx.turns.wait(&secret, &workload.id);
        match turn_of(ctx, workload, input) {
            Turn::Now => ctx.turns.leave(&secret, &workload.id),
            Turn::Wait(others) => {
                tracing::debug!(%secret, others, "waits for other consumers");
                return Some(Next::After(UNTOLD));
            }
            Turn::Hold(other) => {
                tracing::info!(%secret, other, "held: another consumer did not become healthy on this value");
                return Some(Next::After(UNTOLD));
            }
        }
    }
    None
}

/// Restarts, unless as many consumers of the same Secret as their policy allows are on their way already, or one of
/// them has failed.
async fn restart(ctx: &Context, workload: &Workload, marker: &Marker, because: &[Input]) -> Result<Next, Error> {
    if ctx.memory.marks(&workload.uid, marker) >= MARKS {
        return Ok(reverted(ctx, workload, marker).await);
    }
    // All that the marker tells of: whoever decides about one of them counts this workload as on its way with it.
    let secrets = marker.0.keys().map(|secret| ObjectName::new(workload.id.namespace.as_str(), secret.as_str()));
    let one_at_a_time = ctx.turns.decide(&secrets.collect()).await;
    if wanted(&inputs(ctx, workload)) != *marker {
        return Ok(Next::Now); // something else is published by now
    }
    if let Some(next) = waits(ctx, workload, because) {
        return Ok(next);
    }
    apply::marker(ctx, workload, marker).await?;
    ctx.memory.count_mark(&workload.uid, marker);
    drop(one_at_a_time); // the table says from here on that this one is on its way
    let because: Vec<String> = because.iter().map(|input| input.secret.clone()).collect();
    ctx.events.tell_about(&reference(workload), &rollout::restarted(&because)).await;
    tracing::info!(because = because.join(", "), "restarted");
    Ok(Next::Change)
}

/// Says once that somebody takes the marker off, and who that may be.
async fn reverted(ctx: &Context, workload: &Workload, marker: &Marker) -> Next {
    if !ctx.memory.tell_reverted(&workload.uid, marker) {
        return Next::Change;
    }
    ctx.events.tell_about(&reference(workload), &rollout::reverted(&workload.managers)).await;
    Next::Change
}

fn reference(workload: &Workload) -> ObjectReference {
    ObjectReference {
        api_version: Some(workload.id.kind.api_version().to_owned()),
        kind: Some(workload.id.kind.as_str().to_owned()),
        name: Some(workload.id.name.clone()),
        namespace: Some(workload.id.namespace.clone()),
        uid: Some(workload.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Whose turn it is with one Secret.
fn turn_of(ctx: &Context, workload: &Workload, input: &Input) -> Turn {
    let Some(policy) = policy(ctx, &workload.id.namespace, &input.published.policy) else {
        return Turn::Wait(format!("SecretPolicy {}", input.published.policy)); // it is gone in this moment
    };
    let rows = ctx.consumers_of(&policy);
    let others: Vec<(&Workload, Use)> = rows.iter().filter_map(|row| Some((&row.0, policy.how(&row.0)?))).collect();
    turn(workload, input, others.iter().map(|(other, how)| (*other, how)), policy.concurrency, ctx.now())
}

/// The live pods of a workload, from a fresh list, with what matters of them for these inputs.
async fn pods(ctx: &Context, workload: &Workload, inputs: &[Input]) -> Result<Vec<Pod>, Error> {
    if workload.selector.is_empty() {
        return Ok(Vec::new()); // no selector would be every pod
    }
    let live = |pod: &KubePod| (is_live(pod) && is_of(workload, pod)).then(|| relevant(project(pod), inputs));
    let list = pages::Pods { namespace: &workload.id.namespace, selector: Some(&workload.selector) };
    list.each(&ctx.client, &ctx.pages, &workload.id, live).await
}

/// The pod without what it says about other Secrets, which can be much.
fn relevant(mut pod: Pod, inputs: &[Input]) -> Pod {
    let concerns = |secret: &String| inputs.iter().any(|input| input.secret == *secret);
    pod.uses.retain(|secret, _| concerns(secret));
    pod.marker.0.retain(|secret, _| concerns(secret));
    pod
}

/// Pods of a `CronJob` belong to its Jobs, which are known by uid: a label can be anybody's.
fn is_of(workload: &Workload, pod: &KubePod) -> bool {
    let by_job = |owner: &OwnerReference| workload.jobs.iter().any(|job| job.uid == owner.uid);
    workload.id.kind != Kind::CronJob || pod.owner_references().iter().any(by_job)
}

/// Whether a pod may still use what it has read.
#[must_use]
pub fn is_live(pod: &KubePod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// What matters of a pod. Containers that restart read their environment anew, so the oldest running one counts.
#[must_use]
pub fn project(pod: &KubePod) -> Pod {
    let status = pod.status.clone().unwrap_or_default();
    // Init containers that run are sidecars (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/).
    let usual = status.container_statuses.into_iter().chain(status.init_container_statuses);
    let containers = usual.chain(status.ephemeral_container_statuses).flatten();
    let started = containers
        .filter_map(|container| container.state?.running?.started_at)
        .map(|started| time::chrono(&started))
        .min();
    Pod {
        name: pod.name_any(),
        started,
        marker: Marker::parse(pod.annotations().get(names::CONSUMED).map(String::as_str)),
        uses: pod.spec.as_ref().map(uses).unwrap_or_default(),
        created: pod.creation_timestamp().map(|created| time::chrono(&created)),
        template: TEMPLATE_HASHES.iter().find_map(|label| pod.labels().get(*label).cloned()),
        terminating: pod.metadata.deletion_timestamp.is_some(),
    }
}
