//! How a rotation ends before its last step, and after it.

use rekey_api::rotation::RotationOutcome;

use super::{Move, Pending, Seen, State, TRIES};

pub(super) fn abandoned() -> Move {
    Move::end(RotationOutcome::Abandoned, "the schedule was deleted before the value was live")
}

pub(super) fn gone(seen: &Seen) -> Move {
    let text = if seen.spec.deleted {
        "the schedule was deleted, and the pending Secret of the rotation is gone"
    } else {
        "the pending Secret of the rotation is gone"
    };
    Move::end(RotationOutcome::Failed, text)
}

pub(super) fn foreign(pending: &Pending) -> Move {
    let text = format!("another tool changed the rotated properties of {}; Rekey leaves what is there", pending.target);
    Move::end(RotationOutcome::Superseded, text)
}

pub(super) fn elsewhere() -> Move {
    Move::end(RotationOutcome::Superseded, "spec.writeTo changed meanwhile; this rotation writes nothing there")
}

pub(super) fn refused(pending: &Pending) -> Move {
    let text = format!(
        "the schedule was deleted, and {} did not take the new value in {TRIES} tries; Rekey leaves what the store \
         holds there",
        pending.target
    );
    Move::end(RotationOutcome::Failed, text)
}

pub(super) fn completed() -> Move {
    Move { ended: Some((RotationOutcome::Completed, None)), ..Move::to(State::Idle) }
}
