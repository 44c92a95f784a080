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
use rekey_api::{condition::Reason, rotation::RotationOutcome};

use super::{
    Effect, Move, Open, Pending, ProofView, Seen, State, Stored, Trust, UsersView, Wait,
    ends::{abandoned, completed, elsewhere, foreign},
    overlap::{grace, second_grace},
    step::{looked, renamed, still_ours},
    waits::{leaked, let_go_command, needed, others, pods_behind},
};
use crate::{
    rotator::{
        postgres::quoted,
        users::{FormerUser, UserStand, Users},
    },
    summary::listed,
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
        // Nor is it taken for a value that has leaked: whoever uses it has nothing to do with that.
        UserStand::Before | UserStand::Revoked | UserStand::Ended if users.stranger.is_some() => {
            let text = users.stranger.clone().unwrap_or_default();
            Move { waits: Some(Wait::new(Reason::Held, text)), ..Move::to(State::Applying(open)) }
        }
        UserStand::Before | UserStand::Revoked | UserStand::Ended => match in_use(users, seen) {
            None => Move::doing(State::Applying(open), Effect::Grant),
            Some(text) if open.is_leaked() => {
                let broke =
                    Some(format!("gave user {} another password though it may be in use: {text}", users.new_name));
                Move { broke, ..Move::doing(State::Applying(open), Effect::Grant) }
            }
            Some(text) => {
                let name = &users.new_name;
                let text = format!(
                    "user {name} is not free: {text}; if nobody uses it, run: ALTER ROLE {} NOLOGIN;",
                    quoted(name)
                );
                let wait = Wait::new(Reason::Held, text);
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
    let others = || {
        let all = others(seen, seen.policy.elsewhere)?;
        Some(format!(
            "these policies read the key and do not show that their consumers run on what the store holds: {all}"
        ))
    };
    // Who runs unsteadily runs on the login that is in use.
    pods_behind(seen).or_else(others)
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
            // Or only its password.
            UsersView::Seen(_) => {
                let again = Move::doing(State::Verifying(open), Effect::Grant);
                Move { waits: Some(Wait::new(Reason::Rotating, why.as_str())), ..again }
            }
            UsersView::NotAsked | UsersView::Refused(_) => Move::waiting(State::Verifying(open), why.as_str()),
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
    if let Some(why) = kept_from(seen) {
        return Move::end(RotationOutcome::Completed, format!("{why}: {}", left(seen)));
    }
    if let Some(text) = needed(seen, now) {
        return Move::waiting(State::Retiring(open), text);
    }
    let users = match &seen.users {
        UsersView::Seen(users) => users,
        UsersView::NotAsked | UsersView::Refused(_) => {
            return Move::waiting(State::Retiring(open), "Rekey asks the database");
        }
    };
    let next = |open: Open, user: &FormerUser| match user.stand {
        UserStand::Before | UserStand::Granted => Some(ending(open, user, users, seen, now)),
        // The answer of the server was lost, or another session holds what the user owns.
        UserStand::Revoked if user.sessions > 0 || user.owns => Some(Move::doing(State::Retiring(open), revoke(user))),
        UserStand::Revoked => Some(forgetting(open, user, seen, now)),
        UserStand::Ended | UserStand::Missing | UserStand::Foreign(_) => None,
    };
    // Whoever may still log in comes first.
    let mut all: Vec<&FormerUser> = users.former.iter().collect();
    all.sort_by_key(|user| !matches!(user.stand, UserStand::Before | UserStand::Granted));
    if let Some(decided) = all.into_iter().find_map(|user| next(open.clone(), user)) {
        return decided;
    }
    let theirs: Vec<String> =
        users.former.iter().filter(|user| user.is_foreign()).map(|user| user.name.clone()).collect();
    if theirs.is_empty() {
        return completed();
    }
    let text = format!("another rotation has altered {} meanwhile; Rekey leaves that as it is", named(&theirs));
    Move::end(RotationOutcome::Completed, text)
}

fn revoke(user: &FormerUser) -> Effect {
    Effect::Revoke { user: user.name.clone() }
}

fn named(users: &[String]) -> String {
    format!("{} {}", if users.len() == 1 { "user" } else { "users" }, listed(users, ", "))
}

/// Nobody needs the user any more, as far as consumers go.
fn ending(open: Open, user: &FormerUser, users: &Users, seen: &Seen, now: DateTime<Utc>) -> Move {
    let name = &user.name;
    if let Some(until) = grace(&open, seen, now) {
        let text = format!("no consumer uses user {name} any more; it may log in until {}", time::text(until));
        return Move::waiting(State::Retiring(open), text);
    }
    if user.sessions > 0 && !open.is_leaked() {
        let text = format!(
            "user {name} has {} that no known consumer explains; end that, or leave the user as it is: {}",
            sessions(user.sessions),
            let_go_command(&open, seen)
        );
        return Move { waits: Some(Wait::new(Reason::Held, text)), ..Move::to(State::Retiring(open)) };
    }
    match (&seen.proof, &users.new) {
        (ProofView::Proven, _) => {
            let broke = (user.sessions > 0).then(|| format!("ended {} of user {name}", sessions(user.sessions)));
            Move { broke, ..Move::doing(State::Retiring(open), revoke(user)) }
        }
        (ProofView::NotAsked, _) => Move::waiting(State::Retiring(open), "Rekey tries the new login once more"),
        // A database that went back, or a person: consumers hold this password, so it is given once more.
        (ProofView::Refused(why), UserStand::Before | UserStand::Granted | UserStand::Revoked | UserStand::Ended) => {
            let text = format!("the new login does not work any more, so user {name} stays: {why}");
            let waits = Some(Wait::new(Reason::Held, text));
            Move { waits, ..Move::doing(State::Retiring(open), Effect::Grant) }
        }
        (ProofView::Refused(why), UserStand::Missing | UserStand::Foreign(_)) => {
            let text = format!("the new login does not work any more, so user {name} stays: {why}");
            Move { waits: Some(Wait::new(Reason::Held, text)), ..Move::to(State::Retiring(open)) }
        }
    }
}

/// A user that has ended keeps its password for another `retireAfter`: until then a person can bring it back.
fn forgetting(open: Open, user: &FormerUser, seen: &Seen, now: DateTime<Utc>) -> Move {
    let name = &user.name;
    match second_grace(&open, seen, now) {
        Some(until) => {
            let text = format!(
                "user {name} may not log in any more; the server keeps its password until {}",
                time::text(until)
            );
            Move::waiting(State::Retiring(open), text)
        }
        None => Move::doing(State::Retiring(open), Effect::Forget { user: name.clone() }),
    }
}

/// Why the users that should end are not ended, and stay as they are.
fn kept_from(seen: &Seen) -> Option<&'static str> {
    let is_proven = |pending: &Pending| pending.trust == Trust::Proven;
    if seen.spec.deleted {
        Some("the schedule was deleted before the old user was retired")
    } else if !seen.is_named {
        Some("spec.rotator changed meanwhile")
    } else if !seen.pending.as_ref().is_some_and(is_proven) {
        Some("the pending Secret does not prove any more which user is the old one")
    } else {
        None
    }
}

/// What is left of the users that should end, and what a person can do about it.
pub(super) fn left(seen: &Seen) -> String {
    let former: Vec<String> = match (&seen.users, &seen.pending) {
        (UsersView::Seen(users), _) if users.former.iter().all(|user| user.stand == UserStand::Revoked) => {
            return "no old user may log in any more; the server still keeps the passwords".to_owned();
        }
        (_, Some(pending)) if pending.trust == Trust::Proven => {
            pending.users.former.iter().map(|former| former.user.clone()).collect()
        }
        (UsersView::Seen(_) | UsersView::NotAsked | UsersView::Refused(_), _) => Vec::new(),
    };
    match former.as_slice() {
        [] => "if the old user may still log in, end that with ALTER ROLE … NOLOGIN".to_owned(),
        all => {
            let sql: Vec<String> = all.iter().map(|user| format!("ALTER ROLE {} NOLOGIN;", quoted(user))).collect();
            format!("if {} may still log in, end that with: {}", named(all), sql.join(" "))
        }
    }
}
