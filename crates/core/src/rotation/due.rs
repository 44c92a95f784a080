//! Whether a rotation starts now.

use chrono::{DateTime, Utc};
use rekey_api::{RotationScheduleStatus, rotation::RotationReason};

use super::Task;
use crate::{
    schedule::{Schedule, jitter},
    time,
};

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

/// Whether a rotation starts now. The status holds the next time, so that an outage leads to one rotation, not to many, and an
/// edit of anything else neither drops a rotation that is due nor moves one. A new `spec.schedule` is planned from now on, and a
/// period from the last rotation. A time later than any that could have been planned until now is not ours, and stops no
/// rotation.
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
        !first_sight && status.schedule == task.spec.schedule_text && latest.is_some_and(|latest| *at <= latest)
    };
    let next = planned.filter(is_planned).or_else(|| anew(task, status, now));
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

/// The next time of a schedule that is new or was changed.
fn anew(task: &Task, status: &RotationScheduleStatus, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let last = status.last_rotation_time.as_ref().map(time::chrono).filter(|last| *last <= now);
    match (&task.spec.schedule, last) {
        (Schedule::Every(_), Some(last)) => next(task, last),
        (Schedule::Every(_), None) | (Schedule::OnRequest | Schedule::Cron { .. }, _) => next(task, now),
    }
}

/// The first planned time after `from`, with the object's jitter, in whole seconds as the status keeps it.
pub fn next(task: &Task, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let due = task.spec.schedule.next(from)?;
    time::parse(&time::text(time::later(due, jitter(&task.spec.uid, due, task.spec.jitter))))
}
