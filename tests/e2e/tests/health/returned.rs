//! The Secret is deleted while the operator is down, and comes back with the same bytes. Pods can start without it when
//! their reference is optional, and then hold nothing.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::DeleteParams};
use rekey_e2e::{
    World,
    kubectl::kubectl,
    wait::{stays, until, until_equal},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::ground::{EDGE, Ground, REST};

pub async fn a_pod_that_started_without_the_secret_is_replaced_once(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "returned").await?;
    two_consumers(&ground).await?;
    replaced_once(&mut ground, "one").await
}

/// The templates have our marker, and so has the pod that starts without the Secret.
pub async fn a_pod_that_started_without_the_secret_is_replaced_once_after_an_earlier_restart(
    world: Arc<World>,
) -> Result<()> {
    let mut ground = Ground::new(&world, "returned").await?;
    two_consumers(&ground).await?;
    ground.publish("two").await?;
    for name in ["early", "late"] {
        ground.wait_held(name, "two", 1).await?;
    }
    ground.wait_current("2/2").await?;
    replaced_once(&mut ground, "two").await
}

/// Two Deployments. The pod of `late` can start without the Secret, and does so while that is gone.
async fn two_consumers(ground: &Ground) -> Result<()> {
    ground.run(ground.reader("Deployment", "early"), 1).await?;
    ground.run(starts_without(ground, "late"), 2).await
}

fn starts_without(ground: &Ground, name: &str) -> Value {
    let mut manifest = ground.reader("Deployment", name);
    let variable = &mut manifest["spec"]["template"]["spec"]["containers"][0]["env"][0];
    variable["valueFrom"]["secretKeyRef"]["optional"] = json!(true);
    manifest
}

async fn delete_while_down(ground: &mut Ground) -> Result<()> {
    ground.kill()?;
    sleep(EDGE).await;
    kubectl(&ground.scene.world, &["delete", "secret", "db", "-n", &ground.scene.namespace]).await?;
    until_equal("the Secret", None, || ground.scene.data("db")).await?;
    sleep(EDGE).await;
    Ok(())
}

async fn replaced_once(ground: &mut Ground, password: &str) -> Result<()> {
    let before = [changes(ground, "early").await?, changes(ground, "late").await?];
    let early = ground.wait_pods("early", 1).await?[0].name_any();
    delete_while_down(ground).await?;
    let gone = ground.wait_pods("late", 1).await?[0].name_any();
    ground.scene.api::<Pod>().delete(&gone, &DeleteParams::default().grace_period(0)).await?;
    let pods = until("another pod runs instead", async || {
        let pods = ground.wait_pods("late", 1).await?;
        Ok((pods[0].name_any() != gone).then_some(pods))
    })
    .await?;
    let held = ground.held(&pods[0]).await?;
    ensure!(held.is_none(), "it started without the Secret, and holds {held:?}");
    sleep(EDGE).await;
    ground.start()?;
    ground.scene.wait_data("db", &[("password", password)]).await?;
    ground.wait_held("late", password, 1).await?;
    ground.wait_at_rest(2).await?;
    let restarts =
        async || Ok([changes(ground, "early").await? - before[0], changes(ground, "late").await? - before[1]]);
    stays("restarts of early and late", [0, 1], REST, restarts).await?;
    ground.wait_held("late", password, 1).await?;
    let pod = ground.wait_pods("early", 1).await?[0].name_any();
    ensure!(pod == early, "the pod that held the value all the time was replaced");
    Ok(())
}

async fn changes(ground: &Ground, name: &str) -> Result<usize> {
    ground.template_changes("Deployment", name).await
}
