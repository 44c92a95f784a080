//! A Secret that another tool has made, once it is ours.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use rekey_api::names;
use rekey_e2e::{
    Scene, World, foreign,
    wait::{stays, until},
};
use serde_json::{Value, json};

/// Keys that are dropped go, although their maker's field manager holds them too: it has applied the same bytes.
pub async fn dropped_keys_go_though_their_maker_holds_them_too(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "dropped").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one", "username": "orders"})).await?;
    let items = [("password", key.as_str(), "password"), ("username", key.as_str(), "username")];
    for (name, target, others) in [("whole", json!({}), false), ("merged", json!({"ownership": "Merge"}), true)] {
        let theirs = [("password", "one"), ("username", "orders"), ("other", "theirs")];
        scene.secret(name, if others { &theirs } else { &theirs[..2] }).await?;
        scene.annotate::<Secret>(name, names::ADOPT_BY, name).await?;
        scene.policy(name, "vault", &items, json!({ "target": target })).await?;
        scene.wait_synced(name).await?;
        let renamed = [("password", key.as_str(), "password"), ("user", key.as_str(), "username")];
        scene.policy(name, "vault", &renamed, json!({ "target": target })).await?;
        let wanted = [("password", "one"), ("user", "orders"), ("other", "theirs")];
        scene.wait_data(name, if others { &wanted } else { &wanted[..2] }).await?;
        scene.wait_synced(name).await?;
    }
    Ok(())
}

fn external(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": namespace}, "spec": {},
    })
}

/// The Secret of an `ExternalSecret`, with all that External Secrets puts on it, outlives that once it is taken over.
pub async fn a_secret_of_external_secrets_is_taken_over_and_outlives_its_object(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "migrated").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    world.serve(foreign::external_secrets(), external("db", &scene.namespace)).await?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("external-secrets.io", "v1", "ExternalSecret"));
    let externals: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &scene.namespace, &resource);
    let owner = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "db", "controller": true,
        "blockOwnerDeletion": true, "uid": externals.get("db").await?.uid().context("no uid")?,
    });
    let labels = json!({
        "reconcile.external-secrets.io/created-by": "f674ac18cab6d6ee187f41973b27253a186407dda3d4cc7b8a192cfd",
        "reconcile.external-secrets.io/managed": "true", "team": "shop",
    });
    let annotations = json!({"reconcile.external-secrets.io/data-hash": "b5e84d69", names::ADOPT_BY: "db"});
    scene
        .apply(json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": {"password": "one"},
            "metadata": {"name": "db", "labels": labels, "annotations": annotations, "ownerReferences": [owner]},
        }))
        .await?;
    let before = scene.api::<Secret>().get("db").await?.uid();
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    let policy = scene.wait_synced("db").await?;
    let secret = scene.api::<Secret>().get("db").await?;
    let owners: Vec<String> = secret.owner_references().iter().map(|owner| owner.uid.clone()).collect();
    ensure!(owners == policy.uid().as_slice(), "{:?}", secret.owner_references());
    let marks = secret.labels().keys().chain(secret.annotations().keys());
    let left: Vec<&String> = marks.filter(|name| name.starts_with("reconcile.")).collect();
    ensure!(left.is_empty() && secret.labels().contains_key("team"), "{left:?} {:?}", secret.labels());
    let told = "the owner ExternalSecret db, the label reconcile.external-secrets.io/created-by";
    until("an Event says so", || async {
        Ok(scene.events("db").await?.iter().any(|event| event.contains(told)).then_some(()))
    })
    .await?;
    externals.delete("db", &DeleteParams::default()).await?;
    stays("the Secret, after the ExternalSecret is gone", before, Duration::from_secs(3), || async {
        Ok(scene.api::<Secret>().get_opt("db").await?.and_then(|secret| secret.uid()))
    })
    .await
}

/// The type of a Secret cannot be changed, so that one of another type blocks the policy, whose message says what to
/// do.
pub async fn a_secret_of_another_type_is_in_the_way_and_says_so(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "types").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "from the store"})).await?;
    scene.secret("db", &[("password", "theirs")]).await?;
    scene.annotate::<Secret>("db", names::ADOPT_BY, "db").await?;
    let target = json!({"target": {"type": "example.com/licence"}});
    scene.policy("db", "vault", &[("password", &key, "password")], target).await?;
    let said = scene.wait_policy("db", "Stalled=True/WrongType").await?;
    let command = format!("`kubectl delete secret db -n {}`", scene.namespace);
    ensure!(said.contains("\"Opaque\"") && said.contains(&command), "{said}");
    scene.wait_data("db", &[("password", "theirs")]).await?;
    scene.api::<Secret>().delete("db", &DeleteParams::default()).await?;
    scene.wait_data("db", &[("password", "from the store")]).await?;
    scene.wait_synced("db").await?;
    ensure!(scene.api::<Secret>().get("db").await?.type_.as_deref() == Some("example.com/licence"), "its type");
    Ok(())
}

/// A Secret with a salted line.
async fn salted(scene: &Scene) -> Result<Secret> {
    let key = scene.key("db");
    scene.world.bao.put(&key, &json!({"password": "one"})).await?;
    let template = json!({"data": {"line": "{{ htpasswd \"orders\" .password }}"}});
    scene.policy("db", "vault", &[("password", &key, "password")], json!({"target": {"template": template}})).await?;
    scene.wait_synced("db").await?;
    Ok(scene.api::<Secret>().get("db").await?)
}

/// Salted content stays as it is when the digest key is lost, and when another tool removes the seed.
pub async fn salts_stay_when_the_digest_key_or_the_seed_is_lost(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "salts").await?;
    let start = || {
        let only = [format!("--namespaces={}", scene.namespace), format!("--operator-namespace={}", scene.namespace)];
        world.operator(&scene.namespace, &[&only[0], &only[1], "--leader-elect=false"])
    };
    let first = start()?;
    let published = salted(&scene).await?;
    let api = scene.api::<Secret>();
    ensure!(published.annotations().contains_key(names::SEED), "{:?}", published.annotations());
    let as_before = |secret: &Secret| {
        let revision = |secret: &Secret| secret.annotations().get(names::REVISION).cloned();
        secret.data == published.data && revision(secret) == revision(&published)
    };
    drop(first);
    api.delete("rekey-digest-key", &DeleteParams::default()).await?;
    let second = start()?;
    until("digests are made with another key", || async {
        let secret = api.get("db").await?;
        let is_anew = secret.annotations().get(names::DIGESTS) != published.annotations().get(names::DIGESTS);
        ensure!(as_before(&secret), "the lost key has changed it");
        Ok(is_anew.then_some(()))
    })
    .await?;
    scene.wait_synced("db").await?;
    let take_off = || async {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {names::SEED: null}}}));
        api.patch("db", &PatchParams::default(), &patch).await
    };
    take_off().await?;
    until("the seed is put back", || async {
        let secret = api.get("db").await?;
        ensure!(as_before(&secret), "it was rendered again");
        Ok((secret.annotations().get(names::SEED) == published.annotations().get(names::SEED)).then_some(()))
    })
    .await?;
    // While no operator runs, it is lost for good.
    drop(second);
    take_off().await?;
    let _third = start()?;
    scene.sync("db").await?;
    ensure!(as_before(&api.get("db").await?), "without its seed it was rendered again");
    scene.wait_synced("db").await.map(drop)
}

/// A writer of the Secret tries to pin a salted value with a record that looks like one from before the digest key was
/// lost: this fails where the operator has seen its own.
pub async fn a_forged_record_pins_no_salts(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "pinned").await?;
    let _operator = scene.operator()?;
    let published = salted(&scene).await?;
    let api = scene.api::<Secret>();
    let record = |name: &str| -> Result<Value> { Ok(serde_json::from_str(&published.annotations()[name])?) };
    let (mut digests, mut changes) = (record(names::DIGESTS)?, record(names::CHANGES)?);
    digests["by"] = json!("0badc0de");
    changes["inputs"] = json!("0badc0de.inputs");
    let forged = ByteString(b"orders:salts of somebody else".to_vec());
    let annotations = json!({
        names::DIGESTS: digests.to_string(), names::CHANGES: changes.to_string(), names::SEED: null, names::REVISION: "pinned",
    });
    let patch = json!({"metadata": {"annotations": annotations}, "data": {"line": forged}});
    api.patch("db", &PatchParams::default(), &Patch::Merge(patch)).await?;
    until("what a template made is put back", || async {
        let line = api.get("db").await?.data.unwrap_or_default().remove("line");
        Ok((line != Some(forged.clone())).then_some(()))
    })
    .await?;
    scene.wait_synced("db").await?;
    let after = api.get("db").await?;
    let stands = after.annotations().get(names::DIGESTS);
    ensure!(stands != Some(&digests.to_string()), "the record is still the forged one");
    Ok(())
}
