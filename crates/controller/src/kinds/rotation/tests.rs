//! Schedules on an API server and a store of a few lines: what is asked of them, and that nothing holds a deletion up.

mod closed;
mod pods;
mod rivals;
mod users;
mod whole;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::{SecretPolicy, condition::Reason, rotation::RotationOutcome};
use rekey_core::{SecretBytes, store::StoreErrorKind};
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::{SecretRow, Version},
    in_memory::{Ground, SECRETS},
};

const ID: &str = "0193c2a0-0000-7000-8000-000000000001";
const SCHEDULES: &str = "/apis/rekey.dev/v1alpha1/namespaces/shop/rotationschedules/";

struct World {
    ground: Ground,
    schedules: Schedules,
    key: ObjectName,
}

fn schedule(key: &str, more: &[(&str, Value)]) -> Value {
    let mut object = json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "RotationSchedule",
        "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1",
                     "finalizers": [names::FINALIZER]},
        "spec": {
            "policyRef": {"name": "db"},
            "writeTo": {"storeRef": {"name": "vault"}, "key": key},
            "rotator": {"generate": {"fields": [{"property": "password", "password": {"length": 32}}]}},
        },
    });
    for (path, value) in more {
        *object.pointer_mut(path).unwrap() = value.clone();
    }
    object
}

fn deleted(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-11-21T02:00:00Z");
    object
}

/// A rotation that is about to write, or has written.
fn publishing(mut object: Value) -> Value {
    let rotation = json!({"id": ID, "step": "Publishing", "startedAt": "2027-01-15T07:59:00Z", "reason": "Requested"});
    object["status"] = json!({"observedGeneration": 1, "rotation": rotation});
    object
}

impl World {
    /// The store has the new value, and refuses to be written and tidied up.
    fn new(object: &Value) -> Self {
        let ground = Ground::new();
        ground.values.put("k", r#"{"password": "old"}"#);
        ground.values.put("k", r#"{"password": "new"}"#);
        ground.values.put("broken", "no object");
        for operation in ["write", "tidy up"] {
            ground.values.refuse(operation, Some(StoreErrorKind::Denied));
        }
        ground.apply::<RotationSchedule>(object);
        let (schedules, key) = (ground.context.schedules(), ObjectName::new("shop", "db"));
        Self { ground, schedules, key }
    }

    /// Makes the proven pending Secret of the rotation.
    fn pending(&self, value: &str) {
        let row = self.schedules.cluster.schedules.get(&self.key).unwrap();
        let written = row.object().ok().and_then(|object| object.spec.write_to.clone());
        let object = schedule(&written.map_or("k".to_owned(), |to| to.key), &[]);
        let spec = ScheduleSpec::try_from(&serde_json::from_value::<RotationSchedule>(object).unwrap()).unwrap();
        let task = Arc::new(spec).task(PolicySource::Missing).unwrap();
        let values: BTreeMap<String, SecretBytes> = [("password".to_owned(), SecretBytes::from(value))].into();
        let made = Prepared {
            id: ID.to_owned(),
            base: Some("1".to_owned()),
            base_digest: "d".to_owned(),
            users: None,
            values,
        };
        let name = format!("{}{ID}", names::PENDING_PREFIX);
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some("shop".to_owned()),
            uid: Some("p".to_owned()),
            labels: Some([(names::SCHEDULE_UID.to_owned(), "u".to_owned())].into()),
            annotations: Some(made.annotations(&task, &self.schedules.digest_key)),
            ..ObjectMeta::default()
        };
        let data = json!({"password": k8s_openapi::ByteString(value.as_bytes().to_vec())});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
        self.ground.server.put(&format!("{SECRETS}{name}"), secret);
        self.schedules.cluster.secrets.set(&ObjectName::new("shop", name), SecretRow::project(metadata));
    }

    /// One round, as the worker takes it.
    async fn round(&self) -> Result<Next, Error> {
        let done = self.schedules.ensure(&self.key).await;
        if let Err(error) = &done
            && !error.is_quiet()
        {
            self.schedules.failed(&self.key, error).await.unwrap();
        }
        done
    }

    async fn rounds(&self, count: usize) {
        for _ in 0..count {
            let _ = self.round().await;
        }
    }

    fn object(&self) -> Value {
        self.ground.server.get(&format!("{SCHEDULES}db")).unwrap()
    }

    fn status(&self) -> RotationScheduleStatus {
        serde_json::from_value(self.object()["status"].clone()).unwrap()
    }

    /// Nothing of ours holds the schedule, and the pending Secret is gone.
    fn is_let_go(&self) -> bool {
        self.object()["metadata"]["finalizers"] == json!([]) && !self.ground.server.has(SECRETS)
    }

    fn asked(&self, what: &str) -> usize {
        self.ground.server.asked(what)
    }
}

#[tokio::test]
async fn of_secrets_that_anybody_labels_few_are_read_and_none_are_listed() {
    let world = World::new(&schedule("k", &[]));
    for number in 0..300 {
        let metadata = json!({"name": format!("rekey-pending-{number:04}"), "uid": "theirs", "resourceVersion": "1",
                              "labels": {names::SCHEDULE_UID: "u"}});
        let name = ObjectName::new("shop", format!("rekey-pending-{number:04}"));
        world.schedules.cluster.secrets.set(&name, SecretRow::project(serde_json::from_value(metadata).unwrap()));
    }
    let lists = SECRETS.trim_end_matches('/');
    world.round().await.unwrap();
    let gets = world.asked(&format!("GET {SECRETS}rekey-pending-"));
    assert!((1..=17).contains(&gets), "{gets}");
    assert_eq!(world.asked(&format!("GET {lists}")), gets, "no list");
}

#[tokio::test]
async fn a_deleted_schedule_that_cannot_be_read_lets_go() {
    for (what, object) in [
        ("out of bounds", schedule("k", &[("/spec/writeTo/key", json!(""))])),
        ("not valid", schedule("k", &[("/spec/writeTo", json!(null))])),
    ] {
        let world = World::new(&deleted(object));
        let is_read = world.schedules.cluster.schedules.get(&world.key).unwrap().object().is_ok();
        assert_eq!(is_read, what == "not valid");
        world.pending("new");
        world.round().await.unwrap();
        assert!(world.is_let_go(), "{what}");
    }
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_is_told_so_while_it_is_not_deleted() {
    let world = World::new(&schedule("k", &[("/spec/writeTo/key", json!(""))]));
    let error = world.schedules.ensure(&world.key).await.unwrap_err();
    assert_eq!(error.reason(), Reason::MalformedObject);
    assert_eq!(world.asked("PATCH"), 0);
}

#[tokio::test]
async fn a_refused_tidy_up_holds_no_deletion_up_for_ever() {
    let world = World::new(&deleted(publishing(schedule("k", &[]))));
    world.pending("new");
    for attempt in 1..=TRIES {
        assert_eq!(world.round().await.unwrap_err().reason(), Reason::AccessDenied);
        assert_eq!(world.status().rotation.unwrap().attempts, attempt);
    }
    world.rounds(6).await;
    let past = world.status().history.into_iter().next().unwrap();
    assert_eq!(past.outcome, RotationOutcome::Completed, "the new value is live");
    assert!(past.message.unwrap_or_default().contains("not allowed to tidy up"), "what is left is said");
    assert!(world.is_let_go());
}

#[tokio::test]
async fn a_refused_tidy_up_lets_a_rotation_go_on_and_is_reported() {
    let world = World::new(&publishing(schedule("k", &[])));
    world.pending("new");
    world.round().await.unwrap();
    let open = world.status().rotation.unwrap();
    assert_eq!(open.version.as_deref(), Some("2"), "the policy learns what to publish");
    assert!(open.message.unwrap_or_default().contains("not allowed to tidy up"));
}

#[tokio::test]
async fn a_stored_value_that_is_no_object_holds_no_deletion_up_for_ever() {
    let world = World::new(&deleted(publishing(schedule("broken", &[]))));
    world.pending("new");
    world.rounds(12).await;
    assert_eq!(world.status().history[0].outcome, RotationOutcome::Failed);
    assert!(world.is_let_go());
}

#[test]
fn a_tidy_up_is_waited_for_as_long_as_it_is_worth_it_and_busy_stores_count_for_a_deletion() {
    for (error, deleted, attempts, waits) in [
        (Error::NoRoom, true, TRIES - 1, true),
        (Error::NoRoom, true, TRIES, false),
        (Error::NoRoom, false, TRIES, true),
        (Error::StoreBusy { store: String::new() }, true, TRIES, false),
        (Error::Deadline(Duration::ZERO), false, 0, true),
        (Error::Deadline(Duration::ZERO), false, TRIES, false),
        (Error::not_allowed("s", "x"), false, 0, false),
    ] {
        assert_eq!(is_worth_waiting(&error, deleted, attempts), waits, "{error} {deleted} {attempts}");
    }
    assert!(is_busy(&Error::NoRoom) && !is_busy(&Error::NotKnownYet { what: String::new() }));
}

#[tokio::test]
async fn what_keeps_the_policy_from_publishing_a_value_that_is_in_the_store_is_said() {
    let world = World::new(&publishing(schedule("k", &[])));
    world.pending("new");
    let source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]}});
    let policy = json!({"metadata": {"name": "db", "namespace": "shop", "uid": "y", "generation": 1, "resourceVersion": "1"},
                        "spec": {"suspend": true, "source": source}});
    world.ground.seen::<SecretPolicy>(&policy);
    world.round().await.unwrap();
    let message = world.status().rotation.unwrap().message.unwrap_or_default();
    assert!(message.starts_with("SecretPolicy db is suspended"), "{message}");
}

#[tokio::test]
async fn of_a_schedule_that_is_gone_no_effect_is_remembered() {
    let world = World::new(&schedule("k", &[]));
    let now = world.schedules.clock.now();
    let count = || world.schedules.memory.count_effect(&world.key, &Effect::RemoveFinalizer, now);
    let pause = || world.schedules.memory.pause(&world.key, &Effect::RemoveFinalizer, now);
    count();
    assert!(!pause().is_zero());
    let change = world.schedules.cluster.schedules.remove(&world.key, Version::new("9")).unwrap();
    world.schedules.notify.schedule(&change);
    assert!(pause().is_zero());
    count(); // by a round that was under way
    world.round().await.unwrap();
    assert!(pause().is_zero());
}
