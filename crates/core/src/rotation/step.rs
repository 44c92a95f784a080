//! The step machine of a rotation.
//!
//! # Flow
//! A rotation that is due passes the [gate](super::gate): approval, window.
//! Without overlap: `Idle -> Preparing -> Publishing -> RollingOut -> Settling -> Idle`; such a value lives in the
//! store alone, so there is nothing to apply, to log in with or to retire. With two keys: `Preparing -> Applying ->
//! Verifying -> Publishing` and `Settling -> Retiring -> Idle` (see [`overlap`](super::overlap)).
//!
//! # Guarantees
//! - A step names what is in progress. It is complete only when its effect is **seen**: in the pending Secret, in the
//!   store, in the record on the policy's Secret, in a fresh list of pods.
//! - The state is persisted before its effect; an effect done twice is done once. After a kill at any point, the
//!   rotation goes on with the same value.
//! - Nothing is decided from a status alone, except which rotation is open and which version it is known to have
//!   written.
//! - A pending Secret counts for what its proof covers, and without a proof for nothing.
//! - The store is looked at before each step: once it has held our values, anything else in their place ends the
//!   rotation.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use rekey_api::{
    condition::Reason,
    rotation::{RotationOutcome, RotationReason},
};

use super::{
    Begun, Effect, Move, Open, Pending, ProofView, Seen, State, StoreView, Stored, Trust, Wait,
    ends::{abandoned, completed, elsewhere, foreign, gone, refused},
    gate, overlap, two_logins,
    waits::{behind, blocked, leaked, let_go, pods},
};
use crate::{
    rotator::{Overlap, Stage},
    summary::listed,
    time,
};

/// A schedule that is being deleted gives its store up after so many failed tries: after some 15 s if the store is not
/// responding, after two minutes if it refuses. An outage that lasts longer would keep namespaces from being deleted.
pub const TRIES: u32 = 5;

/// One step.
#[must_use]
pub fn step(state: State, seen: &Seen, now: DateTime<Utc>) -> Move {
    if let Some(ended) = let_go(&state, seen) {
        return ended;
    }
    let decided = next(state, seen, now);
    blocked(decided, seen, now)
}

fn next(state: State, seen: &Seen, now: DateTime<Utc>) -> Move {
    match state {
        State::Idle => idle(seen, now),
        State::AwaitingApproval(open) => gate::awaiting(State::AwaitingApproval, open, seen, now),
        State::AwaitingWindow(open) => gate::awaiting(State::AwaitingWindow, open, seen, now),
        State::Preparing(open) => preparing(open, seen, now),
        State::Applying(open) => match seen.spec.rotator.overlap() {
            Overlap::None => publishing(open, seen, now),
            Overlap::TwoKeys => overlap::applying(open, seen, now),
            Overlap::TwoLogins => two_logins::applying(open, seen, now),
        },
        State::Verifying(open) => match seen.spec.rotator.overlap() {
            Overlap::None => publishing(open, seen, now),
            Overlap::TwoKeys => overlap::verifying(open, seen, now),
            Overlap::TwoLogins => two_logins::verifying(open, seen, now),
        },
        State::Publishing(open) => publishing(open, seen, now),
        State::RollingOut(open) => rolling_out(open, seen),
        State::Settling(open) => settling(open, seen),
        State::Retiring(open) => match seen.spec.rotator.overlap() {
            Overlap::None => settling(open, seen),
            Overlap::TwoKeys => overlap::retiring(open, seen, now),
            Overlap::TwoLogins => two_logins::retiring(open, seen, now),
        },
    }
}

fn idle(seen: &Seen, now: DateTime<Utc>) -> Move {
    let mut note = None;
    match &seen.pending {
        Some(pending) if seen.pending_ended || seen.spec.deleted => match &pending.leaving {
            None => return Move::doing(State::Idle, drop_pending(pending)),
            // It is deleted already, and only the owners of the finalizers can do more about it.
            Some(_) if seen.spec.deleted && seen.finalizer => return Move::doing(State::Idle, Effect::RemoveFinalizer),
            Some(leaving) => {
                let kept_by = listed(&leaving.finalizers, ", ");
                let Pending { name, namespace, .. } = pending;
                let text = format!("Secret {name} is being deleted, but the finalizers {kept_by} keep it");
                note = Some(format!(
                    "{text}; remove them with: kubectl patch secret {name} -n {namespace} --type=merge \
                     -p '{{\"metadata\":{{\"finalizers\":null}}}}'"
                ));
            }
        },
        // A value that was made durable and that is not in the status: the status was lost, the value is not.
        Some(pending) => {
            let open = Open { id: pending.id.clone(), reason: RotationReason::CatchUp, written: None };
            return Move::to(State::Preparing(open));
        }
        None if seen.finalizer => return Move::doing(State::Idle, Effect::RemoveFinalizer),
        None => {}
    }
    Move { note, stalled: seen.hopeless.clone(), ..gate::start(seen, now) }
}

fn drop_pending(pending: &Pending) -> Effect {
    Effect::DropPending { name: pending.name.clone(), uid: pending.uid.clone() }
}

fn preparing(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    match &seen.pending {
        _ if seen.spec.deleted => abandoned(),
        Some(pending) => match pending.trust {
            Trust::Proven => Move::to(match seen.spec.rotator.overlap() {
                Overlap::None => State::Publishing(open),
                Overlap::TwoKeys | Overlap::TwoLogins => State::Applying(open),
            }),
            Trust::NotProven => anew(State::Preparing, open, seen, now, not_proven(pending)),
        },
        None if !seen.finalizer => Move::doing(State::Preparing(open), Effect::AddFinalizer),
        None => {
            let effect = Effect::MakePending { id: open.id.clone() };
            Move::doing(State::Preparing(open), effect)
        }
    }
}

/// Makes a new value under a new id: what there is cannot be used, and nothing of it was written. The other Secret
/// stays. Who forges each one drives a schedule no faster than the pauses in between.
fn anew(stay: fn(Open) -> State, open: Open, seen: &Seen, now: DateTime<Utc>, why: Wait) -> Move {
    let next = |begun: Begun| time::later(begun.step, time::pause(begun.step - begun.rotation));
    let state = if seen.begun.is_some_and(|begun| now < next(begun)) {
        stay(open)
    } else {
        State::Preparing(Open { id: seen.new_id.clone(), reason: open.reason, written: None })
    };
    Move { waits: Some(why), ..Move::to(state) }
}

/// The same for a schedule that was edited before anything was written.
pub(super) fn renamed(stay: fn(Open) -> State, open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    let text = "spec.rotator names other properties by now: Rekey makes their values under another id";
    anew(stay, open, seen, now, Wait::new(Reason::Rotating, text))
}

fn not_proven(pending: &Pending) -> Wait {
    let text = format!(
        "Secret {} is not proven to be this schedule's: Rekey neither uses nor deletes it, and makes a new value under \
         another id",
        pending.name
    );
    Wait::new(Reason::PendingNotProven, text)
}

/// A value may be live that may as well be another tool's.
fn held(stay: fn(Open) -> State, open: Open, seen: &Seen, pending: &Pending) -> Move {
    let Pending { name, namespace, .. } = pending;
    let text = format!(
        "Secret {name} is not proven to be this schedule's, and the store holds other values than it or a later version"
    );
    let command = format!("kubectl delete secret {name} -n {namespace}");
    if seen.spec.deleted {
        let text = format!("the schedule was deleted, and {text}; to remove that Secret: {command}");
        return Move::end(RotationOutcome::Failed, text);
    }
    let wait = Wait::new(Reason::PendingNotProven, format!("{text}; to give this rotation up: {command}"));
    Move { waits: Some(wait), ..Move::to(stay(open)) }
}

/// Whether the store holds, in the version that is known to be ours, exactly the values of a Secret that proves
/// nothing: the digest key was lost after they were written. Before that, a copy of the old values would look the same.
/// So would a Secret that names none, or only some, of the written properties; and without versions (KV version 1)
/// nothing distinguishes what was written from what another tool put there later, with a Secret that repeats it.
fn is_known(open: &Open, pending: &Pending, stored: &Stored) -> bool {
    match (stored, &open.written) {
        (Stored::Ours { version }, Some(written)) => {
            !version.is_empty() && *version == written.version && pending.values.keys().eq(&written.properties)
        }
        // It only ends the rotation, so that a forgery gains nothing.
        (Stored::Retired, Some(written)) => pending.values.keys().eq(&written.properties),
        (
            Stored::Ours { .. }
            | Stored::Applied { .. }
            | Stored::Retired
            | Stored::Before { .. }
            | Stored::Foreign
            | Stored::Elsewhere,
            _,
        ) => false,
    }
}

/// The pending Secret and what the store holds, if the rotation can go on with them.
pub(super) fn looked<'s>(
    stay: fn(Open) -> State,
    open: &Open,
    seen: &'s Seen,
    now: DateTime<Utc>,
) -> ControlFlow<Move, (&'s Pending, &'s Stored)> {
    let Some(pending) = &seen.pending else { return ControlFlow::Break(gone(seen)) };
    let stored = match &seen.store {
        StoreView::Holds(stored) => stored,
        StoreView::NotAsked => return ControlFlow::Break(Move::waiting(stay(open.clone()), "Rekey reads the store")),
        StoreView::Refused => return ControlFlow::Break(refused(pending)),
        StoreView::Gone => {
            let text = "the schedule was deleted, and its store is gone";
            return ControlFlow::Break(Move::end(RotationOutcome::Abandoned, text));
        }
    };
    if pending.trust == Trust::Proven || is_known(open, pending, stored) {
        return ControlFlow::Continue((pending, stored));
    }
    ControlFlow::Break(match &open.written {
        None if seen.spec.deleted => abandoned(),
        None => anew(stay, open.clone(), seen, now, not_proven(pending)),
        Some(_) => held(stay, open.clone(), seen, pending),
    })
}

fn publishing(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    let (pending, stored) = match looked(State::Publishing, &open, seen, now) {
        ControlFlow::Continue(looked) => looked,
        ControlFlow::Break(decided) => return decided,
    };
    match stored {
        Stored::Before { .. } | Stored::Applied { .. } if open.written.is_some() => foreign(pending),
        Stored::Before { .. } if seen.spec.rotator.overlap() == Overlap::TwoKeys => Move::to(State::Applying(open)),
        // Whatever the status says: what has not been proven is not used.
        Stored::Before { .. }
            if seen.spec.rotator.overlap() == Overlap::TwoLogins && seen.proof != ProofView::Proven =>
        {
            Move::to(State::Verifying(open))
        }
        Stored::Applied { .. } if seen.proof != ProofView::Proven => Move::to(State::Verifying(open)),
        Stored::Applied { .. } if seen.spec.deleted && seen.attempts >= TRIES => refused(pending),
        Stored::Applied { version } => {
            let effect = Effect::WriteStore { base: Some(version.clone()), stage: Stage::Live };
            Move::doing(State::Publishing(open), effect)
        }
        Stored::Retired => completed(),
        Stored::Before { .. } if !seen.is_named && seen.spec.deleted => abandoned(),
        Stored::Before { .. } if !seen.is_named => renamed(State::Publishing, open, seen, now),
        Stored::Before { .. } if seen.spec.deleted && seen.attempts >= TRIES => refused(pending),
        Stored::Before { version } => {
            let effect = Effect::WriteStore { base: version.clone(), stage: Stage::Live };
            Move::doing(State::Publishing(open), effect)
        }
        Stored::Elsewhere => elsewhere(),
        Stored::Foreign => foreign(pending),
        Stored::Ours { version } => live(open.written(version, pending), seen, pending),
    }
}

/// The value is in the store.
fn live(open: Open, seen: &Seen, pending: &Pending) -> Move {
    if let Some(ended) = leaked(seen).filter(|_| !open.is_leaked()) {
        return ended;
    }
    if seen.spec.deleted {
        let text = "the schedule was deleted; the new value is in the store";
        return Move::end(RotationOutcome::Completed, text);
    }
    if seen.policy.record.as_ref() == Some(&pending.record) {
        return match rolling_out(open.clone(), seen) {
            // Its first report on the consumers spares a write of its own.
            waiting @ Move { state: State::RollingOut(_), .. } => waiting,
            _ => Move::to(State::RollingOut(open)),
        };
    }
    unpublished(State::Publishing(open), seen)
}

/// The policy has yet to publish the value. Whatever keeps it from that is reported.
fn unpublished(state: State, seen: &Seen) -> Move {
    let kept = seen.policy.unable.clone();
    let wait = kept.unwrap_or_else(|| Wait::new(Reason::Rotating, "the policy publishes the new value"));
    Move { waits: Some(wait), ..Move::to(state) }
}

/// Whether the store still holds our values, and the policy has published them: asked before each later step.
pub(super) fn still_ours(stay: fn(Open) -> State, open: Open, seen: &Seen) -> ControlFlow<Move, Open> {
    let Some(pending) = &seen.pending else { return ControlFlow::Break(gone(seen)) };
    let stored = match &seen.store {
        StoreView::Holds(stored) => stored,
        StoreView::NotAsked => return ControlFlow::Break(Move::waiting(stay(open), "Rekey reads the store")),
        StoreView::Gone | StoreView::Refused => return ControlFlow::Continue(open), // nothing waits for it any more
    };
    match (pending.trust, stored) {
        (Trust::NotProven, stored) if !is_known(&open, pending, stored) => {
            ControlFlow::Break(held(stay, open, seen, pending))
        }
        (_, Stored::Retired) => ControlFlow::Break(completed()),
        (_, Stored::Before { .. } | Stored::Applied { .. } | Stored::Foreign) => ControlFlow::Break(foreign(pending)),
        (_, Stored::Elsewhere) => ControlFlow::Break(elsewhere()),
        (_, Stored::Ours { version }) => {
            let open = open.written(version, pending);
            if seen.spec.deleted || seen.policy.record.as_ref() == Some(&pending.record) {
                return ControlFlow::Continue(open);
            }
            ControlFlow::Break(unpublished(stay(open), seen))
        }
    }
}

fn rolling_out(open: Open, seen: &Seen) -> Move {
    if let Some(ended) = leaked(seen) {
        return ended;
    }
    let open = match still_ours(State::RollingOut, open, seen) {
        ControlFlow::Continue(open) => open,
        ControlFlow::Break(decided) => return decided,
    };
    if seen.spec.deleted {
        return Move::end(RotationOutcome::Completed, "the schedule was deleted while consumers were restarting");
    }
    match behind(seen) {
        Some(text) => Move::waiting(State::RollingOut(open), text),
        None => Move::to(State::Settling(open)),
    }
}

fn settling(open: Open, seen: &Seen) -> Move {
    if let Some(ended) = leaked(seen) {
        return ended;
    }
    let open = match still_ours(State::Settling, open, seen) {
        ControlFlow::Continue(open) => open,
        ControlFlow::Break(decided) => return decided,
    };
    if seen.spec.deleted {
        return Move::end(RotationOutcome::Completed, "the schedule was deleted while the rotation settled");
    }
    match (pods(seen), seen.spec.rotator.overlap()) {
        (Some(text), _) => Move::waiting(State::Settling(open), text),
        (None, Overlap::None) => completed(),
        (None, Overlap::TwoKeys | Overlap::TwoLogins) => Move::to(State::Retiring(open)),
    }
}
