//! Each kind of workload, each with another form of consumption.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{World, wait::until_equal, workloads::Form};

use crate::ground::{Ground, REST};

pub async fn a_deployment_by_env_restarts_once(world: Arc<World>) -> Result<()> {
    restarts_once(&world, "Deployment", Form::Env).await
}

pub async fn a_stateful_set_by_env_from_restarts_once(world: Arc<World>) -> Result<()> {
    restarts_once(&world, "StatefulSet", Form::EnvFrom).await
}

pub async fn a_daemon_set_by_volume_restarts_once(world: Arc<World>) -> Result<()> {
    restarts_once(&world, "DaemonSet", Form::Volume).await
}

async fn restarts_once(world: &Arc<World>, kind: &'static str, form: Form) -> Result<()> {
    let ground = Ground::new(world, "restart").await?;
    ground.published().await?;
    let consumer = ground.consumer(kind, "app", form).await?;
    let first = ground.scene.wait_pod("app").await?;
    ensure!(consumer.password(&first).await? == "one");
    ground.wait_current(1).await?;
    ensure!(ground.state("db", "app").await? == "Assumed", "nobody knows what it held before");
    ground.change("two").await?;
    ground.scene.wait_policy("db", "ConsumersCurrent=False/ConsumersOutdated").await?;
    consumer.settles_on("two", 2).await?;
    consumer.marked(2).await?;
    ground.wait_current(1).await?;
    ensure!(ground.state("db", "app").await? == "Current");
    let events = ground.scene.events("app").await?;
    let restarts = events.iter().filter(|event| event.starts_with("Restarting: ")).count();
    ensure!(restarts == 1, "{events:?}");
    // From here the marker is there, and later changes must follow.
    ground.change("three").await?;
    consumer.settles_on("three", 3).await?;
    consumer.marked(3).await?;
    ground.wait_current(1).await
}

pub async fn another_key_of_the_secret_restarts_nobody(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "key").await?;
    ground.published().await?;
    let one_key = ground.consumer("Deployment", "one-key", Form::Env).await?;
    let all_keys = ground.consumer("Deployment", "all-keys", Form::EnvFrom).await?;
    ground.put("db", "somebody-else", "one").await?;
    ground.scene.sync("db").await?;
    all_keys.settles_on("one", 2).await?;
    ground.wait_current(2).await?;
    one_key.left_alone("a change of a key it does not consume", REST).await?;
    ensure!(one_key.templates().await? == 1);
    Ok(())
}

pub async fn a_change_missed_while_down_is_caught_up_by_one_restart(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "missed").await?;
    ground.published().await?;
    ground.consumer("Deployment", "app", Form::Env).await?;
    ground.wait_current(1).await?;
    ground.stop()?;
    ground.put("db", "orders", "two").await?;
    ground.start()?;
    let expected = [("password", "two"), ("username", "orders")];
    ground.scene.wait_data("db", &expected).await?;
    let consumer = ground.deployment("app");
    consumer.settles_on("two", 2).await?;
    ground.wait_current(1).await?;
    until_equal("its state", "Current".to_owned(), || ground.state("db", "app")).await
}
