//! What a rotation that is due waits for before anything is made: that the policy can publish, an approval, a window.
//!
//! Each is asked at every look until the rotation starts. From then on it goes on to its end.

use chrono::{DateTime, Utc};
use rekey_api::{
    condition::Reason,
    names::ROTATION_APPROVED,
    rotation::{Approval, RotationOutcome, RotationReason},
};

use super::{Due, Move, Open, Seen, State, Task, Wait, ends::abandoned, waits::leaked};
use crate::{
    schedule::{Opening, Schedule},
    time,
};

/// Starts the rotation that is due, if one is.
pub(super) fn start(seen: &Seen, now: DateTime<Utc>) -> Move {
    match &seen.due {
        Due::Now { .. } if seen.spec.deleted => Move::to(State::Idle),
        Due::Now { reason } => match kept(seen) {
            Some(wait) => Move { waits: Some(wait), ..Move::to(State::Idle) },
            None => pass(Open { id: seen.new_id.clone(), reason: *reason, written: None }, seen, now),
        },
        Due::At(_) | Due::OnRequest => Move::to(State::Idle),
    }
}

/// A rotation that has not started yet.
pub(super) fn awaiting(stay: fn(Open) -> State, open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    if seen.spec.deleted {
        return abandoned();
    }
    if !is_asked_for(open.reason, seen) {
        return Move::end(RotationOutcome::Abandoned, "nothing asks for this rotation any more");
    }
    if let Some(ended) = leaked(seen).filter(|_| !open.is_leaked()) {
        return ended;
    }
    match kept(seen) {
        Some(wait) => Move { waits: Some(wait), ..Move::to(stay(open)) },
        None => pass(open, seen, now),
    }
}

/// Whether what led to it still stands: a request can be withdrawn, and a status alone starts nothing.
fn is_asked_for(reason: RotationReason, seen: &Seen) -> bool {
    let spec = &seen.spec;
    match reason {
        RotationReason::Requested | RotationReason::Leaked => spec.requested.is_some(),
        RotationReason::Schedule | RotationReason::CatchUp => spec.schedule != Schedule::OnRequest,
        RotationReason::Created => spec.rotate_on_create,
        RotationReason::Expiry | RotationReason::Followed => false, // no rotator asks for these
    }
}

/// Whether a rotation that is due would start now, as far as its spec goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It would, for this reason.
    Open(RotationReason),
    /// It waits for a person or a window.
    Shut,
}

/// Whether a rotation that is due would start now, as far as its spec goes.
#[must_use]
pub fn gate(task: &Task, state: &State, due: &Due, now: DateTime<Utc>) -> Gate {
    let spec = &task.spec;
    let (id, reason) = match (state, due) {
        (State::Idle, Due::Now { reason }) => (None, *reason),
        (State::AwaitingApproval(open) | State::AwaitingWindow(open), _) => (Some(&open.id), open.reason),
        (_, _) => return Gate::Shut,
    };
    let is_approved = spec.approval != Approval::Manual || id.is_some() && spec.approved.as_ref() == id;
    let is_time = || spec.windows.opening(now) == Opening::Open;
    let is_open = !spec.suspended && (reason == RotationReason::Leaked || is_approved && is_time());
    if is_open { Gate::Open(reason) } else { Gate::Shut }
}

/// What keeps every rotation from its start.
fn kept(seen: &Seen) -> Option<Wait> {
    if seen.spec.suspended {
        return Some(Wait::new(Reason::Suspended, "spec.suspend is true"));
    }
    seen.hopeless.clone().or_else(|| seen.policy.unable.clone())
}

fn pass(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    let spec = &seen.spec;
    if open.is_leaked() {
        return Move::to(State::Preparing(open));
    }
    if spec.approval == Approval::Manual && spec.approved.as_ref() != Some(&open.id) {
        let text = format!(
            "approve it with: kubectl annotate rotationschedule {} -n {} --overwrite {ROTATION_APPROVED}={}",
            spec.name, spec.namespace, open.id
        );
        let wait = Wait::new(Reason::AwaitingApproval, text);
        return Move { waits: Some(wait), ..Move::to(State::AwaitingApproval(open)) };
    }
    match spec.windows.opening(now) {
        Opening::Open => Move::to(State::Preparing(open)),
        Opening::At(opens) => {
            let text = format!("the next window of spec.windows opens at {}", time::text(opens));
            let wait = Wait::new(Reason::AwaitingWindow, text);
            Move { waits: Some(wait), ..Move::to(State::AwaitingWindow(open)) }
        }
    }
}
