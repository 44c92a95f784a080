//! The steps that a rotation has only while two credentials are valid at the same time.
//!
//! # Guarantees
//! - Nothing uses the new credential before this very look has proven it, whatever a status says.
//! - The old one ends only when a fresh look has shown that every consumer is current and that no pod holds it, and
//!   `retireAfter` is over.

use std::ops::ControlFlow;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::rotation::RotationOutcome;

use super::{
    Effect, Move, Open, ProofView, Seen, State, Stored,
    ends::{abandoned, completed, elsewhere, foreign},
    step::{looked, renamed, still_ours},
    waits::{leaked, needed},
};
use crate::{rotator::Stage, time};

pub(super) fn applying(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    let (pending, stored) = match looked(State::Applying, &open, seen, now) {
        ControlFlow::Continue(looked) => looked,
        ControlFlow::Break(decided) => return decided,
    };
    match stored {
        Stored::Before { .. } if seen.spec.deleted => abandoned(),
        Stored::Before { .. } if !seen.is_named => renamed(State::Applying, open, seen, now),
        Stored::Before { version } => {
            let effect = Effect::WriteStore { base: version.clone(), stage: Stage::Applied };
            Move::doing(State::Applying(open), effect)
        }
        Stored::Applied { .. } => Move::to(State::Verifying(open)),
        Stored::Ours { .. } => Move::to(State::Publishing(open)),
        Stored::Retired => completed(),
        Stored::Elsewhere => elsewhere(),
        Stored::Foreign => foreign(pending),
    }
}

pub(super) fn verifying(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    let (pending, stored) = match looked(State::Verifying, &open, seen, now) {
        ControlFlow::Continue(looked) => looked,
        ControlFlow::Break(decided) => return decided,
    };
    match (stored, &seen.proof) {
        (Stored::Applied { .. }, ProofView::Proven) | (Stored::Ours { .. }, _) => Move::to(State::Publishing(open)),
        (Stored::Applied { .. }, ProofView::NotAsked) => {
            Move::waiting(State::Verifying(open), "Rekey tries the new key")
        }
        (Stored::Applied { .. }, ProofView::Refused(why)) if seen.spec.deleted => {
            let text = format!(
                "the schedule was deleted before the new key was proven ({why}); its public key stays in {}, and its \
                 private key is gone",
                pending.target
            );
            Move::end(RotationOutcome::Abandoned, text)
        }
        (Stored::Applied { .. }, ProofView::Refused(why)) => Move::waiting(State::Verifying(open), why.as_str()),
        (Stored::Retired, _) => completed(),
        (Stored::Elsewhere, _) => elsewhere(),
        // A look at a store that is behind, or another tool has put the old value back: our write has its condition.
        (Stored::Before { .. }, _) => Move::to(State::Applying(open)),
        (Stored::Foreign, _) => foreign(pending),
    }
}

/// Until when the old credential stays valid although nobody uses it; `None`: no longer. One that has leaked has no grace.
pub(super) fn grace(open: &Open, seen: &Seen, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = seen.begun.map_or(now, |begun| time::later(begun.step, grace_of(open, seen)));
    (until > now).then_some(until)
}

fn grace_of(open: &Open, seen: &Seen) -> TimeDelta {
    if open.is_leaked() { TimeDelta::zero() } else { seen.spec.retire_after }
}

/// Until when what has ended can be brought back: as long again.
pub(super) fn second_grace(open: &Open, seen: &Seen, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let first = grace_of(open, seen);
    let until = seen.begun.map_or(now, |begun| time::later(time::later(begun.step, first), first));
    (until > now).then_some(until)
}

pub(super) fn retiring(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    if let Some(ended) = leaked(seen) {
        return ended;
    }
    let open = match still_ours(State::Retiring, open, seen) {
        ControlFlow::Continue(open) => open,
        ControlFlow::Break(decided) => return decided,
    };
    if seen.spec.deleted {
        let text = "the schedule was deleted before the old key was retired: it stays valid; remove it by hand";
        return Move::end(RotationOutcome::Completed, text);
    }
    if !seen.is_named {
        let text =
            "spec.rotator changed meanwhile, so Rekey did not retire the old key: it stays valid; remove it by hand";
        return Move::end(RotationOutcome::Completed, text);
    }
    if let Some(text) = needed(seen, now) {
        return Move::waiting(State::Retiring(open), text);
    }
    if let Some(until) = grace(&open, seen, now) {
        let text = format!("no consumer uses the old key any more; it stays valid until {}", time::text(until));
        return Move::waiting(State::Retiring(open), text);
    }
    let base = open.written.as_ref().map(|written| written.version.clone());
    Move::doing(State::Retiring(open), Effect::WriteStore { base, stage: Stage::Retired })
}
