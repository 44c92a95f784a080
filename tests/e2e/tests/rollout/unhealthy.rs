//! Consumers that were unhealthy before the value changed: they say nothing about it.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use rekey_e2e::{
    World,
    wait::{until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

use crate::ground::Ground;

/// `broken` is there already and has been restarted onto the new value; `works` has not.
async fn broken_is_restarted(world: &Arc<World>, prefix: &str, breaks: impl FnOnce(&mut Value)) -> Result<Ground> {
    let ground = Ground::new(world, prefix).await?;
    ground.published().await?;
    let mut broken = workload("Deployment", &ground.scene.namespace, "broken", "db", Form::Env);
    breaks(&mut broken["spec"]["template"]["spec"]["containers"][0]);
    world.apply(broken).await?;
    ground.consumer("Deployment", "works", Form::Env).await?;
    until("the broken one is unavailable for long enough", || async {
        let status = ground.scene.api::<Deployment>().get("broken").await?.status.unwrap_or_default();
        let mut conditions = status.conditions.iter().flatten();
        let condition = conditions.find(|at| at.type_ == "Available" && at.status == "False");
        let since = condition.and_then(|at| at.last_transition_time.as_ref());
        Ok(since.filter(|since| Timestamp::now().as_second() - since.0.as_second() > 10).map(drop))
    })
    .await?;
    ground.wait_current(2).await?;
    ground.edit("works", json!({"spec": {"paused": true}})).await?;
    ground.change("two").await?;
    let consumer = ground.deployment("broken");
    until_equal("the broken one is restarted", 2, || consumer.templates()).await?;
    Ok(ground)
}

/// There is one turn, and the broken one does not take it.
async fn works_is_restarted(ground: &Ground) -> Result<()> {
    ground.edit("works", json!({"spec": {"paused": false}})).await?;
    ground.deployment("works").settles_on("two", 2).await?;
    until_equal("it is current", "Current".to_owned(), || ground.state("db", "works")).await?;
    let state = ground.state("db", "broken").await?;
    ensure!(state == "Progressing", "{state}");
    ensure!(ground.deployment("broken").templates().await? == 2, "once");
    Ok(())
}

pub async fn who_crashed_before_the_change_holds_nobody(world: Arc<World>) -> Result<()> {
    let crashes = |container: &mut Value| container["command"] = json!(["/no-such-program"]);
    let ground = broken_is_restarted(&world, "crashes", crashes).await?;
    works_is_restarted(&ground).await
}

/// Its Deployment says since when it is unavailable.
pub async fn who_was_not_ready_before_the_change_holds_nobody_after_a_start_of_the_operator_either(
    world: Arc<World>,
) -> Result<()> {
    let unready = |container: &mut Value| container["readinessProbe"] = json!({"tcpSocket": {"port": 1}});
    let mut ground = broken_is_restarted(&world, "unready", unready).await?;
    ground.stop()?;
    ground.start()?;
    works_is_restarted(&ground).await
}
