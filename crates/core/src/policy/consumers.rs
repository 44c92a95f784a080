//! The state of a policy's consumers, as its status shows it.

mod named;
mod put_back;
mod state;
mod strays;
mod waits;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rekey_api::{
    SecretPolicyStatus,
    policy::{ConsumeForm, ConsumerState, ConsumerStatus, ConsumersStatus, PodCounts},
};

pub use named::named;
pub use put_back::is_put_back;
pub use strays::{is_stray, next_look};

use self::state::{Gate, Shown, State, by_name, shown, state};
use super::PolicySpec;
use crate::{
    published::{Published, Versions},
    rollout::{self, Asked, Before, Input, KnownPods, Look, Names, Settled, Stray, Urgency, Wait, Way},
    workload::{Kind, Use, Workload, WorkloadId},
};

/// A workload that consumes the policy's Secret, with what is known about its pods.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// The workload.
    pub workload: Arc<Workload>,
    /// The last look at its pods, if one was taken.
    pub look: Option<Look>,
    /// Whether it was seen to run steadily on what is published.
    pub settled: Settled,
    /// What the status says that its pods hold, if it is about what is published.
    pub counted: Option<PodCounts>,
    /// Whether its restart marker is not written any more, or its references are not moved, since another tool takes that
    /// back.
    pub reverted: bool,
    /// Whether it was healthy before the value changed.
    pub before: Before,
    /// What its restart was last seen to wait for.
    pub waits: Option<Wait>,
    /// Another policy whose value came with the same rollout, and that does not go back: then none of the set does.
    pub set_held_by: Option<String>,
}

impl Consumer {
    /// The last look, if it was taken since what is published is there.
    fn look_of(&self, input: &Input) -> Option<&Look> {
        self.look.as_ref().filter(|look| look.is_of(input))
    }
}

/// All that consumes the policy's Secret.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    /// Workloads.
    pub workloads: Vec<Consumer>,
    /// Pods of the namespace that none of its workloads has made, as they were last looked at.
    pub strays: Arc<[Stray]>,
    /// The versions of the policy's Secret, if references move between them.
    pub versions: Versions,
    /// What the change to what is published asks for.
    pub urgency: Urgency,
}

/// What the status says of all consumers.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it says.
    pub status: ConsumersStatus,
    /// How many of those that are held wait for nothing but a window.
    pub awaiting_window: usize,
}

impl From<ConsumersStatus> for Found {
    fn from(status: ConsumersStatus) -> Self {
        Self { status, awaiting_window: 0 }
    }
}

impl PolicySpec {
    /// How `workload` consumes the Secret: what it refers to, and whether the policy names it.
    #[must_use]
    pub fn how(&self, workload: &Workload) -> Option<Use> {
        let named = !self.named.is_empty() && self.named.contains(&(workload.id.kind, workload.id.name.clone()));
        let referring = self.names.covered(&workload.uses).map(|(_, how)| how.clone()).reduce(Use::with);
        Use::of(referring.as_ref(), named)
    }

    /// What is published for `workload`, and what the policy asks for.
    #[must_use]
    pub fn input(&self, published: &Arc<Published>, workload: &Workload, versions: &Versions) -> Option<Input> {
        let secret = self.names.of_revision(&published.revision);
        let refers = self.names.covered(&workload.uses).any(|(name, _)| !versions.others.contains(name));
        let way = if self.moves_references() && refers {
            Way::Move(Names::of(&self.names, &workload.uses, (&secret, published), versions))
        } else if self.names.is_versioned() {
            let asked = self.rollback_to.as_ref() == Some(&published.revision);
            Way::named(workload, published, versions, if asked { Asked::Yes } else { Asked::No })
        } else {
            Way::Restart
        };
        let how = self.how(workload)?;
        // It refers to another tool's Secret with such a name, and to none of ours.
        let is_others = self.moves_references() && !refers && !how.forms.contains(&ConsumeForm::Named);
        (!is_others).then(|| Input {
            secret,
            how,
            published: Arc::clone(published),
            rollout: self.rollout.clone(),
            way,
            urgency: Urgency::Usual,
        })
    }

    /// When time alone changes the state of a consumer.
    #[must_use]
    pub fn recheck(&self, published: &Arc<Published>, all: &Consumers, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let inputs = all.workloads.iter().filter_map(|at| {
            let input = self.input(published, &at.workload, &all.versions)?;
            let input = Input { urgency: all.urgency, ..input };
            self.reference(&input.secret, &at.workload).is_none().then_some((at, input))
        });
        inputs.filter_map(|(at, input)| rollout::recheck(&at.workload, &input, at.settled, now)).min()
    }
}

/// Whether the status of a policy says of a consumer that it runs steadily on what is published. That spares looks and
/// false alarms after a start of the operator; whoever retires a credential does not ask it.
#[must_use]
pub fn settled(status: &SecretPolicyStatus, published: &Published, id: &WorkloadId) -> Settled {
    if current_in(status, published, id).is_some() { Settled::Yes } else { Settled::NotYet }
}

/// What the pods of such a consumer hold, as the status says.
#[must_use]
pub fn counted(status: &SecretPolicyStatus, published: &Published, id: &WorkloadId) -> Option<PodCounts> {
    current_in(status, published, id)?.pods
}

fn current_in<'a>(
    status: &'a SecretPolicyStatus,
    published: &Published,
    id: &WorkloadId,
) -> Option<&'a ConsumerStatus> {
    let is_current = |item: &&ConsumerStatus| item.state == ConsumerState::Current && is_of(item, id);
    let mut items = status.consumers.iter().flat_map(|consumers| &consumers.items);
    items.find(is_current).filter(|_| status.revision.as_deref() == Some(&published.revision))
}

/// Whether an item of the status is about this workload.
fn is_of(item: &ConsumerStatus, id: &WorkloadId) -> bool {
    item.kind == id.kind.as_str() && item.name == id.name
}

/// How a consumer stands.
struct Stand<'a> {
    consumer: &'a Consumer,
    input: Input,
    state: State,
}

fn stand<'a>(
    policy: &PolicySpec,
    published: &Arc<Published>,
    all: &Consumers,
    consumer: &'a Consumer,
    now: DateTime<Utc>,
) -> Option<Stand<'a>> {
    let input = policy.input(published, &consumer.workload, &all.versions)?;
    let input = Input { urgency: all.urgency, ..input };
    let look = consumer.look_of(&input);
    let state = match policy.reference(&input.secret, &consumer.workload) {
        Some(reference) => by_name(&reference, &input.secret, &consumer.workload),
        None => state(consumer, &input, look, now),
    };
    Some(Stand { consumer, input, state })
}

/// What all consumers that are due wait for.
struct Common {
    /// One that has failed, and holds them.
    failed: Option<String>,
    /// Whether one is on its way.
    is_moving: bool,
}

impl Common {
    fn of(all: &[Stand<'_>]) -> Self {
        let holds = |at: &&Stand<'_>| at.consumer.before == Before::Healthy && matches!(at.state, State::Failed(_));
        let is_on_its_way =
            |at: &Stand<'_>| matches!(&at.state, State::Settled(shown) if shown.state == ConsumerState::Progressing);
        Self {
            failed: all.iter().find(holds).map(|failed| text(&failed.consumer.workload.id)),
            is_moving: all.iter().any(is_on_its_way),
        }
    }
}

/// What a consumer waits for that is due.
fn gate(of: &Stand<'_>, all: &[Stand<'_>], common: &Common) -> Gate {
    let canary = of.input.canary_before(&of.consumer.workload.id).filter(|_| of.input.urgency == Urgency::Usual);
    if let Some(canary) = canary {
        let name = canary.to_string();
        let stuck = |why: &str| Gate::Stuck(format!("waits for the canary {name}, which {why}"));
        let Some(first) = all.iter().find(|at| canary.is(&at.consumer.workload.id)) else {
            return stuck("is no consumer of the Secret");
        };
        match &first.state {
            State::Settled(Shown { state: ConsumerState::Current, .. }) => {}
            State::Settled(Shown { state: ConsumerState::Held, message: Some(why), .. }) | State::Closed(why) => {
                return stuck(&format!("is held: {why}"));
            }
            State::Failed(_) => return Gate::Failed(name),
            State::Due | State::Settled(_) => return Gate::Canary(name),
        }
    }
    if let Some(failed) = &common.failed {
        return Gate::Failed(failed.clone());
    }
    let wait = waits::budget(of.consumer).filter(|_| !common.is_moving);
    wait.map_or(Gate::Open, Gate::Others)
}

/// The status of all consumers of a policy's Secret, those that are behind first; `None` when there are none.
#[must_use]
pub fn consumers(
    policy: &PolicySpec,
    published: &Arc<Published>,
    all: &Consumers,
    now: DateTime<Utc>,
) -> Option<Found> {
    let stands: Vec<Stand<'_>> = all.workloads.iter().filter_map(|at| stand(policy, published, all, at, now)).collect();
    let awaiting_window = stands.iter().filter(|at| matches!(at.state, State::Closed(_))).count();
    let common = Common::of(&stands);
    let mut items: Vec<ConsumerStatus> = stands
        .iter()
        .map(|at| {
            let shown = shown(&at.state, || gate(at, &stands, &common));
            ConsumerStatus { pods: pods(at, &shown), ..status(&at.consumer.workload.id, &at.input.how, shown) }
        })
        .collect();
    let is_there = |named: &&(Kind, String)| all.workloads.iter().any(|at| is(&at.workload.id, named));
    items.extend(policy.named.iter().filter(|named| !is_there(named)).map(named::missing));
    let canary = policy.rollout.canary.as_ref();
    items.extend(
        canary.filter(|canary| !stands.iter().any(|at| canary.is(&at.consumer.workload.id))).map(named::absent),
    );
    items.extend(strays::items(policy, published, &all.strays));
    items.sort_by(|a, b| (rank(a.state), &a.kind, &a.name).cmp(&(rank(b.state), &b.kind, &b.name)));
    if items.is_empty() {
        return None;
    }
    let count = |state: ConsumerState| {
        u32::try_from(items.iter().filter(|item| item.state == state).count()).unwrap_or(u32::MAX)
    };
    let total = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let [current, assumed, failed] = [ConsumerState::Current, ConsumerState::Assumed, ConsumerState::Failed].map(count);
    let summary = match assumed {
        0 => format!("{current}/{total}"),
        _ => format!("{current}/{total} ({assumed} assumed)"),
    };
    let outdated = total - current - assumed - failed;
    let status = ConsumersStatus { summary, total, current, outdated, failed, assumed, items };
    Some(Found { status, awaiting_window })
}

/// A consumer whose restart, or move, onto what is published has failed, and why, among those that `counts` lets count. One
/// that was unhealthy before says nothing about the value, unless it is the canary.
#[must_use]
pub fn failed(
    policy: &PolicySpec,
    published: &Arc<Published>,
    all: &Consumers,
    counts: impl Fn(&Input) -> bool,
    now: DateTime<Utc>,
) -> Option<(String, String)> {
    all.workloads.iter().find_map(|consumer| {
        let input = policy.input(published, &consumer.workload, &all.versions).filter(&counts)?;
        if consumer.before == Before::Unhealthy && !input.is_canary(&consumer.workload.id) {
            return None;
        }
        let look = consumer.look_of(&input);
        let pods = KnownPods { settled: consumer.settled, look };
        let why = rollout::failure(&consumer.workload, &input, pods, now)?;
        Some((text(&consumer.workload.id), why))
    })
}

/// Those that are behind come first, then those that are only assumed to be current.
fn rank(state: ConsumerState) -> u8 {
    match state {
        ConsumerState::Outdated
        | ConsumerState::Progressing
        | ConsumerState::Failed
        | ConsumerState::Held
        | ConsumerState::Unknown => 0,
        ConsumerState::Assumed => 1,
        ConsumerState::Current => 2,
    }
}

fn is(id: &WorkloadId, (kind, name): &(Kind, String)) -> bool {
    id.kind == *kind && id.name == *name
}

fn text(id: &WorkloadId) -> String {
    format!("{} {}", id.kind.as_str(), id.name)
}

fn status(id: &WorkloadId, how: &Use, Shown { state, message, reason }: Shown) -> ConsumerStatus {
    ConsumerStatus {
        api_version: id.kind.api_version().to_owned(),
        kind: id.kind.as_str().to_owned(),
        name: id.name.clone(),
        state,
        how: how.forms.iter().copied().collect(),
        pods: None,
        reason,
        message,
    }
}

/// What its pods hold, as far as that was looked at. Not while they come and go.
fn pods(Stand { consumer, input, .. }: &Stand<'_>, shown: &Shown) -> Option<PodCounts> {
    let looked = consumer.look_of(input).map(|look| look.pods);
    match shown.state {
        // A start of the operator takes no look at those that were current.
        ConsumerState::Current => looked.or(consumer.counted),
        ConsumerState::Held | ConsumerState::Failed | ConsumerState::Unknown => looked,
        ConsumerState::Progressing | ConsumerState::Outdated | ConsumerState::Assumed => None,
    }
}

#[cfg(test)]
mod tests;
