//! Every source of a value, from real servers into a Secret.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use rekey_api::{SecretPolicy, names, policy::ChangeReason};
use rekey_e2e::{
    Scene, World,
    wait::{stays, until},
};
use serde_json::{Value, json};

/// For what must not happen.
const A_WHILE: Duration = Duration::from_secs(3);

async fn reasons(scene: &Scene, name: &str) -> Result<Vec<ChangeReason>> {
    let status = scene.api::<SecretPolicy>().get(name).await?.status.unwrap_or_default();
    Ok(status.history.iter().map(|change| change.reason).collect())
}

/// Changes a Secret as another tool.
async fn edit(scene: &Scene, name: &str, manager: &str, body: &Value) -> Result<()> {
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    scene.api::<Secret>().patch(name, &params, &Patch::Merge(body)).await?;
    Ok(())
}

fn generated(keys: &[&str]) -> Value {
    let fields: Vec<Value> = keys.iter().map(|key| json!({"key": key, "password": {}})).collect();
    json!({"source": {"generated": {"fields": fields}}})
}

pub async fn generated_values_are_made_once(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "generated").await?;
    let operator = scene.operator()?;
    scene.policy_of("token", generated(&["token"])).await?;
    scene.wait_synced("token").await?;
    let first = scene.data("token").await?.context("no Secret")?;
    ensure!(first["token"].len() == 32, "{} letters", first["token"].len());
    drop(operator);
    let _operator = scene.operator()?;
    scene.policy_of("token", generated(&["other", "token"])).await?;
    let second = until("the new field", || async {
        let data = scene.data("token").await?.context("no Secret")?;
        Ok(data.contains_key("other").then_some(data))
    })
    .await?;
    ensure!(second["token"] == first["token"], "a new field and a restart leave the old value");
    scene.api::<Secret>().delete("token", &DeleteParams::default()).await?;
    until("the Secret is created again", || async {
        let data = scene.data("token").await?;
        Ok(data.is_some_and(|data| data.len() == 2 && data["token"] != first["token"]).then_some(()))
    })
    .await?;
    scene.wait_synced("token").await.map(drop)
}

pub async fn an_existing_secret_is_governed(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "existing").await?;
    let _operator = scene.operator()?;
    scene.policy_of("governed", json!({"source": {"existing": {}}, "target": {"name": "web-tls"}})).await?;
    let said = scene.wait_policy("governed", "Ready=False/SecretNotFound").await?;
    ensure!(said.contains("Secret \"web-tls\" does not exist"), "{said}");
    scene.secret("web-tls", &[("tls.crt", "one")]).await?;
    scene.wait_synced("governed").await?;
    let secret = scene.api::<Secret>().get("web-tls").await?;
    ensure!(secret.annotations().contains_key(names::DIGESTS), "{:?}", secret.annotations());
    ensure!(secret.owner_references().is_empty() && !secret.labels().contains_key(names::MANAGED_BY));
    edit(&scene, "web-tls", "cert-manager", &json!({"stringData": {"tls.crt": "two"}})).await?;
    until("the change is recorded", || async {
        let found = reasons(&scene, "governed").await?;
        Ok((found == [ChangeReason::SourceChanged, ChangeReason::Adopted]).then_some(()))
    })
    .await?;
    scene.wait_data("web-tls", &[("tls.crt", "two")]).await?;
    until("an Event names who did it", || async {
        let events = scene.events("governed").await?;
        Ok(events.iter().any(|event| event.contains("cert-manager changed Secret web-tls")).then_some(()))
    })
    .await?;
    scene.api::<SecretPolicy>().delete("governed", &DeleteParams::default()).await?;
    let stays_there = || async { Ok(scene.data("web-tls").await?.is_some()) };
    stays("the Secret outlives the policy", true, A_WHILE, stays_there).await
}

/// A Secret goes from hand to hand by edits of its policy: never without its maker's consent, and never with a loss.
pub async fn a_secret_changes_hands_by_consent_and_without_loss(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "hands").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "from-store"})).await?;
    scene.secret("theirs", &[("password", "theirs"), ("other", "theirs too")]).await?;
    let target = json!({"name": "theirs"});
    scene.policy_of("db", json!({"source": {"existing": {}}, "target": target})).await?;
    scene.wait_synced("db").await?;
    let remote = json!({"remote": {"storeRef": {"name": "vault"}, "refreshInterval": "10s", "data": [
        {"secretKey": "password", "remoteRef": {"key": key, "property": "password"}},
    ]}});
    let owner = json!({"source": remote, "target": target});
    scene.policy_of("db", owner).await?;
    scene.wait_policy("db", "Stalled=True/NoConsent").await?;
    scene.wait_data("theirs", &[("password", "theirs"), ("other", "theirs too")]).await?;
    scene.annotate::<Secret>("theirs", names::ADOPT_BY, "db").await?;
    scene.wait_data("theirs", &[("password", "from-store")]).await?;
    scene.wait_synced("db").await?;
    // And back: it has no owner but its keys stay, and it outlives the policy.
    scene.policy_of("db", json!({"source": {"existing": {}}, "target": target})).await?;
    until("the Secret has no owner", || async {
        let secret = scene.api::<Secret>().get("theirs").await?;
        let free = secret.owner_references().is_empty() && !secret.labels().contains_key(names::MANAGED_BY);
        Ok(free.then_some(()))
    })
    .await?;
    edit(&scene, "theirs", "maker", &json!({"stringData": {"more": "x"}})).await?;
    until("the edit is recorded", || async {
        let first = reasons(&scene, "db").await?.first().copied();
        let recorded = scene.api::<Secret>().get("theirs").await?;
        let digests = recorded.annotations().get(names::DIGESTS).cloned().unwrap_or_default();
        Ok((first == Some(ChangeReason::SourceChanged) && digests.contains("more")).then_some(()))
    })
    .await?;
    scene.wait_data("theirs", &[("password", "from-store"), ("more", "x")]).await?;
    scene.api::<SecretPolicy>().delete("db", &DeleteParams::default()).await?;
    let stays_there = || async { Ok(scene.data("theirs").await?.is_some()) };
    stays("the Secret outlives the policy", true, A_WHILE, stays_there).await
}

pub async fn keys_are_merged_by_consent(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "merge").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.secret("shared", &[("theirs", "untouched"), ("password", "old")]).await?;
    let merge = json!({"target": {"name": "shared", "ownership": "Merge"}});
    scene.policy("db", "vault", &[("password", &key, "password")], merge).await?;
    let said = scene.wait_policy("db", "Stalled=True/NoConsent").await?;
    ensure!(said.contains("rekey.dev/adopt-by=db"), "{said}");
    scene.wait_data("shared", &[("theirs", "untouched"), ("password", "old")]).await?;
    scene.annotate::<Secret>("shared", names::ADOPT_BY, "db").await?;
    scene.wait_data("shared", &[("theirs", "untouched"), ("password", "one")]).await?;
    scene.wait_synced("db").await?;
    edit(&scene, "shared", "maker", &json!({"stringData": {"theirs": "changed", "password": "mine"}})).await?;
    scene.wait_data("shared", &[("theirs", "changed"), ("password", "one")]).await?;
    scene.api::<SecretPolicy>().delete("db", &DeleteParams::default()).await?;
    let stays_there = || async { Ok(scene.data("shared").await?.is_some_and(|data| data.len() == 2)) };
    stays("the Secret outlives the policy", true, A_WHILE, stays_there).await
}

pub async fn whole_objects_and_templates_from_config_maps(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "sets").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"username": "orders", "password": "one", "port": 5432})).await?;
    let source = json!({"remote": {
        "storeRef": {"name": "vault"},
        "refreshInterval": "10s",
        "dataFrom": [{"extract": {"key": key}, "rewrite": [{"regexp": {"source": "^(.*)$", "target": "db_$1"}}]}],
        "data": [{"secretKey": "both", "remoteRef": {"key": key, "jmesPath": "join(':', [username, password])"}}],
    }});
    let config = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"app.conf": text}});
    let from = json!([{"configMapRef": {"name": "app", "key": "app.conf"}, "as": "app.conf"}]);
    scene
        .policy_of("db", json!({"source": source, "target": {"template": {"mergePolicy": "Merge", "from": from}}}))
        .await?;
    let said = scene.wait_policy("db", "Ready=False/TemplateError").await?;
    ensure!(said.contains("ConfigMap \"app\" does not exist"), "{said}");
    scene.apply(config("user={{ .db_username }}")).await?;
    scene.sync("db").await?;
    let wanted = |conf: &'static str| {
        [
            ("db_username", "orders"),
            ("db_password", "one"),
            ("db_port", "5432"),
            ("both", "orders:one"),
            ("app.conf", conf),
        ]
    };
    scene.wait_data("db", &wanted("user=orders")).await?;
    // A broken one is reported, and followed again when it is fixed, without a request.
    scene.apply(config("port={{ .db_port")).await?;
    let said = scene.wait_policy("db", "Stalled=True/TemplateError").await?;
    ensure!(said.contains("spec.target.template.from[0]: line 1"), "{said}");
    scene.apply(config("port={{ .db_port }}")).await?;
    scene.wait_data("db", &wanted("port=5432")).await
}

pub async fn refresh_policies_say_when_the_store_is_read(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "refresh").await?;
    let operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let items = [("password", key.as_str(), "password")];
    for (name, refresh) in [("asked", "OnChange"), ("once", "CreatedOnce")] {
        scene.policy(name, "vault", &items, json!({"source": {"remote": {"refreshPolicy": refresh}}})).await?;
        scene.wait_data(name, &[("password", "one")]).await?;
        scene.wait_synced(name).await?;
    }
    world.bao.put(&key, &json!({"password": "two"})).await?;
    drop(operator);
    let _operator = scene.operator()?; // a restart is no change
    scene.policy("follows", "vault", &items, json!({})).await?;
    scene.wait_data("follows", &[("password", "two")]).await?;
    for name in ["asked", "once"] {
        scene.wait_data(name, &[("password", "one")]).await?;
        scene.sync(name).await?;
    }
    scene.wait_data("asked", &[("password", "two")]).await?;
    scene.wait_data("once", &[("password", "one")]).await
}

pub async fn a_missing_value_keeps_or_deletes_as_the_policy_says(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "missing").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let items = [("password", key.as_str(), "password")];
    scene.policy("goes", "vault", &items, json!({"source": {"remote": {"onMissing": "Delete"}}})).await?;
    let stale = json!({"source": {"remote": {"maxStaleness": "1s"}}});
    scene.policy("stays", "vault", &items, stale).await?;
    scene.wait_synced("goes").await?;
    scene.wait_synced("stays").await?;
    world.bao.delete(&key).await?;
    let said = scene.wait_policy("goes", "Ready=False/KeyNotFound").await?;
    ensure!(said.contains("Rekey deleted Secret goes, as spec.source.remote.onMissing says"), "{said}");
    ensure!(scene.data("goes").await?.is_none(), "the Secret is still there");
    scene.wait_policy("stays", "Fresh=False/KeyNotFound").await?;
    scene.wait_policy("stays", "Ready=False/TooStale").await?;
    scene.wait_data("stays", &[("password", "one")]).await?;
    world.bao.put(&key, &json!({"password": "two"})).await?;
    scene.wait_data("goes", &[("password", "two")]).await?;
    scene.wait_data("stays", &[("password", "two")]).await?;
    scene.wait_synced("stays").await.map(drop)
}
