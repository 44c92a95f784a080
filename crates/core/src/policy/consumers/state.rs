//! How one consumer stands, and what the status says of it.

use chrono::{DateTime, Utc};
use rekey_api::policy::{ConsumerReason, ConsumerState, Restart};

use super::{
    super::versioned::{Reference, behind},
    Consumer, put_back, waits,
};
use crate::{
    rollout::{self, Input, KnownPods, Look, Settled, Standing, standing},
    workload::{Kind, Progress, Workload},
};

/// How the status shows a consumer.
#[derive(Clone)]
pub(super) struct Shown {
    pub state: ConsumerState,
    pub message: Option<String>,
    pub reason: Option<ConsumerReason>,
}

impl Shown {
    pub fn plain(state: ConsumerState) -> Self {
        Self { state, message: None, reason: None }
    }

    pub fn with(state: ConsumerState, message: String) -> Self {
        Self { state, message: Some(message), reason: None }
    }
}

/// The state of one consumer, before the others are considered.
pub(super) enum State {
    /// As the status shows it.
    Settled(Shown),
    /// It has to be restarted.
    Due,
    /// The same, when a window opens.
    Closed(String),
    /// Its restart has failed.
    Failed(String),
}

/// What keeps those that are due, beside their own policy's windows.
pub(super) enum Gate {
    /// This one has failed.
    Failed(String),
    /// The canary has to show first that the value is good.
    Canary(String),
    /// The canary cannot show it, and why.
    Stuck(String),
    /// Other rollouts.
    Others(String),
    /// Nothing.
    Open,
}

/// Steps of one restart share the state `Progressing`, without a text that changes: a change costs one status write at its
/// start and one at its end.
pub(super) fn shown(state: &State, gate: impl FnOnce() -> Gate) -> Shown {
    match state {
        State::Settled(shown) => shown.clone(),
        State::Failed(message) => Shown::with(ConsumerState::Failed, message.clone()),
        State::Closed(message) => Shown::with(ConsumerState::Held, message.clone()),
        State::Due => match gate() {
            Gate::Open => Shown::plain(ConsumerState::Progressing),
            Gate::Others(wait) => Shown::with(ConsumerState::Progressing, wait),
            Gate::Canary(name) => Shown::with(ConsumerState::Progressing, format!("waits for the canary {name}")),
            Gate::Stuck(why) => Shown::with(ConsumerState::Outdated, why),
            Gate::Failed(other) => Shown::with(ConsumerState::Outdated, format!("waits for {other}, which has failed")),
        },
    }
}

pub(super) fn state(consumer: &Consumer, input: &Input, look: Option<&Look>, now: DateTime<Utc>) -> State {
    let workload = &consumer.workload;
    if let Some(reason) = &workload.without_template {
        return State::Settled(Shown::with(ConsumerState::Failed, reason.clone()));
    }
    let pods = KnownPods { settled: consumer.settled, look };
    match (standing(workload, input, None), look.map(Look::is_current)) {
        (Standing::Assumed, _) => State::Settled(Shown::plain(ConsumerState::Assumed)),
        // They hold what was first published or what they held before that: nobody knows.
        (Standing::Unknown, Some(true)) if input.published.changed(&input.how.keys).is_none() => {
            State::Settled(Shown::plain(ConsumerState::Assumed))
        }
        (Standing::Reloads, _) => {
            let over = rollout::reloaded(input).is_none_or(|at| at <= now);
            State::Settled(Shown::plain(if over { ConsumerState::Current } else { ConsumerState::Progressing }))
        }
        // Its pods were seen to hold the value, so a pause does not matter.
        (Standing::Unknown, Some(true)) if matches!(workload.progress, Progress::Waiting(_)) => {
            State::Settled(Shown::plain(ConsumerState::Current))
        }
        (Standing::Current, _) | (Standing::Unknown, Some(true)) => restarted(consumer, input, pods, now),
        (Standing::Unknown | Standing::Outdated, _) => outdated(consumer, input, look, now),
    }
}

/// A consumer that refers to a version: what it runs on follows from the name.
pub(super) fn by_name(reference: &Reference, current: &str, workload: &Workload) -> State {
    match (reference, &workload.progress) {
        (Reference::Other(name), _) => held(&behind(name, current)),
        (Reference::Current, Progress::Complete) => State::Settled(Shown::plain(ConsumerState::Current)),
        (Reference::Current, Progress::Underway(_) | Progress::Stuck(_)) => {
            State::Settled(Shown::plain(ConsumerState::Progressing))
        }
        (Reference::Current, Progress::Waiting(reason)) => held(&reason.to_string()),
    }
}

/// A consumer that runs on the current value, or will when its rollout is done: it is current once it runs steadily,
/// and what comes later is no matter of the value.
fn restarted(consumer: &Consumer, input: &Input, pods: KnownPods<'_>, now: DateTime<Utc>) -> State {
    let workload = &consumer.workload;
    if pods.settled == Settled::Yes || !rollout::has_to_run(workload, &input.how) {
        return State::Settled(Shown::plain(ConsumerState::Current));
    }
    if input.is_idle(workload) {
        return held(rollout::IDLE);
    }
    if let Some(mut message) = rollout::failure(workload, input, pods, now) {
        if let Some(other) = &consumer.set_held_by {
            message.push_str("; nothing goes back, since the value of SecretPolicy ");
            message.extend([other, " came with it, whose rollout.onFailure is Hold"]);
        }
        return State::Failed(message);
    }
    match &workload.progress {
        Progress::Complete | Progress::Underway(_) | Progress::Stuck(_) => {
            State::Settled(Shown::plain(ConsumerState::Progressing))
        }
        Progress::Waiting(reason) => held(&reason.to_string()),
    }
}

fn outdated(consumer: &Consumer, input: &Input, look: Option<&Look>, now: DateTime<Utc>) -> State {
    let workload = &consumer.workload;
    match &workload.progress {
        _ if is_put_back(consumer, input) => State::Settled(Shown {
            reason: Some(ConsumerReason::MarkerReverted),
            ..Shown::with(ConsumerState::Held, put_back::text(workload))
        }),
        _ if workload.id.kind == Kind::CronJob && look.is_none() => {
            State::Settled(Shown::plain(ConsumerState::Progressing))
        }
        _ if workload.id.kind == Kind::CronJob => {
            let names = workload.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>().join(", ");
            held(&format!("a Job still runs on an older value, among {names}; the next one reads the current value"))
        }
        _ if input.rollout.restart == Restart::Never => held("spec.rollout.restart is Never; restart it by hand"),
        _ if workload.never_restart => held("rekey.dev/restart is Never; restart it by hand"),
        _ if consumer.reverted => held(REVERTED),
        _ if input.is_idle(workload) => held(rollout::IDLE),
        _ if rollout::unmovable(workload, &input.moves()).is_some() => held(rollout::TOO_MANY),
        Progress::Waiting(reason) => held(&reason.to_string()),
        Progress::Complete | Progress::Underway(_) | Progress::Stuck(_) => match waits::closed(consumer, input, now) {
            Some(closed) => State::Closed(waits::awaits(&workload.id, input, &closed)),
            None => State::Due,
        },
    }
}

/// Whether its references do not move, since another tool puts them back. Who must not be moved has other reasons.
fn is_put_back(consumer: &Consumer, input: &Input) -> bool {
    let may = input.rollout.restart != Restart::Never && !consumer.workload.never_restart;
    consumer.reverted && may && !input.way.is_by_marker()
}

/// What the status says of a workload whose marker another tool removes.
pub(super) const REVERTED: &str = "another tool removed its restart marker twice; make it leave the annotation rekey.dev/consumed \
                        on the pod template alone, or restart the workload by hand";

fn held(reason: &str) -> State {
    State::Settled(Shown::with(ConsumerState::Held, reason.to_owned()))
}
