//! Workloads: brings their pods onto the present value, once. The only writer of a workload's restart marker.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Pod as KubePod};
use kube::{Api, ResourceExt as _, api::ListParams};
use rekey_api::{condition::Reason, names};
use rekey_core::{
    policy::{Look, Policy},
    rollout::{Decision, Input, Pod, Standing, decide, standing, staying},
    time,
    workload::{Marker, Progress, Workload, WorkloadId, uses},
};

use crate::{
    apply,
    context::{Context, workload_name},
    drive::{Next, Reconcile},
    error::Error,
    index::Referent,
    namespaces,
    queue::{Lane, Queue},
    table::ObjectName,
};

/// Labels by which controllers tell the pods of one template from those of another.
const TEMPLATE_HASHES: [&str; 2] = ["pod-template-hash", "controller-revision-hash"];

/// A marker that is taken off is written once more, and then left: two that disagree would restart it without end.
const MARKS: u32 = 2;
/// A workload whose marker is taken off is looked at again after this time.
const REVERTED: Duration = Duration::from_mins(5);

/// Reconciles workloads.
pub struct Workloads;

impl Reconcile for Workloads {
    type Key = WorkloadId;
    const KIND: &'static str = "Workload";

    fn queue(ctx: &Context) -> &Queue<WorkloadId> {
        &ctx.queues.workloads
    }

    async fn ensure(ctx: &Context, key: &WorkloadId) -> Result<Next, Error> {
        let Some(row) = ctx.known.workloads.get(&workload_name(key)) else {
            return Ok(Next::Change);
        };
        if ctx.namespaces.standing(&key.namespace) != namespaces::Standing::Open {
            return Ok(Next::Change); // not all of it is known yet; everything is wanted again when it is
        }
        let workload = &row.0;
        let inputs = inputs(ctx, workload);
        if inputs.is_empty() {
            return Ok(Next::Change);
        }
        let now = ctx.now();
        let mut decision = decide(workload, &remembered(ctx, workload, &inputs), None, now);
        if decision == Decision::LookAtPods {
            let all = pods(ctx, workload).await?;
            let count = all.len();
            let pods = staying(&workload.progress, all);
            // A rollout under way may be undone, and then the pods that it leaves out stay.
            if pods.len() == count || !matches!(workload.progress, Progress::Underway(_)) {
                remember(ctx, workload, &inputs, &pods);
            }
            decision = decide(workload, &inputs, Some(&pods), now);
        }
        match decision {
            Decision::Leave | Decision::LookAtPods => Ok(Next::Change),
            Decision::Gather(until) => Ok(Next::After((until - now).to_std().unwrap_or_default())),
            Decision::Hold(reason) => {
                tracing::info!(reason, "held on an older value");
                Ok(Next::Change)
            }
            Decision::Restart { marker, because } => restart(ctx, workload, &marker, &because).await,
        }
    }

    async fn failed(_ctx: &Context, _key: &WorkloadId, _error: &Error) -> Result<(), Error> {
        Ok(()) // consumers that are behind stand in the policy's status
    }
}

/// What is published for a workload, with what each policy wants.
fn inputs(ctx: &Context, workload: &Workload) -> Vec<Input> {
    let namespace = workload.id.namespace.as_str();
    let input = |(secret, how): (&String, &rekey_core::workload::Use)| {
        let row = ctx.known.secrets.get(&ObjectName::new(namespace, secret.as_str()))?;
        let published = row.managed()?.published.clone();
        let policy = ctx.known.policies.get(&ObjectName::new(namespace, published.policy.as_str()))?;
        let parsed = Policy::try_from(policy.parsed.as_ref().ok()?).ok()?;
        let ours = parsed.secret == *secret && !parsed.suspended;
        ours.then(|| Input { secret: secret.clone(), how: how.clone(), published, restart: parsed.restart })
    };
    workload.uses.iter().filter_map(input).collect()
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
        if ctx.memory.set_look(&workload.uid, &input.secret, Look { changed, current }) {
            let policy = ObjectName::new(workload.id.namespace.as_str(), input.published.policy.as_str());
            ctx.queues.policies.add(policy, Lane::Urgent);
        }
    }
}

/// Restarts, unless as many consumers of the same Secret as their policy allows are on their way already.
async fn restart(ctx: &Context, workload: &Workload, marker: &Marker, because: &[String]) -> Result<Next, Error> {
    if ctx.memory.marks(&workload.uid, marker) >= MARKS {
        let note = "the restart marker was taken off twice by somebody else; it is not written again for this value. \
                    Leave the annotation rekey.dev/consumed on the pod template alone, or restart it by hand";
        ctx.events.about(&reference(workload), Reason::MarkerReverted, "Restart", note).await;
        return Ok(Next::After(REVERTED));
    }
    let one_at_a_time = ctx.restarts.lock().await;
    for secret in because {
        if let Some(other) = in_the_way(ctx, workload, secret) {
            tracing::debug!(secret, other, "waits for other consumers");
            return Ok(Next::After(Duration::from_secs(10)));
        }
    }
    apply::marker(ctx, workload, marker).await?;
    ctx.memory.count_mark(&workload.uid, marker);
    drop(one_at_a_time); // the table says from here on that this one is on its way
    let note = format!("restarted: the value of {} has changed", because.join(", "));
    ctx.events.about(&reference(workload), Reason::Restarting, "Restart", &note).await;
    tracing::info!(because = because.join(","), "restarted");
    Ok(Next::Change)
}

fn reference(workload: &Workload) -> ObjectReference {
    ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some(workload.id.kind.as_str().to_owned()),
        name: Some(workload.id.name.clone()),
        namespace: Some(workload.id.namespace.clone()),
        uid: Some(workload.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Another consumer that is on its way to the same value, if there are as many as the policy allows.
fn in_the_way(ctx: &Context, workload: &Workload, secret: &str) -> Option<String> {
    let namespace = workload.id.namespace.as_str();
    let row = ctx.known.secrets.get(&ObjectName::new(namespace, secret))?;
    let published = &row.managed()?.published;
    let policy = ctx.known.policies.get(&ObjectName::new(namespace, published.policy.as_str()))?;
    let allowed = Policy::try_from(policy.parsed.as_ref().ok()?).ok()?.concurrency;
    let others = ctx.known.workloads.referring(namespace, Referent::Secret, secret);
    let moving: Vec<String> = others
        .into_iter()
        .filter(|(_, row)| row.0.id != workload.id && matches!(row.0.progress, Progress::Underway(_)))
        .filter(|(_, row)| {
            let wanted = row.0.uses.get(secret).map(|how| published.consumed(&how.keys));
            wanted.is_some() && row.0.marker.0.get(secret) == wanted.as_ref()
        })
        .map(|(_, row)| row.0.id.to_string())
        .collect();
    (moving.len() >= allowed).then(|| moving.join(", "))
}

/// The live pods of a workload, from a fresh list.
async fn pods(ctx: &Context, workload: &Workload) -> Result<Vec<Pod>, Error> {
    let api: Api<KubePod> = Api::namespaced(ctx.client.clone(), &workload.id.namespace);
    let params = ListParams::default().labels(&workload.selector);
    let list = api.list(&params).await.map_err(Error::api("list the pods of", &workload.id))?;
    Ok(list.items.iter().filter(|pod| is_live(pod)).map(project).collect())
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
    let containers = status.container_statuses.into_iter().chain(status.init_container_statuses).flatten();
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
