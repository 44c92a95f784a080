//! One requested rotation of what the policy `db` publishes and the Deployment `web` holds.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Secret,
};
use kube::{ResourceExt as _, api::ListParams};
use rekey_api::{RotationSchedule, SecretPolicy, names};
use rekey_e2e::{
    Scene,
    kill::{self, Rig},
    wait::until,
};
use serde_json::{Value, json};

/// Longer than the operator gathers changes, and than it waits before a retry.
const REST: Duration = Duration::from_secs(4);

/// Waits until the operator has seen all, and is at rest.
pub async fn ready(rig: &Rig) -> Result<()> {
    let scene = &rig.scene;
    scene.wait_seen("db").await?;
    scene.wait_at_rest("db", "web").await?;
    scene.wait_synced("db").await?;
    kill::quiet(rig, Duration::from_secs(1)).await
}

/// Asks for the rotation.
pub async fn ask(rig: &Rig) -> Result<()> {
    rig.scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, "token-1").await
}

/// Waits until the rotation has ended, nothing is left of it, and the operator is at rest.
pub async fn ended(rig: &Rig) -> Result<()> {
    let scene = &rig.scene;
    until("the rotation has ended", || async {
        let schedule = scene.schedule("db").await?;
        let held = !schedule.finalizers().is_empty();
        let status = schedule.status.unwrap_or_default();
        let over = status.rotation.is_none() && !status.history.is_empty() && !held;
        Ok((over && pending(scene).await? == 0).then_some(()))
    })
    .await?;
    kill::quiet(rig, REST).await?;
    scene.wait_synced("db").await.map(drop)
}

/// What must be equal in the cluster.
pub async fn cluster(scene: &Scene) -> Result<Value> {
    let sets = scene.api::<ReplicaSet>().list(&ListParams::default().labels("app=web")).await?;
    let mut policy = serde_json::to_value(scene.api::<SecretPolicy>().get("db").await?)?;
    // After a kill the policy may read the new value before it knows of the rotation: the cause then has another name.
    for change in policy["status"]["history"].as_array_mut().into_iter().flatten() {
        change["reason"].take();
    }
    Ok(json!({
        "schedule": scene.schedule("db").await?,
        "policy": policy,
        "consumer": scene.api::<Deployment>().get("web").await?.metadata.generation,
        "restarts": sets.items.len() - 1,
        "pending": pending(scene).await?,
    }))
}

/// How many pending Secrets there are.
async fn pending(scene: &Scene) -> Result<usize> {
    Ok(scene.api::<Secret>().list(&ListParams::default().labels(names::SCHEDULE_UID)).await?.items.len())
}
