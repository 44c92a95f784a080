//! What keeps a rotation from its start: all that would keep it from its end is asked before.

use std::sync::Arc;

use rekey_api::{
    SecretPolicy,
    condition::{Class, Reason},
};
use rekey_core::{
    policy::PolicySpec,
    rotation::{self, Due, Gate, Readiness, State, Task, Wait},
};

use super::{Schedules, observe::ThePolicy};
use crate::error::Error;

/// What keeps a rotation from its start, or a new value that the store has from being published.
pub async fn kept(
    ctx: &Schedules,
    task: &Task,
    policy: ThePolicy<'_>,
    state: &State,
    due: &Due,
) -> Result<Option<Wait>, Error> {
    match (state, due) {
        (State::Idle, Due::Now { .. }) | (State::AwaitingApproval(_) | State::AwaitingWindow(_), _)
            if !task.spec.deleted =>
        {
            unable(ctx, task, policy, rotation::gate(task, state, due, ctx.clock.now())).await
        }
        (State::Idle, Due::Now { .. } | Due::At(_) | Due::OnRequest)
        | (State::AwaitingApproval(_) | State::AwaitingWindow(_) | State::Preparing(_), _) => Ok(None),
        (
            State::Applying(_)
            | State::Verifying(_)
            | State::Publishing(_)
            | State::RollingOut(_)
            | State::Settling(_)
            | State::Retiring(_),
            _,
        ) => Ok(policy.refusal(task)),
    }
}

/// Why no rotation can come to its end as things are. What comes and goes by itself is left to when one is due.
pub fn hopeless(ctx: &Schedules, task: &Task, state: &State, policy: Option<ThePolicy<'_>>) -> Option<Wait> {
    if !matches!(state, State::Idle | State::AwaitingApproval(_) | State::AwaitingWindow(_)) || task.spec.deleted {
        return None;
    }
    let Some(policy) = policy else {
        return (!rotation::is_new(task, ctx.clock.now())).then(rotation::no_policy);
    };
    match ctx.stores.may_write(&task.spec.namespace, &task.to.store, &task.to.key) {
        Err(error @ Error::StoreNotAllowed { .. }) => Some(Wait::new(Reason::StoreNotAllowed, error.to_string())),
        Ok(()) | Err(_) => policy.spec.and_then(|spec| rotation::lasting(task, spec)),
    }
}

/// Why a new value could not be written and published now: all that would keep the rotation from its end is asked
/// before it starts.
async fn unable(ctx: &Schedules, task: &Task, policy: ThePolicy<'_>, gate: Gate) -> Result<Option<Wait>, Error> {
    match ctx.stores.may_write(&task.spec.namespace, &task.to.store, &task.to.key) {
        Ok(()) | Err(Error::StoreNotAllowed { .. }) => {} // no rotation can come to its end: see `hopeless`
        Err(error) => return Err(error),
    }
    if let Some(wait) = policy.refusal(task) {
        return Ok(Some(wait));
    }
    match rotation::readiness(policy.object) {
        Readiness::Ready => at_the_gate(ctx, task, policy, gate).await,
        Readiness::NotReady(wait) => Ok(Some(wait)),
        Readiness::Unpublished(wait) => {
            let read = ctx.read(task).await?;
            if rotation::lacks(task, read.as_ref())? {
                at_the_gate(ctx, task, policy, gate).await
            } else {
                Ok(Some(wait))
            }
        }
    }
}

/// What is asked only if the rotation would start at once: whether the policy could publish a value as it would be made, and what a
/// database says. Neither need know of a rotation that waits for a person or a window.
async fn at_the_gate(ctx: &Schedules, task: &Task, policy: ThePolicy<'_>, gate: Gate) -> Result<Option<Wait>, Error> {
    match (gate, policy.spec) {
        (Gate::Shut, _) | (_, None) => Ok(None),
        (Gate::Open(reason), Some(spec)) => match ctx.users_unable(task, reason).await? {
            Some(wait) => Ok(Some(wait)),
            None => unpublishable(ctx, task, policy.object, spec).await,
        },
    }
}

/// Why the policy could not publish a value that was rotated now.
async fn unpublishable(
    ctx: &Schedules,
    task: &Task,
    object: &SecretPolicy,
    spec: &Arc<PolicySpec>,
) -> Result<Option<Wait>, Error> {
    let read = ctx.read(task).await?;
    let made = ctx.made(task, read.as_ref()).await?;
    let candidate = rotation::candidate(task, &made, read.as_ref())?;
    // On the heap: what it holds while it reads would make each round of a schedule larger.
    let tried = Box::pin(ctx.policies.try_out(object, spec, (&task.to, &candidate))).await;
    let Err(error) = tried else { return Ok(None) };
    match error.class() {
        Class::Conflict | Class::Bug => Err(error),
        Class::Spec | Class::Data | Class::Denied | Class::Transient | Class::Outcome => {
            let text = format!("SecretPolicy {} could not publish a new value: {error}", task.spec.policy);
            Ok(Some(Wait::new(Reason::PolicyNotReady, text)))
        }
    }
}
