//! The steps that a rotation has while two users of a database can log in.
//!
//! # Guarantees
//! - The user that gets the new password is used by nobody: it may not log in, or no session and no pod has it.
//! - The store gets the new login only after this very look has logged in with it.
//! - The old user ends only when a fresh look has shown that every consumer is current, that no pod and no session has it,
//!   `retireAfter` is over, and the new login still works.
//! - What another rotation has altered, by its fence, is left alone.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use rekey_api::{condition::Reason, names::LET_GO, rotation::RotationOutcome};

use super::{
    Effect, Move, Open, Pending, ProofView, Seen, State, Stored, Trust, UsersView, Wait,
    ends::{abandoned, completed, elsewhere, foreign},
    overlap::grace,
    step::{behind, leaked, looked, pods, renamed, still_ours},
};
use crate::{
    rotator::users::{UserStand, Users},
    time,
};

pub(super) fn applying(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    if let Some(ended) = leaked(seen).filter(|_| !open.is_leaked()) {
        return ended;
    }
    let (pending, stored) = match looked(State::Applying, &open, seen, now) {
        ControlFlow::Continue(looked) => looked,
        ControlFlow::Break(decided) => return decided,
    };
    match stored {
        Stored::Before { .. } if seen.spec.deleted => given_up(seen),
        Stored::Before { .. } if !seen.is_named => renamed(State::Applying, open, seen, now),
        Stored::Before { .. } => granting(open, seen),
        Stored::Ours { .. } | Stored::Applied { .. } | Stored::Retired => Move::to(State::Publishing(open)),
        Stored::Elsewhere => elsewhere(),
        Stored::Foreign => foreign(pending),
    }
}

/// The schedule is gone, and the store has the old login.
fn given_up(seen: &Seen) -> Move {
    match &seen.users {
        UsersView::Seen(users) if users.new == UserStand::Granted => {
            let text = format!(
                "the schedule was deleted before the new login was in use; user {} has a password that nobody knows",
                users.new_name
            );
            Move::end(RotationOutcome::Abandoned, text)
        }
        UsersView::Refused(why) => {
            let text = format!("the schedule was deleted before the new login was in use, and {why}");
            Move::end(RotationOutcome::Abandoned, text)
        }
        UsersView::Seen(_) | UsersView::NotAsked => abandoned(),
    }
}

fn granting(open: Open, seen: &Seen) -> Move {
    let users = match &seen.users {
        UsersView::Seen(users) => users,
        UsersView::NotAsked | UsersView::Refused(_) => {
            return Move::waiting(State::Applying(open), "Rekey asks the database");
        }
    };
    match &users.new {
        UserStand::Granted => Move::to(State::Verifying(open)),
        UserStand::Before | UserStand::Revoked => match in_use(users, seen).filter(|_| !open.is_leaked()) {
            None => Move::doing(State::Applying(open), Effect::Grant),
            Some(text) => {
                let wait = Wait::new(Reason::Held, format!("user {} is not free: {text}", users.new_name));
                Move { waits: Some(wait), ..Move::to(State::Applying(open)) }
            }
        },
        UserStand::Missing => {
            let wait = Wait::new(Reason::SlotsNotReady, format!("user {} does not exist any more", users.new_name));
            Move { waits: Some(wait), ..Move::to(State::Applying(open)) }
        }
        UserStand::Foreign(_) => taken(users),
    }
}

fn sessions(count: u64) -> String {
    if count == 1 { "1 session".to_owned() } else { format!("{count} sessions") }
}

/// Another rotation has altered the user: what it has left there may be in use.
fn taken(users: &Users) -> Move {
    let text = format!(
        "another rotation has altered user {} meanwhile, as its comment says; Rekey leaves it as it is",
        users.new_name
    );
    Move::end(RotationOutcome::Superseded, text)
}

/// Why the user may be in use; `None`: it is not. One that may not log in is used by nobody.
fn in_use(users: &Users, seen: &Seen) -> Option<String> {
    if !users.new_can_login {
        return None;
    }
    if users.new_sessions > 0 {
        return Some(format!("it has {}", sessions(users.new_sessions)));
    }
    pods(seen)
}

pub(super) fn verifying(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    if let Some(ended) = leaked(seen).filter(|_| !open.is_leaked()) {
        return ended;
    }
    let (pending, stored) = match looked(State::Verifying, &open, seen, now) {
        ControlFlow::Continue(looked) => looked,
        ControlFlow::Break(decided) => return decided,
    };
    match (stored, &seen.proof) {
        (Stored::Before { .. }, _) if !seen.is_named && !seen.spec.deleted => {
            renamed(State::Verifying, open, seen, now)
        }
        (Stored::Before { .. }, ProofView::Proven) | (Stored::Ours { .. } | Stored::Applied { .. }, _) => {
            Move::to(State::Publishing(open))
        }
        (Stored::Before { .. }, ProofView::Refused(_) | ProofView::NotAsked) if seen.spec.deleted => given_up(seen),
        (Stored::Before { .. }, ProofView::NotAsked) => {
            Move::waiting(State::Verifying(open), "Rekey tries the new login")
        }
        // A person may have altered the user since.
        (Stored::Before { .. }, ProofView::Refused(why)) => match &seen.users {
            UsersView::Seen(users) if users.new != UserStand::Granted => Move::to(State::Applying(open)),
            UsersView::Seen(_) | UsersView::NotAsked | UsersView::Refused(_) => {
                Move::waiting(State::Verifying(open), why.as_str())
            }
        },
        (Stored::Retired, _) => completed(),
        (Stored::Elsewhere, _) => elsewhere(),
        (Stored::Foreign, _) => foreign(pending),
    }
}

pub(super) fn retiring(open: Open, seen: &Seen, now: DateTime<Utc>) -> Move {
    if let Some(ended) = leaked(seen) {
        return ended;
    }
    let open = match still_ours(State::Retiring, open, seen) {
        ControlFlow::Continue(open) => open,
        ControlFlow::Break(decided) => return decided,
    };
    if let Some(text) = kept_from(&open, seen) {
        return Move::end(RotationOutcome::Completed, text);
    }
    // Status is no proof: what settled the rotation is checked again.
    if let Some(text) = behind(seen).or_else(|| pods(seen)) {
        return Move::waiting(State::Retiring(open), text);
    }
    let users = match &seen.users {
        UsersView::Seen(users) => users,
        UsersView::NotAsked | UsersView::Refused(_) => {
            return Move::waiting(State::Retiring(open), "Rekey asks the database");
        }
    };
    let Some((name, stand)) = &users.old else { return completed() };
    match stand {
        // The answer of the server was lost before all of its sessions had ended.
        UserStand::Revoked if users.old_sessions > 0 => Move::doing(State::Retiring(open), Effect::Revoke),
        UserStand::Revoked | UserStand::Missing => completed(),
        UserStand::Foreign(_) => {
            let text = format!("another rotation has altered user {name} meanwhile; Rekey leaves it as it is");
            Move::end(RotationOutcome::Completed, text)
        }
        UserStand::Before | UserStand::Granted => ending(open, name, users, seen, now),
    }
}

/// Nobody needs the old user any more, as far as consumers go.
fn ending(open: Open, name: &str, users: &Users, seen: &Seen, now: DateTime<Utc>) -> Move {
    if let Some(until) = grace(&open, seen, now) {
        let text = format!("no consumer uses user {name} any more; it may log in until {}", time::text(until));
        return Move::waiting(State::Retiring(open), text);
    }
    if users.old_sessions > 0 && !open.is_leaked() {
        let text = format!(
            "user {name} has {} that no known consumer explains; end that, or leave the user as it is: kubectl \
             annotate rotationschedule {} -n {} --overwrite {LET_GO}={}",
            sessions(users.old_sessions),
            seen.spec.name,
            seen.spec.namespace,
            open.id
        );
        return Move { waits: Some(Wait::new(Reason::Held, text)), ..Move::to(State::Retiring(open)) };
    }
    match (&seen.proof, &users.new) {
        (ProofView::Proven, _) => Move::doing(State::Retiring(open), Effect::Revoke),
        (ProofView::NotAsked, _) => Move::waiting(State::Retiring(open), "Rekey tries the new login once more"),
        // A database that went back, or a person: consumers hold this password, so it is given once more.
        (ProofView::Refused(_), UserStand::Before | UserStand::Granted | UserStand::Revoked) => {
            Move::doing(State::Retiring(open), Effect::Grant)
        }
        (ProofView::Refused(why), UserStand::Missing | UserStand::Foreign(_)) => {
            let text = format!("the new login does not work any more, so user {name} stays: {why}");
            Move { waits: Some(Wait::new(Reason::Held, text)), ..Move::to(State::Retiring(open)) }
        }
    }
}

/// Why the old user is not retired, and stays as it is.
fn kept_from(open: &Open, seen: &Seen) -> Option<String> {
    let is_proven = |pending: &Pending| pending.trust == Trust::Proven;
    let why = if seen.spec.deleted {
        "the schedule was deleted before the old user was retired"
    } else if !seen.is_named {
        "spec.rotator changed meanwhile"
    } else if !seen.pending.as_ref().is_some_and(is_proven) {
        "the pending Secret does not prove any more which user is the old one"
    } else if seen.spec.let_go.as_ref() == Some(&open.id) {
        "you let it go"
    } else {
        return None;
    };
    Some(format!("{why}: it may still log in; to end that, run ALTER ROLE … NOLOGIN"))
}
