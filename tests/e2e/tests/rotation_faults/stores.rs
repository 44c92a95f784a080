//! A password in a store.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{
    Scene, World,
    kill::{self, Rig, Scenario},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

use crate::ground;

const OLD: &str = "the old password";

pub async fn kill_9_at_any_write_of_a_rotation_in_openbao_ends_the_same(world: Arc<World>) -> Result<()> {
    kill::prove(&world, &Rotation { store: "vault" }).await
}

pub async fn kill_9_at_any_write_of_a_rotation_in_secrets_manager_ends_the_same(world: Arc<World>) -> Result<()> {
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
        ground::ready(rig).await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        ground::ask(rig).await
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        ground::ended(rig).await?;
        end(self, &rig.scene).await
    }
}

/// Everything that must be equal.
async fn end(rotation: &Rotation, scene: &Scene) -> Result<Value> {
    let (stored, versions) = rotation.stored(scene).await?;
    let password = stored["password"].as_str().unwrap_or_default();
    let held = scene.held("web", "PASSWORD").await?;
    let published = scene.data("db").await?.unwrap_or_default();
    Ok(json!({
        "cluster": ground::cluster(scene).await?,
        "versions": versions,
        "username": stored["username"],
        "new": password.len() == 40,
        "published": published.get("password").map(String::as_str) == Some(password),
        "held": held == password,
    }))
}
