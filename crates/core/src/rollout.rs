//! Which workloads run on an old value, and whether to restart them now.
//!
//! What a pod holds follows from facts: the marker it was created with, or its start time against the time the keys it
//! consumes last changed. The marker on the template spares the look at the pods; it is never the only proof, so a
//! marker that another tool reverts leads to no second restart.

mod notices;
#[cfg(test)]
pub(crate) mod tests;
mod turn;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{
    GoDuration,
    policy::{ConsumeForm, ReadyWhen, Restart, Rollout},
};

pub use notices::{restarted, reverted};
pub use turn::{Turn, failure, jobs_known, recheck, reloaded, turn};

use crate::{
    published::Published,
    workload::{Kind, Marker, Pod, Progress, Use, Waiting, Workload},
};

/// Changes within this time of the first are rolled out together.
const GATHER: TimeDelta = TimeDelta::seconds(3);

/// Start times are whole seconds, and the write of a new value takes a moment.
const EDGE: TimeDelta = TimeDelta::seconds(2);

/// The pods of a workload that stay: those that are neither on their way out nor of a template that a rollout under
/// way, a user's own for example, is replacing. A restart for the others would be one too many.
#[must_use]
pub fn staying(progress: &Progress, mut pods: Vec<Pod>) -> Vec<Pod> {
    pods.retain(|pod| !pod.terminating);
    if matches!(progress, Progress::Underway(_) | Progress::Stuck(_)) {
        let newest = pods.iter().max_by_key(|pod| pod.created).and_then(|pod| pod.template.clone());
        pods.retain(|pod| pod.template == newest);
    }
    pods
}

/// How a policy restarts consumers: `spec.rollout`, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutSpec {
    /// When to restart them.
    pub restart: Restart,
    /// How many of them may be on their way at the same time: at least one.
    pub concurrency: usize,
    /// How long a restarted one may take to become healthy.
    pub progress_deadline: GoDuration,
    /// After this time one that reloads by itself counts as current.
    pub live_reload_grace: GoDuration,
    /// What `Ready` waits for.
    pub ready_when: ReadyWhen,
}

impl From<&Rollout> for RolloutSpec {
    fn from(spec: &Rollout) -> Self {
        Self {
            restart: spec.restart,
            concurrency: usize::try_from(spec.concurrency).unwrap_or(1).max(1),
            progress_deadline: spec.progress_deadline,
            live_reload_grace: spec.live_reload_grace,
            ready_when: spec.ready_when,
        }
    }
}

/// A managed Secret that a workload consumes, with what its policy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The Secret's name.
    pub secret: String,
    /// How it is consumed.
    pub how: Use,
    /// What is published in it.
    pub published: Arc<Published>,
    /// How its policy restarts consumers.
    pub rollout: RolloutSpec,
}

/// How the pods of a workload relate to the value of one Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every pod holds the current value.
    Current,
    /// Nothing has changed since the first publication; what the pods held before is not known.
    Assumed,
    /// It sees changes without a restart.
    Reloads,
    /// Some pod may hold an older value: its pods must be looked at.
    Unknown,
    /// A pod holds an older value.
    Outdated,
}

/// What to do about a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Leave,
    /// List its pods and decide again.
    LookAtPods,
    /// Not before this time, so that changes that come together cause one restart.
    Gather(DateTime<Utc>),
    /// It may not be restarted now.
    Hold(Waiting),
    /// Write this marker on the pod template.
    Restart {
        /// The whole new marker.
        marker: Marker,
        /// The Secrets whose change is the reason.
        because: Vec<String>,
    },
}

/// How the pods of `workload` relate to the value of the Secret of `input`. `pods` are its live pods, if they were
/// looked at.
#[must_use]
pub fn standing(workload: &Workload, input: &Input, pods: Option<&[Pod]>) -> Standing {
    let how = &input.how;
    if how.needs_no_restart() {
        return Standing::Current;
    }
    let wanted = input.published.consumed(&how.keys);
    if workload.marker.0.get(&input.secret) == Some(&wanted) {
        return Standing::Current;
    }
    let Some(changed) = input.published.changed(&how.keys) else {
        return Standing::Assumed;
    };
    if workload.id.kind == Kind::CronJob && workload.jobs.is_empty() {
        return Standing::Current; // its next Job reads the current value
    }
    if input.rollout.restart != Restart::Always && how.refreshes(workload.live_reload) {
        return Standing::Reloads;
    }
    let Some(pods) = pods else {
        return Standing::Unknown;
    };
    // A named workload reads the Secret in a way that its pods do not show.
    let reads = |pod: &Pod| how.forms.contains(&ConsumeForm::Named) || pod.uses.contains(&input.secret);
    let old = |pod: &Pod| reads(pod) && holds_old(pod, &input.secret, &wanted, changed);
    if pods.iter().any(old) { Standing::Outdated } else { Standing::Current }
}

/// Whether a pod may hold what `secret` held before `changed`: it carries another marker, and was started before that
/// time, or so soon after it that its node may not have seen the new value yet.
#[must_use]
pub fn holds_old(pod: &Pod, secret: &str, wanted: &str, changed: DateTime<Utc>) -> bool {
    pod.marker.0.get(secret).map(String::as_str) != Some(wanted)
        && pod.started.is_some_and(|started| started < changed + EDGE)
}

/// What to do about `workload`, which consumes the Secrets of `inputs`.
#[must_use]
pub fn decide(workload: &Workload, inputs: &[Input], pods: Option<&[Pod]>, now: DateTime<Utc>) -> Decision {
    if workload.without_template.is_some() {
        return Decision::Leave;
    }
    let may = |input: &&Input| input.rollout.restart != Restart::Never && !workload.never_restart;
    let stands = |input: &Input| standing(workload, input, pods);
    let first_change =
        |inputs: &[&Input]| inputs.iter().filter_map(|input| input.published.changed(&input.how.keys)).min();
    // Those that may not be restarted are looked at too: a user may have restarted them, and the status must say so.
    let unknown: Vec<&Input> = inputs.iter().filter(|input| stands(input) == Standing::Unknown).collect();
    if let Some(first) = first_change(&unknown) {
        // A look before all changes are gathered would have to be taken again afterwards.
        return gathering(first, now).map_or(Decision::LookAtPods, Decision::Gather);
    }
    if !workload.id.kind.rolls() {
        return Decision::Leave;
    }
    let outdated: Vec<&Input> = inputs.iter().filter(may).filter(|input| stands(input) == Standing::Outdated).collect();
    let Some(first) = first_change(&outdated) else {
        return Decision::Leave;
    };
    if workload.progress == Progress::Waiting(Waiting::Paused) {
        return Decision::Hold(Waiting::Paused);
    }
    if let Some(until) = gathering(first, now) {
        return Decision::Gather(until);
    }
    Decision::Restart { marker: wanted(inputs), because: outdated.iter().map(|input| input.secret.clone()).collect() }
}

/// The marker of a workload whose pods hold the current value of everything that it consumes.
#[must_use]
pub fn wanted(inputs: &[Input]) -> Marker {
    Marker(inputs.iter().map(|input| (input.secret.clone(), input.published.consumed(&input.how.keys))).collect())
}

/// Until when changes are gathered, if that time is not over. A time in the future was written by a clock that was
/// ahead of ours: there is nothing to wait for.
fn gathering(first: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (first <= now && now < first + GATHER).then(|| first + GATHER)
}
