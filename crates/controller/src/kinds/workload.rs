//! Workloads: brings their pods onto the current value, once. The only writer of a workload's restart marker.

mod accounts;
mod inputs;
#[cfg(test)]
mod tests;
mod turns;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{ObjectReference, Pod as KubePod, Secret};
use kube::{Api, Client};
use rekey_api::policy::Restart;
use rekey_core::{
    rollout::{
        self, Decision, Input, Look, Settled, Settling, Standing, TemplateChange, decide, jobs_known, look, settling,
        standing, staying, wanted,
    },
    time::Clock,
    workload::{Kind, Makers, Pod, Progress, Workload, WorkloadId, is_live},
};

use crate::{
    cluster::{Cluster, NamespaceAccess, ObjectName, workload_name},
    error::{Error, Operation},
    line::RestartLine,
    memory::{MARKS, Memory},
    notify::Notify,
    pages::{self, Pages},
    queue::{Lane, Next, Queue, Queues, Reconcile},
    write::Writer,
};

/// A time further in the future was written by a clock that was ahead of ours.
const LONG: TimeDelta = TimeDelta::seconds(10);
/// Policies whose values failed together go back at the same time, each by a write of its own, which is given up after 15 s.
const REST_OF_A_SET: TimeDelta = TimeDelta::seconds(15);
/// A Secret that has changed is seen to have changed soon after.
const UNSEEN: Duration = Duration::from_secs(1);
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
        let next = self.round(key).await;
        self.account(key);
        let next = next?;
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
        if self.follow_list(workload).await? {
            return Ok(Next::Now);
        }
        let inputs = self.inputs(workload);
        if inputs.is_empty() {
            return Ok(Next::Change);
        }
        let now = self.clock.now();
        self.note_moving(workload, now);
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
                let looks = self.remember(workload, &inputs, &pods);
                // Its restart may have had no answer: the pods tell of it before the watch does.
                if looks.iter().all(|look| look.settled() == Settled::Yes) {
                    self.notify.wake(workload);
                }
            }
            decision = decide(workload, &inputs, Some(&pods), now);
        }
        match decision {
            Decision::Leave | Decision::LookAtPods => {
                self.waiting(workload, &inputs, None);
                self.settle(workload, &inputs).await
            }
            Decision::Gather(until) => Ok(Next::After((until - now).to_std().unwrap_or_default())),
            Decision::Closed(closed) => Ok(self.closed(workload, &inputs, closed)),
            Decision::Hold(reason) => {
                tracing::info!(%reason, "held on an older value");
                Ok(Next::Change)
            }
            Decision::Restart { change, because } => {
                let because: Vec<Input> = inputs.into_iter().filter(|input| because.contains(&input.secret)).collect();
                self.restart(workload, &change, &because).await
            }
        }
    }

    /// Inputs whose pods were looked at before and found current need no second look.
    fn remembered(&self, workload: &Workload, inputs: &[Input]) -> Vec<Input> {
        let open =
            |input: &&Input| standing(workload, input, None) != Standing::Unknown || !self.holds(workload, input);
        inputs.iter().filter(open).cloned().collect()
    }

    /// Whether the last look has shown that the pods hold the value.
    fn holds(&self, workload: &Workload, input: &Input) -> bool {
        let look = self.memory.workloads.look(&workload.uid, &input.secret);
        look.is_some_and(|look| look.is_of(input) && look.is_current())
    }

    fn remember(&self, workload: &Workload, inputs: &[Input], pods: &[Pod]) -> Vec<Look> {
        let now = self.clock.now();
        let looks: Vec<Look> = inputs.iter().map(|input| look(workload, input, pods, now)).collect();
        for (input, look) in inputs.iter().zip(&looks) {
            if self.memory.workloads.set_look(workload, &input.secret, look.clone()) {
                let policy = ObjectName::new(workload.id.namespace.as_str(), input.published.policy.as_str());
                self.queues.policies.add(policy, Lane::Urgent);
            }
        }
        looks
    }

    /// A workload whose pods hold the values, or will when its rollout is done: looks at them until they run steadily.
    async fn settle(&self, workload: &Workload, inputs: &[Input]) -> Result<Next, Error> {
        let holds = |input: &&Input| match standing(workload, input, None) {
            Standing::Current => true,
            Standing::Unknown => self.holds(workload, input),
            Standing::Assumed | Standing::Reloads | Standing::Outdated => false,
        };
        let not_yet = |input: &&Input| self.settled(workload, input) == Settled::NotYet;
        let open: Vec<Input> = inputs.iter().filter(holds).filter(not_yet).cloned().collect();
        match settling(workload, &open, self.memory.workloads.moving(&workload.uid), self.clock.now()) {
            Settling::Rest => return Ok(Next::Change),
            Settling::NotBefore(at) => return Ok(self.after(at)),
            Settling::Look => {}
        }
        let pods = staying(&workload.progress, self.pods(workload, &open).await?);
        let looks = self.remember(workload, &open, &pods);
        if looks.iter().all(|look| look.settled() == Settled::Yes) {
            self.memory.workloads.set_moving(&workload.uid, None);
            self.notify.wake(workload);
            return Ok(Next::Change);
        }
        let open = looks.iter().filter(|look| look.settled() == Settled::NotYet);
        let again = open.map(|look| look.health.until()).collect::<Option<Vec<_>>>();
        Ok(again.and_then(|all| all.into_iter().max()).map_or(Next::After(UNTOLD), |at| self.after(at)))
    }

    /// Remembers when a workload was last on its way: its pods cannot have run for long since then.
    fn note_moving(&self, workload: &Workload, now: DateTime<Utc>) {
        self.memory.workloads.note_progress(workload, now);
        if matches!(workload.progress, Progress::Underway(_)) {
            self.memory.workloads.set_moving(&workload.uid, Some(now));
        }
    }

    fn after(&self, at: DateTime<Utc>) -> Next {
        Next::After((at - self.clock.now()).to_std().unwrap_or_default())
    }

    /// A workload that was seen to run on an older value, and has not changed since, is looked at again when its turn
    /// comes: what to do until then.
    async fn known_outdated(&self, workload: &Workload, inputs: &[Input]) -> Option<Next> {
        let open = self.remembered(workload, inputs);
        let unknown: Vec<Input> =
            open.into_iter().filter(|input| standing(workload, input, None) == Standing::Unknown).collect();
        let outdated = |input: &Input| {
            let is_of_it = |look: &Look| look.is_of(input) && !look.is_current();
            self.memory.workloads.still_shows(workload, &input.secret).as_ref().is_some_and(is_of_it)
        };
        if !workload.id.kind.rolls() || !unknown.iter().all(outdated) {
            return None;
        }
        let may = |input: &Input| input.rollout.restart != Restart::Never && !workload.never_restart;
        let due: Vec<Input> = unknown.into_iter().filter(may).collect();
        let change = wanted(workload, inputs);
        if !due.is_empty() && self.memory.workloads.marks(&workload.uid, &change) >= MARKS {
            return Some(self.reverted(workload, &change).await);
        }
        if let Some(closed) = rollout::closed(due.iter(), self.clock.now()) {
            return Some(self.closed(workload, inputs, closed));
        }
        self.waits(workload, &due)
    }

    /// Restarts, or moves references, unless as many consumers of the same Secret as their policy allows are on their
    /// way already, or one of them has failed.
    async fn restart(&self, workload: &Workload, change: &TemplateChange, because: &[Input]) -> Result<Next, Error> {
        if rollout::unmovable(workload, &change.moves).is_some() {
            return Ok(Next::Change); // its status says so
        }
        if self.memory.workloads.marks(&workload.uid, change) >= MARKS {
            return Ok(self.reverted(workload, change).await);
        }
        if let Some(next) = self.is_stale(workload).or_else(|| self.rest_of_a_set(workload, because)) {
            return Ok(next);
        }
        if self.is_for_a_lost_write(workload, because).await? {
            return Ok(Next::After(UNSEEN));
        }
        // All that it is changed for: a decision about one of them counts this workload as on its way with it.
        let marked = change.marker.iter().flat_map(|marker| marker.0.keys()).chain(change.moves.values());
        let secrets = marked.map(|secret| ObjectName::new(workload.id.namespace.as_str(), secret.as_str()));
        let one_at_a_time = self.line.decide(&secrets.collect()).await;
        if wanted(workload, &self.inputs(workload)) != *change {
            return Ok(Next::Now); // something else is published by now
        }
        if let Some(next) = self.waits(workload, because) {
            return Ok(next);
        }
        self.admit(workload, change).await?;
        if let Some(change) = self.ask(workload, change).await? {
            self.notify.workload(&change);
        }
        self.memory.workloads.count_mark(&workload.uid, change, self.before(workload, because));
        self.memory.workloads.forget_looks(&workload.uid, because.iter().map(|input| &input.secret));
        drop(one_at_a_time); // the table says from here on that this one is on its way
        let (moved, restarted): (Vec<&Input>, Vec<&Input>) =
            because.iter().partition(|input| !input.moves().is_empty());
        for notice in rollout::changed(&named(&moved), &named(&restarted)) {
            self.write.event_about(&reference(workload), &notice).await;
        }
        tracing::info!(
            because = because.iter().map(|at| at.secret.as_str()).collect::<Vec<_>>().join(", "),
            "restarted"
        );
        Ok(Next::Change)
    }

    /// Whether a Secret has changed by a write that had no answer, and its watch has not brought that yet: on what is known of
    /// it nobody is restarted. Asked afresh only after such a write.
    async fn is_for_a_lost_write(&self, workload: &Workload, because: &[Input]) -> Result<bool, Error> {
        let namespace = workload.id.namespace.as_str();
        for input in because {
            let name = ObjectName::new(namespace, input.secret.as_str());
            let known = self.cluster.secrets.get(&name).map(|row| row.object_version());
            let Some(known) = known.filter(|known| self.memory.lost.is_open(&name, known)) else { continue };
            let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
            let found = api.get_metadata_opt(&name.name).await.map_err(Error::api(Operation::ReadSecret, &name))?;
            if found.and_then(|found| found.metadata.resource_version).as_ref() != Some(&known.resource_version) {
                tracing::debug!(secret = %name, "waits for what a write without an answer has changed");
                return Ok(true);
            }
            self.memory.lost.forget(&name); // the write was not made
        }
        Ok(false)
    }

    /// Reports once that another tool takes the change back, and which one that may be.
    async fn reverted(&self, workload: &Workload, change: &TemplateChange) -> Next {
        for secret in change.moves.values() {
            self.memory.workloads.set_put_back(&workload.uid, secret);
        }
        if !self.memory.workloads.tell_reverted(&workload.uid, change) {
            return Next::Change;
        }
        self.write.event_about(&reference(workload), &rollout::reverted(&workload.managers, &change.moves)).await;
        // Where references were put back, it is restarted by marker from now on.
        if change.moves.is_empty() { Next::Change } else { Next::Now }
    }

    /// The live pods of a workload, from a fresh list, with what matters of them for these inputs.
    async fn pods(&self, workload: &Workload, inputs: &[Input]) -> Result<Vec<Pod>, Error> {
        if workload.selector.is_empty() {
            return Ok(Vec::new()); // no selector would be every pod
        }
        let makers = Makers::of([workload]);
        let live = |pod: &KubePod| (is_live(pod) && makers.have_made(pod)).then(|| relevant(Pod::of(pod), inputs));
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

fn named(inputs: &[&Input]) -> Vec<String> {
    inputs.iter().map(|input| input.secret.clone()).collect()
}

/// The pod without what it says about other Secrets, which can be much.
fn relevant(mut pod: Pod, inputs: &[Input]) -> Pod {
    let concerns = |secret: &String| inputs.iter().any(|input| input.concerns(secret));
    pod.reads.retain(|secret, _| concerns(secret));
    pod.marker.0.retain(|secret, _| concerns(secret));
    pod
}
