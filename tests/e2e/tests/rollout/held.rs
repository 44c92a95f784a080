//! Consumers that are not restarted though the value has changed, and what the status says about them.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use rekey_api::names;
use rekey_e2e::{World, wait::until_equal, workloads::Form};
use serde_json::json;

use crate::ground::{Ground, REST};

const HELD: &str = "ConsumersCurrent=False/Held";

pub async fn restart_never_is_held_until_somebody_restarts_it(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "never").await?;
    ground.published().await?;
    let consumer = ground.consumer("Deployment", "app", Form::Env).await?;
    ground.scene.annotate::<Deployment>("app", names::RESTART, "Never").await?;
    ground.change("two").await?;
    ground.wait_consumers("db", "0/1", HELD).await?;
    consumer.left_alone("a change, with rekey.dev/restart: Never", REST).await?;
    let state = ground.state("db", "app").await?;
    ensure!(state == "Held rekey.dev/restart is Never; restart it by hand", "{state}");
    ground.scene.wait_policy("db", "Ready=True/Held").await?;
    // Rekey sees a restart by hand.
    ground.edit("app", restarted_at("by hand")).await?;
    consumer.settles_on("two", 2).await?;
    ground.wait_current(1).await
}

pub async fn a_policy_without_restarts_holds_its_consumers(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "never").await?;
    ground.put("db", "orders", "one").await?;
    ground.policy("db", json!({"rollout": {"restart": "Never"}})).await?;
    ground.scene.wait_synced("db").await?;
    let consumer = ground.consumer("Deployment", "app", Form::Env).await?;
    ground.change("two").await?;
    ground.wait_consumers("db", "0/1", HELD).await?;
    consumer.left_alone("a change, with rollout.restart: Never", REST).await?;
    let state = ground.state("db", "app").await?;
    ensure!(state == "Held spec.rollout.restart is Never; restart it by hand", "{state}");
    // Once allowed again, it catches up.
    ground.policy("db", json!({"rollout": {"restart": "Auto"}})).await?;
    consumer.settles_on("two", 2).await?;
    ground.wait_current(1).await
}

pub async fn a_consumer_that_reloads_is_not_restarted(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "reload").await?;
    ground.put("db", "orders", "one").await?;
    ground.policy("db", json!({"rollout": {"liveReloadGrace": "5s"}})).await?;
    ground.scene.wait_synced("db").await?;
    let consumer = ground.consumer("Deployment", "app", Form::Volume).await?;
    ground.scene.annotate::<Deployment>("app", names::LIVE_RELOAD, "true").await?;
    ground.change("two").await?;
    // It may take its node some time to bring the new file.
    ground.scene.wait_policy("db", "ConsumersCurrent=False/ConsumersOutdated").await?;
    ground.wait_current(1).await?;
    let pod = ground.scene.wait_pod("app").await?;
    until_equal("the mounted file", "two".to_owned(), || consumer.password(&pod)).await?;
    consumer.left_alone("a change that it reads by itself", REST).await?;
    ensure!(consumer.templates().await? == 1);
    Ok(())
}

pub async fn a_paused_deployment_is_picked_up_when_resumed(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "paused").await?;
    ground.published().await?;
    let consumer = ground.consumer("Deployment", "app", Form::Env).await?;
    ground.edit("app", json!({"spec": {"paused": true}})).await?;
    ground.change("two").await?;
    ground.wait_consumers("db", "0/1", HELD).await?;
    consumer.left_alone("a change while it is paused", REST).await?;
    ensure!(consumer.marker().await?.is_none(), "a marker would restart it at once when it is resumed");
    ensure!(ground.state("db", "app").await? == "Held its rollout is paused; resume it");
    ground.edit("app", json!({"spec": {"paused": false}})).await?;
    consumer.settles_on("two", 2).await?;
    ground.wait_current(1).await
}

/// What `kubectl rollout restart` does.
pub fn restarted_at(time: &str) -> serde_json::Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": time}}}}})
}
