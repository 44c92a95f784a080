//! How a policy's consumers stand, as its status shows it.

use chrono::{DateTime, Utc};
use rekey_api::policy::{ConsumerState, ConsumerStatus, ConsumersStatus, Restart};

use crate::{
    rollout::{Input, Standing, standing},
    workload::{Progress, Workload},
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

/// A workload that refers to the policy's Secret, with what is known about its pods.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// The workload.
    pub workload: Workload,
    /// The last look at its pods, if one was taken.
    pub look: Option<Look>,
}

/// The status of all consumers of a Secret, those that are behind first; `None` when there are none. `input` gives what is published for a workload.
#[must_use]
pub fn consumers(all: &[Consumer], input: impl Fn(&Workload) -> Option<Input>) -> Option<ConsumersStatus> {
    let mut items: Vec<ConsumerStatus> =
        all.iter().filter_map(|consumer| Some(status(consumer, &input(&consumer.workload)?))).collect();
    let current = |item: &ConsumerStatus| matches!(item.state, ConsumerState::Current | ConsumerState::Assumed);
    items.sort_by(|a, b| (current(a), &a.kind, &a.name).cmp(&(current(b), &b.kind, &b.name)));
    if items.is_empty() {
        return None;
    }
    let count = |states: &[ConsumerState]| {
        u32::try_from(items.iter().filter(|item| states.contains(&item.state)).count()).unwrap_or(u32::MAX)
    };
    let total = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let current = count(&[ConsumerState::Current, ConsumerState::Assumed]);
    let failed = count(&[ConsumerState::Failed]);
    Some(ConsumersStatus {
        summary: format!("{current}/{total}"),
        total,
        current,
        outdated: total - current - failed,
        failed,
        items,
    })
}

fn status(consumer: &Consumer, input: &Input) -> ConsumerStatus {
    let (state, message) = state(consumer, input);
    ConsumerStatus {
        api_version: "apps/v1".to_owned(),
        kind: consumer.workload.id.kind.as_str().to_owned(),
        name: consumer.workload.id.name.clone(),
        state,
        how: input.how.forms.iter().copied().collect(),
        message,
    }
}

/// Intermediate steps of one restart share the state `Progressing`, without a text that changes: the way of a change
/// costs one status write at its begin and one at its end.
fn state(consumer: &Consumer, input: &Input) -> (ConsumerState, Option<String>) {
    let workload = &consumer.workload;
    let restarted = |fallback: ConsumerState| match &workload.progress {
        Progress::Complete => (fallback, None),
        Progress::Underway(_) => (ConsumerState::Progressing, None),
        Progress::Waiting(reason) => (ConsumerState::Held, Some(reason.clone())),
    };
    let changed = input.published.changed(&input.how.keys);
    let looked = consumer.look.filter(|look| look.changed == changed).map(|look| look.current);
    match (standing(workload, input, None), looked) {
        (Standing::Assumed, _) => (ConsumerState::Assumed, None),
        (Standing::Reloads, _) => (ConsumerState::Current, None),
        // Its pods were seen to hold the value, so a pause is none of our business.
        (Standing::Unknown, Some(true)) if matches!(workload.progress, Progress::Waiting(_)) => {
            (ConsumerState::Current, None)
        }
        (Standing::Current, _) | (Standing::Unknown, Some(true)) => restarted(ConsumerState::Current),
        (Standing::Unknown | Standing::Outdated, _) => match &workload.progress {
            _ if input.restart == Restart::Never => held("spec.rollout.restart is Never; restart it by hand"),
            _ if workload.never_restart => held("rekey.dev/restart is Never; restart it by hand"),
            Progress::Waiting(reason) => held(reason),
            Progress::Complete | Progress::Underway(_) => (ConsumerState::Progressing, None),
        },
    }
}

fn held(reason: &str) -> (ConsumerState, Option<String>) {
    (ConsumerState::Held, Some(reason.to_owned()))
}
