//! Whether a rotation starts now.

use chrono::{DateTime, Utc};
use rekey_api::{RotationScheduleStatus, rotation::RotationReason};

use super::Task;
use crate::{schedule::jitter, time};

/// When the next rotation starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now {
        /// Why.
        reason: RotationReason,
    },
    /// Not before this time.
    At(DateTime<Utc>),
    /// Only when asked.
    OnRequest,
}

/// Whether a rotation starts now. The status holds the next time: a new spec is planned from now on, so that enabling
/// or changing a schedule rotates nothing by itself, and an outage leads to one rotation, not to many. A time later
/// than any that could have been planned until now is not ours, and stops no rotation.
///
/// Also returns the request token that counts as handled: on first sight of an object an old request is recorded, not
/// acted on.
#[must_use]
pub fn due(task: &Task, status: &RotationScheduleStatus, now: DateTime<Utc>) -> (Due, Option<String>) {
    let first_sight = status.is_unseen();
    let handled = if first_sight { task.spec.requested.clone() } else { status.last_handled_rotate.clone() };
    let asked = task.spec.requested.is_some() && task.spec.requested != handled;
    if asked {
        let reason = if task.spec.leaked { RotationReason::Leaked } else { RotationReason::Requested };
        return (Due::Now { reason }, task.spec.requested.clone());
    }
    if task.spec.rotate_on_create && status.history.is_empty() && status.last_rotation_time.is_none() {
        return (Due::Now { reason: RotationReason::Created }, handled);
    }
    let latest = task.spec.schedule.next(now).map(|slot| time::later(slot, task.spec.jitter));
    let planned = status.next_rotation_time.as_deref().and_then(time::parse);
    let is_planned = |at: &DateTime<Utc>| {
        status.observed_generation == Some(task.spec.generation) && latest.is_some_and(|latest| *at <= latest)
    };
    let next = planned.filter(is_planned).or_else(|| next(task, now));
    let due = match next {
        None => Due::OnRequest,
        Some(at) if at > now => Due::At(at),
        Some(at) => {
            let missed_more = task.spec.schedule.next(at).is_some_and(|following| following <= now);
            Due::Now { reason: if missed_more { RotationReason::CatchUp } else { RotationReason::Schedule } }
        }
    };
    (due, handled)
}

/// The first planned time after `now`, with the object's jitter, in whole seconds as the status keeps it.
pub fn next(task: &Task, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let due = task.spec.schedule.next(now)?;
    time::parse(&time::text(time::later(due, jitter(&task.spec.uid, due, task.spec.jitter))))
}
