//! What Events report of a step of a rotation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rekey_api::{
    RotationScheduleStatus,
    condition::{ConditionType, Reason},
    rotation::RotationOutcome,
};

use super::{Move, Open, State, Task, Wait, outcome_reason, state, status::named};
use crate::notice::Notice;

/// What is done when an Event is made.
const ACTION: &str = "Rotate";

/// What to report of a decision that changed the status `before`. `left`: what a write has left beside the new value,
/// and why it stays.
#[must_use]
pub fn notices(
    task: &Task,
    decided: &Move,
    (before, after): (&RotationScheduleStatus, &RotationScheduleStatus),
    left: Option<&Wait>,
) -> Vec<Notice> {
    // Once the write is done, nothing retries to clear away what it left.
    let left = left.filter(|_| !matches!(decided.state, State::Publishing(_)));
    let left = left.map(|left| Notice::new(left.reason, ACTION, left.text.as_str()));
    let late = overdue(after).filter(|_| overdue(before).is_none());
    let late = late.map(|text| Notice::new(Reason::RotationOverdue, ACTION, text));
    step(task, decided, before).into_iter().chain(late).chain(left).collect()
}

/// What to report of an effect that is done.
#[must_use]
pub fn broken(decided: &Move) -> Option<Notice> {
    let text = decided.broke.as_deref()?;
    Some(Notice::new(Reason::Forced, ACTION, format!("the value has leaked, so Rekey {text}")))
}

/// What `Ready` says of a rotation that is overdue.
fn overdue(status: &RotationScheduleStatus) -> Option<&str> {
    let is_it = |at: &&Condition| at.type_ == ConditionType::Ready.as_str();
    let ready = status.conditions.iter().find(is_it)?;
    (ready.reason == Reason::RotationOverdue.as_str()).then_some(ready.message.as_str())
}

fn step(task: &Task, decided: &Move, before: &RotationScheduleStatus) -> Option<Notice> {
    if let Some((outcome, why)) = &decided.ended {
        let text = match outcome {
            RotationOutcome::Completed => {
                why.clone().unwrap_or_else(|| format!("rotated {} in {}", task.to.key, task.to.store.name))
            }
            RotationOutcome::RolledBack
            | RotationOutcome::Superseded
            | RotationOutcome::Abandoned
            | RotationOutcome::Failed => format!("{outcome:?}: {}", why.as_deref().unwrap_or_default()),
        };
        return Some(Notice::new(outcome_reason(*outcome), ACTION, text));
    }
    let (open, name) = named(&decided.state)?;
    let told = before.rotation.as_ref().and_then(|open| open.message.as_deref());
    if let Some(wait) = &decided.waits
        && matches!(wait.reason, Reason::PendingNotProven | Reason::RetirementBlocked)
        && told != Some(wait.text.as_str())
    {
        return Some(Notice::new(wait.reason, ACTION, wait.text.as_str()));
    }
    let last = state(before);
    let last = named(&last).map(|(_, name)| name);
    if last == Some(name) {
        return None;
    }
    let Open { id, reason, .. } = open;
    Some(match (&decided.state, &decided.waits) {
        (State::AwaitingApproval(_) | State::AwaitingWindow(_), Some(wait)) => {
            Notice::new(wait.reason, ACTION, format!("rotation {id} ({reason:?}) is due: {}", wait.text))
        }
        (State::Preparing(_), _) => {
            Notice::new(Reason::Rotating, ACTION, format!("started rotation {id} ({reason:?})"))
        }
        _ => Notice::new(Reason::Rotating, ACTION, format!("rotation {id}: {}", name.as_str())),
    })
}
