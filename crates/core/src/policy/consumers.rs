//! The state of a policy's consumers, as its status shows it.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use rekey_api::{
    names::ROLE_ROLLOUTS,
    policy::{ConsumeForm, ConsumerState, ConsumerStatus, ConsumersStatus, Restart},
    reference::WorkloadRef,
};

use super::PolicySpec;
use crate::{
    SpecError,
    published::Published,
    rollout::{self, Input, Standing, standing},
    workload::{Kind, Progress, Use, Workload, WorkloadId},
};

/// What a look at the pods of a workload has shown. It says something about one value only: the one that was
/// published at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When the consumed keys had last changed.
    pub changed: Option<DateTime<Utc>>,
    /// Whether every pod held that value.
    pub current: bool,
}

/// A workload that consumes the policy's Secret, with what is known about its pods.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// The workload.
    pub workload: Arc<Workload>,
    /// The last look at its pods, if one was taken.
    pub look: Option<Look>,
    /// Whether its restart marker is not written any more, since another tool removes it.
    pub reverted: bool,
}

/// How the status shows a consumer.
#[derive(Clone)]
struct Shown {
    state: ConsumerState,
    message: Option<String>,
}

impl Shown {
    fn plain(state: ConsumerState) -> Self {
        Self { state, message: None }
    }

    fn with(state: ConsumerState, message: String) -> Self {
        Self { state, message: Some(message) }
    }
}

/// The state of one consumer, before the others are considered.
enum State {
    /// As the status shows it.
    Settled(Shown),
    /// It has to be restarted.
    Due,
    /// Its restart has failed.
    Failed(String),
}

impl PolicySpec {
    /// How `workload` consumes the Secret: what it refers to, and whether the policy names it.
    #[must_use]
    pub fn how(&self, workload: &Workload) -> Option<Use> {
        let named = !self.named.is_empty() && self.named.contains(&(workload.id.kind, workload.id.name.clone()));
        let referring = self.names.covered(&workload.uses).next().map(|(_, how)| how);
        Use::of(referring, named)
    }

    /// What is published for `workload`, and what the policy asks for.
    #[must_use]
    pub fn input(&self, published: &Arc<Published>, workload: &Workload) -> Option<Input> {
        Some(Input {
            secret: self.names.current().to_owned(),
            how: self.how(workload)?,
            published: Arc::clone(published),
            rollout: self.rollout,
        })
    }

    /// When time alone changes the state of a consumer.
    #[must_use]
    pub fn recheck(&self, published: &Arc<Published>, all: &[Consumer], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let inputs = all.iter().filter_map(|at| Some((&at.workload, self.input(published, &at.workload)?)));
        inputs.filter_map(|(workload, input)| rollout::recheck(workload, &input, now)).min()
    }
}

/// The workloads that a policy names.
///
/// # Errors
/// When a kind is not one that can be restarted, or has Jobs.
pub fn named(references: &[WorkloadRef]) -> Result<BTreeSet<(Kind, String)>, SpecError> {
    let parse = |reference: &WorkloadRef| {
        let kind = Kind::named(reference).ok_or_else(|| {
            let known = Kind::NAMED.map(|kind| format!("{} {}", kind.api_version(), kind.as_str())).join(", ");
            let (version, kind) = (&reference.api_version, &reference.kind);
            SpecError::field("spec.rollout.consumers", format!("{version} {kind} cannot be named: use one of {known}"))
        })?;
        Ok((kind, reference.name.clone()))
    };
    references.iter().map(parse).collect()
}

/// The status of all consumers of a policy's Secret, those that are behind first; `None` when there are none.
#[must_use]
pub fn consumers(
    policy: &PolicySpec,
    published: &Arc<Published>,
    all: &[Consumer],
    now: DateTime<Utc>,
) -> Option<ConsumersStatus> {
    let stands: Vec<(&Consumer, Input, State)> = all
        .iter()
        .filter_map(|consumer| {
            let input = policy.input(published, &consumer.workload)?;
            let state = state(consumer, &input, now);
            Some((consumer, input, state))
        })
        .collect();
    let failed = stands.iter().find(|(_, _, state)| matches!(state, State::Failed(_)));
    let blocking = failed.map(|(consumer, _, _)| text(&consumer.workload.id));
    let mut items: Vec<ConsumerStatus> = stands
        .iter()
        .map(|(consumer, input, state)| status(&consumer.workload.id, &input.how, shown(state, blocking.as_deref())))
        .collect();
    items.extend(policy.named.iter().filter(|named| !all.iter().any(|at| is(&at.workload.id, named))).map(missing));
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
    Some(ConsumersStatus { summary, total, current, outdated, failed, assumed, items })
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

fn status(id: &WorkloadId, how: &Use, Shown { state, message }: Shown) -> ConsumerStatus {
    ConsumerStatus {
        api_version: id.kind.api_version().to_owned(),
        kind: id.kind.as_str().to_owned(),
        name: id.name.clone(),
        state,
        how: how.forms.iter().copied().collect(),
        pods: None,
        message,
    }
}

/// A named workload that does not exist.
fn missing((kind, name): &(Kind, String)) -> ConsumerStatus {
    ConsumerStatus {
        api_version: kind.api_version().to_owned(),
        kind: kind.as_str().to_owned(),
        name: name.clone(),
        state: ConsumerState::Failed,
        how: vec![ConsumeForm::Named],
        pods: None,
        message: Some(format!("{}; create it, or remove it from spec.rollout.consumers", unseen(*kind))),
    }
}

/// Rollouts take a right of their own, and many namespaces are opened without it.
fn unseen(kind: Kind) -> String {
    if kind == Kind::Rollout {
        return format!("does not exist, or the operator may not see it (bind the ClusterRole {ROLE_ROLLOUTS})");
    }
    "does not exist".to_owned()
}

/// `blocking`: the consumer whose restart has failed. Steps of one restart share the state `Progressing`, without a
/// text that changes: a change costs one status write at its start and one at its end.
fn shown(state: &State, blocking: Option<&str>) -> Shown {
    match (state, blocking) {
        (State::Settled(shown), _) => shown.clone(),
        (State::Failed(message), _) => Shown::with(ConsumerState::Failed, message.clone()),
        (State::Due, None) => Shown::plain(ConsumerState::Progressing),
        (State::Due, Some(other)) => {
            Shown::with(ConsumerState::Outdated, format!("waits for {other}, which has failed"))
        }
    }
}

fn state(consumer: &Consumer, input: &Input, now: DateTime<Utc>) -> State {
    let workload = &consumer.workload;
    if let Some(reason) = &workload.without_template {
        return State::Settled(Shown::with(ConsumerState::Failed, reason.clone()));
    }
    let changed = input.published.changed(&input.how.keys);
    let looked = consumer.look.filter(|look| look.changed == changed).map(|look| look.current);
    match (standing(workload, input, None), looked) {
        (Standing::Assumed, _) => State::Settled(Shown::plain(ConsumerState::Assumed)),
        (Standing::Reloads, _) => {
            let over = rollout::reloaded(input).is_none_or(|at| at <= now);
            State::Settled(Shown::plain(if over { ConsumerState::Current } else { ConsumerState::Progressing }))
        }
        // Its pods were seen to hold the value, so a pause does not matter.
        (Standing::Unknown, Some(true)) if matches!(workload.progress, Progress::Waiting(_)) => {
            State::Settled(Shown::plain(ConsumerState::Current))
        }
        (Standing::Current, _) | (Standing::Unknown, Some(true)) => restarted(workload, input, now),
        (Standing::Unknown | Standing::Outdated, _) => outdated(consumer, input, looked),
    }
}

/// A consumer that runs on the current value, or will when its rollout is done.
fn restarted(workload: &Workload, input: &Input, now: DateTime<Utc>) -> State {
    let wanted = input.published.consumed(&input.how.keys);
    if let Some(message) = rollout::failure(workload, input, &wanted, now) {
        return State::Failed(message);
    }
    match &workload.progress {
        Progress::Complete => State::Settled(Shown::plain(ConsumerState::Current)),
        Progress::Underway(_) | Progress::Stuck(_) => State::Settled(Shown::plain(ConsumerState::Progressing)),
        Progress::Waiting(reason) => held(&reason.to_string()),
    }
}

fn outdated(consumer: &Consumer, input: &Input, looked: Option<bool>) -> State {
    let workload = &consumer.workload;
    match &workload.progress {
        _ if workload.id.kind == Kind::CronJob && looked.is_none() => {
            State::Settled(Shown::plain(ConsumerState::Progressing))
        }
        _ if workload.id.kind == Kind::CronJob => {
            let names = workload.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>().join(", ");
            held(&format!("a Job still runs on an older value, among {names}; the next one reads the current value"))
        }
        _ if input.rollout.restart == Restart::Never => held("spec.rollout.restart is Never; restart it by hand"),
        _ if workload.never_restart => held("rekey.dev/restart is Never; restart it by hand"),
        _ if consumer.reverted => held(REVERTED),
        Progress::Waiting(reason) => held(&reason.to_string()),
        Progress::Complete | Progress::Underway(_) | Progress::Stuck(_) => State::Due,
    }
}

/// What the status says of a workload whose marker another tool removes.
const REVERTED: &str = "another tool removed its restart marker twice; make it leave the annotation rekey.dev/consumed \
                        on the pod template alone, or restart the workload by hand";

fn held(reason: &str) -> State {
    State::Settled(Shown::with(ConsumerState::Held, reason.to_owned()))
}

#[cfg(test)]
mod tests;
