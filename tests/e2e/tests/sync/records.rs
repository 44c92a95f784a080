//! The record on a Secret: it fits, and it shows a store that went back.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{Scene, World, conditions::message, wait::until};
use serde_json::{Map, Value, json};

fn members(keys: usize, length: usize, value: &str) -> Value {
    (0..keys).map(|number| (format!("{number:0length$}"), json!(value))).collect::<Map<_, _>>().into()
}

/// Waits until the policy shows this condition, and returns what it says.
async fn said(scene: &Scene, kind: &str, wanted: &str) -> Result<String> {
    until(&format!("the policy shows {kind} {wanted}"), || async {
        let found = scene.policy_conditions("db").await?;
        let is = found.iter().any(|at| at.type_ == kind && at.reason == wanted);
        Ok(is.then(|| message(&found, kind)))
    })
    .await
}

/// 1,000 keys of 100 characters that all change at once, in a Secret of 1.2 MB: by name their record would need 350 KB. They are
/// read from AWS, since `OpenBao` takes 1,000 texts in a request.
pub async fn a_thousand_long_keys_change_at_once_and_too_many_are_refused(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "many").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.moto.create(&key, &members(1_000, 100, "one").to_string()).await?;
    let remote =
        json!({"storeRef": {"name": "aws"}, "refreshInterval": "240h", "dataFrom": [{"extract": {"key": key}}]});
    scene.policy_of("db", json!({"source": {"remote": remote}})).await?;
    scene.wait_synced("db").await?;
    let two = "2".repeat(850);
    world.moto.put(&key, &members(1_000, 100, &two).to_string()).await?;
    scene.sync("db").await?;
    scene.wait_synced("db").await?;
    let secret = scene.api::<Secret>().get("db").await?;
    let data = secret.data.clone().unwrap_or_default();
    ensure!(data.len() == 1_000 && data.values().all(|value| value.0 == two.as_bytes()), "{} keys", data.len());
    let room: usize = [names::DIGESTS, names::CHANGES]
        .iter()
        .filter_map(|name| secret.annotations().get(*name))
        .map(String::len)
        .sum();
    ensure!((50_000..60_000).contains(&room), "{room}");
    // Rekey refuses what it cannot record before it writes anything.
    world.moto.put(&key, &members(5_300, 10, "three").to_string()).await?;
    scene.ask_sync("db").await?;
    let text = said(&scene, "Stalled", "SecretTooLarge").await?;
    ensure!(text.contains("would have 5300 keys") && text.contains("split the keys among several policies"), "{text}");
    let after = scene.api::<Secret>().get("db").await?;
    ensure!(after.resource_version() == secret.resource_version(), "the last good one was written");
    world.moto.put(&key, &members(5_000, 10, "four").to_string()).await?;
    scene.sync("db").await?;
    scene.wait_synced("db").await?;
    let data = scene.data("db").await?.context("no Secret")?;
    ensure!(data.len() == 5_000 && data.values().all(|value| value == "four"), "{} keys", data.len());
    let events = scene.events("db").await?;
    let told =
        events.iter().any(|event| event.contains("new keys: 0000000000") && event.contains("; 1000 keys removed"));
    ensure!(told, "{events:?}");
    Ok(())
}

/// An older store takes its place: an old copy, a restored backup.
pub async fn a_store_that_went_back_is_not_followed_unless_asked(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "back").await?;
    let operator = scene.operator()?;
    let (key, mount) = (scene.key("db"), format!("copy-{}", scene.namespace));
    world.bao.mount(&mount, "kv", &json!({"version": "2"})).await?;
    let copy = format!("{mount}/data/{key}");
    for version in 1..=3 {
        let data = json!({"data": {"password": format!("copy {version}")}});
        until("the new mount takes values", || async { Ok(world.bao.put_plain(&copy, &data).await.ok()) }).await?;
    }
    for version in 1..=7 {
        world.bao.put(&key, &json!({"password": format!("version {version}")})).await?;
    }
    let often = json!({"source": {"remote": {"refreshInterval": "10s"}}});
    scene.policy("db", "vault", &[("password", &key, "password")], often).await?;
    scene.wait_data("db", &[("password", "version 7")]).await?;
    scene.wait_synced("db").await?;
    let auth = json!({"token": {"secretRef": {"name": "vault-token", "key": "token"}}});
    let provider = json!({"vault": {"server": world.bao.address(), "mount": mount, "kvVersion": "V2", "auth": auth}});
    scene.store("vault", "ReadWrite", provider).await?;
    let text = said(&scene, "Fresh", "StoreWentBack").await?;
    let named = format!("key {key:?} of RemoteStore/vault went back from version 7 of ");
    ensure!(text.starts_with(&named) && text.contains(" to version 3 of "), "{text}");
    scene.wait_data("db", &[("password", "version 7")]).await?;
    said(&scene, "Ready", "ServingLastKnown").await?;
    let status = scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default();
    ensure!(status.source_versions[0].version == "7", "{:?}", status.source_versions);
    let told = |events: Vec<String>| events.iter().filter(|event| event.starts_with("StoreWentBack: ")).count();
    until("an Event tells it", || async { Ok((told(scene.events("db").await?) > 0).then_some(())) }).await?;
    // Another replica knows it, too: the record is on the Secret.
    drop(operator);
    let _operator = scene.operator()?;
    let mark = world.bao.mark()?;
    until("the next replica has read the store", || async {
        let read = ("read".to_owned(), copy.clone());
        Ok(world.bao.reads_since(mark)?.contains_key(&read).then_some(()))
    })
    .await?;
    said(&scene, "Fresh", "StoreWentBack").await?;
    scene.wait_data("db", &[("password", "version 7")]).await?;
    ensure!(told(scene.events("db").await?) == 1, "{:?}", scene.events("db").await?);
    // A sync request publishes what the store holds now, once; later values follow.
    scene.sync("db").await?;
    scene.wait_data("db", &[("password", "copy 3")]).await?;
    scene.wait_synced("db").await?;
    world.bao.put_plain(&copy, &json!({"data": {"password": "copy 4"}})).await?;
    scene.wait_data("db", &[("password", "copy 4")]).await
}

/// A key that is deleted with all its versions and made again counts from 1, and is newer all the same.
pub async fn a_key_that_is_counted_anew_is_followed(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "anew").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    for version in 1..=7 {
        world.bao.put(&key, &json!({"password": format!("version {version}")})).await?;
    }
    let often = json!({"source": {"remote": {"refreshInterval": "10s"}}});
    scene.policy("db", "vault", &[("password", &key, "password")], often).await?;
    scene.wait_data("db", &[("password", "version 7")]).await?;
    world.bao.destroy(&key).await?;
    ensure!(world.bao.put(&key, &json!({"password": "made anew"})).await? == 1);
    scene.wait_data("db", &[("password", "made anew")]).await?;
    scene.wait_synced("db").await.map(drop)
}
