//! The step machine of a rotation.
//!
//! # Flow
//! `Idle -> Preparing -> Publishing -> RollingOut -> Settling -> Idle`; a generated value lives in the store alone, so
//! there is nothing to apply, to log in with or to retire.
//!
//! # Guarantees
//! - A step names what is in progress. It is complete only when its effect is **seen**: in the pending Secret, in the
//!   store, in the policy's status, in a fresh list of pods.
//! - The state is persisted before its effect; an effect done twice is done once. Killed anywhere, the same value
//!   goes on.
//! - Nothing is decided from the status of the schedule alone, except which rotation is open.

use chrono::{DateTime, Utc};
use rekey_api::{
    condition::Reason,
    rotation::{RotationOutcome, RotationReason},
};

use super::{Due, Pending, Stored};

/// Where a rotation is; by value, so that each arm names what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// None is open.
    Idle,
    /// The new value is being made durable.
    Preparing(Open),
    /// It is being written to the store, and by the policy to the Secret.
    Publishing(Open),
    /// Consumers are being brought onto it.
    RollingOut(Open),
    /// Nobody may still hold the old one.
    Settling(Open),
}

/// An open rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its id, a UUID of version 7.
    pub id: String,
    /// Why it was begun.
    pub reason: RotationReason,
    /// The store's version that holds the new value, once it is known.
    pub version: Option<String>,
}

/// What was seen.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the world")]
pub struct Seen {
    /// Whether one begins, if none is open.
    pub due: Due,
    /// Id for a rotation that begins now.
    pub new_id: String,
    /// The pending Secret of the schedule, read from the API server.
    pub pending: Option<Pending>,
    /// Whether the rotation of that Secret stands in the history.
    pub pending_ended: bool,
    /// Whether the schedule holds the finalizer.
    pub finalizer: bool,
    /// The store's value against the pending one, freshly read; only in `Publishing`.
    pub stored: Option<Stored>,
    /// Whether the store object itself is gone, so that nothing can be read or written any more.
    pub store_gone: bool,
    /// The policy.
    pub policy: PolicyView,
    /// Live pods that hold an older value, from a fresh list; only in `Settling`.
    pub old_pods: Option<Vec<String>>,
    /// Whether the schedule is suspended.
    pub suspended: bool,
    /// Whether the schedule is being deleted.
    pub deleted: bool,
}

/// What matters of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyView {
    /// Why a new value could not be written and published now.
    pub unable: Option<Wait>,
    /// Id of the last rotation it has reported as published.
    pub published: Option<String>,
    /// Consumers that are not current and healthy yet; `None` when its status is behind its spec.
    pub behind: Option<Vec<String>>,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// In a word.
    pub reason: Reason,
    /// For people, with what they can do.
    pub text: String,
}

impl Wait {
    /// A wait.
    #[must_use]
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// A change of the world. Each can be done twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the values and keep them in the pending Secret of this rotation.
    MakePending {
        /// Rotation id.
        id: String,
    },
    /// Write the pending values to the store, over this version.
    WriteStore {
        /// The version to replace.
        base: Option<String>,
    },
    /// Put the finalizer on the schedule.
    Hold,
    /// Take the finalizer off the schedule.
    Release,
    /// Delete the pending Secret.
    DropPending {
        /// Name of the Secret.
        name: String,
        /// Its uid.
        uid: String,
    },
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The next state; persisted before the effect.
    pub state: State,
    /// What to do in it.
    pub effect: Option<Effect>,
    /// What is waited for, if there is nothing to do.
    pub waits: Option<Wait>,
    /// How an open rotation ended, and why if it was not completed.
    pub ended: Option<(RotationOutcome, Option<String>)>,
}

impl Move {
    fn to(state: State) -> Self {
        Self { state, effect: None, waits: None, ended: None }
    }

    fn doing(state: State, effect: Effect) -> Self {
        Self { effect: Some(effect), ..Self::to(state) }
    }

    fn waiting(state: State, text: impl Into<String>) -> Self {
        Self { waits: Some(Wait::new(Reason::Rotating, text)), ..Self::to(state) }
    }

    fn end(outcome: RotationOutcome, why: Option<&str>) -> Self {
        Self { ended: Some((outcome, why.map(str::to_owned))), ..Self::to(State::Idle) }
    }
}

/// One step.
#[must_use]
pub fn step(state: State, seen: &Seen, _now: DateTime<Utc>) -> Move {
    match state {
        State::Idle => idle(seen),
        State::Preparing(open) => preparing(open, seen),
        State::Publishing(open) => publishing(open, seen),
        State::RollingOut(open) => rolling_out(open, seen),
        State::Settling(open) => settling(open, seen),
    }
}

fn idle(seen: &Seen) -> Move {
    match &seen.pending {
        Some(pending) if seen.pending_ended || seen.deleted => return Move::doing(State::Idle, drop_pending(pending)),
        // A value that was made durable and that the status does not know of: the status was lost, the value is not.
        Some(pending) => {
            let open = Open { id: pending.id.clone(), reason: RotationReason::CatchUp, version: None };
            return Move::to(State::Preparing(open));
        }
        None if seen.finalizer => return Move::doing(State::Idle, Effect::Release),
        None => {}
    }
    match &seen.due {
        Due::Now { .. } if seen.deleted => Move::to(State::Idle),
        Due::Now { .. } if seen.suspended => {
            let wait = Wait::new(Reason::Suspended, "spec.suspend is true");
            Move { waits: Some(wait), ..Move::to(State::Idle) }
        }
        Due::Now { reason } => match &seen.policy.unable {
            Some(wait) => Move { waits: Some(wait.clone()), ..Move::to(State::Idle) },
            None => Move::to(State::Preparing(Open { id: seen.new_id.clone(), reason: *reason, version: None })),
        },
        Due::At(_) | Due::OnRequest => Move::to(State::Idle),
    }
}

fn drop_pending(pending: &Pending) -> Effect {
    Effect::DropPending { name: pending.name.clone(), uid: pending.uid.clone() }
}

fn preparing(open: Open, seen: &Seen) -> Move {
    match &seen.pending {
        _ if seen.deleted => {
            Move::end(RotationOutcome::Abandoned, Some("the schedule was deleted before the value was live"))
        }
        Some(pending) if pending.id == open.id => Move::to(State::Publishing(open)),
        Some(pending) => Move::doing(State::Preparing(open), drop_pending(pending)),
        None if !seen.finalizer => Move::doing(State::Preparing(open), Effect::Hold),
        None => {
            let effect = Effect::MakePending { id: open.id.clone() };
            Move::doing(State::Preparing(open), effect)
        }
    }
}

fn publishing(open: Open, seen: &Seen) -> Move {
    if seen.pending.as_ref().is_none_or(|pending| pending.id != open.id) {
        return Move::end(RotationOutcome::Failed, Some("the pending Secret of the rotation is gone"));
    }
    match &seen.stored {
        None if seen.deleted && seen.store_gone => {
            Move::end(RotationOutcome::Abandoned, Some("the schedule was deleted, and its store is gone"))
        }
        None => Move::waiting(State::Publishing(open), "reads the store"),
        Some(Stored::Before { version }) => {
            let effect = Effect::WriteStore { base: version.clone() };
            Move::doing(State::Publishing(open), effect)
        }
        Some(Stored::Elsewhere) => {
            Move::end(RotationOutcome::Superseded, Some("spec.writeTo has changed meanwhile; nothing is written there"))
        }
        Some(Stored::Foreign) => Move::end(
            RotationOutcome::Superseded,
            Some("somebody else changed the rotated properties in the store meanwhile; what they left there stands"),
        ),
        Some(Stored::Ours { version }) => {
            let open = Open { version: Some(version.clone()), ..open };
            if seen.deleted {
                Move::end(RotationOutcome::Completed, Some("the schedule was deleted; the new value is in the store"))
            } else if seen.policy.published.as_deref() == Some(&open.id) {
                match rolling_out(open.clone(), seen) {
                    // Its first word about the consumers spares a write of its own.
                    waiting @ Move { state: State::RollingOut(_), .. } => waiting,
                    _ => Move::to(State::RollingOut(open)),
                }
            } else {
                // The value is live in the store: whatever keeps the policy from it has to be said.
                let wait = seen.policy.unable.clone();
                let waits = wait.or_else(|| Some(Wait::new(Reason::Rotating, "the policy publishes the new value")));
                Move { waits, ..Move::to(State::Publishing(open)) }
            }
        }
    }
}

fn rolling_out(open: Open, seen: &Seen) -> Move {
    if seen.deleted {
        return Move::end(RotationOutcome::Completed, Some("the schedule was deleted while consumers were rolling"));
    }
    if let Some(ended) = leaked(seen) {
        return ended;
    }
    if seen.policy.published.as_deref() != Some(&open.id) {
        return Move::waiting(State::RollingOut(open), "the policy reports the new value");
    }
    match &seen.policy.behind {
        None => Move::waiting(State::RollingOut(open), "the policy is behind its spec"),
        Some(behind) if !behind.is_empty() => {
            Move::waiting(State::RollingOut(open), format!("not yet on the new value: {}", behind.join(", ")))
        }
        Some(_) => Move::to(State::Settling(open)),
    }
}

fn settling(open: Open, seen: &Seen) -> Move {
    if seen.deleted {
        return Move::end(RotationOutcome::Completed, Some("the schedule was deleted while the rotation settled"));
    }
    if let Some(ended) = leaked(seen) {
        return ended;
    }
    match &seen.old_pods {
        None => Move::waiting(State::Settling(open), "lists the pods"),
        Some(old) if !old.is_empty() => {
            let text = format!("still running with the old value: {}", old.join(", "));
            Move::waiting(State::Settling(open), text)
        }
        Some(_) => Move::end(RotationOutcome::Completed, None),
    }
}

/// A value that has leaked is replaced at once, however long the consumers of the present rotation still take.
fn leaked(seen: &Seen) -> Option<Move> {
    let text = "the new value has leaked: the next rotation begins at once";
    (seen.due == Due::Now { reason: RotationReason::Leaked })
        .then(|| Move::end(RotationOutcome::Superseded, Some(text)))
}
