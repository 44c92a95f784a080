//! Changes of a Secret by other tools, and how Rekey handles them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use rekey_api::names;
use rekey_e2e::{Scene, World, wait::until};
use serde_json::{Value, json};

/// How long a repair may take.
const SECONDS: Duration = Duration::from_secs(8);

pub async fn published(world: &Arc<World>, prefix: &str) -> Result<Scene> {
    let scene = Scene::new(world, prefix).await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one", "username": "orders"})).await?;
    let seldom = json!({"source": {"remote": {"refreshInterval": "240h"}}});
    let items = [("password", key.as_str(), "password"), ("username", key.as_str(), "username")];
    scene.policy("db", "vault", &items, seldom).await?;
    Ok(scene)
}

pub async fn edit(scene: &Scene, manager: &str, body: &Value) -> Result<()> {
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    scene.api::<Secret>().patch("db", &params, &Patch::Merge(body)).await?;
    Ok(())
}

pub async fn repaired(scene: &Scene) -> Result<()> {
    let start = Instant::now();
    scene.wait_data("db", &[("password", "one"), ("username", "orders")]).await?;
    ensure!(start.elapsed() < SECONDS, "it took {:?}", start.elapsed());
    Ok(())
}

async fn told(scene: &Scene, manager: &str) -> Result<()> {
    let wanted = format!("Drifted: repaired Secret db, which {manager} had changed");
    until(&format!("the Event {wanted:?}"), || async { Ok(scene.events("db").await?.contains(&wanted).then_some(())) })
        .await
}

pub async fn edits_of_a_secret_are_repaired(world: Arc<World>) -> Result<()> {
    let scene = published(&world, "drift").await?;
    let _operator = scene.operator()?;
    let before = scene.wait_synced("db").await?.status.unwrap_or_default();
    for (manager, body) in [
        ("editor", json!({"stringData": {"password": "mine"}})),
        ("adder", json!({"stringData": {"extra": "key"}})),
        ("remover", json!({"data": {"username": null}})),
        ("kubectl-edit", json!({"stringData": {"password": "x", "extra": "key"}, "data": {"username": null}})),
    ] {
        edit(&scene, manager, &body).await?;
        repaired(&scene).await?;
        // A tool that only removes owns nothing afterwards.
        told(&scene, if manager == "remover" { "another tool" } else { manager }).await?;
    }
    let after = scene.wait_synced("db").await?.status.unwrap_or_default();
    ensure!(after.revision == before.revision && after.history == before.history, "{after:?}");
    let secret = scene.api::<Secret>().get("db").await?;
    ensure!(secret.annotations().get(names::REVISION) == before.revision.as_ref(), "{:?}", secret.annotations());
    Ok(())
}

pub async fn a_deleted_secret_comes_back(world: Arc<World>) -> Result<()> {
    let scene = published(&world, "deleted").await?;
    let _operator = scene.operator()?;
    scene.wait_synced("db").await?;
    let before = scene.api::<Secret>().get("db").await?;
    scene.api::<Secret>().delete("db", &DeleteParams::default()).await?;
    repaired(&scene).await?;
    let after = scene.api::<Secret>().get("db").await?;
    ensure!(before.uid() != after.uid(), "it was not deleted");
    ensure!(after.owner_references() == before.owner_references(), "{:?}", after.owner_references());
    let status = scene.wait_synced("db").await?.status.unwrap_or_default();
    ensure!(status.revision.as_ref() == after.annotations().get(names::REVISION), "{status:?}");
    Ok(())
}

pub async fn marks_of_others_stay(world: Arc<World>) -> Result<()> {
    let scene = published(&world, "marks").await?;
    let _operator = scene.operator()?;
    scene.wait_synced("db").await?;
    let body = json!({"metadata": {
        "labels": {"team": "theirs", names::MANAGED_BY: "somebody"},
        "annotations": {"example.com/note": "theirs"},
    }});
    edit(&scene, "labeller", &body).await?;
    let label = |secret: &Secret, name: &str| secret.labels().get(name).cloned();
    let secret = until("our label is back", || async {
        let secret = scene.api::<Secret>().get("db").await?;
        Ok((label(&secret, names::MANAGED_BY).as_deref() == Some("rekey")).then_some(secret))
    })
    .await?;
    ensure!(label(&secret, "team").as_deref() == Some("theirs"), "{:?}", secret.labels());
    let note = secret.annotations().get("example.com/note").map(String::as_str);
    ensure!(note == Some("theirs"), "{:?}", secret.annotations());
    // They also outlive a repair of the data.
    edit(&scene, "editor", &json!({"stringData": {"password": "mine"}})).await?;
    repaired(&scene).await?;
    let secret = scene.api::<Secret>().get("db").await?;
    ensure!(label(&secret, "team").as_deref() == Some("theirs"), "{:?}", secret.labels());
    Ok(())
}
