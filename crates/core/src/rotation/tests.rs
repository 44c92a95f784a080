//! Rotations in a small world: a store, a pending Secret, a policy, a pod and a status, and nothing that a crash would
//! not leave behind.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use rekey_api::{RotationSchedule, RotationScheduleStatus, condition::Reason, names, rotation::RotationOutcome};
use serde_json::{Value, json};

use super::*;
use crate::{
    SecretBytes, SpecError,
    bounds::fit,
    chance::rotation_id,
    chance::tests::Sequence,
    digest::DigestKey,
    policy::Source,
    published::Rotated,
    rotator::{Stage, Values, database::Role},
    store::RemoteValue,
    time,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const KEY: &str = "shop/db";
const TOKEN: &str = "please";

/// What may go wrong with one action of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Killed before it.
    Before,
    /// It happens, but its answer is lost, and the next look is at what was known before it.
    Lost,
}

/// What the operator learns of an action.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Acted,
    Refused,
    Waits,
}

struct World {
    now: DateTime<Utc>,
    chance: Sequence,
    digest_key: DigestKey,
    /// The schedule: spec, annotations and persisted status.
    object: RotationSchedule,
    /// The status as the operator knows it, when it is behind.
    stale: Option<RotationScheduleStatus>,
    pending: Vec<(ObjectMeta, Values)>,
    store: Option<(u64, Value)>,
    store_gone: bool,
    /// Whether the store has versions, as all do but KV version 1.
    has_versions: bool,
    unable: Option<Wait>,
    hopeless: Option<Wait>,
    /// Policies of other namespaces that lag.
    elsewhere: usize,
    /// Other policies of the namespace that lag.
    others: Vec<String>,
    /// Pods that hold the new value and do not run steadily.
    unsteady: Vec<String>,
    /// The property that consumers use.
    used: &'static str,
    /// The users of the database, with their passwords.
    roles: Vec<(Role, String)>,
    /// Why the new credential does not work, if it does not.
    refused: Option<String>,
    /// The record on the Secret, and what the Secret and the pod hold.
    record: Option<Rotated>,
    secret: String,
    pod: String,
    /// Values that were made durable, and writes that reached the store.
    made: usize,
    writes: usize,
    log: Vec<String>,
}

/// What a schedule asks for, which says where it writes.
fn task_of(object: &RotationSchedule) -> Task {
    Arc::new(ScheduleSpec::try_from(object).unwrap()).task(PolicySource::Missing).unwrap()
}

fn schedule(spec: &Value) -> RotationSchedule {
    let mut whole = json!({
        "policyRef": {"name": "db"},
        "writeTo": {"storeRef": {"name": "vault"}, "key": KEY},
        "rotator": {"generate": {"fields": [{"property": "password", "password": {"length": 32}}]}},
    });
    for (name, value) in spec.as_object().unwrap() {
        whole[name] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "RotationSchedule",
        "metadata": {
            "name": "db", "namespace": "shop", "uid": "u", "generation": 1,
            "creationTimestamp": "2026-11-21T02:00:00Z",
        },
        "spec": whole,
    }))
    .unwrap()
}

impl World {
    fn new(spec: &Value) -> Self {
        Self {
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            chance: Sequence::from(7),
            digest_key: DigestKey::new(SecretBytes::from("k")),
            object: schedule(spec),
            stale: None,
            pending: Vec::new(),
            store: Some((1, json!({"username": "orders", "password": "old"}))),
            store_gone: false,
            has_versions: true,
            unable: None,
            hopeless: None,
            elsewhere: 0,
            others: Vec::new(),
            unsteady: Vec::new(),
            used: "password",
            roles: Vec::new(),
            refused: None,
            record: None,
            secret: "old".to_owned(),
            pod: "old".to_owned(),
            made: 0,
            writes: 0,
            log: Vec::new(),
        }
    }

    /// One that was seen before, and is asked to rotate.
    fn asked() -> Self {
        let mut world = Self::new(&json!({}));
        world.settle();
        world.ask(TOKEN);
        world
    }

    fn ask(&mut self, token: &str) {
        let annotations = self.object.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ROTATE_REQUESTED.to_owned(), token.to_owned());
    }

    fn status(&self) -> RotationScheduleStatus {
        self.object.status.clone().unwrap_or_default()
    }

    fn finalizer(&mut self, hold: bool) {
        self.object.metadata.finalizers = hold.then(|| vec![names::FINALIZER.to_owned()]);
    }

    fn password(&self) -> Option<&str> {
        self.store.as_ref()?.1[self.used].as_str()
    }

    fn remote(&self) -> Option<RemoteValue> {
        let (version, value) = self.store.as_ref()?;
        let version = if self.has_versions { version.to_string() } else { String::new() };
        Some(RemoteValue { bytes: SecretBytes::from(value.to_string()), version, created: None })
    }

    fn change_store(&mut self, property: &str, value: &str) {
        let (version, object) = self.store.as_mut().unwrap();
        *version += 1;
        object[property] = json!(value);
    }

    /// The pending Secrets as the operator reads them: by what they say of themselves.
    fn read(&self, task: &Task) -> Vec<Pending> {
        let read = |(metadata, values): &(ObjectMeta, Values)| {
            Pending::read(&task.spec.owner(), metadata, values.clone(), &self.digest_key)
        };
        self.pending.iter().map(read).collect()
    }

    fn pending_seen(&self, task: &Task, state: &State) -> Option<Pending> {
        let found = self.read(task);
        match state.open() {
            None => first(found),
            Some(open) => found.into_iter().find(|pending| pending.id == open.id),
        }
    }

    fn seen(&self, task: &Task, state: &State, status: &RotationScheduleStatus, due: Due) -> Seen {
        let pending = self.pending_seen(task, state);
        let attempts = status.rotation.as_ref().map_or(0, |open| open.attempts);
        let store = match (state, &pending) {
            (State::Idle | State::Preparing(_), _) | (_, None) => StoreView::NotAsked,
            _ if self.store_gone && task.spec.deleted => StoreView::Gone,
            (_, Some(pending)) => {
                StoreView::Holds(stored(task, pending, self.remote().as_ref(), &self.digest_key).unwrap())
            }
        };
        let old = (self.pod != self.secret).then(|| "web".to_owned());
        let users = self.users(task, state, pending.as_ref());
        let pending_values = pending.as_ref().map(|pending| pending.values.clone());
        Seen {
            due,
            hopeless: self.hopeless.clone(),
            new_id: rotation_id(&self.chance, self.now).to_string(),
            pending_ended: pending.as_ref().is_some_and(|open| ended(status, &open.id)),
            is_named: pending.as_ref().is_some_and(|pending| pending.is_named_by(task)),
            pending,
            finalizer: self.object.metadata.finalizers.is_some(),
            store,
            policy: PolicyView {
                unable: self.unable.clone(),
                record: self.record.clone(),
                behind: Some(old.iter().cloned().collect()),
                others: self.others.clone(),
                elsewhere: self.elsewhere,
            },
            users,
            proof: self.proof(task, pending_values.as_ref()),
            pods: matches!(state, State::Applying(_) | State::Settling(_) | State::Retiring(_)).then(|| PodsView {
                old: old.into_iter().collect(),
                unsteady: self.unsteady.clone(),
                ..PodsView::default()
            }),
            attempts,
            begun: begun(status),
            spec: Arc::clone(&task.spec),
        }
    }

    /// One round of the operator, as the controller takes it: the next state is persisted, or else its effect done.
    fn turn(&mut self, fault: Option<Fault>) -> Turn {
        self.now += TimeDelta::seconds(1);
        let task = task_of(&self.object);
        let fresh = self.status();
        let status = self.stale.take().unwrap_or_else(|| fresh.clone());
        let state = state(&status);
        let (due, handled) = due(&task, &status, self.now);
        let seen = self.seen(&task, &state, &status, due.clone());
        let decided = step(state, &seen, self.now);
        let next = record(&Record {
            task: &task,
            status: &status,
            decided: &decided,
            due: &due,
            handled: handled.as_deref(),
            now: self.now,
        });
        let next = fit::<RotationSchedule>(&next).unwrap_or(next);
        if next == status && decided.effect.is_none() {
            return Turn::Waits;
        }
        if fault == Some(Fault::Before) {
            return Turn::Acted;
        }
        if next != status {
            if status != fresh {
                return Turn::Refused; // by its resourceVersion
            }
            self.tell(&next);
            self.object.status = Some(next);
        } else if let Some(effect) = &decided.effect {
            self.perform(&task, &seen, effect);
            self.log.extend(decided.broke.as_ref().map(|what| format!("broke     {what}")));
        }
        if fault == Some(Fault::Lost) {
            self.stale = Some(status);
        }
        Turn::Acted
    }

    fn tell(&mut self, next: &RotationScheduleStatus) {
        let ended = next.history.first().map(|past| format!("idle, {:?} ({:?})", past.outcome, past.reason));
        let line = match &next.rotation {
            Some(open) => {
                let version = open.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
                let waits = open.message.as_ref().map(|text| format!(", {text}")).unwrap_or_default();
                format!("{}{version}{waits}", open.step.as_str())
            }
            None => ended.unwrap_or_else(|| "idle".to_owned()),
        };
        self.log.push(format!("status    {line}"));
    }

    /// The policy publishes what the schedule promises, as far as the store has it, then its consumer follows.
    fn others(&mut self) {
        let open = self.status().rotation;
        let promised = open.as_ref().and_then(|open| open.digest.clone().zip(Some(open.id.clone())));
        let held = promised.as_ref().map(|(_, id)| self.held(id));
        let news = match (&promised, &held) {
            (Some((digest, _)), Some(held)) => held.digest == *digest && self.record.as_ref() != Some(held),
            _ => open.is_none() && self.password().is_some_and(|password| password != self.secret),
        };
        if news {
            self.record = held;
            self.secret = self.password().unwrap().to_owned();
            self.log.push("policy    publishes the Secret".to_owned());
        } else if self.pod != self.secret {
            self.pod = self.secret.clone();
            self.log.push("consumer  restarts".to_owned());
        }
    }

    /// What a policy records that publishes what the store holds now.
    fn held(&self, id: &str) -> Rotated {
        let task = task_of(&self.object);
        let names = self.status().rotation.map(|open| open.properties).unwrap_or_default();
        let values = members(KEY, names.iter(), self.remote().as_ref()).unwrap();
        crate::rotation_proof::Publication { namespace: "shop", target: &task.to.to_string(), id }
            .record(&values, &self.digest_key)
    }

    /// Until nothing is left to do.
    fn settle(&mut self) {
        self.settle_with(&mut |_| None);
    }

    fn settle_with(&mut self, fault: &mut dyn FnMut(usize) -> Option<Fault>) {
        let mut quiet = 0;
        for number in 0..500 {
            quiet = if self.turn(fault(number)) == Turn::Waits { quiet + 1 } else { 0 };
            let before = (self.secret.clone(), self.pod.clone(), self.record.clone());
            if quiet > 0 {
                self.others();
            }
            let moved = before != (self.secret.clone(), self.pod.clone(), self.record.clone());
            if quiet > 2 && !moved {
                return;
            }
        }
        panic!("it never comes to rest:\n{}", self.log.join("\n"));
    }

    fn outcomes(&self) -> Vec<(RotationOutcome, rekey_api::rotation::RotationReason)> {
        self.status().history.iter().map(|past| (past.outcome, past.reason)).collect()
    }

    /// Nothing is open, and nothing of a rotation is left.
    fn at_rest(&self) -> bool {
        self.status().rotation.is_none() && self.pending.is_empty() && self.object.metadata.finalizers.is_none()
    }

    /// Takes turns, and lets the others act when there is nothing to do, until the status shows this step.
    fn until(&mut self, wanted: &str) {
        self.until_seen(wanted, |world| world.status().rotation.is_some_and(|open| open.step.as_str() == wanted));
    }

    fn until_seen(&mut self, what: &str, seen: impl Fn(&Self) -> bool) {
        for _ in 0..100 {
            if seen(self) {
                return;
            }
            if self.turn(None) == Turn::Waits {
                self.others();
            }
        }
        panic!("never seen: {what}\n{}", self.log.join("\n"));
    }

    fn delete(&mut self) {
        self.object.metadata.deletion_timestamp = Some(time::kube(self.now));
    }

    fn shown(&self) -> Vec<String> {
        let conditions = self.status().conditions;
        conditions.iter().map(|at| format!("{}={}/{}", at.type_, at.status, at.reason)).collect()
    }

    fn rotated(&self) -> Option<Reason> {
        let condition = self.status().conditions.into_iter().find(|at| at.type_ == "Rotated")?;
        Reason::from_name(&condition.reason)
    }
}

mod decisions;
mod effects;
mod faults;
mod foreign;
mod forged;
mod forged_status;
mod timing;
mod two_keys;
mod two_logins;
mod two_logins_ends;
