//! Statuses that another client has written into: the operator corrects them, with a write or two.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Resource,
    api::{Patch, PatchParams},
};
use rekey_api::{RemoteStore, RotationSchedule, SecretPolicy};
use rekey_e2e::{Account, Scene, World, wait::until};
use serde_json::{Value, json};
use tokio::time::sleep;

/// Longer than the operator gathers changes for.
const REST: Duration = Duration::from_secs(4);

async fn status<K: Resource<DynamicType = ()>>(scene: &Scene, name: &str) -> Result<Value> {
    let mut status = scene.objects::<K>().get(name).await?.data["status"].take();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"].take(); // a condition that was forged to be another one changes once more
    }
    Ok(status)
}

/// Writes this into a status, as another field manager; it is as it was soon after, and then nothing more is written.
async fn restored<K: Resource<DynamicType = ()>>(
    scene: &Scene,
    account: &Account,
    name: &str,
    lie: &Value,
) -> Result<()> {
    let before = status::<K>(scene, name).await?;
    let mark = account.mark().await?;
    let body = Patch::Merge(json!({"status": lie}));
    let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    scene.objects::<K>().patch_status(name, &params, &body).await?;
    until(&format!("the status of {name} is as it was before {lie}"), || async {
        Ok((status::<K>(scene, name).await? == before).then_some(()))
    })
    .await?;
    sleep(REST).await; // there is no condition to wait for when something must not happen
    ensure!(status::<K>(scene, name).await? == before, "{name} after {lie}");
    let counts = account.since(&mark).await?;
    ensure!(counts.writes() <= 4, "after {lie}:\n{counts}");
    Ok(())
}

pub async fn a_status_that_others_wrote_into_is_put_right(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "statuses").await?;
    let account = Account::new(&scene).await?;
    let _operator = account.operator("first")?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let seldom = json!({"source": {"remote": {"refreshInterval": "240h"}}});
    scene.policy("db", "vault", &[("password", &key, "password")], seldom).await?;
    scene.wait_synced("db").await?;
    scene.rotate("db", "vault", &key).await?;
    scene.wait_seen("db").await?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    sleep(REST).await; // until all writes of the first sync are done
    let time = "2026-01-01T00:00:00Z";
    let open = json!({
        "id": "ffffffff-ffff-7fff-bfff-ffffffffffff", "step": "Failed", "startedAt": time, "attempts": 0, "reason": "Schedule",
    });
    let ready =
        json!([{"type": "Ready", "status": "False", "reason": "Theirs", "message": "no", "lastTransitionTime": time}]);
    restored::<SecretPolicy>(&scene, &account, "db", &json!({"secretName": "other", "source": "theirs"})).await?;
    restored::<SecretPolicy>(&scene, &account, "db", &json!({"rotation": {"id": "x", "version": "9"}})).await?;
    restored::<SecretPolicy>(&scene, &account, "db", &json!({"conditions": ready})).await?;
    restored::<RotationSchedule>(&scene, &account, "db", &json!({"rotation": open})).await?;
    restored::<RotationSchedule>(&scene, &account, "db", &json!({"nextRotationTime": time})).await?;
    restored::<RemoteStore>(&scene, &account, "vault", &json!({"identity": "root", "capabilities": ["Find"]})).await?;
    // The API server accepts times that no parser accepts.
    let broken = json!({"lastRotationTime": "2026-01-01T00:00:00+99:99"});
    restored::<RotationSchedule>(&scene, &account, "db", &broken).await?;
    let data = scene.data("db").await?.context("no Secret")?;
    ensure!(data.get("password").map(String::as_str) == Some("one"), "the Secret stays as it is");
    Ok(())
}
