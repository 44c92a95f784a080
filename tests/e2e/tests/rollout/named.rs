//! Consumers that the policy names.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{
    World,
    wait::{until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

use crate::ground::{Ground, REST};

/// A workload that reads the Secret in a way that its template does not show.
fn without_reference(ground: &Ground, name: &str) -> Value {
    let mut manifest = workload("Deployment", &ground.scene.namespace, name, "db", Form::Env);
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
    manifest
}

pub async fn a_named_consumer_restarts_once_without_a_reference(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "named").await?;
    ground.put("db", "orders", "one").await?;
    let worker = |name: &str| json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
    ground.policy("db", json!({"rollout": {"consumers": [worker("app"), worker("ghost")]}})).await?;
    ground.scene.wait_settled("db").await?;
    for name in ["app", "bystander"] {
        world.apply(without_reference(&ground, name)).await?;
        ground.scene.wait_pod(name).await?;
    }
    // The status names a missing workload, which delays nothing.
    let found = ground.wait_consumers("db", "0/2 (1 assumed)", "ConsumersCurrent=False/ConsumerFailed").await?;
    ensure!(found.failed == 1, "{found:?}");
    let state = ground.state("db", "ghost").await?;
    ensure!(state == "Failed does not exist; create it, or remove it from spec.rollout.consumers", "{state}");
    ground.change("two").await?;
    let (app, bystander) = (ground.deployment("app"), ground.deployment("bystander"));
    until_equal("the templates of app", 2, || app.templates()).await?;
    until("app is current", || async {
        let state = ground.state("db", "app").await?;
        Ok((state == "Current").then_some(()))
    })
    .await?;
    app.left_alone("its restart", REST).await?;
    app.marked(2).await?;
    ensure!(bystander.templates().await? == 1, "it is not named");
    world.apply(without_reference(&ground, "ghost")).await?;
    ground.wait_current(2).await?;
    // No longer named, it is no consumer.
    ground.policy("db", json!({"rollout": {"consumers": [worker("app")]}})).await?;
    ground.wait_current(1).await?;
    ensure!(ground.deployment("ghost").templates().await? == 1);
    Ok(())
}

pub async fn a_kind_that_cannot_be_restarted_is_refused_by_name(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "unnamed").await?;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "once"});
    ground.policy("db", json!({"rollout": {"consumers": [job]}})).await?;
    let said = ground.scene.wait_policy("db", "Stalled=True/InvalidSpec").await?;
    ensure!(said.contains("spec.rollout.consumers: batch/v1 Job cannot be named"), "{said}");
    Ok(())
}
