//! `onFailure: RollBack`: a value on which a consumer does not become healthy is taken back, once.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rekey_api::policy::{ConsumerState, ConsumerStatus, HeldReason};
use rekey_e2e::{
    Scene, World,
    versions::{current, policy, put, scene, status, versions},
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::json;

/// Of the consumers a and b: one more for each change of their templates.
pub async fn generations(scene: &Scene) -> Result<(i64, i64)> {
    Ok((scene.generation("Deployment", "a").await?, scene.generation("Deployment", "b").await?))
}

pub async fn consumer(scene: &Scene, name: &str) -> Result<()> {
    let mut object = workload("Deployment", &scene.namespace, name, "db", Form::Env);
    let env = &mut object["spec"]["template"]["spec"]["containers"][0]["env"];
    env.as_array_mut().context("no list")?.push(json!({"name": "TAKES", "value": "one,three"}));
    scene.world.apply(object).await.map(drop)
}

pub async fn all_hold(scene: &Scene, password: &str) -> Result<()> {
    until(&format!("all consumers are current and hold {password}"), || async {
        let items = status(scene).await?.consumers.map(|consumers| consumers.items).unwrap_or_default();
        // Of a value that a Secret holds from the start it is only assumed.
        let is_well = |item: &ConsumerStatus| matches!(item.state, ConsumerState::Current | ConsumerState::Assumed);
        if items.len() != 2 || !items.iter().all(is_well) {
            return Ok(None);
        }
        for name in ["a", "b"] {
            if scene.variable(name, "PASSWORD").await.ok().as_deref() != Some(password) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

pub async fn a_value_that_fails_is_taken_back_and_not_tried_again(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "back").await?;
    let mut operator = scene.operator()?;
    policy(
        &scene,
        json!({"immutability": "Versioned", "versions": {"references": "Move"},
               "rollout": {"onFailure": "RollBack", "progressDeadline": "30s", "stableFor": "5s"}}),
    )
    .await?;
    let good = current(&scene, "one").await?;
    for name in ["a", "b"] {
        consumer(&scene, name).await?;
    }
    all_hold(&scene, "one").await?;
    until_equal("the plain Secret", Some("one".to_owned()), || async {
        Ok(scene.data("db").await?.and_then(|data| data.get("password").cloned()))
    })
    .await?;
    let generations =
        || async { Ok((scene.generation("Deployment", "a").await?, scene.generation("Deployment", "b").await?)) };
    let before = generations().await?;

    put(&scene, "bad").await?;
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Ready=True/RolledBack").await?;
    all_hold(&scene, "one").await?;
    let found = status(&scene).await?;
    ensure!(found.secret_name.as_ref() == Some(&good), "{found:?}");
    ensure!(found.held.as_ref().is_some_and(|held| held.reason == HeldReason::RolledBack), "{found:?}");
    let after = generations().await?;
    let moves = (after.0 - before.0) + (after.1 - before.1);
    ensure!(moves == 2, "one consumer went there and back, and the other stayed: {before:?} {after:?}");
    let warnings = scene.warnings("db").await?;
    ensure!(warnings.iter().filter(|event| event.starts_with("RolledBack: ")).count() == 1, "{warnings:?}");

    // Another process knows it from the cluster: the bad value is not tried again.
    operator.kill()?;
    operator = scene.operator()?;
    scene.wait_policy("db", "Ready=True/RolledBack").await?;
    stays("the generations", after, Duration::from_secs(8), generations).await?;
    ensure!(versions(&scene).await?.values().filter(|value| *value == "bad").count() == 1, "published once");

    put(&scene, "three").await?;
    scene.ask_sync("db").await?;
    all_hold(&scene, "three").await?;
    scene.wait_policy("db", "Ready=True/Synced").await?;
    drop(operator);
    Ok(())
}

/// It takes any value, so it runs on the bad one until another consumer fails on that.
pub async fn a_consumer_that_is_only_named_comes_back_too(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "named").await?;
    let _operator = scene.operator()?;
    policy(
        &scene,
        json!({"immutability": "Versioned", "versions": {"references": "Move"},
               "rollout": {"onFailure": "RollBack", "progressDeadline": "15s", "stableFor": "5s", "concurrency": 2,
                           "consumers": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "b"}]}}),
    )
    .await?;
    current(&scene, "one").await?;
    consumer(&scene, "a").await?;
    let mut named = workload("Deployment", &scene.namespace, "b", "none", Form::Env);
    named["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
    scene.world.apply(named).await?;
    until("both run, the one without a reference on what is assumed", || async {
        let found = status(&scene).await?.consumers;
        Ok(found.is_some_and(|found| (found.current, found.assumed) == (1, 1)).then_some(()))
    })
    .await?;
    until_equal("the plain Secret", Some("one".to_owned()), || async {
        Ok(scene.data("db").await?.and_then(|data| data.get("password").cloned()))
    })
    .await?;
    let before = generations(&scene).await?;

    put(&scene, "bad").await?;
    scene.ask_sync("db").await?;
    until("both are restarted", || async {
        let now = generations(&scene).await?;
        Ok((now.0 > before.0 && now.1 > before.1).then_some(()))
    })
    .await?;
    scene.wait_policy("db", "Ready=True/RolledBack").await?;
    let back = until("both go back", || async {
        let now = generations(&scene).await?;
        Ok((now.0 - before.0 >= 2 && now.1 - before.1 >= 2).then_some(now))
    })
    .await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
    stays("the generations", back, Duration::from_secs(5), || generations(&scene)).await?;
    ensure!((back.0 - before.0, back.1 - before.1) == (2, 2), "there and back, once: {before:?} {back:?}");
    Ok(())
}
