//! Stores that stop responding after a value was published.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::DeleteParams};
use rekey_e2e::{Scene, World, conditions};
use rekey_testkit::bao::OpenBao;
use serde_json::json;

async fn store(scene: &Scene, bao: &OpenBao, token: &str) -> Result<()> {
    scene.secret("own-token", &[("token", token)]).await?;
    let provider = json!({"vault": {
        "server": bao.address(), "mount": "secret", "kvVersion": "V2",
        "auth": {"token": {"secretRef": {"name": "own-token", "key": "token"}}},
    }});
    scene.store("own", "ReadOnly", provider).await
}

async fn synced(scene: &Scene, policy: &str) -> Result<()> {
    let status = scene.wait_synced(policy).await?.status.unwrap_or_default();
    let shown = conditions::shown(&status.conditions);
    ensure!(shown == ["Ready=True/Synced"], "{policy}: {shown:?}");
    Ok(())
}

pub async fn a_store_that_is_down_leaves_the_secret_and_comes_back(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "down").await?;
    let mut bao = OpenBao::start().await?;
    let items = [("password", "db", "password")];
    bao.put("db", &json!({"password": "one"})).await?;
    store(&scene, &bao, bao.token()).await?;
    let operator = scene.operator()?;
    scene.policy("db", "own", &items, json!({})).await?;
    scene.policy("lost", "own", &items, json!({})).await?;
    synced(&scene, "db").await?;
    synced(&scene, "lost").await?;
    let before = scene.api::<Secret>().get("db").await?.resource_version();

    bao.stop()?;
    let said = scene.wait_policy("db", "Fresh=False/Unavailable").await?;
    ensure!(said.contains("RemoteStore/own"), "{said}");
    scene.wait_policy("db", "Ready=True/ServingLastKnown").await?;
    // The store says so, too, and does not wait for its own next look.
    let down = scene.wait_store("own", "Ready=False/Unavailable").await?.status.unwrap_or_default();
    ensure!(down.capabilities.is_empty(), "{down:?}");
    ensure!(scene.api::<Secret>().get("db").await?.resource_version() == before, "the Secret was written");
    // A Secret that is lost meanwhile does not come back, and no status claims that it is there.
    scene.api::<Secret>().delete("lost", &DeleteParams::default()).await?;
    scene.wait_policy("lost", "Ready=False/Unavailable").await?;
    // An operator that starts while the store is down leaves what is served; a new policy waits.
    drop(operator);
    let mut operator = scene.operator()?;
    scene.policy("new", "own", &items, json!({})).await?;
    let said = scene.wait_policy("new", "Ready=False/Unavailable").await?;
    ensure!(said.contains("RemoteStore/own"), "{said}");
    scene.wait_policy("db", "Ready=True/ServingLastKnown").await?;
    ensure!(scene.api::<Secret>().get("db").await?.resource_version() == before, "the Secret was written");
    // Other stores do not wait.
    world.bao.put(&scene.key("db"), &json!({"password": "elsewhere"})).await?;
    scene.policy("other", "vault", &[("password", &scene.key("db"), "password")], json!({})).await?;
    scene.wait_data("other", &[("password", "elsewhere")]).await?;

    bao.restart().await?;
    bao.put("db", &json!({"password": "two"})).await?;
    scene.wait_store("own", "Ready=True/Synced").await?;
    for policy in ["db", "lost", "new"] {
        scene.wait_data(policy, &[("password", "two")]).await?;
        synced(&scene, policy).await?;
    }
    // A sealed server responds, without values.
    bao.seal().await?;
    scene.wait_policy("db", "Fresh=False/Unavailable").await?;
    scene.wait_data("db", &[("password", "two")]).await?;
    bao.unseal().await?;
    synced(&scene, "db").await?;
    operator.alive()
}

pub async fn a_revoked_credential_is_told_and_mended_without_a_restart(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "revoked").await?;
    let policy = format!("reader-{}", scene.namespace);
    world.bao.policy(&policy, r#"path "secret/data/*" { capabilities = ["read"] }"#).await?;
    let token = world.bao.token_for(&policy).await?;
    store(&scene, &world.bao, &token).await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("db", "own", &[("password", &key, "password")], json!({})).await?;
    synced(&scene, "db").await?;
    world.bao.revoke(&token).await?;
    let said = scene.wait_policy("db", "Fresh=False/AccessDenied").await?;
    ensure!(said.contains("(403)") && !said.contains(&token), "{said}");
    scene.wait_policy("db", "Ready=True/ServingLastKnown").await?;
    let said = scene.wait_store("own", "Ready=False/AccessDenied").await?.status.unwrap_or_default();
    ensure!(!conditions::message(&said.conditions, "Ready").contains(&token), "{said:?}");
    scene.wait_data("db", &[("password", "one")]).await?;
    // Another token in the same Secret.
    world.bao.put(&key, &json!({"password": "two"})).await?;
    scene.secret("own-token", &[("token", &world.bao.token_for(&policy).await?)]).await?;
    scene.wait_data("db", &[("password", "two")]).await?;
    synced(&scene, "db").await
}

pub async fn a_deleted_key_keeps_the_secret(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "gone").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    world.moto.create(&key, r#"{"password": "one"}"#).await?;
    let items = [("password", key.as_str(), "password")];
    scene.policy("of-bao", "vault", &items, json!({})).await?;
    scene.policy("of-aws", "aws", &items, json!({})).await?;
    synced(&scene, "of-bao").await?;
    synced(&scene, "of-aws").await?;
    world.bao.delete(&key).await?;
    world.moto.delete(&key).await?;
    for policy in ["of-bao", "of-aws"] {
        let said = scene.wait_policy(policy, "Fresh=False/KeyNotFound").await?;
        ensure!(said.contains(&key), "{policy}: {said}");
        scene.wait_policy(policy, "Ready=True/ServingLastKnown").await?;
        scene.wait_data(policy, &[("password", "one")]).await?;
    }
    let said = scene.wait_policy("of-bao", "Fresh=False/KeyNotFound").await?;
    ensure!(said.contains("is deleted"), "{said}");
    world.bao.put(&key, &json!({"password": "two"})).await?;
    world.moto.create(&key, r#"{"password": "two"}"#).await?;
    for policy in ["of-bao", "of-aws"] {
        scene.wait_data(policy, &[("password", "two")]).await?;
        synced(&scene, policy).await?;
    }
    Ok(())
}
