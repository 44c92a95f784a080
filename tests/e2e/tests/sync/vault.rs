//! Vault beyond KV version 2 and tokens.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rekey_api::{RotationSchedule, names, rotation::RotationOutcome, store::Capability};
use rekey_e2e::{Scene, World, wait::until};
use serde_json::json;

/// The mount of KV version 1.
const MOUNT: &str = "plain";

/// A value of KV version 1, read and rotated with an `AppRole`.
pub async fn an_app_role_reads_and_rotates_kv_version_1(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "plain").await?;
    world.bao.mount(MOUNT, "kv", &json!({"version": "1"})).await?;
    let rights = format!("path \"{MOUNT}/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}");
    world.bao.policy("plain", &rights).await?;
    let (role_id, secret_id) = world.bao.enable_app_role("plain", "plain", "1h", "24h").await?;
    scene.secret("approle", &[("secretId", &secret_id)]).await?;
    let auth = json!({"appRole": {"roleId": role_id, "secretRef": {"name": "approle", "key": "secretId"}}});
    let provider = json!({"vault": {"server": world.bao.address(), "mount": MOUNT, "kvVersion": "V1", "auth": auth}});
    scene.store("plain", "ReadWrite", provider).await?;
    let key = scene.key("db");
    let first = json!({"username": "orders", "password": "one"});
    world.bao.put_plain(&format!("{MOUNT}/{key}"), &first).await?;

    let _operator = scene.operator()?;
    let store = scene.wait_store("plain", "Ready=True/Synced").await?.status.context("no status")?;
    ensure!(store.identity.is_some_and(|identity| identity.starts_with(&format!("AppRole {role_id} at "))));
    ensure!(store.capabilities == [Capability::Read, Capability::Write, Capability::Find]);
    let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
    scene.policy("db", "plain", &items, json!({})).await?;
    scene.wait_data("db", &[("username", "orders"), ("password", "one")]).await?;

    let schedule = json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": "db"},
        "spec": {
            "policyRef": {"name": "db"}, "writeTo": {"storeRef": {"name": "plain"}, "key": key},
            "rotator": {"generate": {"fields": [{"property": "password", "password": {"length": 32}}]}},
        },
    });
    scene.apply(schedule).await?;
    scene.wait_seen("db").await?;
    scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, "one").await?;
    let ended = until("the rotation has ended", || async {
        Ok(scene.schedule("db").await?.status.and_then(|status| status.history.into_iter().next()))
    })
    .await?;
    ensure!(ended.outcome == RotationOutcome::Completed, "{ended:?}");
    let value = world.bao.get_plain(&format!("{MOUNT}/{key}")).await?;
    let password = value["password"].as_str().context("a password")?;
    ensure!(password.len() == 32 && value["username"] == "orders", "what is not rotated stays");
    ensure!(scene.data("db").await?.is_some_and(|data| data["password"] == password), "the new value is published");
    Ok(())
}
