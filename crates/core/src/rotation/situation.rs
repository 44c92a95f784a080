//! What a schedule's conditions say.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rekey_api::{
    RotationScheduleStatus,
    condition::{ConditionType, Reason},
    rotation::RotationOutcome,
};

use super::{Record, outcome_reason};
use crate::{
    SpecError,
    summary::{self, Extra, Situation, Truth},
    time,
};

/// The status of a schedule whose spec is refused.
#[must_use]
pub fn refused(
    before: &RotationScheduleStatus,
    requested: Option<&str>,
    error: &SpecError,
    generation: i64,
    now: DateTime<Utc>,
) -> RotationScheduleStatus {
    stalled(before, requested, &Situation::Stalled(error.reason(), error.to_string()), generation, now)
}

/// The status of a schedule that is not worked on until the user changes something. An open rotation stays open. A
/// request that is there at first sight counts as handled here too: what is fixed later must not act on an old token.
#[must_use]
pub fn stalled(
    before: &RotationScheduleStatus,
    requested: Option<&str>,
    situation: &Situation,
    generation: i64,
    now: DateTime<Utc>,
) -> RotationScheduleStatus {
    let mut status = before.clone();
    if before.is_unseen() {
        status.last_handled_rotate = requested.map(str::to_owned);
    }
    status.observed_generation = Some(generation);
    status.conditions = beside_rotated(before, situation, generation, now);
    status
}

/// The status after a failed attempt. What was under way stays; the count of attempts is kept here, so that waiting
/// times survive a restart. A rotation that is late by more than `overdue_after` is overdue whatever has failed.
#[must_use]
pub fn failed(
    before: &RotationScheduleStatus,
    situation: &Situation,
    overdue_after: TimeDelta,
    generation: i64,
    now: DateTime<Utc>,
) -> RotationScheduleStatus {
    let mut status = before.clone();
    if let Some(open) = &mut status.rotation {
        open.attempts = open.attempts.saturating_add(1).min(i32::MAX.unsigned_abs());
        open.message = Some(situation.message().to_owned());
    }
    let late = overdue(before, overdue_after, now)
        .map(|text| Situation::Late(Reason::RotationOverdue, format!("{text}: {}", situation.message())));
    status.conditions = beside_rotated(before, late.as_ref().unwrap_or(situation), generation, now);
    status
}

/// The conditions in `situation`. How the last rotation ended stays as it was.
fn beside_rotated(
    before: &RotationScheduleStatus,
    situation: &Situation,
    generation: i64,
    now: DateTime<Utc>,
) -> Vec<Condition> {
    let rotated = before.conditions.iter().find(|at| at.type_ == ConditionType::Rotated.as_str());
    let mut all = summary::conditions(&before.conditions, situation, &[], generation, now);
    all.extend(rotated.cloned());
    all
}

/// The conditions after a decision; `status` has all else of it.
pub(super) fn conditions(record: &Record<'_>, status: &RotationScheduleStatus) -> Vec<Condition> {
    let (situation, extras) = situation(record, status);
    summary::conditions(&record.status.conditions, &situation, &extras, record.task.spec.generation, record.now)
}

/// What is later than it may be; `None`: nothing is.
fn overdue(status: &RotationScheduleStatus, after: TimeDelta, now: DateTime<Utc>) -> Option<String> {
    let is_late = |since: DateTime<Utc>| now > time::later(since, after);
    if let Some(open) = &status.rotation {
        return is_late(time::chrono(&open.started_at))
            .then(|| format!("the rotation that started at {} is not finished", open.started_at.0));
    }
    let planned = status.next_rotation_time.as_deref().and_then(time::parse).filter(|at| is_late(*at))?;
    Some(format!("the rotation that was due at {} has not started", time::text(planned)))
}

fn situation(record: &Record<'_>, status: &RotationScheduleStatus) -> (Situation, Vec<Extra>) {
    let rotated = |value, reason, message: String| vec![Extra { kind: ConditionType::Rotated, value, reason, message }];
    let late = overdue(status, record.task.spec.overdue_after, record.now);
    if let Some(open) = &status.rotation {
        let waits = open.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        let text = format!("{}{waits}", open.step.as_str());
        let reason = record.decided.waits.as_ref().map_or(Reason::Rotating, |wait| wait.reason);
        let extras = rotated(Truth::False, reason, text.clone());
        if let Some(late) = late {
            return (Situation::Late(Reason::RotationOverdue, format!("{late}: {text}")), extras);
        }
        return match reason {
            // Only a person can bring it further.
            Reason::PendingNotProven | Reason::RetirementBlocked => (Situation::Late(reason, text), extras),
            // It rests as its spec asks for it.
            Reason::AwaitingApproval | Reason::AwaitingWindow | Reason::Suspended => {
                (Situation::Resting(reason, text), extras)
            }
            _ => (Situation::Progressing(text), extras),
        };
    }
    let extras = match (&record.decided.waits, status.history.first()) {
        (Some(wait), _) => rotated(Truth::False, wait.reason, format!("a rotation is due, but {}", wait.text)),
        (None, Some(last)) => {
            let reason = outcome_reason(last.outcome);
            let text = last.message.clone().unwrap_or_else(|| format!("rotation {} is complete", last.id));
            let is_complete = last.outcome == RotationOutcome::Completed;
            rotated(if is_complete { Truth::True } else { Truth::False }, reason, text)
        }
        (None, None) => Vec::new(),
    };
    if let Some(stalled) = &record.decided.stalled {
        return (Situation::Stalled(stalled.reason, stalled.text.clone()), extras);
    }
    if let Some(late) = late {
        return (Situation::Late(Reason::RotationOverdue, late), extras);
    }
    let text = match (&status.next_rotation_time, &record.task.spec.schedule_text) {
        _ if record.task.spec.suspended => "spec.suspend is true: nothing rotates until it is false".to_owned(),
        (Some(next), _) => format!("the next rotation is at {next}"),
        (None, Some(_)) => "spec.schedule names no time in the future; check its cron".to_owned(),
        (None, None) => "rotates on request: annotate it with rekey.dev/rotate-requested=<a new token>".to_owned(),
    };
    let text = match &record.decided.note {
        Some(note) => format!("{text}; {note}"),
        None => text,
    };
    let situation = match record.task.spec.suspended {
        // One that is created with spec.suspend is as its spec asks for it, and has no last value to keep.
        true if record.status.conditions.is_empty() => Situation::Noted(Reason::Suspended, text),
        true => Situation::Resting(Reason::Suspended, text),
        false => Situation::Synced(text),
    };
    (situation, extras)
}
