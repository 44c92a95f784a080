use k8s_openapi::api::apps::v1::Deployment;
use rekey_core::workload::{Kind, Project as _, Workload};
use serde_json::json;

use super::*;
use crate::{cluster::workload_name, in_memory::Ground, watch::opened::consumers};

/// A namespace that is opened while the watch of all has its first list under way, and gets a watch of its own.
const LATER: &str = "later";

fn deployment(namespace: &str, name: &str, version: &str) -> (ObjectName, Workload) {
    let object: Deployment = serde_json::from_value(json!({
        "metadata": {"namespace": namespace, "name": name, "uid": name, "resourceVersion": version},
        "spec": {"selector": {}, "template": {}},
    }))
    .unwrap();
    let workload = object.project();
    (workload_name(&workload.id), workload)
}

/// The watch of Deployments in all namespaces.
fn wide() -> Feed<Deployment, Workload> {
    consumers(None, Kind::Deployment, |object: Deployment| {
        let workload = object.project();
        (workload_name(&workload.id), workload)
    })
}

#[tokio::test]
async fn a_list_of_all_removes_nothing_that_a_watch_of_a_namespace_has_brought_meanwhile() {
    let ctx = Ground::new().context.watches();
    let (feed, workloads) = (wide(), &ctx.cluster.workloads);
    ctx.cluster.namespaces.wide.start("Deployment", ctx.cluster.namespaces.followed());
    ctx.cluster.namespaces.answered(LATER, None);
    let own = tokio::spawn(std::future::pending::<()>()); // it reports nothing for now
    ctx.cluster.namespaces.follow(LATER, "Deployment", own.abort_handle());
    let (gone, _) = deployment("shop", "gone", "3");
    workloads.set(&gone, deployment("shop", "gone", "3").1);
    feed.lists(&ctx);
    // Made after the list was answered: the watch of its namespace is faster than the end of the list.
    let (made, row) = deployment(LATER, "made", "9");
    workloads.set(&made, row);
    feed.forget(&ctx, &BTreeSet::new());
    assert!(workloads.get(&made).is_some(), "it is there");
    assert!(workloads.get(&gone).is_none(), "the list lacks it, and no other watch answers for its namespace");
    // A watch that has ended answers for nothing.
    own.abort();
    assert!(own.await.unwrap_err().is_cancelled());
    feed.forget(&ctx, &BTreeSet::new());
    assert!(workloads.get(&made).is_none());
}
