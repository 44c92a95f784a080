//! A value that was rolled back is held: when the digest key is lost by which it was known, and under another mode.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::DeleteParams};
use rekey_api::{names, policy::HeldReason};
use rekey_e2e::{
    Operator, Scene, World,
    versions::{current, policy, put, scene, status},
    wait::{stays, until},
};
use serde_json::{Value, json};

use super::back::{all_hold, consumer};

async fn password(scene: &Scene) -> Result<Option<String>> {
    Ok(scene.data("db").await?.and_then(|data| data.get("password").cloned()))
}

async fn digests(scene: &Scene, name: &str) -> Result<Option<String>> {
    Ok(scene.api::<Secret>().get(name).await?.annotations().get(names::DIGESTS).cloned())
}

fn rollout() -> Value {
    json!({"onFailure": "RollBack", "progressDeadline": "30s", "stableFor": "5s"})
}

pub async fn a_value_that_is_held_stays_so_without_the_digest_key(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "held").await?;
    let operator = without_key(&world, &scene, json!({"rollout": rollout()})).await?;
    put(&scene, "three").await?;
    scene.ask_sync("db").await?;
    current(&scene, "three").await?;
    drop(operator);
    Ok(())
}

pub async fn a_version_that_is_held_stays_so_without_the_digest_key_and_under_another_mode(
    world: Arc<World>,
) -> Result<()> {
    let scene = scene(&world, "held-move").await?;
    let moving = json!({"immutability": "Versioned", "versions": {"references": "Move"}, "rollout": rollout()});
    let operator = without_key(&world, &scene, moving).await?;
    let revision = status(&scene).await?.revision.context("a revision")?;
    policy(&scene, json!({"rollout": rollout()})).await?;
    until("the mode is acted on", || async {
        Ok((status(&scene).await?.secret_name.as_deref() == Some("db")).then_some(()))
    })
    .await?;
    held(&scene, &revision).await?;
    stays("the plain Secret", Some("one".to_owned()), Duration::from_secs(4), || password(&scene)).await?;
    put(&scene, "three").await?;
    scene.ask_sync("db").await?;
    current(&scene, "three").await?;
    drop(operator);
    Ok(())
}

/// A value is rolled back, and the digest key is lost while no operator runs: nothing is published, and nobody restarted.
async fn without_key(world: &Arc<World>, scene: &Scene, spec: Value) -> Result<Operator> {
    let only = [format!("--namespaces={}", scene.namespace), format!("--operator-namespace={}", scene.namespace)];
    let start = || world.operator(&scene.namespace, &[&only[0], &only[1], "--leader-elect=false"]);
    let mut operator = start()?;
    let revision = rolled_back(scene, spec).await?;
    let generations =
        || async { Ok((scene.generation("Deployment", "a").await?, scene.generation("Deployment", "b").await?)) };
    let before = generations().await?;
    let name = status(scene).await?.secret_name.context("a name")?;
    let recorded = digests(scene, &name).await?;
    operator.kill()?;
    scene.api::<Secret>().delete("rekey-digest-key", &DeleteParams::default()).await?;
    operator = start()?;
    until("digests are made with another key", || async {
        Ok((digests(scene, &name).await? != recorded).then_some(()))
    })
    .await?;
    held(scene, &revision).await?;
    stays("the generations", before, Duration::from_secs(8), generations).await?;
    held(scene, &revision).await?;
    Ok(operator)
}

/// A value that fails, and that is taken back; the revision that is published again.
async fn rolled_back(scene: &Scene, spec: Value) -> Result<String> {
    policy(scene, spec).await?;
    current(scene, "one").await?;
    for name in ["a", "b"] {
        consumer(scene, name).await?;
    }
    all_hold(scene, "one").await?;
    scene.wait_policy("db", "Ready=True/Synced").await?;
    scene.wait_data("db", &[("password", "one")]).await?;
    put(scene, "bad").await?;
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Ready=True/RolledBack").await?;
    all_hold(scene, "one").await?;
    status(scene).await?.revision.context("a revision")
}

/// The policy says that it holds this revision.
async fn held(scene: &Scene, revision: &str) -> Result<()> {
    scene.wait_policy("db", "Ready=True/RolledBack").await?;
    let found = status(scene).await?;
    let held = found.held.as_ref().map(|held| (held.revision.as_str(), held.reason));
    ensure!(held == Some((revision, HeldReason::RolledBack)), "{found:?}");
    Ok(())
}
