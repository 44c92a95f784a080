//! `immutability: Locked`.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{Scene, World, wait::stays};
use serde_json::{Value, json};

/// The same in the store, with a policy that locks it.
async fn locked(world: &Arc<World>, prefix: &str) -> Result<Scene> {
    let scene = Scene::new(world, prefix).await?;
    put(&scene, "one").await?;
    apply(&scene, json!({"immutability": "Locked"})).await?;
    Ok(scene)
}

async fn put(scene: &Scene, password: &str) -> Result<()> {
    scene.world.bao.put(&scene.key("db"), &json!({"username": "orders", "password": password})).await.map(drop)
}

async fn apply(scene: &Scene, more: Value) -> Result<()> {
    let key = scene.key("db");
    let items = [("password", key.as_str(), "password"), ("username", key.as_str(), "username")];
    scene.policy("db", "vault", &items, more).await
}

const FIRST: [(&str, &str); 2] = [("password", "one"), ("username", "orders")];

async fn stays_as_it_is(scene: &Scene, secret: &Secret) -> Result<()> {
    let name = secret.name_any();
    stays("the locked Secret", secret.resource_version(), Duration::from_secs(3), || async {
        Ok(scene.api::<Secret>().get(&name).await?.resource_version())
    })
    .await
}

pub async fn a_locked_secret_stays_and_says_so(world: Arc<World>) -> Result<()> {
    let scene = locked(&world, "locked").await?;
    let _operator = scene.operator()?;
    scene.wait_synced("db").await?;
    let secret = scene.api::<Secret>().get("db").await?;
    ensure!(secret.immutable == Some(true), "{:?}", secret.immutable);
    let edit = Patch::Merge(json!({"stringData": {"password": "mine"}}));
    let refused = scene.api::<Secret>().patch("db", &PatchParams::default(), &edit).await;
    ensure!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 422), "{refused:?}");

    put(&scene, "two").await?;
    let said = scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    let command = format!("kubectl annotate secretpolicy db -n {} --overwrite rekey.dev/unlock=", scene.namespace);
    for part in ["\"db\" is locked", "RemoteStore/vault", "keys: password)", "Set the value back", &command] {
        ensure!(said.contains(part), "no {part:?} in: {said}");
    }
    ensure!(!said.contains("two") && !said.contains("one"), "a value: {said}");
    scene.wait_policy("db", "Ready=False/LockedAndChanged").await?;
    stays_as_it_is(&scene, &secret).await?;
    ensure!(scene.data("db").await?.is_some_and(|data| data["password"] == "one"));

    put(&scene, "one").await?;
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Ready=True/Synced").await?;
    stays_as_it_is(&scene, &secret).await?;
    let events = scene.events("db").await?;
    let count = events.iter().filter(|event| event.starts_with("LockedAndChanged: ")).count();
    ensure!(count == 1, "{events:?}");
    Ok(())
}

pub async fn a_lost_locked_secret_comes_back_only_with_its_value(world: Arc<World>) -> Result<()> {
    let scene = locked(&world, "lost").await?;
    let _operator = scene.operator()?;
    scene.wait_synced("db").await?;
    scene.api::<Secret>().delete("db", &DeleteParams::default()).await?;
    scene.wait_data("db", &FIRST).await?;
    scene.wait_policy("db", "Ready=True/Synced").await?;
    ensure!(scene.api::<Secret>().get("db").await?.immutable == Some(true));
    // With another value the same name could show pods of one node a stale copy.
    put(&scene, "two").await?;
    scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    scene.api::<Secret>().delete("db", &DeleteParams::default()).await?;
    scene.ask_sync("db").await?;
    stays("the lost Secret", None, Duration::from_secs(5), || scene.data("db")).await?;
    let said = scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    ensure!(said.contains("was deleted") && said.contains("another spec.target.name"), "{said}");
    // Unless a user says so.
    scene.annotate::<SecretPolicy>("db", names::UNLOCK, "now").await?;
    scene.wait_data("db", &[("password", "two"), ("username", "orders")]).await?;
    scene.wait_synced("db").await.map(drop)
}

pub async fn locked_is_left_only_with_a_token(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "left").await?;
    let _operator = scene.operator()?;
    put(&scene, "one").await?;
    apply(&scene, json!({})).await?;
    scene.wait_synced("db").await?;
    ensure!(scene.api::<Secret>().get("db").await?.immutable.is_none());
    // Into Locked: the Secret becomes immutable and keeps its content.
    apply(&scene, json!({"immutability": "Locked"})).await?;
    rekey_e2e::wait::until("the Secret is immutable", || async {
        Ok((scene.api::<Secret>().get("db").await?.immutable == Some(true)).then_some(()))
    })
    .await?;
    scene.wait_synced("db").await?;
    let secret = scene.api::<Secret>().get("db").await?;
    apply(&scene, json!({"immutability": "None"})).await?;
    let said = scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    ensure!(said.contains("spec.immutability is None") && said.contains("set spec.immutability to Locked"), "{said}");
    stays_as_it_is(&scene, &secret).await?;
    apply(&scene, json!({"immutability": "Locked"})).await?;
    scene.wait_synced("db").await?;
    stays_as_it_is(&scene, &secret).await?;
    // A token for which there is nothing to do is used up.
    scene.annotate::<SecretPolicy>("db", names::UNLOCK, "first").await?;
    handled(&scene, "first").await?;
    apply(&scene, json!({"immutability": "None"})).await?;
    scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    stays_as_it_is(&scene, &secret).await?;
    scene.annotate::<SecretPolicy>("db", names::UNLOCK, "second").await?;
    handled(&scene, "second").await?;
    let now = scene.api::<Secret>().get("db").await?;
    ensure!(now.immutable.is_none() && now.data == secret.data, "{:?}", now.immutable);
    ensure!(now.annotations().get(names::REVISION) == secret.annotations().get(names::REVISION));
    put(&scene, "two").await?;
    scene.sync("db").await?;
    scene.wait_data("db", &[("password", "two"), ("username", "orders")]).await?;
    ensure!(scene.api::<Secret>().get("db").await?.uid() == now.uid(), "it changes in place");
    Ok(())
}

async fn handled(scene: &Scene, token: &str) -> Result<()> {
    rekey_e2e::wait::until(&format!("token {token} is handled"), || async {
        let status = scene.wait_synced("db").await?.status.unwrap_or_default();
        Ok((status.handled_unlock() == Some(token)).then_some(()))
    })
    .await
}
