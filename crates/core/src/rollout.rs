//! Which workloads run on an old value, and whether to restart them now.
//!
//! What a pod holds follows from facts: the marker it was created with, or its start time against the time the keys it
//! consumes last changed. The marker on the template spares the look at the pods; it is never the only proof, so a
//! marker that another tool reverts leads to no second restart.

mod budget;
mod canary;
mod health;
mod held;
mod look;
mod mountable;
mod moves;
mod notices;
mod stray;
#[cfg(test)]
pub(crate) mod tests;
mod turn;
mod way;
mod windows;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{
    GoDuration,
    policy::{OnFailure, ReadyWhen, Restart, Rollout},
};

pub use budget::{Budget, Limits, UnderWay, is_under_way};
pub use canary::{Canary, IDLE, Verdict};
pub use health::{Health, health};
pub use held::{Held, are_current, count, held, held_for_sure};
pub use look::{Look, Settled, Settling, look, settling};
pub use mountable::{Listing, listing};
pub use moves::{Moves, TOO_MANY, TemplateChange, json_patch, unmovable};
pub use notices::{changed, reverted, unlisted};
pub use stray::{Outstanding, Stray, StrayId, Watched, next_look};
pub use turn::{
    Before, KnownPods, Other, Place, Rank, Turn, before, failure, jobs_known, may_move, recheck, reloaded, turn,
};
pub use way::{Asked, Names, Way};
pub use windows::{Closed, Urgency, Wait, closed, urgency, urgent};

use crate::{
    SpecError,
    published::Published,
    schedule::Windows,
    workload::{Kind, Marker, Pod, Progress, Use, Waiting, Workload},
};

/// Changes within this time of the first are rolled out together.
const GATHER: TimeDelta = TimeDelta::seconds(3);

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutSpec {
    /// When to restart them.
    pub restart: Restart,
    /// The one that gets a new value before the others.
    pub canary: Option<Canary>,
    /// How many of them may be on their way at the same time: at least one.
    pub concurrency: usize,
    /// How long a restarted one may take to become healthy.
    pub progress_deadline: GoDuration,
    /// Healthy means that no container of a new pod has started again for this long.
    pub stable_for: GoDuration,
    /// After this time one that reloads by itself counts as current.
    pub live_reload_grace: GoDuration,
    /// What `Ready` waits for.
    pub ready_when: ReadyWhen,
    /// What to do when one does not become healthy.
    pub on_failure: OnFailure,
    /// When restarts may start.
    pub windows: Windows,
}

impl TryFrom<&Rollout> for RolloutSpec {
    type Error = SpecError;

    fn try_from(spec: &Rollout) -> Result<Self, SpecError> {
        Ok(Self {
            restart: spec.restart,
            canary: spec.canary.as_ref().map(Canary::parse).transpose()?,
            concurrency: usize::try_from(spec.concurrency).unwrap_or(1).max(1),
            progress_deadline: spec.progress_deadline,
            stable_for: spec.stable_for,
            live_reload_grace: spec.live_reload_grace,
            ready_when: spec.ready_when,
            on_failure: spec.on_failure,
            windows: Windows::parse("spec.rollout.windows", &spec.windows)?,
        })
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
    /// How the workload is brought onto the value.
    pub way: Way,
    /// What its change asks for.
    pub urgency: Urgency,
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
    /// Some pod may hold another value: its pods must be looked at.
    Unknown,
    /// A pod holds another value, or may do so.
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
    /// Not before a window opens.
    Closed(Closed),
    /// Change the pod template, or the references of what has none.
    Restart {
        /// What of it.
        change: TemplateChange,
        /// The Secrets whose change is the reason.
        because: Vec<String>,
    },
}

/// How the pods of `workload` relate to the value of the Secret of `input`. `pods` are its live pods, if they were
/// looked at.
#[must_use]
pub fn standing(workload: &Workload, input: &Input, pods: Option<&[Pod]>) -> Standing {
    let how = &input.how;
    match &input.way {
        _ if input.is_on(workload) => return Standing::Current,
        Way::Restart | Way::Named | Way::NamedBack if how.needs_no_restart() => return Standing::Current,
        Way::Move(_) | Way::NamedBack => return Standing::Outdated,
        Way::Restart | Way::Named => {}
    }
    if input.edge().is_none() {
        return Standing::Assumed;
    }
    if workload.id.kind == Kind::CronJob && workload.jobs.is_empty() {
        return Standing::Current; // its next Job reads the current value
    }
    if input.rollout.restart != Restart::Always && how.refreshes(workload.live_reload) {
        return Standing::Reloads;
    }
    let Some(pods) = pods else {
        return Standing::Unknown;
    };
    match (are_current(input.counts(pods)), input.published.changed(&how.keys)) {
        (false, _) => Standing::Outdated,
        (true, Some(_)) => Standing::Current,
        (true, None) => Standing::Assumed, // what it held before the first publication is still not known
    }
}

/// Whether a workload that consumes a Secret like this has pods of its own that have to run steadily on its value.
#[must_use]
pub fn has_to_run(workload: &Workload, how: &Use) -> bool {
    workload.id.kind.rolls() && !how.needs_no_restart()
}

/// What to do about `workload`, which consumes the Secrets of `inputs`.
#[must_use]
pub fn decide(workload: &Workload, inputs: &[Input], pods: Option<&[Pod]>, now: DateTime<Utc>) -> Decision {
    if workload.without_template.is_some() {
        return Decision::Leave;
    }
    let may = |input: &&Input| input.rollout.restart != Restart::Never && !workload.never_restart;
    let stands = |input: &Input| standing(workload, input, pods);
    let first_change = |inputs: &[&Input]| inputs.iter().filter_map(|input| input.since()).min();
    // Those that may not be restarted are looked at too: a user may have restarted them, and the status must say so.
    let unknown: Vec<&Input> = inputs.iter().filter(|input| stands(input) == Standing::Unknown).collect();
    if let Some(first) = first_change(&unknown) {
        // A look before all changes are gathered would have to be taken again afterwards.
        return gathering(first, now).map_or(Decision::LookAtPods, Decision::Gather);
    }
    let can = |input: &&Input| workload.id.kind.rolls() || matches!(input.way, Way::Move(_));
    let outdated: Vec<&Input> =
        inputs.iter().filter(may).filter(can).filter(|input| stands(input) == Standing::Outdated).collect();
    let Some(first) = first_change(&outdated) else {
        return Decision::Leave;
    };
    if workload.progress == Progress::Waiting(Waiting::Paused) {
        return Decision::Hold(Waiting::Paused);
    }
    if let Some(until) = gathering(first, now) {
        return Decision::Gather(until);
    }
    if let Some(closed) = closed(outdated.iter().copied(), now) {
        return Decision::Closed(closed);
    }
    Decision::Restart {
        change: wanted(workload, inputs),
        because: outdated.iter().map(|input| input.secret.clone()).collect(),
    }
}

/// The change that brings a workload onto the current value of everything that it consumes.
#[must_use]
pub fn wanted(workload: &Workload, inputs: &[Input]) -> TemplateChange {
    let by_marker = inputs.iter().filter(|input| input.way.is_by_marker() && workload.id.kind.rolls());
    let entry = |input: &Input| (input.secret.clone(), input.published.consumed(&input.how.keys));
    let marker = Marker(by_marker.map(entry).collect());
    let is_needed = !marker.0.is_empty() && marker != workload.marker;
    TemplateChange { marker: is_needed.then_some(marker), moves: inputs.iter().flat_map(Input::moves).collect() }
}

/// Until when changes are gathered, if that time is not over. A time in the future was written by a clock that was
/// ahead of ours: there is nothing to wait for.
fn gathering(first: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (first <= now && now < first + GATHER).then(|| first + GATHER)
}
