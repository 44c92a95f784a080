//! `RotationSchedule`: takes a rotation from one step to the next. See `rekey_core::rotation` for the steps; here is
//! what they see and what they do.

mod observe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::{Api, ResourceExt as _};
use rekey_api::{RotationSchedule, RotationScheduleStatus, names};
use rekey_core::{
    SpecError,
    rotation::{self, Due, Effect, Move, Owner, Plan, Prepared, Record, Seen, State, StoreView, Stored, TRIES, Wait},
    store::Write,
    time,
};
use uuid::Uuid;

use crate::{
    apply,
    cluster::{NamespaceAccess, Object, ObjectName, Table},
    connections,
    context::Context,
    drive::{Next, Reconcile},
    error::{Class, Error},
    notify,
    queue::Queue,
    settle::{self, Kind},
};

impl Kind for RotationSchedule {
    fn api(ctx: &Context, namespace: &str) -> Api<Self> {
        Api::namespaced(ctx.client.clone(), namespace)
    }

    fn table(ctx: &Context) -> &Table<Object<Self>> {
        &ctx.known.schedules
    }
}

/// Reconciles `RotationSchedule`.
pub struct Schedules;

impl Reconcile for Schedules {
    type Key = ObjectName;
    const KIND: &'static str = "RotationSchedule";

    fn queue(ctx: &Context) -> &Queue<ObjectName> {
        &ctx.queues.schedules
    }

    async fn ensure(ctx: &Context, key: &ObjectName) -> Result<Next, Error> {
        let Some(row) = ctx.known.schedules.get(key) else {
            ctx.memory.forget_effect(key);
            return Ok(Next::Change);
        };
        let deleted = row.metadata().deletion_timestamp.is_some();
        if deleted && ctx.namespaces.access(&key.namespace) == NamespaceAccess::Closed {
            // Its namespace goes, and our rights in it went first: nothing is left that could be finished.
            apply::release(ctx, row.metadata()).await?;
            return Ok(Next::Change);
        }
        let object = match row.object() {
            Err(error) if !deleted => return Err(error),
            object => object,
        };
        if !ctx.is_open(&key.namespace)? {
            return Ok(Next::Change);
        }
        let parsed = object.and_then(|object| {
            let policy = ObjectName::new(key.namespace.as_str(), object.spec.policy_ref.name.as_str());
            let policy = ctx.known.policies.get(&policy);
            let policy = policy.as_ref().and_then(|row| row.parsed.as_ref().ok());
            Ok((object, Plan::parse(object, policy)?))
        });
        let taken = match parsed {
            Ok((object, plan)) => {
                duplicate(ctx, object, &plan)?;
                let taken = turn(ctx, object, &plan).await;
                if let Err(error) = &taken
                    && plan.deleted
                    && is_busy(error)
                {
                    Self::failed(ctx, key, error).await?; // it counts, though nobody would be told of it otherwise
                }
                taken
            }
            Err(_) if deleted => abandon(ctx, &row).await,
            Err(error) => Err(error),
        };
        match taken {
            // It was closed since, and watches that run do not notice it for minutes.
            Err(error) if deleted && observe::is_shut_out(&error) => {
                notify::refused(ctx, &key.namespace);
                Ok(Next::Now)
            }
            taken => taken,
        }
    }

    async fn failed(ctx: &Context, key: &ObjectName, error: &Error) -> Result<(), Error> {
        let Some(row) = ctx.known.schedules.get(key) else {
            return Ok(());
        };
        let Ok(object) = &row.parsed else {
            return settle::malformed::<RotationSchedule>(ctx, key, row.metadata(), error).await;
        };
        let before = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let requested = object.annotations().get(names::ROTATE_REQUESTED).map(String::as_str);
        let status = match error {
            // Of a schedule that is being deleted each failure counts as a try: it does not wait without end.
            Error::Spec(error) if object.metadata.deletion_timestamp.is_none() => {
                rotation::refused(&before, requested, error, generation, ctx.now())
            }
            // Whoever waits for the object is told that it was looked at.
            Error::NamespaceNotOpened { .. } if before.is_unseen() => {
                rotation::stalled(&before, requested, &error.situation(false), generation, ctx.now())
            }
            _ => rotation::failed(&before, &error.situation(false), generation, ctx.now()),
        };
        let news = condition_reason(&before) != condition_reason(&status);
        settle::settle(ctx, object, &status, true, notify::schedule).await?;
        if news && !matches!(error.class(), Class::Conflict) {
            ctx.events.tell(object, &error.notice("Rotate")).await;
        }
        Ok(())
    }
}

/// The second schedule of a policy does nothing; what it has open it may finish.
fn duplicate(ctx: &Context, object: &RotationSchedule, plan: &Plan) -> Result<(), Error> {
    let open = object.status.as_ref().is_some_and(|status| !matches!(rotation::state(status), State::Idle));
    let first = ctx.schedules_of(&plan.namespace, &plan.policy).into_iter().next();
    match first.and_then(|first| first.metadata.name) {
        Some(other) if other != plan.name && !open && !plan.deleted => {
            Err(SpecError::DuplicateSchedule { policy: plan.policy.clone(), other }.into())
        }
        _ => Ok(()),
    }
}

/// Lets go of a schedule that is being deleted and that cannot be read, or whose spec says nothing that could be acted on
/// any more.
async fn abandon(ctx: &Context, row: &Object<RotationSchedule>) -> Result<Next, Error> {
    let metadata = row.metadata();
    if !metadata.finalizers.iter().flatten().any(|name| name == names::FINALIZER) {
        return Ok(Next::Change);
    }
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let owner = Owner { namespace, uid: metadata.uid.as_deref().unwrap_or_default() };
    let status = row.parsed.as_ref().ok().and_then(|object| object.status.as_ref());
    let open = status.and_then(|status| status.rotation.as_ref()).map(|open| open.id.as_str());
    for pending in observe::left(ctx, &owner, open).await? {
        if pending.leaving.is_none() {
            apply::drop_pending(ctx, namespace, &pending.name, &pending.uid).await?;
        }
    }
    apply::release(ctx, metadata).await?;
    Ok(Next::Change)
}

/// Whether others keep the store from us: quiet, since it is soon over. A schedule that is being deleted counts it all the
/// same: others may keep a store busy for as long as they like.
fn is_busy(error: &Error) -> bool {
    matches!(error, Error::StoreBusy { .. } | Error::NoRoom)
}

fn condition_reason(status: &RotationScheduleStatus) -> Option<(String, String)> {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((ready.reason.clone(), ready.message.clone()))
}

/// One step: look, decide, persist the next state, then do what it asks for.
async fn turn(ctx: &Context, object: &RotationSchedule, plan: &Plan) -> Result<Next, Error> {
    let before = object.status.clone().unwrap_or_default();
    let (key, now) = (ObjectName::new(plan.namespace.as_str(), plan.name.as_str()), ctx.now());
    let state = rotation::state(&before);
    let (due, handled) = rotation::due(plan, &before, now);
    let seen = observe::observe(ctx, &before, (object, plan), &state, due.clone()).await?;
    let left = tidy(ctx, plan, &state, &seen).await?;
    let decided = rotation::step(state, &seen, now);
    let decided = left.iter().fold(decided, |decided, left| decided.adding(&left.text));
    let record = Record { plan, status: &before, decided: &decided, due: &due, handled: handled.as_deref(), now };
    let status = rotation::record(&record);
    if settle::settle(ctx, object, &status, true, notify::schedule).await? {
        for notice in rotation::notices(plan, &decided, &before, left.as_ref()) {
            ctx.events.tell(object, &notice).await;
        }
        return Ok(Next::Now);
    }
    let Some(effect) = &decided.effect else {
        ctx.memory.forget_effect(&key);
        return Ok(wait(&decided, &seen, &status, now));
    };
    let pause = ctx.memory.pause(&key, effect, now);
    if !pause.is_zero() {
        return Ok(Next::After(pause));
    }
    ctx.memory.count_effect(&key, effect, now);
    perform(ctx, object, plan, &seen, effect).await?;
    Ok(Next::Now)
}

/// Clears away what the write has left beside the new value. A schedule that is being deleted waits for it as long as for
/// any write; else a refusal holds nothing up. Returns what stays, and why.
async fn tidy(ctx: &Context, plan: &Plan, state: &State, seen: &Seen) -> Result<Option<Wait>, Error> {
    let (State::Publishing(_), StoreView::Holds(Stored::Ours { version })) = (state, &seen.store) else {
        return Ok(None);
    };
    let tidied = match connections::open(ctx, &plan.namespace, &plan.store).await {
        Ok(store) => store.finish(ctx, &plan.key, version).await,
        Err(error) => Err(error),
    };
    match tidied {
        Ok(()) => Ok(None),
        Err(error) if is_worth_waiting(&error, plan.deleted, seen.attempts) => Err(error),
        Err(error) => {
            let text = format!("what the write may have left beside the new value stays: {error}");
            Ok(Some(Wait::new(error.reason(), text)))
        }
    }
}

/// Whether clearing away is tried again before anything else is done.
fn is_worth_waiting(error: &Error, deleted: bool, attempts: u32) -> bool {
    match error.class() {
        _ if deleted => attempts < TRIES,
        Class::Denied | Class::Spec | Class::Data => false,
        Class::Transient | Class::Conflict | Class::Bug => is_busy(error) || attempts < TRIES,
    }
}

fn wait(decided: &Move, seen: &Seen, status: &RotationScheduleStatus, now: DateTime<Utc>) -> Next {
    let quarter = |since: DateTime<Utc>| Next::After(time::pause(now - since).to_std().unwrap_or_default());
    let leaving = seen.pending.as_ref().and_then(|pending| pending.leaving.as_ref());
    match (&decided.state, &seen.due, leaving) {
        (State::Idle, Due::At(at), _) if leaving.is_none() || *at <= now + time::SELDOM => {
            Next::After((*at - now).max(TimeDelta::zero()).to_std().unwrap_or_default())
        }
        (State::Idle, _, Some(leaving)) => quarter(leaving.since),
        (State::Idle, Due::Now { .. } | Due::At(_), None) => Next::After(Duration::from_secs(30)),
        (State::Idle, Due::OnRequest, None) => Next::Change,
        (State::Preparing(_) | State::Publishing(_) | State::RollingOut(_) | State::Settling(_), _, _) => {
            quarter(rotation::begun(status).map_or(now, |begun| begun.step))
        }
    }
}

async fn perform(
    ctx: &Context,
    object: &RotationSchedule,
    plan: &Plan,
    seen: &Seen,
    effect: &Effect,
) -> Result<(), Error> {
    match effect {
        Effect::Hold => apply::finalizer(ctx, object, true).await,
        Effect::Release => apply::finalizer(ctx, object, false).await,
        Effect::DropPending { name, uid } => apply::drop_pending(ctx, &plan.namespace, name, uid).await,
        Effect::MakePending { id } => {
            let read = read(ctx, plan).await?;
            let prepared = Prepared {
                id: id.clone(),
                base: read.as_ref().map(|read| read.version.clone()),
                base_digest: rotation::base_digest(plan, read.as_ref(), &ctx.digest_key)?,
                values: plan.make(ctx.chance.as_ref()),
            };
            apply::pending(ctx, plan, &prepared).await
        }
        Effect::WriteStore { base } => {
            let Some(pending) = &seen.pending else {
                return Ok(());
            };
            let read = read(ctx, plan).await?;
            if read.as_ref().map(|read| &read.version) != base.as_ref() {
                return Ok(()); // it has moved: decide again
            }
            let write = Write {
                key: plan.key.clone(),
                base: base.clone(),
                token: token(&pending.id, base.as_deref(), pending.base.as_deref()),
                bytes: rotation::merge(plan, pending, read.as_ref())?,
            };
            let connection = connections::open(ctx, &plan.namespace, &plan.store).await?;
            connection.write(ctx, &write).await.map(drop)
        }
    }
}

async fn read(ctx: &Context, plan: &Plan) -> Result<Option<rekey_core::store::RemoteValue>, Error> {
    let locator = rekey_core::store::Locator { key: plan.key.clone(), pin: rekey_core::store::Pin::Current };
    connections::open(ctx, &plan.namespace, &plan.store).await?.afresh().find(ctx, &locator).await
}

/// The token of a write: the rotation's id, and another one when the same values are merged over a later version.
fn token(id: &str, base: Option<&str>, first_base: Option<&str>) -> Uuid {
    let id = Uuid::parse_str(id).unwrap_or_default();
    if base == first_base { id } else { Uuid::new_v5(&id, base.unwrap_or_default().as_bytes()) }
}

/// The id of a rotation that begins now.
fn new_id(ctx: &Context) -> String {
    rekey_core::chance::rotation_id(ctx.chance.as_ref(), ctx.now()).to_string()
}
