//! Which pods keep the old credential alive.

use k8s_openapi::api::apps::v1::Deployment;
use rekey_core::workload::Project as _;

use super::{whole::Pair, *};
use crate::cluster::workload_name;

/// A pod that mounts the policy's Secret and has run since before the rotation.
fn pod(name: &str, app: &str) -> Value {
    let running = json!([{"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                          "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": app}},
        "spec": {"containers": [{"name": "app"}], "volumes": [{"name": "db", "secret": {"secretName": "db"}}]},
        "status": {"phase": "Running", "containerStatuses": running},
    })
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
    pair.world.ground.server.put("/api/v1/namespaces/shop/pods/web-1", pod("web-1", "web"));
    pair.world.ground.server.put("/api/v1/namespaces/shop/pods/worker-1", pod("worker-1", "worker"));
    for _ in 0..10 {
        pair.world.ground.clock.pass(TimeDelta::minutes(1));
        pair.rounds(10).await;
    }
    let open = pair.world.status().rotation.expect("the rotation is open");
    let message = open.message.unwrap_or_default();
    assert!(message.contains("worker-1") && !message.contains("web-1"), "{message}");
    pair.world.ground.server.remove("/api/v1/namespaces/shop/pods/worker-1");
    for _ in 0..10 {
        pair.world.ground.clock.pass(TimeDelta::minutes(1));
        pair.rounds(10).await;
    }
    assert_eq!(pair.world.status().history[0].outcome, RotationOutcome::Completed);
}
