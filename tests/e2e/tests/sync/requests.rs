//! When the store is read: on request, after an edit of the policy, and not otherwise.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene, World,
    wait::{stays, until},
};
use rekey_testkit::bao::Mark;
use serde_json::{Value, json};

/// So long that no round comes by itself within a test.
const SELDOM: &str = "240h";

fn seldom() -> Value {
    json!({"source": {"remote": {"refreshInterval": SELDOM}}})
}

fn reads(world: &World, mark: Mark, key: &str) -> Result<usize> {
    let all = world.bao.reads_since(mark)?;
    Ok(all.get(&("read".to_owned(), format!("secret/data/{key}"))).copied().unwrap_or_default())
}

async fn handled(scene: &Scene, token: &str) -> Result<()> {
    until(&format!("the token {token} is in the status"), || async {
        let status = scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default();
        Ok((status.handled_sync() == Some(token)).then_some(()))
    })
    .await
}

pub async fn a_request_is_handled_exactly_once(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "request").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("db", "vault", &[("password", &key, "password")], seldom()).await?;
    scene.wait_synced("db").await?;
    world.bao.put(&key, &json!({"password": "two"})).await?;
    let mark = world.bao.mark()?;
    scene.annotate::<SecretPolicy>("db", names::SYNC_REQUESTED, "first").await?;
    handled(&scene, "first").await?;
    ensure!(scene.data("db").await?.is_some_and(|data| data["password"] == "two"), "handled before it was published");
    ensure!(reads(&world, mark, &key)? == 1, "{} reads", reads(&world, mark, &key)?);
    // Another annotation, the same token once more: no request to the store.
    scene.annotate::<SecretPolicy>("db", "example.com/note", "x").await?;
    scene.annotate::<SecretPolicy>("db", names::SYNC_REQUESTED, "first").await?;
    stays("reads of the store", 1, Duration::from_secs(3), || async { reads(&world, mark, &key) }).await?;
    scene.annotate::<SecretPolicy>("db", names::SYNC_REQUESTED, "second").await?;
    handled(&scene, "second").await?;
    ensure!(reads(&world, mark, &key)? == 2, "{} reads", reads(&world, mark, &key)?);
    Ok(())
}

pub async fn an_old_request_is_only_recorded(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "recorded").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    let mark = world.bao.mark()?;
    let mut spec = seldom();
    spec["source"]["remote"]["storeRef"] = json!({"name": "vault"});
    spec["source"]["remote"]["data"] =
        json!([{"secretKey": "password", "remoteRef": {"key": key, "property": "password"}}]);
    scene
        .apply(json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": "db", "annotations": {names::SYNC_REQUESTED: "restored"}},
            "spec": spec,
        }))
        .await?;
    handled(&scene, "restored").await?;
    stays("reads of the store", 1, Duration::from_secs(2), || async { reads(&world, mark, &key) }).await
}

pub async fn an_edit_of_the_policy_is_followed_at_once(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "edit").await?;
    let _operator = scene.operator()?;
    let (key, other) = (scene.key("db"), scene.key("other"));
    world.bao.put(&key, &json!({"password": "one", "username": "orders"})).await?;
    world.bao.put(&other, &json!({"password": "elsewhere"})).await?;
    scene.policy("db", "vault", &[("password", &key, "password"), ("username", &key, "username")], seldom()).await?;
    scene.wait_data("db", &[("password", "one"), ("username", "orders")]).await?;
    // One key less, one from elsewhere: both are followed without waiting for a round.
    scene.policy("db", "vault", &[("password", &other, "password")], seldom()).await?;
    scene.wait_data("db", &[("password", "elsewhere")]).await?;
    let status = scene.wait_synced("db").await?.status.unwrap_or_default();
    let keys: Vec<&str> = status.source_versions.iter().map(|at| at.key.as_str()).collect();
    ensure!(keys == [other.as_str()], "{keys:?}");
    let last = status.history.first().map(|at| at.reason);
    ensure!(last == Some(rekey_api::policy::ChangeReason::SpecChanged), "{last:?}");
    Ok(())
}

pub async fn suspended_nothing_happens(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "suspended").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let items = [("password", key.as_str(), "password")];
    scene.policy("db", "vault", &items, json!({})).await?;
    scene.wait_synced("db").await?;
    scene.policy("db", "vault", &items, json!({"suspend": true})).await?;
    let said = scene.wait_policy("db", "ConsumersCurrent=False/Suspended").await?;
    ensure!(said.contains("spec.suspend"), "{said}");
    let said = scene.wait_policy("db", "Ready=True/Suspended").await?;
    ensure!(said.contains("spec.suspend"), "the Message column tells it too: {said}");
    let mark = world.bao.mark()?;
    world.bao.put(&key, &json!({"password": "two"})).await?;
    let before = scene.api::<Secret>().get("db").await?.resource_version();
    // More than a round of 10 s.
    stays("the suspended Secret", before, Duration::from_secs(12), || async {
        Ok(scene.api::<Secret>().get("db").await?.resource_version())
    })
    .await?;
    ensure!(reads(&world, mark, &key)? == 0, "the store was read");
    scene.policy("db", "vault", &items, json!({"suspend": false})).await?;
    scene.wait_data("db", &[("password", "two")]).await?;
    let synced = scene.wait_synced("db").await?.status.unwrap_or_default();
    let shown = rekey_e2e::conditions::shown(&synced.conditions);
    ensure!(shown == ["Ready=True/Synced"], "{shown:?}");
    Ok(())
}
