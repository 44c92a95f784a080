//! The status of a schedule: the persisted form of the step machine's state, and what people read.

use chrono::{DateTime, Utc};
use rekey_api::{
    RotationScheduleStatus,
    condition::Reason,
    rotation::{RotationHistory, RotationOutcome, RotationProgress, RotationStep, RotationStepRecord},
};
use uuid::Uuid;

use super::{Begun, Due, Move, Open, State, Task, Written, due, situation};
use crate::{schedule::Schedule, time};

/// Rotations that the status remembers.
const HISTORY: usize = 10;
/// Steps that the status remembers of a rotation.
const STEPS: usize = rekey_api::bounds::ROTATION_STEPS as usize;

/// Everything that the next status is made from.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The parsed schedule.
    pub task: &'a Task,
    /// The status so far.
    pub status: &'a RotationScheduleStatus,
    /// The decision.
    pub decided: &'a Move,
    /// Whether a rotation was due, if none was open.
    pub due: &'a Due,
    /// The request token that counts as handled once the decision is written.
    pub handled: Option<&'a str>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// The state that a status describes; `Idle` for a status that cannot be ours: an id becomes part of a name, and
/// another tool may have written it.
#[must_use]
pub fn state(status: &RotationScheduleStatus) -> State {
    let Some(progress) = status.rotation.as_ref().filter(|progress| is_id(&progress.id)) else {
        return State::Idle;
    };
    let written = progress.version.clone().map(|version| Written {
        version,
        properties: progress.properties.iter().cloned().collect(),
        digest: progress.digest.clone().unwrap_or_default(),
    });
    let open = Open { id: progress.id.clone(), reason: progress.reason, written };
    match progress.step {
        RotationStep::AwaitingApproval => State::AwaitingApproval(open),
        RotationStep::AwaitingWindow => State::AwaitingWindow(open),
        RotationStep::Preparing => State::Preparing(open),
        RotationStep::Applying => State::Applying(open),
        RotationStep::Verifying => State::Verifying(open),
        RotationStep::Publishing => State::Publishing(open),
        RotationStep::RollingOut => State::RollingOut(open),
        RotationStep::Settling => State::Settling(open),
        RotationStep::Retiring => State::Retiring(open),
        RotationStep::Held | RotationStep::RolledBack | RotationStep::Superseded | RotationStep::Failed => State::Idle,
    }
}

/// The open rotation of a state, and the name of its step.
pub(super) fn named(state: &State) -> Option<(&Open, RotationStep)> {
    match state {
        State::Idle => None,
        State::AwaitingApproval(open) => Some((open, RotationStep::AwaitingApproval)),
        State::AwaitingWindow(open) => Some((open, RotationStep::AwaitingWindow)),
        State::Preparing(open) => Some((open, RotationStep::Preparing)),
        State::Applying(open) => Some((open, RotationStep::Applying)),
        State::Verifying(open) => Some((open, RotationStep::Verifying)),
        State::Publishing(open) => Some((open, RotationStep::Publishing)),
        State::RollingOut(open) => Some((open, RotationStep::RollingOut)),
        State::Settling(open) => Some((open, RotationStep::Settling)),
        State::Retiring(open) => Some((open, RotationStep::Retiring)),
    }
}

/// Whether it is an id as [`rotation_id`](crate::chance::rotation_id) makes them.
fn is_id(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

/// When the open rotation and its step started.
#[must_use]
pub fn begun(status: &RotationScheduleStatus) -> Option<Begun> {
    let open = status.rotation.as_ref()?;
    let rotation = time::chrono(&open.started_at);
    Some(Begun { rotation, step: open.step_started_at.as_ref().map_or(rotation, time::chrono) })
}

/// Whether the rotation with this id has ended. Ids sort by time, and a schedule has one open rotation at a time: those
/// that the history no longer has are older than its newest.
#[must_use]
pub fn ended(status: &RotationScheduleStatus, id: &str) -> bool {
    status.history.iter().any(|past| past.id == id) || status.history.first().is_some_and(|last| id < last.id.as_str())
}

/// The reason that conditions and Events give for an outcome.
#[must_use]
pub fn outcome_reason(outcome: RotationOutcome) -> Reason {
    match outcome {
        RotationOutcome::Completed => Reason::Rotated,
        RotationOutcome::Superseded => Reason::ForeignRotation,
        RotationOutcome::RolledBack => Reason::RolledBack,
        RotationOutcome::Abandoned | RotationOutcome::Failed => Reason::Failed,
    }
}

/// The status after a decision.
#[must_use]
pub fn record(record: &Record<'_>) -> RotationScheduleStatus {
    let Record { task, status: before, decided, now, .. } = *record;
    let mut status = before.clone();
    status.observed_generation = Some(task.spec.generation);
    status.rotator = Some(task.spec.rotator.name().to_owned());
    status.schedule.clone_from(&task.spec.schedule_text);
    let opened = matches!(state(before), State::Idle);
    if opened {
        status.rotation = None; // another tool wrote that one is open
    }
    if let Some(open) = &mut status.rotation {
        let written = std::iter::once(&mut open.started_at).chain(&mut open.step_started_at);
        written.filter(|at| !time::is_past(time::chrono(at), now)).for_each(|at| *at = time::kube(now));
    }
    match (&decided.state, &decided.ended) {
        (State::Idle, Some((outcome, why))) => close(&mut status, *outcome, why.as_deref(), task, now),
        (State::Idle, None) => {
            // A time that has come, and a request, stay until their rotation starts.
            match record.due {
                Due::Now { .. } => {}
                Due::At(at) => status.next_rotation_time = Some(time::text(*at)),
                Due::OnRequest => status.next_rotation_time = None,
            }
            if !matches!(record.due, Due::Now { .. }) {
                status.last_handled_rotate = record.handled.map(str::to_owned);
            }
        }
        (open, _) => {
            if let Some((open, step)) = named(open) {
                progress(&mut status, record, open, step);
            }
        }
    }
    if is_retry(&status, record) {
        return status;
    }
    if opened && status.rotation.is_some() {
        status.last_handled_rotate = record.handled.map(str::to_owned);
        status.next_rotation_time = due::next(task, now).map(time::text);
    }
    if let Some(open) = &mut status.rotation {
        open.message = decided.waits.as_ref().map(|wait| wait.text.clone());
    }
    status.conditions = situation::conditions(record, &status);
    status
}

/// Whether a failed effect is retried: the status keeps what it says of the failure until the effect has succeeded, so
/// that an outage costs one write an attempt, and the waiting times grow.
fn is_retry(status: &RotationScheduleStatus, record: &Record<'_>) -> bool {
    let before = record.status;
    let tried = status.rotation.as_ref().is_some_and(|open| open.attempts > 0);
    tried && record.decided.effect.is_some() && before.observed_generation == status.observed_generation
}

fn progress(status: &mut RotationScheduleStatus, record: &Record<'_>, open: &Open, step: RotationStep) {
    let Record { task, decided, now, .. } = *record;
    let at = time::kube(now);
    let progress = status.rotation.get_or_insert_with(|| RotationProgress {
        id: open.id.clone(),
        step,
        started_at: at.clone(),
        step_started_at: None,
        attempts: 0,
        next_attempt_time: None,
        reason: open.reason,
        requested_by: task.spec.requested_by.clone().filter(|_| asked(open)),
        message: None,
        key: Some(task.to.key.clone()),
        version: None,
        properties: Vec::new(),
        digest: None,
        retiring_revision: None,
        steps: Vec::new(),
    });
    let begins = progress.step != step || progress.steps.is_empty() || progress.id != open.id;
    if begins {
        // A value that is made again and again would lead to a longer list of steps than the schema takes.
        if progress.steps.last().map(|last| last.step) != Some(step) && progress.steps.len() < STEPS {
            progress.steps.push(RotationStepRecord { step, started_at: at.clone() });
        }
        progress.step_started_at = Some(at);
        progress.step = step;
    }
    progress.id.clone_from(&open.id);
    if begins || decided.effect.is_none() {
        progress.attempts = 0;
    }
    let written = open.written.as_ref();
    progress.version = written.map(|written| written.version.clone());
    progress.properties = written.iter().flat_map(|written| &written.properties).cloned().collect();
    progress.digest = written.map(|written| written.digest.clone());
}

fn asked(open: &Open) -> bool {
    use rekey_api::rotation::RotationReason as Why;
    match open.reason {
        Why::Requested | Why::Leaked => true,
        Why::Schedule | Why::CatchUp | Why::Created | Why::Expiry | Why::Followed => false,
    }
}

fn close(
    status: &mut RotationScheduleStatus,
    outcome: RotationOutcome,
    why: Option<&str>,
    task: &Task,
    now: DateTime<Utc>,
) {
    let Some(open) = status.rotation.take() else {
        return;
    };
    let at = time::kube(now);
    if outcome == RotationOutcome::Completed {
        status.last_rotation_time = Some(at.clone());
    }
    let planned = status.next_rotation_time.as_deref().and_then(time::parse).filter(|at| *at <= now);
    let skipped = planned.filter(|_| matches!(task.spec.schedule, Schedule::Cron { .. }));
    let skipped =
        skipped.map(|at| format!("it took longer than its period: the rotation due at {} was skipped", time::text(at)));
    let said: Vec<String> = why.map(str::to_owned).into_iter().chain(skipped).collect();
    let past = RotationHistory {
        id: open.id,
        reason: open.reason,
        requested_by: open.requested_by,
        started_at: open.started_at,
        finished_at: Some(at),
        outcome,
        message: (!said.is_empty()).then(|| said.join("; ")),
        steps: open.steps,
    };
    // The API server takes no two entries of one id, and a status that others have written may bring an old one again.
    status.history.retain(|earlier| earlier.id != past.id);
    status.history.insert(0, past);
    status.history.truncate(HISTORY);
    // Periods count from the end of the last rotation; a pattern that came up meanwhile is not made up for.
    status.next_rotation_time = due::next(task, now).map(time::text);
}
