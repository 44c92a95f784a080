//! The bindings decide what the operator may see: one namespace after the other, or all at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{ClusterRoleBinding, RoleBinding},
};
use kube::{Api, api::DeleteParams};
use rekey_e2e::{Scene, World, shipped, wait::until, world::OPERATOR};
use rekey_testkit::plane::Mark;
use serde_json::json;

const WHOLE: &str = "rekey-namespace";

/// A namespace with a policy that is served when it has made its Secret.
async fn closed(world: &Arc<World>, prefix: &str) -> Result<Scene> {
    let scene = Scene::closed(world, prefix).await?;
    let policy = json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "db"},
        "spec": {"source": {"generated": {"fields": [{"key": "password", "password": {}}]}}},
    });
    scene.apply(policy).await?;
    Ok(scene)
}

/// How long it takes until the policy says so.
async fn says(scene: &Scene, wanted: &str) -> Result<Duration> {
    let start = Instant::now();
    scene.wait_policy("db", wanted).await?;
    Ok(start.elapsed())
}

pub async fn a_namespace_is_served_as_soon_as_its_binding_says(world: Arc<World>) -> Result<()> {
    let (named, other) = (closed(&world, "named").await?, closed(&world, "other").await?);
    let mut operator = world.operator("one-by-one", &[])?;
    for scene in [&named, &other] {
        says(scene, "Stalled=True/NamespaceNotOpened").await?;
    }
    named.apply(shipped::binding(&named.namespace, ("rekey", WHOLE))).await?;
    let served = says(&named, "Ready=True/Synced").await?;
    ensure!(served < Duration::from_secs(5), "a binding named rekey was found after {served:?}");
    other.apply(shipped::binding(&other.namespace, ("another-name", WHOLE))).await?;
    let served = says(&other, "Ready=True/Synced").await?;
    ensure!(served < Duration::from_secs(30), "a binding of another name was found after {served:?}");
    // Once closed again, the status says so as soon, and what was published stays.
    let before = named.data("db").await?;
    named.api::<RoleBinding>().delete("rekey", &DeleteParams::default()).await?;
    let told = says(&named, "Stalled=True/NamespaceNotOpened").await?;
    ensure!(told < Duration::from_secs(5), "the status said that it was closed after {told:?}");
    ensure!(before.is_some() && named.data("db").await? == before, "its Secret has changed");
    named.apply(shipped::binding(&named.namespace, ("rekey", WHOLE))).await?;
    let served = says(&named, "Ready=True/Synced").await?;
    ensure!(served < Duration::from_secs(5), "opened again, it was served after {served:?}");
    says(&other, "Ready=True/Synced").await?;
    operator.stop()
}

/// The `ClusterRoleBinding` of the operator to a role of the same name.
async fn everywhere(world: &World, role: &str) -> Result<()> {
    let mut binding = shipped::binding("", (role, role));
    binding["kind"] = json!("ClusterRoleBinding");
    binding["metadata"] = json!({"name": role});
    world.apply(binding).await.map(drop)
}

/// How often the operator has opened a watch of each of some kinds.
async fn watches(world: &World, since: &Mark) -> Result<[u64; 3]> {
    let counts = world.plane.audit()?.counts_since(since, OPERATOR).await?;
    Ok(["secrets", "deployments", "serviceaccounts"].map(|resource| counts.of("watch", resource)))
}

/// Deletes the Secret, and waits until it is there again: its watch reports it.
async fn comes_back(scene: &Scene) -> Result<()> {
    let secrets = scene.api::<Secret>();
    let uid = secrets.get("db").await?.metadata.uid;
    secrets.delete("db", &DeleteParams::default()).await?;
    until("the Secret comes back", || async {
        Ok(secrets.get_opt("db").await?.filter(|secret| secret.metadata.uid != uid))
    })
    .await
    .map(drop)
}

pub async fn bound_everywhere_one_watch_a_kind_serves_all_namespaces(world: Arc<World>) -> Result<()> {
    everywhere(&world, WHOLE).await?;
    let mut first = Vec::new();
    for prefix in ["wide-a", "wide-b", "wide-c"] {
        first.push(closed(&world, prefix).await?);
    }
    let start = world.plane.audit()?.mark().await?;
    let mut operator = world.operator("all-at-once", &[])?;
    for scene in &first {
        says(scene, "Ready=True/Synced").await?;
        comes_back(scene).await?;
    }
    let opened = watches(&world, &start).await?;
    ensure!(opened == [1; 3], "one watch a kind serves all namespaces: {opened:?}");
    // One that comes later has watches of its own at first.
    let later = closed(&world, "wide-later").await?;
    says(&later, "Ready=True/Synced").await?;
    comes_back(&later).await?;
    let opened = watches(&world, &start).await?;
    ensure!(opened == [2; 3], "{opened:?}");
    operator.stop()?;
    // Without the binding all are closed, until each gets its own.
    let bindings: Api<ClusterRoleBinding> = Api::all(world.client.clone());
    bindings.delete(WHOLE, &DeleteParams::default()).await?;
    let mut operator = world.operator("none-at-all", &[])?;
    for scene in first.iter().chain([&later]) {
        says(scene, "Stalled=True/NamespaceNotOpened").await?;
    }
    later.apply(shipped::binding(&later.namespace, ("rekey", WHOLE))).await?;
    let served = says(&later, "Ready=True/Synced").await?;
    ensure!(served < Duration::from_secs(5), "served after {served:?}");
    comes_back(&later).await?;
    operator.stop()
}
