//! `rollout.canary`: one workload gets a new value first, and the others follow only when it runs steadily on it.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use rekey_api::policy::{ConsumerState, HeldReason};
use rekey_e2e::{
    Scene, World,
    versions::{current, policy, put, scene, status, versions},
    wait::{stays, until},
};
use serde_json::json;

use super::back::{all_hold, consumer, generations};

/// The canary is the last one by name, so that no order of names helps it.
pub async fn a_canary_that_fails_leaves_the_others_alone(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "canary").await?;
    let operator = scene.operator()?;
    let canary = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "b"});
    policy(
        &scene,
        json!({"immutability": "Versioned", "versions": {"references": "Move"},
               "rollout": {"onFailure": "RollBack", "progressDeadline": "30s", "stableFor": "5s", "canary": canary}}),
    )
    .await?;
    let good = current(&scene, "one").await?;
    consumer(&scene, "a").await?;
    until("the status names the canary that is missing", || async {
        let items = status(&scene).await?.consumers.map(|consumers| consumers.items).unwrap_or_default();
        let says = |name: &str, state, text: &str| {
            let is_it = |item: &&rekey_api::policy::ConsumerStatus| item.name == name && item.state == state;
            items.iter().find(is_it).is_some_and(|item| item.message.as_deref().unwrap_or_default().contains(text))
        };
        let is_said = says("b", ConsumerState::Failed, "make it refer to the Secret, or change spec.rollout.canary")
            && says("a", ConsumerState::Outdated, "waits for the canary Deployment b, which is no consumer");
        Ok(is_said.then_some(()))
    })
    .await?;
    consumer(&scene, "b").await?;
    all_hold(&scene, "one").await?;
    scene.wait_policy("db", "Ready=True/Synced").await?;
    let before = generations(&scene).await?;

    put(&scene, "bad").await?;
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Ready=True/RolledBack").await?;
    all_hold(&scene, "one").await?;
    let after = generations(&scene).await?;
    ensure!(after == (before.0, before.1 + 2), "the canary went there and back: {before:?} {after:?}");
    let found = status(&scene).await?;
    ensure!(found.secret_name.as_ref() == Some(&good), "{found:?}");
    ensure!(found.held.as_ref().is_some_and(|held| held.reason == HeldReason::RolledBack), "{found:?}");
    stays("the generations", after, Duration::from_secs(6), || generations(&scene)).await?;
    ensure!(versions(&scene).await?.values().filter(|value| *value == "bad").count() == 1, "published once");

    put(&scene, "three").await?;
    scene.ask_sync("db").await?;
    until("the canary is on the next value, and the other not yet", || async {
        let (a, b) = generations(&scene).await?;
        ensure!(a == after.0 || b == after.1 + 1, "the other one is not first");
        Ok((b == after.1 + 1).then_some(()))
    })
    .await?;
    all_hold(&scene, "three").await?;
    scene.wait_policy("db", "Ready=True/Synced").await?;
    let last = generations(&scene).await?;
    ensure!(last == (after.0 + 1, after.1 + 1), "one rollout each: {after:?} {last:?}");
    drop(operator);
    Ok(())
}

/// Without a pod it shows nothing: the others wait, and the messages say what to do.
pub async fn a_canary_that_is_scaled_to_0_lets_nobody_pass(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "canary-0").await?;
    let _operator = scene.operator()?;
    let canary = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "b"});
    policy(
        &scene,
        json!({"immutability": "Versioned", "versions": {"references": "Move"},
               "rollout": {"stableFor": "5s", "progressDeadline": "30s", "canary": canary}}),
    )
    .await?;
    current(&scene, "one").await?;
    for name in ["a", "b"] {
        consumer(&scene, name).await?;
    }
    all_hold(&scene, "one").await?;
    scale(&scene, 0).await?;
    let before = generations(&scene).await?;
    put(&scene, "three").await?;
    scene.ask_sync("db").await?;
    until("the messages say what to do", || async {
        let items = status(&scene).await?.consumers.map(|consumers| consumers.items).unwrap_or_default();
        let says = |name: &str, state| {
            let is_it = |item: &&rekey_api::policy::ConsumerStatus| item.name == name && item.state == state;
            let text = items.iter().find(is_it).and_then(|item| item.message.clone()).unwrap_or_default();
            text.contains("scaled to 0") && text.contains("scale it up") && text.contains("remove spec.rollout.canary")
        };
        Ok((says("b", ConsumerState::Held) && says("a", ConsumerState::Outdated)).then_some(()))
    })
    .await?;
    stays("the generations", before, Duration::from_secs(8), || generations(&scene)).await?;
    scale(&scene, 1).await?;
    until("the canary is on the value, and the other not yet", || async {
        let (a, b) = generations(&scene).await?;
        ensure!(a == before.0 || b == before.1 + 2, "the other one is not first");
        Ok((b == before.1 + 2).then_some(()))
    })
    .await?;
    all_hold(&scene, "three").await?;
    scene.wait_policy("db", "Ready=True/Synced").await.map(drop)
}

async fn scale(scene: &Scene, replicas: u32) -> Result<()> {
    let body = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    scene.api::<Deployment>().patch("b", &PatchParams::default(), &body).await?;
    Ok(())
}
