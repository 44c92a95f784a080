//! What the status of a policy says after a decision.

use chrono::{DateTime, Utc};
use rekey_api::{
    SecretPolicyStatus,
    condition::{ConditionType, Reason},
    policy::{ChangeReason, ConsumerState, ConsumersStatus, PolicyHistory, PublishedRotation, SourceVersion},
};

use super::{Consumer, Fetched, OpenRotation, Policy, Seen, consumers, publish::Decided};
use crate::{
    published::Published,
    summary::{Extra, Situation, conditions},
    time,
};

/// Consumers that the status lists.
const ITEMS: usize = 100;
/// Revisions that the status remembers.
const HISTORY: usize = 10;

pub fn status(
    policy: &Policy,
    seen: &Seen,
    fetched: Option<&Fetched>,
    decided: &Decided,
    now: DateTime<Utc>,
) -> SecretPolicyStatus {
    let mut status = seen.status.clone();
    status.observed_generation = Some(policy.generation);
    status.source = Some(policy.source.clone());
    status.secret_name = Some(policy.secret.clone());
    status.next_rotation_time.clone_from(&seen.next_rotation);
    if let Some(fetched) = fetched.filter(|_| decided.wait.is_none()) {
        status.source_versions = versions(fetched);
        status.last_handled_sync.clone_from(&policy.sync_requested);
        if let Some(rotation) = &seen.rotation
            && delivered(rotation, fetched)
        {
            status.rotation = Some(PublishedRotation {
                id: rotation.id.clone(),
                key: Some(rotation.key.clone()),
                version: Some(rotation.version.clone()),
            });
        }
    }
    if let Some(published) = &decided.published {
        status.consumers = consumers(&seen.consumers, |workload| policy.input(published, workload));
        // Read off the Secret, not remembered: a change whose status write was lost is recorded the next time.
        if status.revision.as_ref() != Some(&published.revision) {
            status.revision = Some(published.revision.clone());
            let time = time::kube(time::parse(&published.changes.time).unwrap_or(now));
            let reason = decided.reason.unwrap_or_else(|| reason(seen, published));
            status.last_change_time = Some(time.clone());
            status.history.insert(0, PolicyHistory { revision: published.revision.clone(), time, reason });
            status.history.truncate(HISTORY);
        }
    }
    let (situation, extras) = situation(policy, decided, status.consumers.as_ref());
    if let Some(consumers) = &mut status.consumers {
        consumers.items.truncate(ITEMS);
    }
    status.conditions = conditions(&seen.status.conditions, &situation, &extras, policy.generation, now);
    status
}

/// Why the published content came to be, as far as it can still be told.
fn reason(seen: &Seen, published: &Published) -> ChangeReason {
    if published.changes.publication == 1 {
        ChangeReason::Created
    } else if seen.rotation.as_ref().is_some_and(|rotation| !rotation.is_published(&seen.status)) {
        ChangeReason::Rotated
    } else {
        ChangeReason::SourceChanged
    }
}

/// Whether the version that a rotation wrote, or a later one where versions are numbers, was read.
fn delivered(rotation: &OpenRotation, fetched: &Fetched) -> bool {
    let newer = |version: &str| match (version.parse::<u64>(), rotation.version.parse::<u64>()) {
        (Ok(read), Ok(written)) => read >= written,
        _ => version == rotation.version,
    };
    fetched.iter().any(|(request, value)| request.locator.key == rotation.key && newer(&value.version))
}

/// The versions that were read, one line per key.
pub fn versions(fetched: &Fetched) -> Vec<SourceVersion> {
    let mut all: Vec<SourceVersion> = fetched
        .iter()
        .map(|(request, value)| SourceVersion { key: request.locator.key.clone(), version: value.version.clone() })
        .collect();
    all.sort();
    all.dedup();
    all
}

fn situation(policy: &Policy, decided: &Decided, consumers: Option<&ConsumersStatus>) -> (Situation, Vec<Extra>) {
    if let Some(wait) = decided.wait {
        return (Situation::NotReady(Reason::DependencyNotReady, wait.to_owned()), Vec::new());
    }
    let published = format!("Secret {} holds the value of {}", policy.secret, policy.source);
    match consumers.map(current) {
        None => (Situation::Synced(published), Vec::new()),
        Some(extra) if extra.reason == Reason::ConsumersOutdated => {
            (Situation::Progressing(extra.message.clone()), vec![extra])
        }
        Some(extra) => (Situation::Synced(published), vec![extra]),
    }
}

/// The condition `ConsumersCurrent`.
fn current(consumers: &ConsumersStatus) -> Extra {
    let extra = |value, reason, message| Extra { kind: ConditionType::ConsumersCurrent, value, reason, message };
    let in_state = |state: ConsumerState| -> Vec<String> {
        let items = consumers.items.iter().filter(|item| item.state == state);
        items.map(|item| format!("{} {}", item.kind, item.name)).collect()
    };
    let (moving, held) = (in_state(ConsumerState::Progressing), in_state(ConsumerState::Held));
    if !moving.is_empty() {
        let text = format!("on their way to the present value: {}", moving.join(", "));
        return extra(false, Reason::ConsumersOutdated, text);
    }
    if !held.is_empty() {
        let text = format!("held on an older value: {}; see status.consumers", held.join(", "));
        return extra(false, Reason::Held, text);
    }
    extra(true, Reason::AllCurrent, format!("{} of {} run on the present value", consumers.current, consumers.total))
}

/// The status of a policy that could not be brought further: consumers are looked at all the same, since they go on.
#[must_use]
pub fn failed(
    policy: &Policy,
    before: &SecretPolicyStatus,
    (published, workloads): (Option<&Published>, &[Consumer]),
    situation: &Situation,
    now: DateTime<Utc>,
) -> SecretPolicyStatus {
    let mut status = before.clone();
    status.source = Some(policy.source.clone());
    if let Some(published) = published {
        status.consumers = consumers(workloads, |workload| policy.input(published, workload));
    }
    let extra = status.consumers.as_ref().map(current);
    if let Some(consumers) = &mut status.consumers {
        consumers.items.truncate(ITEMS);
    }
    status.conditions = conditions(&before.conditions, situation, extra.as_slice(), policy.generation, now);
    status
}
