//! `RotationSchedule`: takes a rotation from one step to the next. See `rekey_core::rotation` for the steps; here is
//! what they see and what they do.

mod gate;
mod observe;
mod pods;
mod readers;
mod rivals;
#[cfg(test)]
mod tests;
mod users;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use kube::{Client, ResourceExt as _};
use rekey_api::{RotationSchedule, RotationScheduleStatus, condition::Class, names};
use rekey_core::{
    chance::Chance,
    digest::DigestKey,
    rotation::{
        self, Due, Effect, Move, Owner, PolicySource, Prepared, Record, ScheduleSpec, Seen, State, StoreView, Stored,
        TRIES, Task, Wait,
    },
    rotator::{Values, database::Databases, port::Prove},
    schedule::Opening,
    stop::Stop,
    store::{RemoteValue, Write},
    time::{self, Clock},
};
use uuid::Uuid;

use super::policy::Policies;
use crate::{
    cluster::{Cluster, NamespaceAccess, Object, ObjectName},
    error::Error,
    memory::Memory,
    notify::Notify,
    pages::Pages,
    queue::{Next, Queue, Queues, Reconcile},
    stores::Stores,
    workshop::Workshop,
    write::{Finalizer, Over, Writer},
};

/// When a new schedule is looked at again: what it names may have come with it.
const AT_FIRST: Duration = Duration::from_secs(5);

/// Reconciles `RotationSchedule`.
pub struct Schedules {
    /// Reads what no table holds.
    pub client: Client,
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
    pub digest_key: DigestKey,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
    /// Proves new credentials.
    pub prove: Arc<dyn Prove>,
    /// Asks databases, and alters users there.
    pub databases: Arc<dyn Databases>,
    /// Where keys are made.
    pub workshop: Arc<Workshop>,
    /// Whether what is not yet proven safe may be used.
    pub allow_alpha: bool,
    /// They try out what a rotation would publish.
    pub policies: Policies,
}

impl Reconcile for Schedules {
    type Key = ObjectName;
    const KIND: &'static str = "RotationSchedule";

    fn queue(&self) -> &Queue<ObjectName> {
        &self.queues.schedules
    }

    async fn ensure(&self, key: &ObjectName) -> Result<Next, Error> {
        let Some(row) = self.cluster.schedules.get(key) else {
            self.memory.forget_schedule(key);
            return Ok(Next::Change);
        };
        let deleted = row.metadata().deletion_timestamp.is_some();
        if deleted && self.cluster.namespaces.access(&key.namespace) == NamespaceAccess::Closed {
            // Its namespace goes, and our rights in it went first: nothing is left that could be finished.
            self.write.release(row.metadata()).await?;
            return Ok(Next::Change);
        }
        let object = match row.object() {
            Err(error) if !deleted => return Err(error),
            object => object,
        };
        if !self.cluster.is_open(&key.namespace)? {
            return Ok(Next::Change);
        }
        let task = object.and_then(|object| Ok((object, self.task(row.spec()?)?)));
        let taken = match task {
            Ok((object, task)) => {
                self.duplicate(object, &task)?;
                let taken = self.turn(object, &task).await;
                if let Err(error) = &taken
                    && task.spec.deleted
                    && is_busy(error)
                {
                    self.failed(key, error).await?; // it counts, though it is not reported otherwise
                }
                taken
            }
            Err(_) if deleted => self.abandon(&row).await,
            Err(error) => Err(error),
        };
        match taken {
            // It was closed since, and watches that run do not notice it for minutes.
            Err(error) if deleted && observe::is_shut_out(&error) => {
                self.cluster.namespaces.close(&key.namespace);
                Ok(Next::Now)
            }
            taken => taken,
        }
    }

    async fn failed(&self, key: &ObjectName, error: &Error) -> Result<(), Error> {
        let Some(row) = self.cluster.schedules.get(key) else {
            return Ok(());
        };
        let Some(object) = row.readable() else {
            return self.write.malformed::<RotationSchedule>(key, row.metadata(), error, self.clock.now()).await;
        };
        let before = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let requested = object.annotations().get(names::ROTATE_REQUESTED).map(String::as_str);
        let status = match error {
            // Of a schedule that is being deleted each failure counts as a try: it does not wait without end.
            Error::Spec(error) if object.metadata.deletion_timestamp.is_none() => {
                rotation::refused(&before, requested, error, generation, self.clock.now())
            }
            // A user who waits for the object sees that it was looked at.
            Error::NamespaceNotOpened { .. } if before.is_unseen() => {
                rotation::stalled(&before, requested, &error.situation(false), generation, self.clock.now())
            }
            _ => {
                let overdue_after = row.spec().map_or(TimeDelta::MAX, |spec| spec.overdue_after);
                rotation::failed(&before, &error.situation(false), overdue_after, generation, self.clock.now())
            }
        };
        let news = condition_reason(&before) != condition_reason(&status);
        self.settle(object, &status).await?;
        if news && !matches!(error.class(), Class::Conflict) {
            self.write.event(object, &error.notice("Rotate")).await;
        }
        Ok(())
    }
}

impl Schedules {
    /// What a schedule does now: where it writes may follow from its policy.
    fn task(&self, spec: &Arc<ScheduleSpec>) -> Result<Task, Error> {
        let policy = self.cluster.policies.get(&policy_of(spec));
        let policy = policy.as_ref().filter(|row| row.readable().is_some());
        let source = policy.map(|row| row.source());
        let source = match &source {
            None => PolicySource::Missing,
            Some(None) => PolicySource::Invalid,
            Some(Some(source)) => PolicySource::Known(source),
        };
        // One that is being deleted is let go of all the same.
        let refused = spec.alpha.as_ref().filter(|_| !self.allow_alpha && !spec.deleted);
        match refused {
            Some(refused) => Err(refused.clone().into()),
            None => Ok(spec.task(source)?),
        }
    }

    /// Lets go of a schedule that is being deleted and that cannot be read, or whose spec says nothing that could be
    /// acted on any more.
    async fn abandon(&self, row: &Object<RotationSchedule>) -> Result<Next, Error> {
        let metadata = row.metadata();
        if !metadata.finalizers.iter().flatten().any(|name| name == names::FINALIZER) {
            return Ok(Next::Change);
        }
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let owner = Owner { namespace, uid: metadata.uid.as_deref().unwrap_or_default() };
        let status = row.readable().and_then(|object| object.status.as_ref());
        let open = status.and_then(|status| status.rotation.as_ref()).map(|open| open.id.as_str());
        for pending in observe::left(self, &owner, open).await? {
            if pending.leaving.is_none() {
                self.write.drop_pending(namespace, &pending.name, &pending.uid).await?;
            }
        }
        self.write.release(metadata).await?;
        Ok(Next::Change)
    }

    /// One step: look, decide, persist the next state, then do what it asks for.
    async fn turn(&self, object: &RotationSchedule, task: &Task) -> Result<Next, Error> {
        let before = object.status.clone().unwrap_or_default();
        let (key, now) = (key_of(&task.spec), self.clock.now());
        let state = rotation::state(&before);
        let (due, handled) = rotation::due(task, &before, now);
        let seen = observe::observe(self, object, task, &state, due.clone()).await?;
        let left = self.tidy(task, &state, &seen).await?;
        let decided = rotation::step(state, &seen, now);
        let decided = left.iter().fold(decided, |decided, left| decided.adding(&left.text));
        let record = Record { task, status: &before, decided: &decided, due: &due, handled: handled.as_deref(), now };
        let status = rotation::record(&record);
        if self.settle(object, &status).await? {
            for notice in rotation::notices(task, &decided, (&before, &status), left.as_ref()) {
                self.write.event(object, &notice).await;
            }
            return Ok(Next::Now);
        }
        let Some(effect) = &decided.effect else {
            self.memory.forget_effect(&key);
            let next = wait(&decided, &seen, &status, now);
            return Ok(if rotation::is_new(task, now) { next.within(AT_FIRST) } else { next });
        };
        let pause = self.memory.pause(&key, effect, now);
        if !pause.is_zero() {
            return Ok(Next::After(pause));
        }
        self.memory.count_effect(&key, effect, now);
        self.perform(object, task, &seen, effect).await?;
        if let Some(notice) = rotation::broken(&decided) {
            self.write.event(object, &notice).await;
        }
        Ok(Next::Now)
    }

    /// Clears away what the write has left beside the new value. A schedule that is being deleted waits for it as long
    /// as for any write; else a refusal holds nothing up. Returns what stays, and why.
    async fn tidy(&self, task: &Task, state: &State, seen: &Seen) -> Result<Option<Wait>, Error> {
        let (State::Publishing(_), StoreView::Holds(Stored::Ours { version })) = (state, &seen.store) else {
            return Ok(None);
        };
        let tidied = match self.stores.open(&task.spec.namespace, &task.to.store).await {
            Ok(store) => store.finish(&task.to.key, version).await,
            Err(error) => Err(error),
        };
        match tidied {
            Ok(()) => Ok(None),
            Err(error) if is_worth_waiting(&error, task.spec.deleted, seen.attempts) => Err(error),
            Err(error) => {
                let text = format!("Rekey could not remove what the write may have left beside the new value: {error}");
                Ok(Some(Wait::new(error.reason(), text)))
            }
        }
    }

    async fn perform(&self, object: &RotationSchedule, task: &Task, seen: &Seen, effect: &Effect) -> Result<(), Error> {
        match effect {
            Effect::AddFinalizer => self.write.finalizer(object, Finalizer::On).await,
            Effect::RemoveFinalizer => self.write.finalizer(object, Finalizer::Off).await,
            Effect::DropPending { name, uid } => self.write.drop_pending(&task.spec.namespace, name, uid).await,
            Effect::MakePending { id } => {
                let read = self.read(task).await?;
                let values = self.made(task, read.as_ref()).await?;
                let current = rotation::current(task, read.as_ref())?;
                let prepared = Prepared {
                    id: id.clone(),
                    base: read.as_ref().map(|read| read.version.clone()),
                    base_digest: rotation::base_digest(task, read.as_ref(), &self.digest_key)?,
                    users: self.users_at_start(task, &current, &values).await?,
                    values,
                };
                self.write.pending(task, &prepared, &self.digest_key).await
            }
            Effect::Grant | Effect::Revoke { .. } | Effect::Forget { .. } => {
                self.alter_user(task, seen.pending.as_ref(), effect).await
            }
            Effect::WriteStore { base, stage } => {
                let Some(pending) = &seen.pending else {
                    return Ok(());
                };
                let read = self.read(task).await?;
                if read.as_ref().map(|read| &read.version) != base.as_ref() {
                    return Ok(()); // it has moved: decide again
                }
                let write = Write {
                    key: task.to.key.clone(),
                    base: base.clone(),
                    token: token(&pending.id, base.as_deref(), pending.base.as_deref()),
                    bytes: rotation::merge(task, pending, *stage, read.as_ref())?,
                };
                let connection = self.stores.open(&task.spec.namespace, &task.to.store).await?;
                connection.write(&write).await.map(drop)
            }
        }
    }

    /// New values. They may take seconds to make, so they are made on a thread of their own.
    async fn made(&self, task: &Task, read: Option<&RemoteValue>) -> Result<Values, Error> {
        let current = rotation::current(task, read)?;
        let (rotator, chance) = (task.spec.rotator.clone(), Arc::clone(&self.chance));
        let make = move |_: &Stop| rotator.prepare(&current, chance.as_ref());
        self.workshop.run(&task.spec.namespace, make).await?.map_err(Error::from)
    }

    async fn read(&self, task: &Task) -> Result<Option<rekey_core::store::RemoteValue>, Error> {
        let locator = rekey_core::store::Locator { key: task.to.key.clone(), pin: rekey_core::store::Pin::Current };
        self.stores.open(&task.spec.namespace, &task.to.store).await?.afresh().find(&locator).await
    }

    /// The id of a rotation that starts now.
    fn new_id(&self) -> String {
        rekey_core::chance::rotation_id(self.chance.as_ref(), self.clock.now()).to_string()
    }

    /// Writes the status, unless the schedule has it already. Whether it was written.
    async fn settle(&self, object: &RotationSchedule, status: &RotationScheduleStatus) -> Result<bool, Error> {
        let written = self.write.status(object, status, Over::Version).await?;
        Ok(written.tell(|change| self.notify.schedule(change)))
    }
}

/// The key of a schedule.
fn key_of(spec: &ScheduleSpec) -> ObjectName {
    ObjectName::new(spec.namespace.as_str(), spec.name.as_str())
}

/// The key of the policy that it names.
fn policy_of(spec: &ScheduleSpec) -> ObjectName {
    ObjectName::new(spec.namespace.as_str(), spec.policy.as_str())
}

/// Whether others keep the store from us: quiet, since it is soon over. A schedule that is being deleted counts it all
/// the same: others may keep a store busy for as long as they like.
fn is_busy(error: &Error) -> bool {
    matches!(error, Error::StoreBusy { .. } | Error::NoRoom)
}

fn condition_reason(status: &RotationScheduleStatus) -> Option<(String, String)> {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((ready.reason.clone(), ready.message.clone()))
}

/// Whether clearing away is retried before anything else is done.
fn is_worth_waiting(error: &Error, deleted: bool, attempts: u32) -> bool {
    match error.class() {
        _ if deleted => attempts < TRIES,
        Class::Denied | Class::Spec | Class::Data => false,
        Class::Outcome | Class::Transient | Class::Conflict | Class::Bug => is_busy(error) || attempts < TRIES,
    }
}

fn wait(decided: &Move, seen: &Seen, status: &RotationScheduleStatus, now: DateTime<Utc>) -> Next {
    let opens = match (&decided.state, seen.spec.windows.opening(now)) {
        (State::AwaitingWindow(_), Opening::At(at)) => at - now,
        _ => TimeDelta::MAX,
    };
    let quarter = |since: DateTime<Utc>| Next::After(time::pause(now - since).min(opens).to_std().unwrap_or_default());
    let leaving = seen.pending.as_ref().and_then(|pending| pending.leaving.as_ref());
    match (&decided.state, &seen.due, leaving) {
        (State::Idle, Due::At(at), _) if leaving.is_none() || *at <= now + time::SELDOM => {
            Next::After((*at - now).max(TimeDelta::zero()).to_std().unwrap_or_default())
        }
        (State::Idle, _, Some(leaving)) => quarter(leaving.since),
        (State::Idle, Due::Now { .. } | Due::At(_), None) => Next::After(Duration::from_secs(30)),
        (State::Idle, Due::OnRequest, None) => Next::Change,
        (
            State::AwaitingApproval(_)
            | State::AwaitingWindow(_)
            | State::Preparing(_)
            | State::Applying(_)
            | State::Verifying(_)
            | State::Publishing(_)
            | State::RollingOut(_)
            | State::Settling(_)
            | State::Retiring(_),
            _,
            _,
        ) => quarter(rotation::begun(status).map_or(now, |begun| begun.step)),
    }
}

/// The token of a write: the rotation's id, and another one when the same values are merged over a later version.
fn token(id: &str, base: Option<&str>, first_base: Option<&str>) -> Uuid {
    let id = Uuid::parse_str(id).unwrap_or_default();
    if base == first_base { id } else { Uuid::new_v5(&id, base.unwrap_or_default().as_bytes()) }
}
