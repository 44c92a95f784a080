//! The operator dies at each write of a rotation, in three places: the end is the same.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Secret,
};
use kube::{Api, ResourceExt as _, api::ListParams};
use rekey_api::{RotationSchedule, SecretPolicy, names};
use rekey_e2e::{
    Scene, World,
    kill::{self, Rig, Scenario},
    suite, tests,
    wait::until,
    workloads::{Form, workload},
};
use serde_json::{Value, json};

/// Longer than the operator gathers changes, and than it waits before a retry.
const REST: Duration = Duration::from_secs(4);
const OLD: &str = "the old password";

fn main() -> Result<ExitCode> {
    suite::main(
        true,
        tests![
            kill_9_at_any_write_of_a_rotation_in_openbao_ends_the_same,
            kill_9_at_any_write_of_a_rotation_in_secrets_manager_ends_the_same,
        ],
    )
}

async fn kill_9_at_any_write_of_a_rotation_in_openbao_ends_the_same(world: Arc<World>) -> Result<()> {
    kill::prove(&world, &Rotation { store: "vault" }).await
}

async fn kill_9_at_any_write_of_a_rotation_in_secrets_manager_ends_the_same(world: Arc<World>) -> Result<()> {
    kill::prove(&world, &Rotation { store: "aws" }).await
}

/// One requested rotation of a password that one consumer holds.
struct Rotation {
    store: &'static str,
}

impl Rotation {
    async fn put(&self, scene: &Scene, value: &Value) -> Result<()> {
        let key = scene.key("db");
        match self.store {
            "vault" => scene.world.bao.put(&key, value).await.map(drop),
            _ => scene.world.moto.create(&key, &value.to_string()).await.map(drop),
        }
    }

    /// The current value, and what else the store holds of it: numbers of versions, or the stages that they carry.
    async fn stored(&self, scene: &Scene) -> Result<(Value, Value)> {
        let (key, world) = (scene.key("db"), &scene.world);
        if self.store == "vault" {
            return Ok((world.bao.get(&key).await?.unwrap_or_default(), json!(world.bao.versions(&key).await?)));
        }
        let value = serde_json::from_str(&world.moto.get(&key, "AWSCURRENT").await?)?;
        let mut stages: Vec<Vec<String>> =
            world.moto.versions(&key).await?.into_iter().map(|version| version.stages.into_iter().collect()).collect();
        stages.sort();
        Ok((value, json!(stages)))
    }
}

impl Scenario for Rotation {
    fn name(&self) -> &'static str {
        self.store
    }

    /// Which of two waits is reported depends on timing; after a kill a policy may publish the new value before it
    /// knows of the rotation, and then reports it once more.
    fn spare(&self) -> usize {
        4
    }

    async fn prepare(&self, rig: &Rig) -> Result<()> {
        let scene = &rig.scene;
        let key = scene.key("db");
        self.put(scene, &json!({"username": "orders", "password": OLD})).await?;
        let hourly = json!({"source": {"remote": {"refreshInterval": "1h"}}});
        scene.policy("db", self.store, &[("password", &key, "password")], hourly).await?;
        scene.wait_synced("db").await?;
        scene.world.apply(workload("Deployment", &scene.namespace, "web", "db", Form::Env)).await?;
        scene.wait_pod("web").await?;
        ensure!(scene.held("web", "PASSWORD").await? == OLD);
        scene.rotate("db", self.store, &key).await?;
        scene.wait_seen("db").await?;
        scene.wait_at_rest("db", "web").await?;
        scene.wait_synced("db").await?;
        kill::quiet(rig, Duration::from_secs(1)).await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        rig.scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, "token-1").await
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        let scene = &rig.scene;
        until("the rotation has ended", || async {
            let schedule = scene.schedule("db").await?;
            let held = !schedule.finalizers().is_empty();
            let status = schedule.status.unwrap_or_default();
            let over = status.rotation.is_none() && !status.history.is_empty() && !held;
            Ok((over && pending(scene).await?.is_empty()).then_some(()))
        })
        .await?;
        kill::quiet(rig, REST).await?;
        scene.wait_synced("db").await?;
        end(self, scene).await
    }
}

async fn pending(scene: &Scene) -> Result<Vec<Secret>> {
    Ok(scene.api::<Secret>().list(&ListParams::default().labels(names::SCHEDULE_UID)).await?.items)
}

/// Everything that must be equal.
async fn end(rotation: &Rotation, scene: &Scene) -> Result<Value> {
    let (stored, versions) = rotation.stored(scene).await?;
    let password = stored["password"].as_str().unwrap_or_default();
    let held = scene.held("web", "PASSWORD").await?;
    let published = scene.data("db").await?.unwrap_or_default();
    let sets: Api<ReplicaSet> = scene.api();
    let mut policy = serde_json::to_value(scene.api::<SecretPolicy>().get("db").await?)?;
    // After a kill the policy may read the new value before it knows of the rotation: the cause then has another name.
    for change in policy["status"]["history"].as_array_mut().into_iter().flatten() {
        change["reason"].take();
    }
    Ok(json!({
        "schedule": scene.schedule("db").await?,
        "policy": policy,
        "consumer": scene.api::<Deployment>().get("web").await?.metadata.generation,
        "restarts": sets.list(&ListParams::default().labels("app=web")).await?.items.len() - 1,
        "versions": versions,
        "username": stored["username"],
        "new": password.len() == 40,
        "published": published.get("password").map(String::as_str) == Some(password),
        "held": held == password,
        "pending": pending(scene).await?.len(),
    }))
}
