//! Policies on a cluster that is nothing but rows: what is published, what is left alone, and what is reported.

mod ours_again;
mod put_back;

use std::time::Duration;

use chrono::TimeDelta;
use k8s_openapi::{ByteString, api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use rekey_api::condition::{Class, Reason};
use rekey_core::{
    store::StoreErrorKind,
    workload::{Project as _, WorkloadId},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::{SecretRow, Version, workload_name},
    in_memory::{Ground, SECRETS},
};

struct World {
    ground: Ground,
    policies: Policies,
    key: ObjectName,
}

fn policy(change: impl FnOnce(&mut Value)) -> Value {
    let remote =
        json!({"storeRef": {"name": "vault"}, "refreshInterval": "1m", "dataFrom": [{"extract": {"key": "k"}}]});
    let mut object = json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy",
        "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1"},
        "spec": {"source": {"remote": remote}},
    });
    change(&mut object);
    object
}

impl World {
    fn new(object: &Value) -> Self {
        let ground = Ground::new();
        ground.values.put("k", r#"{"password": "first"}"#);
        ground.apply::<SecretPolicy>(object);
        let (policies, key) = (ground.context.policies(), ObjectName::new("shop", "db"));
        Self { ground, policies, key }
    }

    /// One round, as the worker takes it.
    async fn round(&self) -> Result<Next, Error> {
        let done = self.policies.ensure(&self.key).await;
        if let Err(error) = &done
            && !error.is_quiet()
        {
            self.policies.failed(&self.key, error).await.unwrap();
        }
        done
    }

    /// The value has changed, and it is time to read it.
    async fn round_with(&self, value: &str) -> Result<Next, Error> {
        self.ground.values.put("k", value);
        self.ground.clock.pass(TimeDelta::minutes(3));
        tokio::time::advance(Duration::from_mins(3)).await;
        self.round().await
    }

    fn secret(&self) -> Option<Value> {
        self.ground.server.get(&format!("{SECRETS}db"))
    }

    /// What is published under a key.
    fn published(&self, key: &str) -> Option<String> {
        let value = self.secret()?["data"].get(key)?.clone();
        let bytes: ByteString = serde_json::from_value(value).unwrap();
        Some(String::from_utf8(bytes.0).unwrap())
    }

    fn status(&self) -> SecretPolicyStatus {
        let row = self.policies.cluster.policies.get(&self.key).unwrap();
        row.object().unwrap().status.clone().unwrap()
    }

    /// `True/Synced`
    fn ready(&self) -> String {
        let conditions = self.status().conditions;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
        format!("{}/{}", ready.status, ready.reason)
    }

    /// Another tool writes this over the Secret, and the watch brings it.
    fn edited(&self, change: impl FnOnce(&mut Value)) {
        let mut secret = self.secret().unwrap_or_else(|| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop", "uid": "theirs"}})
        });
        change(&mut secret);
        secret["metadata"]["resourceVersion"] = json!("900");
        let metadata: ObjectMeta = serde_json::from_value(secret["metadata"].clone()).unwrap();
        self.ground.server.put(&format!("{SECRETS}db"), secret);
        self.policies.cluster.secrets.set(&self.key, SecretRow::project(metadata));
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_published_with_two_writes_and_an_idle_round_writes_and_reads_nothing() {
    let world = World::new(&policy(|_| {}));
    world.round().await.unwrap();
    assert_eq!(world.published("password").as_deref(), Some("first"));
    assert_eq!((world.ready().as_str(), world.ground.server.writes()), ("True/Synced", 2));
    let next = world.round().await.unwrap();
    assert!(matches!(next, Next::After(delay) if delay <= Duration::from_mins(1)), "{next:?}");
    assert_eq!((world.ground.server.writes(), world.ground.values.reads()), (2, 1));
}

/// A watch that was cut off reports a change late.
#[tokio::test(start_paused = true)]
async fn a_secret_that_has_changed_is_left_until_its_watch_has_reported_it_or_for_a_minute() {
    let world = World::new(&policy(|_| {}));
    world.round().await.unwrap();
    let mut secret = world.secret().unwrap();
    secret["metadata"]["resourceVersion"] = json!("900");
    world.ground.server.put(&format!("{SECRETS}db"), secret.clone());
    let patches = || world.ground.server.asked(&format!("PATCH {SECRETS}db"));
    for _ in 0..5 {
        let error = world.round_with(r#"{"password": "second"}"#).await.unwrap_err();
        assert_eq!((error.class(), error.is_quiet()), (Class::Conflict, true), "{error}");
        world.ground.clock.pass(TimeDelta::seconds(1));
        world.round().await.unwrap_err();
        assert!(!world.ready().starts_with("False"), "{}", world.ready());
    }
    assert_eq!(patches(), 1 + 5, "once every three minutes, since no watch reports anything");
    let metadata: ObjectMeta = serde_json::from_value(secret["metadata"].clone()).unwrap();
    world.policies.cluster.secrets.set(&world.key, SecretRow::project(metadata));
    world.round().await.unwrap();
    assert_eq!((patches(), world.published("password").as_deref()), (7, Some("second")));
}

#[tokio::test(start_paused = true)]
async fn a_new_value_is_published_and_its_consumers_are_looked_at() {
    let world = World::new(&policy(|_| {}));
    let spec = json!({"selector": {}, "template": {"spec": {"containers": [
        {"name": "app", "envFrom": [{"secretRef": {"name": "db"}}]}]}}});
    let web =
        json!({"metadata": {"name": "web", "namespace": "shop", "uid": "w", "resourceVersion": "1"}, "spec": spec});
    let web = serde_json::from_value::<Deployment>(web).unwrap().project();
    world.policies.cluster.workloads.set(&workload_name(&web.id), web.clone());
    world.round().await.unwrap();
    assert_eq!(world.ground.context.queues.workloads.next().await, web.id);
    world.ground.context.queues.workloads.done(&web.id, None);
    world.round_with(r#"{"password": "second"}"#).await.unwrap();
    assert_eq!(world.published("password").as_deref(), Some("second"));
    let called: WorkloadId = world.ground.context.queues.workloads.next().await;
    assert_eq!(called, web.id);
}

#[tokio::test(start_paused = true)]
async fn what_another_tool_changes_is_repaired() {
    let world = World::new(&policy(|_| {}));
    world.round().await.unwrap();
    world.edited(|secret| secret["data"] = json!({"password": "Zm9yZ2Vk"}));
    assert_eq!(world.published("password").as_deref(), Some("forged"));
    world.round().await.unwrap();
    assert_eq!(world.published("password").as_deref(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_leaves_the_last_value_in_place() {
    let world = World::new(&policy(|_| {}));
    world.round().await.unwrap();
    let writes = world.ground.server.writes();
    world.ground.values.refuse("read", Some(StoreErrorKind::Unavailable));
    let error = world.round_with(r#"{"password": "second"}"#).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Unavailable);
    assert_eq!(world.published("password").as_deref(), Some("first"));
    assert_eq!((world.ready().as_str(), world.ground.server.writes()), ("True/ServingLastKnown", writes + 1));
    let _ = world.round().await;
    assert_eq!(world.ground.server.writes(), writes + 1, "it is said once");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_first_publishes_nothing() {
    for (kind, ready) in [
        (StoreErrorKind::Unavailable, "False/Unavailable"),
        (StoreErrorKind::NotFound, "False/KeyNotFound"),
        (StoreErrorKind::Denied, "False/AccessDenied"),
    ] {
        let world = World::new(&policy(|_| {}));
        world.ground.values.refuse("read", Some(kind));
        world.round().await.unwrap_err();
        assert_eq!((world.ready().as_str(), world.secret()), (ready, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_another_tool_is_left_alone() {
    let world = World::new(&policy(|_| {}));
    world.edited(|secret| secret["data"] = json!({"password": "dGhlaXJz"}));
    let before = world.secret();
    assert_eq!(world.round().await.unwrap_err().class(), Class::Data);
    assert_eq!(world.secret(), before);
    assert!(world.ready().starts_with("False/"), "{}", world.ready());
    assert_eq!(world.ground.values.reads(), 0, "nothing is read that could not be published");
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_reported_without_what_was_to_be_written() {
    let world = World::new(&policy(|_| {}));
    world.ground.server.refuse(&format!("PATCH {SECRETS}"), 500);
    let error = world.round().await.unwrap_err();
    assert_eq!(error.reason(), Reason::ApiError);
    let status = serde_json::to_string(&world.status()).unwrap();
    assert!(status.contains("apply Secret shop/db") && !status.contains("first"), "{status}");
    world.ground.server.allow();
    world.round().await.unwrap();
    assert_eq!((world.published("password").as_deref(), world.ready().as_str()), (Some("first"), "True/Synced"));
}

#[tokio::test(start_paused = true)]
async fn in_a_closed_namespace_nothing_is_asked_for() {
    let world = World::new(&policy(|_| {}));
    world.policies.cluster.namespaces.close("shop");
    world.round().await.unwrap_err();
    assert_eq!(world.ready(), "False/NamespaceNotOpened");
    assert_eq!((world.ground.values.reads(), world.ground.server.asked(&format!("GET {SECRETS}"))), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_policy_touches_nothing() {
    let world = World::new(&policy(|_| {}));
    world.round().await.unwrap();
    let mut suspended = policy(|object| object["spec"]["suspend"] = json!(true));
    suspended["metadata"]["resourceVersion"] = json!("800");
    suspended["metadata"]["generation"] = json!(2);
    suspended["status"] = serde_json::to_value(world.status()).unwrap();
    world.ground.apply::<SecretPolicy>(&suspended);
    world.round_with(r#"{"password": "second"}"#).await.unwrap();
    assert_eq!((world.published("password").as_deref(), world.ready().as_str()), (Some("first"), "True/Suspended"));
}

#[tokio::test(start_paused = true)]
async fn the_secret_that_versions_are_made_of_is_read_when_it_has_changed_and_never_written() {
    let world = World::new(&policy(|object| {
        object["spec"] =
            json!({"source": {"existing": {}}, "immutability": "Versioned", "versions": {"references": "Move"}});
    }));
    let reads = || world.ground.server.asked(&format!("GET {SECRETS}db"));
    let versions = || {
        let all = world
            .policies
            .cluster
            .versions(&world.key, &world.policies.cluster.policies.get(&world.key).unwrap().spec().unwrap().names);
        all.into_iter().map(|version| version.name).collect::<Vec<_>>()
    };
    world.round().await.unwrap();
    assert_eq!((world.ready().as_str(), reads()), ("False/SecretNotFound", 0));
    world.edited(|secret| secret["data"] = json!({"password": "b25l"}));
    world.round().await.unwrap();
    let (theirs, first) = (world.secret(), versions());
    assert_eq!((world.ready().as_str(), reads(), first.len()), ("True/Synced", 1, 1));
    let writes = world.ground.server.writes();
    for _ in 0..3 {
        world.round().await.unwrap();
    }
    assert_eq!((reads(), world.ground.server.writes()), (1, writes), "nothing has changed");
    assert_eq!(world.secret(), theirs);
    // Whoever deletes the version has it made again, of what the other tool's Secret holds.
    let name = ObjectName::new("shop", first[0].as_str());
    world.ground.server.remove(&format!("{SECRETS}{}", first[0]));
    world.policies.cluster.secrets.remove(&name, Version::new("950"));
    world.round().await.unwrap();
    assert_eq!((versions(), reads(), world.secret()), (first, 2, theirs));
}

#[tokio::test(start_paused = true)]
async fn the_first_version_of_a_governed_secret_keeps_its_revision_whatever_is_remembered() {
    let existing = |generation: u32, versioned: bool, status: Option<SecretPolicyStatus>| {
        policy(|object| {
            object["spec"] = json!({"source": {"existing": {}}});
            if versioned {
                object["spec"]["immutability"] = json!("Versioned");
                object["spec"]["versions"] = json!({"references": "Publish"});
            }
            object["metadata"]["generation"] = json!(generation);
            object["metadata"]["resourceVersion"] = json!(format!("{generation}000"));
            object["status"] = serde_json::to_value(status).unwrap();
        })
    };
    let world = World::new(&existing(1, false, None));
    world.edited(|secret| secret["data"] = json!({"password": "b25l"}));
    world.round().await.unwrap();
    let governed = world.secret().unwrap();
    world.ground.apply::<SecretPolicy>(&existing(2, true, Some(world.status())));
    world.round().await.unwrap();
    let record = |secret: &Value| secret["metadata"]["annotations"]["rekey.dev/changes"].clone();
    let version = world.ground.server.get(&format!("{SECRETS}{}", world.status().secret_name.unwrap())).unwrap();
    assert_eq!((record(&version), &version["immutable"]), (record(&governed), &json!(true)));
    assert_eq!(world.secret(), Some(governed), "what was written on it before stays");
}
