//! What Events report of a step of a rotation.

use rekey_api::{RotationScheduleStatus, condition::Reason, rotation::RotationOutcome};

use super::{Move, State, Task, Wait, outcome_reason};
use crate::notice::Notice;

/// What is done when an Event is made.
const ACTION: &str = "Rotate";

/// What to report of a decision that changed the status `before`. `left`: what a write has left beside the new value,
/// and why it stays.
#[must_use]
pub fn notices(task: &Task, decided: &Move, before: &RotationScheduleStatus, left: Option<&Wait>) -> Vec<Notice> {
    // Once the write is done, nothing retries to clear away what it left.
    let left = left.filter(|_| !matches!(decided.state, State::Publishing(_)));
    let left = left.map(|left| Notice::new(left.reason, ACTION, left.text.as_str()));
    step(task, decided, before).into_iter().chain(left).collect()
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
    let told = before.rotation.as_ref().and_then(|open| open.message.as_deref());
    match (&decided.waits, super::state(before), &decided.state) {
        (Some(wait), _, _) if wait.reason == Reason::PendingNotProven && told != Some(wait.text.as_str()) => {
            Some(Notice::new(wait.reason, ACTION, wait.text.as_str()))
        }
        (_, State::Idle, State::Preparing(open)) => {
            let text = format!("started rotation {} ({:?})", open.id, open.reason);
            Some(Notice::new(Reason::Rotating, ACTION, text))
        }
        _ => None,
    }
}
