//! What an open rotation waits for once its value is live, and what ends such a wait.

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{
    condition::Reason,
    names::{LET_GO, ROLE_ROLLOUTS},
    rotation::{RotationOutcome, RotationReason},
};

use super::{Due, Move, Open, Seen, State, Wait, two_logins};
use crate::{rotator::Overlap, summary::listed, time};

/// A rotation that only waits for the end of the old credential is reported after this time, beside its grace. A rollout of many
/// consumers has ended before, and a Job that takes longer is one that a person knows of.
const BLOCKED: TimeDelta = TimeDelta::hours(1);

/// What is waited for before every consumer is current; `None`: all are.
pub(super) fn behind(seen: &Seen) -> Option<String> {
    match &seen.policy.behind {
        None => Some("the status of the policy is behind its spec".to_owned()),
        Some(behind) if !behind.is_empty() => Some(format!("not yet on the new value: {}", listed(behind, ", "))),
        Some(_) => None,
    }
}

/// What is waited for before the old credential ends: what settled the rotation is checked again, since status is no proof.
/// Policies of other namespaces are not waited for without end: nobody here can do anything about them.
pub(super) fn needed(seen: &Seen, now: DateTime<Utc>) -> Option<String> {
    let elsewhere = if is_blocked(seen, now) { 0 } else { seen.policy.elsewhere };
    let others = || Some(format!("not yet on the new value: {}", others(seen, elsewhere)?));
    behind(seen).or_else(|| pods(seen)).or_else(others)
}

/// The policies beside the schedule's own that keep a credential needed, in words; `None`: none does.
pub(super) fn others(seen: &Seen, elsewhere: usize) -> Option<String> {
    let elsewhere = match elsewhere {
        0 => None,
        1 => Some("a policy of another namespace".to_owned()),
        count => Some(format!("{count} policies of other namespaces")),
    };
    let all: Vec<String> = seen.policy.others.iter().cloned().chain(elsewhere).collect();
    (!all.is_empty()).then(|| listed(&all, ", "))
}

/// What is waited for until every pod runs steadily on the new value; `None`: each does.
pub(super) fn pods(seen: &Seen) -> Option<String> {
    let unsteady = seen.pods.as_ref().and_then(|pods| said("not running steadily on the new value", &pods.unsteady));
    let all: Vec<String> = pods_behind(seen).into_iter().chain(unsteady).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The same, of pods that may hold another value than the current one.
pub(super) fn pods_behind(seen: &Seen) -> Option<String> {
    let Some(pods) = &seen.pods else { return Some("Rekey lists the pods".to_owned()) };
    let old = said("still running with the old value", &pods.old);
    let unknown = said("Rekey does not know which value they hold (restart or delete them)", &pods.unknown);
    let all: Vec<String> = old.into_iter().chain(unknown).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn said(text: &str, names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| format!("{text}: {}", listed(names, ", ")))
}

/// A pod with an older value whose owner is a Rollout, where no Rollout is known: Rekey cannot restart it.
#[must_use]
pub fn pod_of_unseen_rollout(name: &str) -> String {
    format!(
        "{name} (of a Rollout, and the operator sees no Rollouts here: check that the ClusterRole {ROLE_ROLLOUTS} is \
         bound)"
    )
}

/// A value that has leaked is replaced at once, however long the consumers of the open rotation still take.
pub(super) fn leaked(seen: &Seen) -> Option<Move> {
    let text = "the value has leaked: the next rotation starts at once";
    (seen.due == Due::Now { reason: RotationReason::Leaked } && !seen.spec.deleted)
        .then(|| Move::end(RotationOutcome::Superseded, text))
}

/// Whether a person has let the open rotation go, whose value is live: nothing else matters then, and nothing is asked.
#[must_use]
pub fn is_let_go(state: &State, let_go: Option<&str>) -> bool {
    match state {
        State::RollingOut(open) | State::Settling(open) | State::Retiring(open) => let_go == Some(&open.id),
        State::Idle
        | State::AwaitingApproval(_)
        | State::AwaitingWindow(_)
        | State::Preparing(_)
        | State::Applying(_)
        | State::Verifying(_)
        | State::Publishing(_) => false,
    }
}

/// Ends a rotation that a person has let go.
pub(super) fn let_go(state: &State, seen: &Seen) -> Option<Move> {
    if !is_let_go(state, seen.spec.let_go.as_deref()) {
        return None;
    }
    let left = match seen.spec.rotator.overlap() {
        Overlap::None => "pods may still run with the old value".to_owned(),
        Overlap::TwoKeys => "the old key stays valid; remove it by hand".to_owned(),
        Overlap::TwoLogins => two_logins::left(seen),
    };
    Some(Move::end(RotationOutcome::Completed, format!("you let it go: {left}")))
}

/// The command that lets a rotation go.
pub(super) fn let_go_command(open: &Open, seen: &Seen) -> String {
    format!(
        "kubectl annotate rotationschedule {} -n {} --overwrite {LET_GO}={}",
        seen.spec.name, seen.spec.namespace, open.id
    )
}

/// Reports a wait for the end of the old credential that takes too long to end by itself.
pub(super) fn blocked(decided: Move, seen: &Seen, now: DateTime<Utc>) -> Move {
    let (State::Settling(open) | State::Retiring(open), Some(wait)) = (&decided.state, &decided.waits) else {
        return decided;
    };
    if !is_blocked(seen, now) {
        return decided;
    }
    let command = let_go_command(open, seen);
    let text = match seen.spec.rotator.overlap() {
        // To let it go would leave what has leaked.
        Overlap::TwoLogins if open.is_leaked() => format!("{}; {}", wait.text, two_logins::left(seen)),
        Overlap::None | Overlap::TwoKeys | Overlap::TwoLogins if wait.text.contains(LET_GO) => wait.text.clone(),
        Overlap::None | Overlap::TwoKeys | Overlap::TwoLogins => {
            format!("{}; to leave what is left as it is: {command}", wait.text)
        }
    };
    let waits = Some(Wait::new(Reason::RetirementBlocked, text));
    Move { waits, ..decided }
}

/// Whether the step in progress has lasted for longer than its graces take.
fn is_blocked(seen: &Seen, now: DateTime<Utc>) -> bool {
    let after = seen.spec.retire_after.checked_mul(2).and_then(|graces| graces.checked_add(&BLOCKED));
    let after = after.unwrap_or(TimeDelta::MAX);
    seen.begun.is_some_and(|begun| now >= time::later(begun.step, after))
}
