//! Grants of a `ClusterRemoteStore`: what none allows is refused, and each change of them counts at once.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_e2e::{
    Scene, World,
    wait::{stays, until},
};
use serde_json::{Value, json};

use crate::cluster_stores::ClusterStore;

/// Reads for the named namespaces.
fn reads(names: &[&str], keys: &[&str]) -> Value {
    json!({"namespaces": {"names": names}, "keys": keys, "operations": ["Read"]})
}

async fn opened(world: &Arc<World>, prefix: &str) -> Result<Scene> {
    let scene = Scene::closed(world, prefix).await?;
    scene.open().await?;
    world.bao.put(&scene.key("db"), &json!({"username": "orders", "password": "one"})).await?;
    Ok(scene)
}

pub async fn a_grant_by_name_is_followed_when_it_comes_and_goes(world: Arc<World>) -> Result<()> {
    let scene = opened(&world, "granted").await?;
    let store = ClusterStore::new(&scene, "ReadOnly").await?;
    let (key, others) = (scene.key("db"), "somebody/else");
    world.bao.put(others, &json!({"password": "theirs"})).await?;
    store.grant(json!([reads(&["somebody"], &["somebody/*"])])).await?;
    let _operator = scene.operator()?;
    store.policy(&scene, "db", &key).await?;
    store.policy(&scene, "theirs", others).await?;
    for (policy, key) in [("db", key.as_str()), ("theirs", others)] {
        let said = scene.wait_policy(policy, "Ready=False/StoreNotAllowed").await?;
        let expected = format!(
            "ClusterRemoteStore/{}: no grant lets namespace {:?} Read key {key:?}",
            store.name, scene.namespace
        );
        ensure!(said.starts_with(&expected) && said.contains("spec.grants"), "{said}");
        ensure!(!said.contains("somebody/*"), "the message says nothing about other grants: {said}");
        ensure!(scene.data(policy).await?.is_none(), "{policy} was read");
    }
    // A grant arrives without a restart, for its keys only.
    let own = format!("{}/*", scene.namespace);
    store.grant(json!([reads(&["somebody"], &["somebody/*"]), reads(&[&scene.namespace], &[&own])])).await?;
    scene.wait_data("db", &[("password", "one")]).await?;
    scene.wait_synced("db").await?;
    // After a withdrawal the Secret stays and the status says since when it may be old; the operator reads nothing new.
    let before = scene.api::<Secret>().get("db").await?.resource_version();
    store.grant(json!([reads(&["somebody"], &["somebody/*"])])).await?;
    let said = scene.wait_policy("db", "Fresh=False/StoreNotAllowed").await?;
    ensure!(said.contains("no grant lets namespace"), "{said}");
    scene.wait_policy("db", "Ready=True/ServingLastKnown").await?;
    world.bao.put(&key, &json!({"password": "two"})).await?;
    scene.ask_sync("db").await?;
    stays("the Secret", before, Duration::from_secs(2), || async {
        Ok(scene.api::<Secret>().get("db").await?.resource_version())
    })
    .await?;
    store.grant(json!([reads(&[&scene.namespace], &[&key])])).await?;
    scene.wait_data("db", &[("password", "two")]).await?;
    scene.wait_synced("db").await?;
    ensure!(scene.data("theirs").await?.is_none(), "a key of others was read");
    store.delete().await
}

pub async fn a_grant_by_label_is_followed_when_the_label_comes_and_goes(world: Arc<World>) -> Result<()> {
    let scene = opened(&world, "labelled").await?;
    let store = ClusterStore::new(&scene, "ReadOnly").await?;
    let label = |value: Option<&str>| {
        let (api, name): (Api<Namespace>, _) = (Api::all(world.client.clone()), scene.namespace.clone());
        let body = json!({"metadata": {"labels": {"vault-access": value}}});
        async move { api.patch(&name, &PatchParams::default(), &Patch::Merge(&body)).await.map(drop) }
    };
    let selector = json!({"matchLabels": {"vault-access": "yes"}});
    store.grant(json!([{"namespaces": {"selector": selector}, "keys": ["*"], "operations": ["Read"]}])).await?;
    let _operator = scene.operator()?;
    store.policy(&scene, "db", &scene.key("db")).await?;
    let said = scene.wait_policy("db", "Ready=False/StoreNotAllowed").await?;
    ensure!(said.contains("no grant lets namespace") && !said.contains("vault-access"), "{said}");
    label(Some("yes")).await?;
    scene.wait_data("db", &[("password", "one")]).await?;
    scene.wait_synced("db").await?;
    label(Some("no")).await?;
    scene.wait_policy("db", "Fresh=False/StoreNotAllowed").await?;
    label(Some("yes")).await?;
    scene.wait_synced("db").await?;
    label(None).await?;
    scene.wait_policy("db", "Fresh=False/StoreNotAllowed").await?;
    // By name it needs no label.
    store.grant(json!([reads(&[&scene.namespace], &["*"])])).await?;
    scene.wait_synced("db").await?;
    store.delete().await
}

pub async fn a_rotation_needs_a_grant_to_write(world: Arc<World>) -> Result<()> {
    let scene = opened(&world, "rotated").await?;
    let store = ClusterStore::new(&scene, "ReadWrite").await?;
    let key = scene.key("db");
    store.grant(json!([reads(&[&scene.namespace], &[&key])])).await?;
    let _operator = scene.operator()?;
    store.policy(&scene, "db", &key).await?;
    scene.wait_synced("db").await?;
    scene
        .apply(json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": "db"},
            "spec": {
                "policyRef": {"name": "db"},
                "schedule": {"every": "240h", "rotateOnCreate": true},
                "writeTo": {"storeRef": store.reference(), "key": key},
                "rotator": {"generate": {"fields": [{"property": "password", "password": {"length": 40}}]}},
            },
        }))
        .await?;
    let said = until("the rotation waits for a grant", || async {
        let status = scene.schedule("db").await?.status.unwrap_or_default();
        let waits = status.conditions.into_iter().find(|at| at.message.contains("no grant lets namespace"));
        Ok(waits.map(|at| format!("{}: {}", at.reason, at.message)))
    })
    .await?;
    ensure!(said.starts_with("StoreNotAllowed: ") && said.contains(&format!("Write key {key:?}")), "{said}");
    ensure!(world.bao.versions(&key).await? == [1], "it was written");
    let grant = json!({"namespaces": {"names": [scene.namespace]}, "keys": [key], "operations": ["Read", "Write"]});
    store.grant(json!([grant])).await?;
    let made = until("a new password is published", || async {
        let data = scene.data("db").await?.unwrap_or_default();
        Ok(data.get("password").filter(|password| *password != "one").cloned())
    })
    .await?;
    let stored = world.bao.get(&key).await?.unwrap_or_default();
    ensure!(stored["password"] == made.as_str() && stored["username"] == "orders", "the store holds something else");
    ensure!(world.bao.versions(&key).await? == [1, 2], "it was written more than once");
    store.delete().await
}

/// Another mount of values beside that of the store, which its login can reach.
pub async fn a_key_opens_no_engine_and_a_post_needs_a_store_that_may_be_written(world: Arc<World>) -> Result<()> {
    let scene = opened(&world, "engines").await?;
    let mount = format!("other-{}", scene.namespace);
    world.bao.mount(&mount, "kv", &json!({})).await?;
    let path = format!("{mount}/theirs");
    world.bao.put_plain(&path, &json!({"password": "theirs"})).await?;
    let store = ClusterStore::new(&scene, "ReadOnly").await?;
    let grant = |more: Value| {
        let mut grant = json!({"namespaces": {"names": [scene.namespace]}, "operations": ["Read", "Write"]});
        for (name, value) in more.as_object().into_iter().flatten() {
            grant[name] = value.clone();
        }
        json!([grant])
    };
    store.grant(grant(json!({"keys": ["*"]}))).await?;
    let _operator = scene.operator()?;
    let engine = |path: &str, method: &str| {
        json!({"source": {"vaultEngine": {
            "storeRef": store.reference(), "path": path, "method": method, "parameters": {"password": "ours"},
        }}})
    };
    let mark = world.bao.mark()?;
    scene.policy_of("read", engine(&path, "Get")).await?;
    scene.policy_of("write", engine(&path, "Post")).await?;
    let said = scene.wait_policy("read", "Ready=False/StoreNotAllowed").await?;
    ensure!(said.contains(&format!("Read engine path {path:?}")) && said.contains("enginePaths"), "{said}");
    let said = scene.wait_policy("write", "Ready=False/StoreNotAllowed").await?;
    ensure!(said.contains("it is read-only, and a Post to engine path"), "{said}");
    // The path opens the engine for reading. The store itself prevents writes.
    store.grant(grant(json!({"enginePaths": [format!("{mount}/*"), "*"]}))).await?;
    scene.wait_data("read", &[("password", "theirs")]).await?;
    let said = scene.wait_policy("write", "Ready=False/StoreNotAllowed").await?;
    ensure!(said.contains("it is read-only"), "{said}");
    for (name, closed) in [("auth", "auth/token/lookup-self"), ("sys", "sys/mounts"), ("upper", "SYS/mounts")] {
        scene.policy_of(name, engine(closed, "Get")).await?;
        let said = scene.wait_policy(name, "Stalled=True/InvalidSpec").await?;
        ensure!(said.contains("leads to sys or auth"), "{said}");
    }
    ensure!(world.bao.get_plain(&path).await?["password"] == "theirs", "a read-only store was written");
    let posts = world.bao.requests_since(mark)?.into_iter().filter(|request| request.path.starts_with(&mount));
    let operations: Vec<String> = posts.map(|request| request.operation).collect();
    ensure!(operations.iter().all(|operation| operation == "read"), "{operations:?}");
    store.delete().await
}
