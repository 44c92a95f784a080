//! Workloads on a cluster that is nothing but rows: who is restarted, how often, and who is not.

use chrono::TimeDelta;
use k8s_openapi::api::apps::v1::Deployment;
use rekey_api::SecretPolicy;
use rekey_core::workload::Project as _;
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::SecretRow,
    in_memory::{Ground, SHOP},
};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const PODS: &str = "/api/v1/namespaces/shop/pods";

struct World {
    ground: Ground,
    workloads: Workloads,
    id: WorkloadId,
}

fn deployment(change: impl FnOnce(&mut Value)) -> Value {
    let container = json!({"name": "app", "envFrom": [{"secretRef": {"name": "db"}}]});
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}});
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": SHOP, "uid": "w", "generation": 1, "resourceVersion": "1"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
    });
    change(&mut object);
    object
}

impl World {
    /// A policy has published its Secret at 08:00:00; the workload has one pod, which started at this time.
    async fn new(object: &Value, started: &str) -> Self {
        let ground = Ground::new();
        ground.values.put("k", r#"{"password": "first"}"#);
        let remote = json!({"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]});
        ground.apply::<SecretPolicy>(&json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy",
            "metadata": {"name": "db", "namespace": SHOP, "uid": "u", "generation": 1, "resourceVersion": "1"},
            "spec": {"source": {"remote": remote}},
        }));
        let policies = ground.context.policies();
        let key = ObjectName::new(SHOP, "db");
        policies.ensure(&key).await.unwrap();
        // A first publication leaves open what those who were there hold; a second one does not.
        ground.values.put("k", r#"{"password": "second"}"#);
        ground.clock.pass(TimeDelta::hours(2));
        tokio::time::advance(Duration::from_hours(2)).await;
        policies.ensure(&key).await.unwrap();
        ground.clock.pass(TimeDelta::seconds(30));
        let workloads = ground.context.workloads();
        let id = WorkloadId { kind: Kind::Deployment, namespace: SHOP.to_owned(), name: "web".to_owned() };
        let world = Self { ground, workloads, id };
        world.seen(object);
        world.pod(started);
        world
    }

    /// The policy is edited.
    fn rollout(&self, generation: u32, rollout: &Value) {
        let remote = json!({"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]});
        self.ground.apply::<SecretPolicy>(&json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy",
            "metadata": {"name": "db", "namespace": SHOP, "uid": "u", "generation": generation,
                         "resourceVersion": format!("{generation}00")},
            "spec": {"source": {"remote": remote}, "rollout": rollout},
        }));
    }

    /// As the API server has it and the watch brings it.
    fn seen(&self, object: &Value) {
        self.ground.server.put(DEPLOYMENT, object.clone());
        let row = serde_json::from_value::<Deployment>(object.clone()).unwrap().project();
        self.workloads.cluster.workloads.set(&workload_name(&self.id), row);
    }

    fn pod(&self, started: &str) {
        let running = json!([{"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                              "state": {"running": {"startedAt": started}}}]);
        let object = self.ground.server.get(DEPLOYMENT).unwrap();
        let owners = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9", "uid": "r",
                             "controller": true}]);
        self.ground.server.put(
            &format!("{PODS}/web-1"),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "web-1", "namespace": SHOP, "labels": {"app": "web", "pod-template-hash": "5d9"},
                             "creationTimestamp": started, "ownerReferences": owners},
                "spec": object["spec"]["template"]["spec"],
                "status": {"phase": "Running", "containerStatuses": running},
            }),
        );
    }

    async fn round(&self) -> Result<Next, Error> {
        self.workloads.ensure(&self.id).await
    }

    fn marker(&self) -> Option<String> {
        let object = self.ground.server.get(DEPLOYMENT)?;
        let marker = &object["spec"]["template"]["metadata"]["annotations"]["rekey.dev/consumed"];
        marker.as_str().map(str::to_owned)
    }

    fn restarts(&self) -> usize {
        self.ground.server.asked(&format!("PATCH {DEPLOYMENT}"))
    }

    /// Another tool removes the marker.
    fn revert(&self) {
        let mut object = self.ground.server.get(DEPLOYMENT).unwrap();
        let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        object["metadata"]["resourceVersion"] = json!((version + 100).to_string());
        object["spec"]["template"]["metadata"]["annotations"] = json!({});
        self.seen(&object);
    }
}

#[tokio::test(start_paused = true)]
async fn who_started_before_the_value_is_restarted_once() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    world.round().await.unwrap();
    assert_eq!(world.restarts(), 1);
    assert!(world.marker().unwrap().starts_with("db="), "{:?}", world.marker());
    for _ in 0..3 {
        world.round().await.unwrap();
    }
    assert_eq!(world.restarts(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_started_after_it_is_left_alone() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T10:00:20Z").await;
    world.round().await.unwrap();
    assert_eq!((world.restarts(), world.marker()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_only_shares_the_labels_restarts_nobody() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    let path = format!("{PODS}/web-1");
    let mut bare = world.ground.server.get(&path).unwrap();
    bare["metadata"]["ownerReferences"] = json!([]);
    world.ground.server.put(&path, bare);
    world.round().await.unwrap();
    assert_eq!(world.restarts(), 0);
}

/// The Deployment, restarted by us, with this many pods of its new template available.
fn followed(world: &World, available: u32) {
    let mut object = world.ground.server.get(DEPLOYMENT).unwrap();
    object["metadata"]["generation"] = json!(2);
    object["metadata"]["resourceVersion"] = json!((100 + available).to_string());
    object["status"]["observedGeneration"] = json!(2);
    object["status"]["availableReplicas"] = json!(available);
    world.seen(&object);
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_over_when_its_pods_run_on() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    world.round().await.unwrap();
    let lists = || world.ground.server.asked(&format!("GET {PODS}"));
    let before = lists();
    followed(&world, 0);
    world.round().await.unwrap();
    followed(&world, 1);
    world.pod("2027-01-15T10:00:40Z");
    let Next::After(pause) = world.round().await.unwrap() else { panic!("it has just become complete") };
    assert_eq!((pause.as_secs(), lists() - before), (12, 0), "nothing can have run for long enough");
    world.ground.clock.pass(TimeDelta::seconds(12));
    let Next::After(pause) = world.round().await.unwrap() else { panic!("its pod has started later") };
    assert_eq!((pause.as_secs(), lists() - before), (10, 1));
    world.ground.clock.pass(TimeDelta::seconds(10));
    for _ in 0..3 {
        assert!(matches!(world.round().await.unwrap(), Next::Change));
    }
    assert_eq!(lists() - before, 2, "it is settled, and stays so");
    assert_eq!(world.restarts(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_asks_not_to_be_restarted_is_not() {
    let never = deployment(|object| object["metadata"]["annotations"] = json!({"rekey.dev/restart": "Never"}));
    let world = World::new(&never, "2027-01-15T07:00:00Z").await;
    world.round().await.unwrap();
    assert_eq!(world.restarts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_paused_workload_is_held_and_restarted_when_it_goes_on() {
    let world = World::new(&deployment(|object| object["spec"]["paused"] = json!(true)), "2027-01-15T07:00:00Z").await;
    world.round().await.unwrap();
    assert_eq!(world.restarts(), 0);
    world.seen(&deployment(|object| object["metadata"]["resourceVersion"] = json!("2")));
    world.round().await.unwrap();
    assert_eq!(world.restarts(), 1);
}

/// Another consumer of the Secret, as old as the first one.
fn beside(world: &World) -> WorkloadId {
    let named = |value: Value| serde_json::from_str::<Value>(&value.to_string().replace("web", "api")).unwrap();
    let server = &world.ground.server;
    let mut object = named(server.get(DEPLOYMENT).unwrap());
    object["metadata"]["uid"] = json!("a");
    let id = WorkloadId { name: "api".to_owned(), ..world.id.clone() };
    let row = serde_json::from_value::<Deployment>(object.clone()).unwrap().project();
    world.workloads.cluster.workloads.set(&workload_name(&id), row);
    server.put(&DEPLOYMENT.replace("web", "api"), object);
    server.put(&format!("{PODS}/api-1"), named(server.get(&format!("{PODS}/web-1")).unwrap()));
    id
}

#[tokio::test(start_paused = true)]
async fn nobody_follows_one_whose_restart_has_no_answer() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    let (other, server) = (beside(&world), &world.ground.server);
    let followers = || server.asked(&format!("PATCH {}", DEPLOYMENT.replace("web", "api")));
    server.lose(&format!("PATCH {DEPLOYMENT}"));
    for what in ["no answer", "a conflict with what was done"] {
        assert!(world.round().await.is_err(), "{what}");
        assert!(world.marker().is_some());
        world.workloads.ensure(&other).await.unwrap();
        assert_eq!(followers(), 0, "{what}");
        server.allow();
    }
    let patches = || server.asked(&format!("PATCH {DEPLOYMENT}"));
    for _ in 0..3 {
        world.round().await.unwrap();
    }
    assert_eq!(patches(), 2, "what it would be decided on is known to be old");
    tokio::time::advance(Duration::from_mins(2)).await;
    assert!(world.round().await.is_err(), "a webhook may have said so");
    followed(&world, 0);
    world.workloads.ensure(&other).await.unwrap();
    assert_eq!(followers(), 0, "the watch has brought it, and it is on its way");
    world.round().await.unwrap();
    assert_eq!(patches(), 3);
}

/// Without a watch the pods tell of a restart before its workload does.
#[tokio::test(start_paused = true)]
async fn who_runs_steadily_after_a_restart_without_an_answer_calls_the_next_one() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    let (other, server) = (beside(&world), &world.ground.server);
    server.lose(&format!("PATCH {DEPLOYMENT}"));
    assert!(world.round().await.is_err());
    server.allow();
    world.workloads.ensure(&other).await.unwrap();
    assert_eq!(server.asked(&format!("PATCH {}", DEPLOYMENT.replace("web", "api"))), 0);
    let queue = &world.workloads.queues.workloads;
    while tokio::time::timeout(Duration::from_millis(1), queue.next()).await.is_ok() {}
    world.pod("2027-01-15T10:00:31Z");
    world.ground.clock.pass(TimeDelta::seconds(40));
    world.round().await.unwrap();
    let next = tokio::time::timeout(Duration::from_millis(1), queue.next()).await;
    assert_eq!(next.ok(), Some(other), "nobody else tells it");
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_was_refused_keeps_nobody_and_one_that_was_not_made_until_that_is_seen() {
    for (code, expected) in [(403, 1), (500, 0)] {
        let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
        let (other, server) = (beside(&world), &world.ground.server);
        let followers = || server.asked(&format!("PATCH {}", DEPLOYMENT.replace("web", "api")));
        server.refuse(&format!("PATCH {DEPLOYMENT}"), code);
        assert!(world.round().await.is_err());
        world.workloads.ensure(&other).await.unwrap();
        assert_eq!(followers(), expected, "{code}");
        world.seen(&deployment(|object| object["metadata"]["resourceVersion"] = json!("2")));
        world.workloads.ensure(&other).await.unwrap();
        assert_eq!(followers(), 1, "{code}");
    }
}

/// It is 10:00:30.
#[tokio::test(start_paused = true)]
async fn outside_of_its_window_it_waits_and_asks_nothing() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    world.rollout(2, &json!({"windows": [{"cron": "0 12 * * *", "duration": "1h"}]}));
    let lists = || world.ground.server.asked(&format!("GET {PODS}"));
    for round in 0..3 {
        let Next::After(pause) = world.round().await.unwrap() else { panic!("the window opens") };
        assert_eq!((world.restarts(), pause.as_secs(), lists()), (0, 7_170, 1), "{round}");
    }
    world.ground.clock.pass(TimeDelta::seconds(7_170));
    world.round().await.unwrap();
    assert_eq!(world.restarts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_edited_counts_at_once() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    world.rollout(2, &json!({"windows": [{"cron": "0 12 * * *", "duration": "1h"}]}));
    world.round().await.unwrap();
    world.rollout(3, &json!({"windows": [{"cron": "0 9 * * *", "duration": "2h"}]}));
    for _ in 0..3 {
        world.round().await.unwrap();
    }
    assert_eq!(world.restarts(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_look_at_the_pods_nobody_is_restarted() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    world.ground.server.refuse(&format!("GET {PODS}"), 500);
    assert_eq!(world.round().await.unwrap_err().reason().as_str(), "ApiError");
    assert_eq!(world.restarts(), 0);
    world.ground.server.allow();
    world.round().await.unwrap();
    assert_eq!(world.restarts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_has_changed_meanwhile_is_looked_at_again() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    let newer = deployment(|object| object["metadata"]["resourceVersion"] = json!("7"));
    world.ground.server.put(DEPLOYMENT, newer.clone());
    assert!(world.round().await.unwrap_err().is_quiet(), "a conflict, which is nobody's to act on");
    assert_eq!(world.marker(), None);
    world.seen(&newer);
    world.round().await.unwrap();
    assert!(world.marker().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_is_taken_off_is_written_once_more_and_then_left() {
    let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
    let events = || world.ground.server.asked("POST /apis/events.k8s.io/v1/namespaces/shop/events");
    let before = events();
    for _ in 0..6 {
        world.round().await.unwrap();
        world.revert();
    }
    assert_eq!(world.restarts(), 2);
    assert_eq!(events() - before, 3, "restarted twice, and why not again");
}

/// What the table shows is older than what the Secret may hold.
#[tokio::test(start_paused = true)]
async fn nobody_is_restarted_for_a_value_that_a_write_without_an_answer_may_have_replaced() {
    const SECRET: &str = "/api/v1/namespaces/shop/secrets/db";
    for (is_made, expected) in [(true, 0), (false, 1)] {
        let world = World::new(&deployment(|_| {}), "2027-01-15T07:00:00Z").await;
        let (server, key) = (&world.ground.server, ObjectName::new(SHOP, "db"));
        let change = format!("PATCH {SECRET}");
        if is_made {
            server.lose(&change);
        } else {
            server.refuse(&change, 500);
        }
        world.ground.values.put("k", r#"{"password": "third"}"#);
        world.ground.clock.pass(TimeDelta::hours(2));
        tokio::time::advance(Duration::from_hours(2)).await;
        assert!(world.ground.context.policies().ensure(&key).await.is_err());
        server.allow();
        for _ in 0..2 {
            world.round().await.unwrap();
        }
        assert_eq!(world.restarts(), expected, "made: {is_made}");
        let metadata = serde_json::from_value(server.get(SECRET).unwrap()["metadata"].clone()).unwrap();
        world.workloads.cluster.secrets.set(&key, SecretRow::project(metadata));
        world.ground.clock.pass(TimeDelta::seconds(30));
        world.round().await.unwrap();
        assert_eq!(world.restarts(), 1, "made: {is_made}");
    }
}
