//! Two schedules that would rotate the same.

use super::*;
use crate::cluster::Change;

/// A schedule that lets two users of a database take turns.
fn of_users(name: &str, users: &Value, made: &str) -> Value {
    let postgres = json!({"host": "db.shop", "database": "orders", "adminSecretRef": {"name": "admin"}, "users": {"alternating": users}});
    let mut object = schedule(name, &[("/spec/rotator", json!({ "postgres": postgres }))]);
    object["metadata"]["name"] = json!(name);
    object["metadata"]["uid"] = json!(name);
    object["metadata"]["finalizers"] = json!([]);
    object["metadata"]["creationTimestamp"] = json!(made);
    object["spec"]["policyRef"]["name"] = json!(name);
    object
}

#[tokio::test]
async fn the_younger_schedule_of_a_database_user_does_nothing_until_the_older_one_is_gone() {
    let older = json!({"first": "orders_a", "second": "orders_b", "owner": "orders"});
    let younger = json!({"first": "web_a", "second": "web_b", "owner": "orders", "from": "orders_b"});
    let ground = Ground::new();
    let mut schedules = ground.context.schedules();
    schedules.allow_alpha = true;
    for object in [of_users("one", &older, "2026-11-21T02:00:00Z"), of_users("two", &younger, "2026-11-22T02:00:00Z")] {
        ground.apply::<RotationSchedule>(&object);
    }
    let [one, two] = ["one", "two"].map(|name| ObjectName::new("shop", name));
    let error = schedules.ensure(&two).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DuplicateSchedule, "{error}");
    assert!(error.to_string().contains("user orders_b of db.shop:5432"), "{error}");
    schedules.failed(&two, &error).await.unwrap();
    let first = schedules.ensure(&one).await;
    assert!(!first.is_err_and(|error| error.reason() == Reason::DuplicateSchedule), "the older one has its turn");

    let gone = schedules.cluster.schedules.get(&one);
    schedules.cluster.schedules.remove(&one, Version::new("99"));
    let depth = schedules.queues.schedules.depth();
    schedules.notify.schedule(&Change { name: one, before: gone, now: None });
    assert!(schedules.queues.schedules.depth() > depth + 1, "the younger one has its turn");
    let second = schedules.ensure(&two).await;
    assert!(!second.is_err_and(|error| error.reason() == Reason::DuplicateSchedule));
}

/// Anybody can name a key that is not granted to him, and any server and its users.
#[tokio::test]
async fn a_schedule_of_another_namespace_that_may_not_write_the_key_stops_nobody() {
    let ground = Ground::new();
    let users = json!({"first": "orders_a", "second": "orders_b", "owner": "orders"});
    let mut schedules = ground.context.schedules();
    schedules.allow_alpha = true;
    let mut ours = of_users("ours", &users, "2026-11-22T02:00:00Z");
    ours["spec"]["writeTo"]["storeRef"] = json!({"kind": "ClusterRemoteStore", "name": "all"});
    ground.apply::<RotationSchedule>(&ours);
    let mut theirs = of_users("theirs", &users, "2026-11-21T02:00:00Z");
    theirs["spec"]["writeTo"] = ours["spec"]["writeTo"].clone();
    theirs["metadata"]["namespace"] = json!("evil");
    let row = crate::cluster::Object::from_object(serde_json::from_value(theirs).unwrap(), None);
    schedules.cluster.schedules.set(&ObjectName::new("evil", "theirs"), row);
    let done = schedules.ensure(&ObjectName::new("shop", "ours")).await;
    assert!(!done.is_err_and(|error| error.reason() == Reason::DuplicateSchedule));
}
