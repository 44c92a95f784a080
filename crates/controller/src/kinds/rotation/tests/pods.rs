//! Which pods keep the old credential alive.

use k8s_openapi::api::apps::v1::Deployment;
use rekey_core::workload::Project as _;

use super::{whole::Pair, *};
use crate::cluster::workload_name;

const PODS: &str = "/api/v1/namespaces/shop/pods/";

/// A pod that mounts the policy's Secret and has run since before the rotation.
fn pod(name: &str, app: &str) -> Value {
    let running = json!([{"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                          "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": app, "pod-template-hash": "5d9"}},
        "spec": {"containers": [{"name": "app", "volumeMounts": [{"name": "db", "mountPath": "/etc/db"}]}],
                 "volumes": [{"name": "db", "secret": {"secretName": "db"}}]},
        "status": {"phase": "Running", "containerStatuses": running},
    })
}

/// The same, made by the `ReplicaSet` of a Deployment.
fn owned(name: &str, app: &str, deployment: &str) -> Value {
    let mut pod = pod(name, app);
    let set = format!("{deployment}-5d9");
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": set, "controller": true}]);
    pod
}

/// A Deployment that says that it reads mounted files again by itself.
fn reloading(pair: &Pair) {
    let volumes = json!([{"name": "db", "secret": {"secretName": "db"}}]);
    let object = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "w", "generation": 1, "resourceVersion": "1",
                     "annotations": {names::LIVE_RELOAD: "true"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "app"}], "volumes": volumes}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
    });
    let row = serde_json::from_value::<Deployment>(object).unwrap().project();
    pair.world.schedules.cluster.workloads.set(&workload_name(&row.id.clone()), row);
}

#[tokio::test]
async fn a_pod_that_never_looks_again_is_waited_for_though_another_workload_reloads() {
    let pair = Pair::new().await;
    reloading(&pair);
    let others = [
        ("worker-1", pod("worker-1", "worker")),
        ("bare", pod("bare", "web")),
        ("shop-1", owned("shop-1", "web", "shop")),
    ];
    pair.world.ground.server.put(&format!("{PODS}web-1"), owned("web-1", "web", "web"));
    for (name, pod) in &others {
        pair.world.ground.server.put(&format!("{PODS}{name}"), pod.clone());
    }
    for _ in 0..10 {
        pair.world.ground.clock.pass(TimeDelta::minutes(1));
        pair.rounds(10).await;
    }
    let open = pair.world.status().rotation.expect("the rotation is open");
    let message = open.message.unwrap_or_default();
    assert!(others.iter().all(|(name, _)| message.contains(name)) && !message.contains("web-1"), "{message}");
    for (name, _) in others {
        pair.world.ground.server.remove(&format!("{PODS}{name}"));
    }
    for _ in 0..10 {
        pair.world.ground.clock.pass(TimeDelta::minutes(1));
        pair.rounds(10).await;
    }
    assert_eq!(pair.world.status().history[0].outcome, RotationOutcome::Completed);
}
