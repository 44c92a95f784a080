//! Workloads: brings their pods onto the current value, once. The only writer of a workload's restart marker.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use k8s_openapi::{
    api::core::v1::{ObjectReference, Pod as KubePod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Client, ResourceExt as _};
use rekey_api::policy::Restart;
use rekey_core::{
    SecretNames,
    policy::{Look, PolicySpec},
    rollout::{self, Decision, Input, Standing, Turn, decide, jobs_known, standing, staying, turn, wanted},
    time::Clock,
    workload::{Kind, Marker, Pod, Progress, Use, Workload, WorkloadId, is_live},
};

use crate::{
    cluster::{Cluster, NamespaceAccess, ObjectName, workload_name},
    error::Error,
    line::RestartLine,
    memory::{MARKS, Memory},
    notify::Notify,
    pages::{self, Pages},
    queue::{Lane, Next, Queue, Queues, Reconcile},
    write::Writer,
};

/// A time further in the future was written by a clock that was ahead of ours.
const LONG: TimeDelta = TimeDelta::seconds(10);
/// Who waits for others is called by them; this is for what nothing reports, such as a deadline that passes.
const UNTOLD: Duration = Duration::from_mins(1);

/// Reconciles workloads.
pub struct Workloads {
    /// Lists pods.
    pub client: Client,
    pub cluster: Arc<Cluster>,
    pub queues: Arc<Queues>,
    /// Queues what a change concerns.
    pub notify: Arc<Notify>,
    pub write: Arc<Writer>,
    /// Savings of work.
    pub memory: Arc<Memory>,
    /// Who is restarted next.
    pub line: Arc<RestartLine>,
    /// Lists take turns.
    pub pages: Arc<Pages>,
    pub clock: Arc<dyn Clock>,
}

impl Reconcile for Workloads {
    type Key = WorkloadId;
    const KIND: &'static str = "Workload";

    fn queue(&self) -> &Queue<WorkloadId> {
        &self.queues.workloads
    }

    async fn ensure(&self, key: &WorkloadId) -> Result<Next, Error> {
        let next = self.round(key).await?;
        for secret in self.line.answered(key) {
            self.notify.next(&secret);
        }
        Ok(next)
    }

    async fn failed(&self, key: &WorkloadId, error: &Error) -> Result<(), Error> {
        // The policy's status shows consumers that are behind; of this one that is not known.
        if matches!(error, Error::TooManyPods { .. })
            && let Some(row) = self.cluster.workloads.get(&workload_name(key))
        {
            self.write.event_about(&reference(&row), &error.notice("Restart")).await;
        }
        Ok(())
    }
}

impl Workloads {
    async fn round(&self, key: &WorkloadId) -> Result<Next, Error> {
        let Some(workload) = self.cluster.workloads.get(&workload_name(key)) else {
            return Ok(Next::Change);
        };
        if self.cluster.namespaces.access(&key.namespace) != NamespaceAccess::Open {
            return Ok(Next::Change); // not all of it is known yet; every object is queued again when it is
        }
        let workload = workload.as_ref();
        let inputs = self.inputs(workload);
        if inputs.is_empty() {
            return Ok(Next::Change);
        }
        let now = self.clock.now();
        if workload.id.kind == Kind::CronJob {
            if let Some(known) = jobs_known(&inputs).filter(|known| *known > now && *known - now < LONG) {
                return Ok(Next::After((known - now).to_std().unwrap_or_default()));
            }
            if workload.jobs.is_empty() {
                self.remember(workload, &inputs, &[]); // Jobs that start from here on read the current value
            }
        }
        let mut decision = decide(workload, &self.remembered(workload, &inputs), None, now);
        if decision == Decision::LookAtPods {
            if let Some(next) = self.known_outdated(workload, &inputs).await {
                return Ok(next);
            }
            let all = self.pods(workload, &inputs).await?;
            let count = all.len();
            let pods = staying(&workload.progress, all);
            // A rollout under way may be undone, and then the pods that it leaves out stay.
            let underway = matches!(workload.progress, Progress::Underway(_) | Progress::Stuck(_));
            if pods.len() == count || !underway {
                self.remember(workload, &inputs, &pods);
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
                self.restart(workload, &marker, &because).await
            }
        }
    }

    /// What is published for a workload, with what each policy asks for.
    fn inputs(&self, workload: &Workload) -> Vec<Input> {
        let namespace = workload.id.namespace.as_str();
        let mut secrets: BTreeSet<String> = workload.uses.keys().cloned().collect();
        secrets.extend(self.naming(&workload.id));
        let input = |secret: &String| {
            let row = self.cluster.secrets.get(&ObjectName::new(namespace, secret.as_str()))?;
            let published = &row.managed()?.published;
            let parsed = self.policy(namespace, &published.policy)?;
            let ours = parsed.names.covers(secret) && !parsed.suspended;
            parsed.input(published, workload).filter(|_| ours)
        };
        secrets.iter().filter_map(input).collect()
    }

    fn policy(&self, namespace: &str, name: &str) -> Option<Arc<PolicySpec>> {
        let row = self.cluster.policies.get(&ObjectName::new(namespace, name))?;
        row.policy()
    }

    /// Secrets whose policies name the workload.
    fn naming(&self, id: &WorkloadId) -> Vec<String> {
        let rows = self.cluster.policies_naming(id);
        rows.iter().filter_map(|(_, row)| row.readable()).map(|at| SecretNames::of(at).current().to_owned()).collect()
    }

    /// Inputs whose pods were looked at before and found current need no second look.
    fn remembered(&self, workload: &Workload, inputs: &[Input]) -> Vec<Input> {
        let open = |input: &&Input| {
            let changed = input.published.changed(&input.how.keys);
            standing(workload, input, None) != Standing::Unknown
                || self.memory.look(&workload.uid, &input.secret) != Some(Look { changed, current: true })
        };
        inputs.iter().filter(open).cloned().collect()
    }

    fn remember(&self, workload: &Workload, inputs: &[Input], pods: &[Pod]) {
        for input in inputs {
            let changed = input.published.changed(&input.how.keys);
            let current = standing(workload, input, Some(pods)) != Standing::Outdated;
            if self.memory.set_look(workload, &input.secret, Look { changed, current }) {
                let policy = ObjectName::new(workload.id.namespace.as_str(), input.published.policy.as_str());
                self.queues.policies.add(policy, Lane::Urgent);
            }
        }
    }

    /// A workload that was seen to run on an older value, and has not changed since, is looked at again when its turn
    /// comes: what to do until then.
    async fn known_outdated(&self, workload: &Workload, inputs: &[Input]) -> Option<Next> {
        let open = self.remembered(workload, inputs);
        let unknown: Vec<Input> =
            open.into_iter().filter(|input| standing(workload, input, None) == Standing::Unknown).collect();
        let outdated = |input: &Input| {
            let look = Look { changed: input.published.changed(&input.how.keys), current: false };
            self.memory.still_shows(workload, &input.secret, look)
        };
        if !workload.id.kind.rolls() || !unknown.iter().all(outdated) {
            return None;
        }
        let may = |input: &Input| input.rollout.restart != Restart::Never && !workload.never_restart;
        let due: Vec<Input> = unknown.into_iter().filter(may).collect();
        let marker = wanted(inputs);
        if !due.is_empty() && self.memory.marks(&workload.uid, &marker) >= MARKS {
            return Some(self.reverted(workload, &marker).await);
        }
        self.waits(workload, &due)
    }

    /// Takes a place in line, if it is not the workload's turn.
    fn waits(&self, workload: &Workload, because: &[Input]) -> Option<Next> {
        for input in because {
            let secret = ObjectName::new(workload.id.namespace.as_str(), input.secret.as_str());
            self.line.wait(&secret, &workload.id);
            match self.turn_of(workload, input) {
                Turn::Now => self.line.leave(&secret, &workload.id),
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
    async fn restart(&self, workload: &Workload, marker: &Marker, because: &[Input]) -> Result<Next, Error> {
        if self.memory.marks(&workload.uid, marker) >= MARKS {
            return Ok(self.reverted(workload, marker).await);
        }
        // All that the marker names: a decision about one of them counts this workload as on its way with it.
        let secrets = marker.0.keys().map(|secret| ObjectName::new(workload.id.namespace.as_str(), secret.as_str()));
        let one_at_a_time = self.line.decide(&secrets.collect()).await;
        if wanted(&self.inputs(workload)) != *marker {
            return Ok(Next::Now); // something else is published by now
        }
        if let Some(next) = self.waits(workload, because) {
            return Ok(next);
        }
        if let Some(change) = self.write.marker(workload, marker).await? {
            self.notify.workload(&change);
        }
        self.memory.count_mark(&workload.uid, marker);
        drop(one_at_a_time); // the table says from here on that this one is on its way
        let because: Vec<String> = because.iter().map(|input| input.secret.clone()).collect();
        self.write.event_about(&reference(workload), &rollout::restarted(&because)).await;
        tracing::info!(because = because.join(", "), "restarted");
        Ok(Next::Change)
    }

    /// Reports once that another tool removes the marker, and which one that may be.
    async fn reverted(&self, workload: &Workload, marker: &Marker) -> Next {
        if !self.memory.tell_reverted(&workload.uid, marker) {
            return Next::Change;
        }
        self.write.event_about(&reference(workload), &rollout::reverted(&workload.managers)).await;
        Next::Change
    }

    /// Whose turn it is with one Secret.
    fn turn_of(&self, workload: &Workload, input: &Input) -> Turn {
        let Some(policy) = self.policy(&workload.id.namespace, &input.published.policy) else {
            return Turn::Wait(format!("SecretPolicy {}", input.published.policy)); // it has just gone
        };
        let rows = self.cluster.consumers_of(&policy);
        let others: Vec<(&Workload, Use)> =
            rows.iter().filter_map(|row| Some((row.as_ref(), policy.how(row)?))).collect();
        turn(
            workload,
            input,
            others.iter().map(|(other, how)| (*other, how)),
            policy.rollout.concurrency,
            self.clock.now(),
        )
    }

    /// The live pods of a workload, from a fresh list, with what matters of them for these inputs.
    async fn pods(&self, workload: &Workload, inputs: &[Input]) -> Result<Vec<Pod>, Error> {
        if workload.selector.is_empty() {
            return Ok(Vec::new()); // no selector would be every pod
        }
        let live = |pod: &KubePod| (is_live(pod) && is_of(workload, pod)).then(|| relevant(Pod::of(pod), inputs));
        let list = pages::Pods { namespace: &workload.id.namespace, selector: Some(&workload.selector) };
        list.each(&self.client, &self.pages, &workload.id, live).await
    }
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

/// The pod without what it says about other Secrets, which can be much.
fn relevant(mut pod: Pod, inputs: &[Input]) -> Pod {
    let concerns = |secret: &String| inputs.iter().any(|input| input.secret == *secret);
    pod.uses.retain(concerns);
    pod.marker.0.retain(|secret, _| concerns(secret));
    pod
}

/// Pods of a `CronJob` belong to its Jobs, which are known by uid: a label can be anybody's.
fn is_of(workload: &Workload, pod: &KubePod) -> bool {
    let by_job = |owner: &OwnerReference| workload.jobs.iter().any(|job| job.uid == owner.uid);
    workload.id.kind != Kind::CronJob || pod.owner_references().iter().any(by_job)
}
