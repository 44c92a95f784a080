//! From a store into a Secret.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Result, ensure};
use rekey_e2e::{Scene, World, suite};
use serde_json::json;

fn main() -> Result<ExitCode> {
    suite::main(false, vec![suite::test("a_value_goes_from_the_store_into_a_secret", value_arrives)])
}

async fn value_arrives(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "sync").await?;
    let operator = world.operator("sync", &[&format!("--namespaces={}", scene.namespace)])?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"username": "orders", "password": "p@ss"})).await?;
    let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
    let template = json!({"target": {"template": {"data": {
        "url": "postgres://{{ .username }}:{{ .password | urlquery }}@db/orders",
    }}}});
    scene.policy("db", "vault", &items, template).await?;
    scene
        .wait_data("db", &[("username", "orders"), ("password", "p@ss"), ("url", "postgres://orders:p%40ss@db/orders")])
        .await?;
    let policy = scene.wait_synced("db").await?;
    let status = policy.status.unwrap_or_default();
    ensure!(status.source.as_deref() == Some("RemoteStore/vault"), "{status:?}");
    ensure!(status.source_versions.len() == 1 && status.source_versions[0].version == "1", "{status:?}");
    drop(operator);
    Ok(())
}
