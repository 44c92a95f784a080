//! What a Secret holds and how it looks.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rekey_api::{SecretPolicy, names, policy::ChangeReason};
use rekey_e2e::{
    Scene, World,
    kubectl::{kubectl, table},
    wait::{stays, until},
};
use serde_json::json;

pub async fn a_value_goes_from_the_store_into_a_secret(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "sync").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"username": "orders", "password": "p@ss"})).await?;
    let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
    let template = json!({"target": {"template": {"mergePolicy": "Merge", "data": {
        "url": "postgres://{{ .username }}:{{ .password | urlquery }}@db/orders",
    }}}});
    scene.policy("db", "vault", &items, template).await?;
    scene
        .wait_data("db", &[("username", "orders"), ("password", "p@ss"), ("url", "postgres://orders:p%40ss@db/orders")])
        .await?;
    let policy = scene.wait_synced("db").await?;
    let status = policy.status.unwrap_or_default();
    ensure!(status.source.as_deref() == Some("RemoteStore/vault"), "{status:?}");
    ensure!(status.secret_name.as_deref() == Some("db"), "{status:?}");
    ensure!(status.source_versions.len() == 1 && status.source_versions[0].version == "1", "{status:?}");
    let history: Vec<ChangeReason> = status.history.iter().map(|at| at.reason).collect();
    ensure!(history == [ChangeReason::Created], "{history:?}");
    ensure!(status.last_change_time.is_some() && status.consumers.is_none(), "{status:?}");
    let secret = scene.api::<Secret>().get("db").await?;
    let annotations = secret.annotations();
    ensure!(annotations.get(names::POLICY).map(String::as_str) == Some("db"), "{annotations:?}");
    ensure!(annotations.get(names::REVISION) == status.revision.as_ref(), "{annotations:?}");
    let digests = annotations.get(names::DIGESTS).context("no digests")?;
    ensure!(!digests.contains("p@ss") && digests.contains("password"), "{digests}");
    ensure!(secret.labels().get(names::MANAGED_BY).map(String::as_str) == Some("rekey"), "{:?}", secret.labels());
    let managers: Vec<&str> = secret.managed_fields().iter().filter_map(|entry| entry.manager.as_deref()).collect();
    ensure!(managers == ["rekey"], "{managers:?}");
    // An Event is made after the status.
    let events = || async { Ok(Some(scene.events("db").await?).filter(|events| !events.is_empty())) };
    let events = until("an Event about the policy", events).await?;
    ensure!(events == ["Synced: created Secret db"], "{events:?}");
    Ok(())
}

pub async fn a_secret_is_dressed_as_the_template_says(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "dressed").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"username": "orders", "password": "p@ss"})).await?;
    let items = [("user", key.as_str(), "username"), ("secret", key.as_str(), "password")];
    let target = json!({"target": {
        "name": "orders-db",
        "type": "kubernetes.io/basic-auth",
        "template": {
            "metadata": {"labels": {"team": "shop"}, "annotations": {"example.com/note": "made by a policy"}},
            "data": {"username": "{{ .user }}", "password": "{{ .secret }}"},
        },
    }});
    scene.policy("db", "vault", &items, target).await?;
    scene.wait_data("orders-db", &[("username", "orders"), ("password", "p@ss")]).await?;
    let policy = scene.wait_synced("db").await?;
    let secret = scene.api::<Secret>().get("orders-db").await?;
    ensure!(secret.type_.as_deref() == Some("kubernetes.io/basic-auth"), "{:?}", secret.type_);
    ensure!(secret.immutable.is_none(), "{:?}", secret.immutable);
    ensure!(secret.labels().get("team").map(String::as_str) == Some("shop"), "{:?}", secret.labels());
    let note = secret.annotations().get("example.com/note").map(String::as_str);
    ensure!(note == Some("made by a policy"), "{:?}", secret.annotations());
    let [owner] = secret.owner_references() else { anyhow::bail!("{:?}", secret.owner_references()) };
    ensure!((owner.kind.as_str(), owner.name.as_str(), owner.controller) == ("SecretPolicy", "db", Some(true)));
    ensure!(Some(&owner.uid) == policy.metadata.uid.as_ref(), "{owner:?}");
    ensure!(policy.status.and_then(|status| status.secret_name).as_deref() == Some("orders-db"));
    // A label that the policy no longer asks for goes.
    let target = json!({"target": {
        "name": "orders-db",
        "type": "kubernetes.io/basic-auth",
        "template": {"data": {"username": "{{ .user }}", "password": "{{ .secret }}"}},
    }});
    scene.policy("db", "vault", &items, target).await?;
    until("the label is gone", || async {
        let secret = scene.api::<Secret>().get("orders-db").await?;
        Ok((!secret.labels().contains_key("team")).then_some(()))
    })
    .await
}

pub async fn values_of_two_stores_meet_in_one_secret(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "two").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "from-bao"})).await?;
    world.moto.create(&key, "a whole text: {not json}").await?;
    world.bao.put(&scene.key("binary"), &json!({"png": "iVBORw0KGgo="})).await?;
    let data = json!({"source": {"remote": {"data": [
        {"secretKey": "password", "remoteRef": {"key": key, "property": "password"}},
        {"secretKey": "text", "storeRef": {"name": "aws"}, "remoteRef": {"key": key}},
        {"secretKey": "logo.png", "remoteRef": {"key": scene.key("binary"), "property": "png", "decoding": "Base64"}},
    ]}}});
    scene.policy("db", "vault", &[], data).await?;
    scene.wait_synced("db").await?;
    let data = scene.api::<Secret>().get("db").await?.data.unwrap_or_default();
    let value = |name: &str| data.get(name).map(|bytes| bytes.0.as_slice());
    ensure!(data.len() == 3, "{:?}", data.keys());
    ensure!(value("password") == Some(b"from-bao"), "password");
    ensure!(value("text") == Some(b"a whole text: {not json}"), "text");
    ensure!(value("logo.png") == Some(&[0x89, b'P', b'N', b'G', 13, 10, 26, 10]), "logo.png");
    Ok(())
}

pub async fn a_change_in_the_store_arrives(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "change").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    let first = scene.wait_synced("db").await?.status.unwrap_or_default();
    world.bao.put(&key, &json!({"password": "two"})).await?;
    scene.wait_data("db", &[("password", "two")]).await?;
    let second = status_of(&scene, "2").await?;
    ensure!(first.revision != second.revision, "{second:?}");
    let history: Vec<ChangeReason> = second.history.iter().map(|at| at.reason).collect();
    ensure!(history == [ChangeReason::SourceChanged, ChangeReason::Created], "{history:?}");
    // Equal bytes under a new version: noted, and nothing else.
    let before = scene.api::<Secret>().get("db").await?;
    world.bao.put(&key, &json!({"password": "two", "other": "x"})).await?;
    let third = status_of(&scene, "3").await?;
    ensure!(third.revision == second.revision && third.history == second.history, "{third:?}");
    ensure!(third.last_change_time == second.last_change_time, "{third:?}");
    let after = scene.api::<Secret>().get("db").await?;
    ensure!(before.resource_version() == after.resource_version(), "the Secret was written");
    let events = scene.events("db").await?;
    let wanted = ["Synced: created Secret db", "Synced: updated Secret db from RemoteStore/vault"];
    ensure!(events == wanted, "{events:?}");
    Ok(())
}

async fn status_of(scene: &Scene, version: &str) -> Result<rekey_api::SecretPolicyStatus> {
    until(&format!("version {version} is in the status"), || async {
        let status = scene.wait_synced("db").await?.status.unwrap_or_default();
        Ok(status.source_versions.iter().any(|at| at.version == version).then_some(status))
    })
    .await
}

pub async fn columns_tell_the_truth_and_kubectl_can_wait(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "columns").await?;
    let _operator = scene.operator()?;
    let (key, namespace) = (scene.key("db"), scene.namespace.as_str());
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let items = [("password", key.as_str(), "password")];
    scene.policy("db", "vault", &items, json!({"target": {"name": "orders-db"}})).await?;
    let wait =
        ["wait", "--for=condition=Ready", "--timeout=60s", "secretpolicy/db", "remotestore/vault", "-n", namespace];
    let said = kubectl(&world, &wait).await?;
    ensure!(said.contains("secretpolicy.rekey.dev/db condition met"), "{said}");
    scene.policy("lost", "nowhere", &items, json!({})).await?;
    scene.wait_policy("lost", "Ready=False/StoreNotFound").await?;
    let printed = kubectl(&world, &["get", "secretpolicies", "-n", namespace, "-o", "wide"]).await?;
    let rows = table(&printed)?;
    let row = |name: &str| rows.iter().find(|row| row[0].1 == name).cloned().context("no row");
    let cell = |row: &[(String, String)], column: &str| {
        row.iter().find(|(name, _)| name == column).map(|(_, text)| text.clone()).unwrap_or_default()
    };
    let (db, lost) = (row("db")?, row("lost")?);
    for (column, wanted) in [
        ("SOURCE", "RemoteStore/vault"),
        ("TARGET", "orders-db"),
        ("READY", "True"),
        ("REASON", "Synced"),
        ("IMMUTABILITY", "None"),
        ("MESSAGE", "Secret orders-db holds the value of RemoteStore/vault"),
    ] {
        ensure!(cell(&db, column) == wanted, "{column}: {printed}");
    }
    let status = scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default();
    ensure!(Some(cell(&db, "REVISION")) == status.revision, "{printed}");
    ensure!(cell(&lost, "READY") == "False" && cell(&lost, "REASON") == "StoreNotFound", "{printed}");
    ensure!(cell(&lost, "MESSAGE").contains("RemoteStore/nowhere does not exist"), "{printed}");
    // A policy that waits for a dependency stays so, and `kubectl wait` ends in time.
    stays(
        "the policy without a store",
        "Ready=False/StoreNotFound".to_owned(),
        std::time::Duration::from_secs(2),
        || async {
            let found = scene.policy_conditions("lost").await?;
            Ok(rekey_e2e::conditions::shown(&found).first().cloned().unwrap_or_default())
        },
    )
    .await
}
