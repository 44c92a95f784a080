//! Policies on a cluster that is nothing but rows: what is published, what is left alone, and what is reported.

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
    cluster::{SecretRow, workload_name},
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
