//! `SecretPolicy`: keeps the Secret of a policy equal to what its source holds.

mod collect;
mod consumers;
mod copies;
mod kept;
pub(crate) mod observe;
mod plain;
mod plain_anew;
mod read;
mod sets;
mod template;
#[cfg(test)]
mod tests;
mod trial;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use kube::Client;
use rekey_api::{SecretPolicy, SecretPolicyStatus, condition::Class};
use rekey_core::{
    SpecError,
    chance::Chance,
    digest::DigestKey,
    policy::{self, Back, Fetch, Fetched, Known, Mark, Plan, PolicySpec, Seen, Step, Tools},
    published::Published,
    stop::Stop,
    time::{self, Clock},
};

use tokio::time::Instant;

pub use self::consumers::Strays;
use crate::{
    cluster::{Cluster, Object, ObjectName, policy_name},
    error::Error,
    memory::{Memory, Read},
    notify::{self, Notify},
    pages::Pages,
    queue::{Next, Queue, Queues, Reconcile},
    settings::Settings,
    stores::{Room, Stores},
    workshop::Workshop,
    write::{Over, Writer},
};

/// Reconciles `SecretPolicy`.
pub struct Policies {
    /// Reads what no table holds.
    pub client: Client,
    pub settings: Arc<Settings>,
    pub cluster: Arc<Cluster>,
    pub queues: Arc<Queues>,
    /// Queues what a change concerns.
    pub notify: Arc<Notify>,
    pub stores: Arc<Stores>,
    pub write: Arc<Writer>,
    /// Savings of work.
    pub memory: Arc<Memory>,
    /// Lists take turns.
    pub pages: Arc<Pages>,
    /// Pods that no workload has made.
    pub strays: Arc<Strays>,
    /// Where templates are rendered.
    pub workshop: Arc<Workshop>,
    pub digest_key: DigestKey,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
}

impl Reconcile for Policies {
    type Key = ObjectName;
    const KIND: &'static str = "SecretPolicy";

    fn queue(&self) -> &Queue<ObjectName> {
        &self.queues.policies
    }

    async fn ensure(&self, key: &ObjectName) -> Result<Next, Error> {
        let Some(row) = self.cluster.policies.get(key) else {
            return Ok(self.leave(key).await);
        };
        self.cluster.leaving.done(key);
        let object = row.object()?;
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change); // the ownerReference lets the garbage collector do the rest
        }
        if !self.cluster.is_open(&key.namespace)? {
            return Ok(Next::Change);
        }
        let spec = row.spec()?;
        if spec.suspended {
            return self.suspended(object, spec).await;
        }
        self.prove(&row, spec).await?;
        self.keep(object, spec).await
    }

    async fn failed(&self, key: &ObjectName, error: &Error) -> Result<(), Error> {
        let Some(row) = self.cluster.policies.get(key) else {
            return Ok(());
        };
        let Some(object) = row.readable() else {
            return self.write.malformed::<SecretPolicy>(key, row.metadata(), error, self.clock.now()).await;
        };
        let status = self.failure(object, row.spec().ok(), error);
        if self.write.status(object, &status, Over::Version).await?.tell(|change| self.notify.policy(change)) {
            self.write.event(object, &error.notice("Sync")).await;
        }
        Ok(())
    }
}

impl Policies {
    /// The status of a policy whose reconcile failed.
    fn failure(&self, object: &SecretPolicy, spec: Option<&Arc<PolicySpec>>, error: &Error) -> SecretPolicyStatus {
        let before = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let situation = error.situation(observe::served(&self.cluster, object));
        let mut status = match spec {
            Some(spec) => {
                let published = observe::published(&self.cluster, spec);
                let consumers = consumers::known(self, spec, &before);
                let history = &observe::history(self, spec);
                let known = Known { published: published.as_ref(), consumers: &consumers, history };
                policy::failed(spec, &before, known, &situation, self.clock.now())
            }
            None => policy::refused(object, &before, &situation, self.clock.now()),
        };
        // A new spec is acknowledged only once it was acted on, or waits for a change that a user has to make.
        if matches!(error.class(), Class::Spec | Class::Data) || status.revision.is_none() {
            status.observed_generation = Some(generation);
        }
        status
    }

    /// Looks at templates and expressions, once for each generation.
    async fn prove(&self, row: &Object<SecretPolicy>, spec: &Arc<PolicySpec>) -> Result<(), Error> {
        if !spec.has_expressions() {
            return Ok(());
        }
        if let Some(verdict) = row.verdict() {
            return verdict.map_err(Error::from);
        }
        let policy = Arc::clone(spec);
        let verdict = self.workshop.run(&spec.namespace, move |stop| policy.prove(stop)).await?;
        row.decide(&verdict);
        verdict.map_err(Error::from)
    }

    /// Decides; if the values may take long to make, they are made on a thread of their own.
    async fn plan(
        &self,
        spec: &Arc<PolicySpec>,
        seen: Seen,
        fetched: Option<(Fetched, Room)>,
    ) -> Result<Planned, Error> {
        let policy = Arc::clone(spec);
        let (key, chance, now) = (self.digest_key.clone(), Arc::clone(&self.chance), self.clock.now());
        let (fetched, room) = fetched.unzip();
        let is_quick = spec.is_quick(fetched.as_ref());
        // The room goes along: a job that is not waited for any more still holds what was read.
        let work = move |stop: &Stop| {
            let tools = Tools { key: &key, chance: chance.as_ref(), now, stop };
            let made = policy::make(&policy, &seen, fetched.as_ref(), tools)?;
            Ok::<_, SpecError>((made, seen, fetched, room))
        };
        let made = if is_quick { work(&Stop::default()) } else { self.workshop.run(&spec.namespace, work).await? };
        let (made, seen, fetched, room) = made?;
        // Taken after the read and the rendering, which may be slow: what starts before the new value is written reads
        // the old one.
        let (now, stop) = (self.clock.now(), Stop::default());
        let tools = Tools { key: &self.digest_key, chance: self.chance.as_ref(), now, stop: &stop };
        let plan = policy::secret(spec, &seen, fetched.as_ref(), made, tools)?;
        Ok(Planned { plan, seen, now, room })
    }

    async fn keep(&self, object: &SecretPolicy, spec: &Arc<PolicySpec>) -> Result<Next, Error> {
        self.guard(object, spec).await?;
        let before = observe::published(&self.cluster, spec);
        let seen = observe::observe(self, object, spec).await?;
        policy::admit(spec, &seen.secret)?;
        let fetched = match self.fetched(spec, &seen).await {
            Ok(fetched) => fetched,
            Err(error) => {
                self.go_back(object, spec, &seen).await?;
                return Err(error);
            }
        };
        let moment = Instant::now();
        let Planned { plan, seen, now, room } = self.plan(spec, seen, fetched).await?;
        for step in &plan.steps {
            self.apply(spec, &seen, step).await?;
        }
        observe::copied(self, spec, &seen);
        self.write.status(object, &plan.status, Over::Object).await?.tell(|change| self.notify.policy(change));
        if room.is_some() && !plan.is_unlocking && self.is_known(spec) {
            // Only now: what could not be written into the status is read again.
            self.memory.set_fetched(&spec.uid, Read { at: now, moment, next: plan.again });
        }
        for notice in &plan.events {
            self.write.event(object, notice).await;
        }
        if plan.status.revision != seen.status.revision {
            self.notify.workloads_of(&spec.namespace, spec.names.base()); // those that waited for what is published now
        }
        if plan.steps.iter().any(|step| matches!(step, Step::Mark { .. } | Step::Restore { .. })) {
            return Ok(Next::Now); // the status is about what was published before
        }
        if plan.is_unlocking {
            // Nothing is collected meanwhile: a version may be the only copy of what comes into the Secret.
            return Ok(after(plan.again, now).map_or(Next::Change, Next::After));
        }
        let published = observe::published(&self.cluster, spec);
        if is_its_again(&seen, before.as_deref(), published.as_deref()) {
            return Ok(Next::Now); // what is known of its consumers counts again
        }
        if let Some(open) = seen.rotation.as_ref().filter(|open| !open.is_published(published.as_deref())) {
            tracing::debug!(rotation = open.id, "the rotated values are not published yet");
            let taken = open.since.map_or(TimeDelta::zero(), |since| now - since);
            return Ok(Next::After(time::pause(taken).to_std().unwrap_or_default()));
        }
        // Not before: until the source was read, an older value may count as the current one.
        observe::prove(self, spec).await?;
        let follow = self.follow(object, spec, &plan.status, published.as_deref()).await?;
        self.remember(spec, published.as_ref().map(|at| at.revision.as_str()));
        let left = self.collect(spec, published.as_deref()).await;
        let recheck = published.as_ref().and_then(|published| spec.recheck(published, &seen.consumers, now));
        let look = published.and_then(|published| consumers::next_look(self, spec, &plan.status, &published));
        let again = plan.again.into_iter().chain(recheck).chain(look).min();
        Ok(after(again, now).into_iter().chain(left).chain(follow).min().map_or(Next::Change, Next::After))
    }

    /// Reads what is due.
    async fn fetched(&self, spec: &PolicySpec, seen: &Seen) -> Result<Option<(Fetched, Room)>, Error> {
        if spec.rollback_to.is_none() {
            self.stores.may_use(&spec.namespace, &spec.source)?; // grants may have been withdrawn
        }
        match policy::fetch(spec, seen, self.clock.now()) {
            Fetch::Due(wanted) => read::read(self, spec, &wanted).await.map(Some),
            Fetch::NotBefore(_) | Fetch::OnChange => Ok(None),
        }
    }

    /// Goes back from a value that fails, where the source cannot be read.
    async fn go_back(&self, object: &SecretPolicy, spec: &PolicySpec, seen: &Seen) -> Result<(), Error> {
        let Some(Back { steps, notice }) = policy::back_without_source(spec, seen, self.clock.now()) else {
            return Ok(());
        };
        for step in &steps {
            self.apply(spec, seen, step).await?;
        }
        self.write.event(object, &notice).await;
        Ok(())
    }

    /// Whether the policy is still there. What is remembered of one that has gone meanwhile would stay for good.
    fn is_known(&self, policy: &PolicySpec) -> bool {
        let row = self.cluster.policies.get(&ObjectName::new(policy.namespace.as_str(), policy.name.as_str()));
        row.is_some_and(|row| row.metadata().uid.as_deref() == Some(policy.uid.as_str()))
    }

    /// Says that the policy rests, and touches nothing.
    async fn suspended(&self, object: &SecretPolicy, spec: &PolicySpec) -> Result<Next, Error> {
        let status = policy::suspended(spec, &object.status.clone().unwrap_or_default(), self.clock.now());
        self.write.status(object, &status, Over::Object).await?.tell(|change| self.notify.policy(change));
        Ok(Next::Change)
    }

    /// Does one step of a plan.
    async fn apply(&self, spec: &PolicySpec, seen: &Seen, step: &Step) -> Result<(), Error> {
        let Some(secret) = published_in(spec, step) else { return self.take(spec, seen, step).await };
        let known = self.cluster.secrets.get(&secret).map(|row| row.object_version());
        let done = self.take(spec, seen, step).await;
        match (&done, known) {
            (Err(error), Some(known)) if !error.is_refusal() => self.memory.lost.set(secret, known),
            _ => self.memory.lost.forget(&secret),
        }
        done
    }

    async fn take(&self, spec: &PolicySpec, seen: &Seen, step: &Step) -> Result<(), Error> {
        let namespace = spec.namespace.as_str();
        match step {
            Step::Apply(desired) => {
                observe::attempt(self, spec, desired);
                let change = self.write.secret(namespace, desired).await?;
                self.memory.succeeded(&observe::place::plain_name(spec));
                if change.as_ref().is_some_and(notify::has_new_values) {
                    self.notify.workloads_of(namespace, &desired.name);
                }
            }
            Step::Delete(name, over) => self.write.remove(&ObjectName::new(namespace, name.as_str()), over).await?,
            Step::Verified => observe::verified(self, spec, seen),
            Step::Mark { name, mark, current } => {
                let name = ObjectName::new(namespace, name.as_str());
                let Some(row) = self.cluster.secrets.get(&name) else { return Ok(()) }; // it is not published any more
                self.memory.kept.let_go(&policy_name(spec), &name.name);
                // Before the write: its answer may be lost.
                observe::went_back(self, spec, current);
                self.write.mark(&name, &row.object_version(), *mark, None).await?;
                self.notify.workloads_of(namespace, spec.names.base());
            }
            Step::Rebase { name, over, record } => self.rebase(spec, name, over, record).await?,
            Step::Keep { published, mark } => match self.keep_copy(spec, published, *mark).await {
                // A value is not held up by what is only kept; one that is taken back has to be known.
                Err(error) if *mark != Some(Mark::RolledBack) => {
                    tracing::warn!(%error, revision = published.revision, "no copy of the value before is kept");
                }
                kept => kept?,
            },
            Step::Restore { copy, record } => self.restore(spec, seen, copy, record).await?,
        }
        Ok(())
    }
}

/// The Secret by which a step changes what is published.
fn published_in(spec: &PolicySpec, step: &Step) -> Option<ObjectName> {
    let name = match step {
        Step::Apply(desired) => desired.name.as_str(),
        Step::Mark { name, .. } => name,
        Step::Restore { .. } => spec.names.base(),
        Step::Delete(..) | Step::Verified | Step::Rebase { .. } | Step::Keep { .. } => return None,
    };
    Some(ObjectName::new(spec.namespace.as_str(), name))
}

/// Whether what was published before is published once more: another tool had taken off what it says of itself, or had deleted
/// it. Meanwhile nothing counted as published, or an earlier version.
fn is_its_again(seen: &Seen, before: Option<&Published>, now: Option<&Published>) -> bool {
    let [before, now] = [before, now].map(|at| at.map(|at| at.revision.as_str()));
    seen.last.is_some()
        && now.is_some()
        && before != now
        && (before.is_none() || now == seen.status.revision.as_deref())
}

/// How long until then.
fn after(time: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Duration> {
    time.map(|time| (time - now).max(TimeDelta::zero()).to_std().unwrap_or_default())
}

/// A decision, and what it was made on.
struct Planned {
    plan: Plan,
    seen: Seen,
    now: DateTime<Utc>,
    /// What the values were read into, if they were read for it; it is taken until the Secret is applied.
    room: Option<Room>,
}
