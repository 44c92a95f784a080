//! Earlier values of a Secret that keeps its name: private copies, going back by itself, and `rekey.dev/rollback-to`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::ListParams};
use rekey_api::{SecretPolicy, names, policy::HeldReason};
use rekey_e2e::{
    Scene, World,
    versions::{current, policy, put, scene, status, versions},
    wait::{stays, until, until_equal},
};
use serde_json::json;

use super::back::{all_hold, consumer, generations};

/// The private copies: whether each is immutable and what it is marked with, by what it holds.
async fn copies(scene: &Scene) -> Result<BTreeMap<String, (bool, Option<String>)>> {
    let held = versions(scene).await?;
    let all = scene.api::<Secret>().list(&ListParams::default()).await?;
    let copy = |secret: &Secret| {
        let password = held.get(&secret.name_any()).filter(|_| secret.name_any() != "db")?.clone();
        Some((password, (secret.immutable == Some(true), secret.annotations().get(names::HELD).cloned())))
    };
    Ok(all.iter().filter_map(copy).collect())
}

async fn publish(scene: &Scene, password: &str) -> Result<String> {
    put(scene, password).await?;
    scene.ask_sync("db").await?;
    scene.wait_data("db", &[("password", password)]).await?;
    current(scene, password).await?;
    status(scene).await?.revision.context("no revision")
}

pub async fn a_secret_that_keeps_its_name_goes_back_to_a_copy(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "copy").await?;
    let mut operator = scene.operator()?;
    // Between the times at which kubelet starts a container again by itself, after 10 s and 30 s.
    let rollout = json!({"onFailure": "RollBack", "progressDeadline": "18s", "stableFor": "5s"});
    policy(&scene, json!({ "rollout": rollout })).await?;
    current(&scene, "one").await?;
    for name in ["a", "b"] {
        consumer(&scene, name).await?;
    }
    all_hold(&scene, "one").await?;
    scene.wait_policy("db", "Ready=True/Synced").await?;
    let before = generations(&scene).await?;

    put(&scene, "bad").await?;
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Ready=True/RolledBack").await?;
    for name in ["a", "b"] {
        scene.wait_at_rest("db", name).await?;
    }
    all_hold(&scene, "one").await?;
    let after = generations(&scene).await?;
    let mut restarts = [after.0 - before.0, after.1 - before.1];
    restarts.sort_unstable();
    // One whose container kubelet has started on the good value again needs no restart.
    ensure!(
        restarts == [0, 2] || restarts == [0, 1],
        "one went there and back, and the other never left: {restarts:?}"
    );
    let rolled_back = (true, Some(names::HELD_ROLLED_BACK.to_owned()));
    let expected = [("bad".to_owned(), rolled_back), ("one".to_owned(), (true, None))].into();
    ensure!(copies(&scene).await? == expected, "{:?}", copies(&scene).await?);
    let found = status(&scene).await?;
    ensure!(found.held.as_ref().is_some_and(|held| held.reason == HeldReason::RolledBack), "{found:?}");

    // Another process knows it from the cluster, and repairs the Secret with the copy.
    operator.kill()?;
    scene.secret("db", &[("password", "edited")]).await?;
    operator = scene.operator()?;
    scene.wait_data("db", &[("password", "one")]).await?;
    scene.wait_policy("db", "Ready=True/RolledBack").await?;
    stays("the Secret", Some("one".to_owned()), Duration::from_secs(6), || async {
        Ok(scene.data("db").await?.and_then(|data| data.get("password").cloned()))
    })
    .await?;

    publish(&scene, "three").await?;
    all_hold(&scene, "three").await?;
    scene.wait_policy("db", "Ready=True/Synced").await?;
    publish(&scene, "one").await?;
    until_equal("the copies", vec!["three".to_owned()], || async { Ok(copies(&scene).await?.into_keys().collect()) })
        .await?;
    drop(operator);
    Ok(())
}

/// Under both modes: a user goes back, the store says something else meanwhile, and lets go.
pub async fn a_user_goes_back_to_a_revision_and_lets_go(world: Arc<World>) -> Result<()> {
    for (prefix, spec) in [
        ("none", json!({"versions": {"keep": 2}})),
        ("move", json!({"immutability": "Versioned", "versions": {"references": "Move", "keep": 2}})),
    ] {
        let scene = scene(&world, prefix).await?;
        let _operator = scene.operator()?;
        let mut spec = spec;
        spec["rollout"] = json!({"stableFor": "5s"});
        policy(&scene, spec).await?;
        current(&scene, "one").await?;
        for name in ["a", "b"] {
            consumer(&scene, name).await?;
        }
        all_hold(&scene, "one").await?;
        scene.wait_policy("db", "Ready=True/Synced").await?;
        let first = status(&scene).await?.revision.context("no revision")?;
        put(&scene, "three").await?;
        scene.ask_sync("db").await?;
        all_hold(&scene, "three").await?;
        scene.wait_policy("db", "Ready=True/Synced").await?;

        scene.annotate::<SecretPolicy>("db", names::ROLLBACK_TO, "bbbbbbbbbb").await?;
        let text = scene.wait_policy("db", "Ready=False/InvalidSpec").await?;
        ensure!(text.contains(&first), "{prefix}: the revisions that are kept are named: {text}");

        scene.annotate::<SecretPolicy>("db", names::ROLLBACK_TO, &first).await?;
        all_hold(&scene, "one").await?;
        let text = scene.wait_policy("db", "Ready=True/Held").await?;
        ensure!(text.contains("rekey.dev/rollback-to-"), "{prefix}: the way out: {text}");
        let found = status(&scene).await?;
        ensure!(found.revision.as_ref() == Some(&first), "{prefix}: {found:?}");
        ensure!(found.held.as_ref().is_some_and(|held| held.reason == HeldReason::RollbackTo), "{prefix}: {found:?}");
        let before = generations(&scene).await?;
        put(&scene, "two").await?;
        scene.annotate::<SecretPolicy>("db", names::SYNC_REQUESTED, "meanwhile").await?;
        stays(&format!("{prefix}: the generations"), before, Duration::from_secs(6), || generations(&scene)).await?;

        put(&scene, "three").await?;
        scene.take_annotation::<SecretPolicy>("db", names::ROLLBACK_TO).await?;
        all_hold(&scene, "three").await?;
        scene.wait_policy("db", "Ready=True/Synced").await?;
        until(&format!("{prefix}: nothing is held"), || async {
            Ok(status(&scene).await?.held.is_none().then_some(()))
        })
        .await?;
    }
    Ok(())
}
