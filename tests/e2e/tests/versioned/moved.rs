//! A policy gets another `immutability`.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::DeleteParams};
use rekey_api::names;
use rekey_e2e::{
    World,
    versions::{change, current, deployment, held, policy, scene, status, versioned, versions},
    wait::{stays, until, until_equal},
};
use serde_json::{Value, json};

pub async fn a_policy_becomes_versioned_and_goes_back_without_another_value(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "moved").await?;
    let _operator = scene.operator()?;
    policy(&scene, json!({})).await?;
    ensure!(current(&scene, "one").await? == "db");
    let before = status(&scene).await?;
    let plain = scene.api::<Secret>().get("db").await?;
    policy(&scene, versioned(1)).await?;
    let name = until("a version", || async {
        let name = current(&scene, "one").await?;
        Ok((name != "db").then_some(name))
    })
    .await?;
    let now = status(&scene).await?;
    ensure!(now.revision == before.revision && now.history == before.history, "{now:?}");
    let version = scene.api::<Secret>().get(&name).await?;
    for record in [names::REVISION, names::CHANGES, names::DIGESTS] {
        ensure!(version.annotations().get(record) == plain.annotations().get(record), "{record}");
    }
    deployment(&scene, "web", &name).await?;
    scene.wait_pod("web").await?;
    change(&scene, "two").await?;
    change(&scene, "three").await?;
    ensure!(scene.data("db").await?.is_some_and(|data| data["password"] == "one"), "the plain Secret stays as it was");

    // Back: the plain Secret takes the newest value with its record, and versions stay only while they are needed.
    let before = status(&scene).await?;
    policy(&scene, json!({})).await?;
    until("the plain name", || async { Ok((current(&scene, "three").await? == "db").then_some(())) }).await?;
    let now = status(&scene).await?;
    ensure!(now.revision == before.revision && now.history == before.history, "{now:?}");
    until_equal("what the Secrets hold", vec!["one".to_owned(), "three".to_owned()], || held(&scene)).await?;
    ensure!(versions(&scene).await?.contains_key(&name), "web refers to it");
    Ok(())
}

fn generated(more: &Value) -> Value {
    let mut spec = json!({"source": {"generated": {"fields": [{"key": "password", "password": {}}]}}});
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    spec
}

/// The Secret is the only copy, whatever it is called.
pub async fn generated_values_move_along(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "generated").await?;
    let _operator = scene.operator()?;
    scene.policy_of("db", generated(&json!({}))).await?;
    scene.wait_synced("db").await?;
    let value = scene.data("db").await?.unwrap_or_default()["password"].clone();
    scene.policy_of("db", generated(&versioned(1))).await?;
    let first = until("a version", || async {
        let name = current(&scene, &value).await?;
        Ok((name != "db").then_some(name))
    })
    .await?;
    // Another label needs the content, and changes neither name nor value.
    let mut labelled = versioned(1);
    labelled["target"] = json!({"template": {"metadata": {"labels": {"team": "shop"}}}});
    scene.policy_of("db", generated(&labelled)).await?;
    until("the label", || async {
        let secret = scene.api::<Secret>().get(&first).await?;
        Ok(secret.labels().contains_key("team").then_some(()))
    })
    .await?;
    ensure!(current(&scene, &value).await? == first);
    scene.policy_of("db", generated(&json!({}))).await?;
    until("the plain name", || async { Ok((current(&scene, &value).await? == "db").then_some(())) }).await
}

/// The version before may hold a credential that is dead by now.
pub async fn nobody_goes_back_when_the_current_version_is_deleted(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "deleted").await?;
    let mut operator = scene.operator()?;
    policy(&scene, json!({"immutability": "Versioned", "versions": {"references": "Move"}})).await?;
    current(&scene, "one").await?;
    deployment(&scene, "web", "db").await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
    let name = change(&scene, "two").await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
    let generation = || scene.generation("Deployment", "web");
    let before = generation().await?;

    scene.api::<Secret>().delete(&name, &DeleteParams::default()).await?;
    scene.wait_data(&name, &[("password", "two")]).await?;
    stays("the generation", before, Duration::from_secs(5), generation).await?;

    operator.kill()?;
    scene.api::<Secret>().delete(&name, &DeleteParams::default()).await?;
    operator = scene.operator()?;
    // The plain Secret has followed, and tells the new process what the version was.
    scene.wait_data(&name, &[("password", "two")]).await?;
    stays("the generation", before, Duration::from_secs(5), generation).await?;
    operator.kill()?;
    for gone in [name.as_str(), "db"] {
        scene.api::<Secret>().delete(gone, &DeleteParams::default()).await?;
    }
    operator = scene.operator()?;
    until("it runs on the same value under a new name", || async {
        let now = status(&scene).await?.secret_name;
        Ok((now.as_ref() != Some(&name) && generation().await? > before).then_some(()))
    })
    .await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
    ensure!(scene.held("web", "PASSWORD").await? == "two");
    ensure!(generation().await? == before + 1, "one move, and none to the version before");
    drop(operator);
    Ok(())
}
