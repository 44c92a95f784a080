//! `SecretPolicy`: keeps the Secret of a policy equal to what its source holds.

pub(crate) mod observe;
mod read;
mod template;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kube::Api;
use rekey_api::{SecretPolicy, SecretPolicyStatus};
use rekey_core::{
    SpecError,
    policy::{self, Fetch, Fetched, Plan, Policy, Seen, Step, Tools},
    stop::Stop,
    summary::conditions,
    time,
};

use tokio::time::Instant;

use crate::{
    apply,
    cluster::{Object, ObjectName, Table},
    connections::{self, Room},
    context::Context,
    drive::{Next, Reconcile},
    error::{Class, Error},
    memory::Read,
    notify,
    queue::Queue,
    settle::{self, Kind},
};

impl Kind for SecretPolicy {
    fn api(ctx: &Context, namespace: &str) -> Api<Self> {
        Api::namespaced(ctx.client.clone(), namespace)
    }

    fn table(ctx: &Context) -> &Table<Object<Self>> {
        &ctx.known.policies
    }
}

/// Reconciles `SecretPolicy`.
pub struct Policies;

impl Reconcile for Policies {
    type Key = ObjectName;
    const KIND: &'static str = "SecretPolicy";

    fn queue(ctx: &Context) -> &Queue<ObjectName> {
        &ctx.queues.policies
    }

    async fn ensure(ctx: &Context, key: &ObjectName) -> Result<Next, Error> {
        let Some(row) = ctx.known.policies.get(key) else {
            return Ok(Next::Change);
        };
        let object = row.object()?;
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change); // the ownerReference lets the garbage collector do the rest
        }
        if !ctx.is_open(&key.namespace)? {
            return Ok(Next::Change);
        }
        let parsed = Arc::new(Policy::try_from(object)?);
        if parsed.suspended {
            return suspended(ctx, object, &parsed).await;
        }
        prove(ctx, &row, &parsed).await?;
        keep(ctx, object, &parsed).await
    }

    async fn failed(ctx: &Context, key: &ObjectName, error: &Error) -> Result<(), Error> {
        let Some(row) = ctx.known.policies.get(key) else {
            return Ok(());
        };
        let Ok(object) = &row.parsed else {
            return settle::malformed::<SecretPolicy>(ctx, key, row.metadata(), error).await;
        };
        let status = failure(ctx, object, error);
        if settle::settle(ctx, object, &status, true, notify::policy).await? {
            ctx.events.tell(object, &error.notice("Sync")).await;
        }
        Ok(())
    }
}

/// The status of a policy whose reconcile failed.
fn failure(ctx: &Context, object: &SecretPolicy, error: &Error) -> SecretPolicyStatus {
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let situation = error.situation(observe::served(ctx, object));
    let mut status = match Policy::try_from(object) {
        Ok(parsed) => {
            let published = observe::published(ctx, &parsed);
            let consumers = observe::consumers(ctx, &parsed);
            policy::failed(&parsed, &before, (published.as_deref(), &consumers), &situation, ctx.now())
        }
        Err(_) => SecretPolicyStatus {
            conditions: conditions(&before.conditions, &situation, &[], generation, ctx.now()),
            source: policy::shown(object),
            ..before
        },
    };
    // A new spec is acknowledged only once it was acted on, or refused for good.
    if matches!(error.class(), Class::Spec | Class::Data) || status.revision.is_none() {
        status.observed_generation = Some(generation);
    }
    status
}

/// Looks at templates and expressions, once for each generation.
async fn prove(ctx: &Context, row: &Object<SecretPolicy>, parsed: &Arc<Policy>) -> Result<(), Error> {
    if !parsed.has_expressions() {
        return Ok(());
    }
    if let Some(verdict) = row.verdict() {
        return verdict.map_err(Error::from);
    }
    let policy = Arc::clone(parsed);
    let verdict = ctx.workshop.run(&parsed.namespace, move |stop| policy.prove(stop)).await?;
    row.decide(&verdict);
    verdict.map_err(Error::from)
}

/// Decides; the values are made where that disturbs nobody, if it may take long.
async fn plan(
    ctx: &Context,
    parsed: &Arc<Policy>,
    seen: Seen,
    fetched: Option<(Fetched, Room)>,
) -> Result<Planned, Error> {
    let policy = Arc::clone(parsed);
    let (key, chance, now) = (ctx.digest_key.clone(), Arc::clone(&ctx.chance), ctx.now());
    let (fetched, room) = fetched.unzip();
    let is_quick = parsed.is_quick(fetched.as_ref());
    // The room goes along: a job that nobody waits for any more still holds what was read.
    let work = move |stop: &Stop| {
        let tools = Tools { key: &key, chance: chance.as_ref(), now, stop };
        let made = policy::make(&policy, &seen, fetched.as_ref(), tools)?;
        Ok::<_, SpecError>((made, seen, fetched, room))
    };
    let made = if is_quick { work(&Stop::default()) } else { ctx.workshop.run(&parsed.namespace, work).await? };
    let (made, seen, fetched, room) = made?;
    // Taken after the read and the rendering, which may be slow: what starts before the new value is written reads the
    // old one.
    let (now, stop) = (ctx.now(), Stop::default());
    let tools = Tools { key: &ctx.digest_key, chance: ctx.chance.as_ref(), now, stop: &stop };
    let plan = policy::secret(parsed, &seen, fetched.as_ref(), made, tools)?;
    Ok(Planned { plan, seen, now, room })
}

/// A decision, and what it was made on.
struct Planned {
    plan: Plan,
    seen: Seen,
    now: DateTime<Utc>,
    /// What the values were read into, if they were read for it; it is taken until the Secret is applied.
    room: Option<Room>,
}

async fn keep(ctx: &Context, object: &SecretPolicy, parsed: &Arc<Policy>) -> Result<Next, Error> {
    let seen = observe::observe(ctx, object, parsed).await?;
    policy::admit(parsed, &seen.secret)?;
    connections::may_use(ctx, &parsed.namespace, &parsed.source)?; // grants may have been withdrawn
    let fetched = match policy::fetch(parsed, &seen, ctx.now()) {
        Fetch::Due(wanted) => Some(read::read(ctx, parsed, &wanted).await?),
        Fetch::NotBefore(_) | Fetch::OnChange => None,
    };
    let moment = Instant::now();
    let Planned { plan, seen, now, room } = plan(ctx, parsed, seen, fetched).await?;
    for step in &plan.steps {
        apply::step(ctx, &parsed.namespace, step).await?;
        if matches!(step, Step::Verified) {
            observe::verified(ctx, parsed, &seen);
        }
    }
    settle::settle(ctx, object, &plan.status, false, notify::policy).await?;
    if room.is_some() && is_known(ctx, parsed) {
        ctx.memory.set_fetched(&parsed.uid, Read { at: now, moment, next: plan.again }); // only now: what the status could not be told is read again
    }
    for notice in &plan.events {
        ctx.events.tell(object, notice).await;
    }
    let published = observe::published(ctx, parsed);
    if let Some(open) = seen.rotation.as_ref().filter(|open| !open.is_published(published.as_deref())) {
        tracing::debug!(rotation = open.id, "the rotated values are not published yet");
        let taken = open.since.map_or(TimeDelta::zero(), |since| now - since);
        return Ok(Next::After(time::pause(taken).to_std().unwrap_or_default()));
    }
    let recheck = published.and_then(|published| parsed.recheck(&published, &seen.consumers, now));
    let again = plan.again.into_iter().chain(recheck).min();
    Ok(again
        .map_or(Next::Change, |again| Next::After((again - now).max(TimeDelta::zero()).to_std().unwrap_or_default())))
}

/// Whether the policy is still there. What is remembered of one that has gone meanwhile would stay for good.
fn is_known(ctx: &Context, policy: &Policy) -> bool {
    let row = ctx.known.policies.get(&ObjectName::new(policy.namespace.as_str(), policy.name.as_str()));
    row.is_some_and(|row| row.metadata().uid.as_deref() == Some(policy.uid.as_str()))
}

/// Rests: says so, and touches nothing.
async fn suspended(ctx: &Context, object: &SecretPolicy, parsed: &Policy) -> Result<Next, Error> {
    let status = policy::suspended(parsed, &object.status.clone().unwrap_or_default(), ctx.now());
    settle::settle(ctx, object, &status, false, notify::policy).await?;
    Ok(Next::Change)
}
