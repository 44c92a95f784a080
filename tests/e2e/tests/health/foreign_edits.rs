//! Another tool changes the Secret while the operator is down. The operator puts the right value back, which is no new
//! value: who holds the foreign one follows from when it started.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::DeleteParams};
use rekey_e2e::{
    World,
    kubectl::kubectl,
    wait::{stays, until},
};
use serde_json::json;
use tokio::time::sleep;

use crate::ground::{EDGE, Ground, REST};

pub async fn a_pod_that_started_on_a_foreign_value_is_replaced_once(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "foreign").await?;
    two_pods(&ground).await?;
    replaced_once(&mut ground, "one").await
}

/// The template has our marker, and so have the pods that start on the foreign value.
pub async fn a_pod_that_started_on_a_foreign_value_is_replaced_once_after_an_earlier_restart(
    world: Arc<World>,
) -> Result<()> {
    let mut ground = Ground::new(&world, "foreign").await?;
    two_pods(&ground).await?;
    ground.publish("two").await?;
    ground.wait_held("app", "two", 2).await?;
    ground.wait_current("1/1").await?;
    replaced_once(&mut ground, "two").await
}

pub async fn a_foreign_edit_that_no_pod_has_read_restarts_nobody(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "unread").await?;
    two_pods(&ground).await?;
    left_alone(&mut ground, "one").await
}

/// The pods have started after the change, and before the edit. The repair is written within 20 s of the change.
pub async fn a_foreign_edit_soon_after_a_restart_that_no_pod_has_read_restarts_nobody(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "soon").await?;
    two_pods(&ground).await?;
    ground.publish("two").await?;
    ground.wait_held("app", "two", 2).await?;
    ground.wait_current("1/1").await?;
    left_alone(&mut ground, "two").await
}

async fn left_alone(ground: &mut Ground, password: &str) -> Result<()> {
    let before = standing(ground).await?;
    ground.kill()?;
    sleep(EDGE).await;
    edit_by_hand(ground).await?;
    ground.start()?;
    ground.scene.wait_data("db", &[("password", password)]).await?;
    ground.scene.sync("db").await?; // by now it has handled everything
    stays("pods and changes of the template", before, REST, || standing(ground)).await?;
    ground.wait_at_rest(1).await?;
    ground.wait_held("app", password, 2).await
}

async fn two_pods(ground: &Ground) -> Result<()> {
    let mut manifest = ground.reader("Deployment", "app");
    manifest["spec"]["replicas"] = json!(2);
    ground.run(manifest, 1).await
}

async fn edit_by_hand(ground: &Ground) -> Result<()> {
    let foreign = r#"{"stringData":{"password":"foreign"}}"#;
    let namespace = ground.scene.namespace.as_str();
    kubectl(&ground.scene.world, &["patch", "secret", "db", "-n", namespace, "--type=merge", "-p", foreign]).await?;
    ground.scene.wait_data("db", &[("password", "foreign")]).await
}

/// The names of the pods, and how often the template was changed.
async fn standing(ground: &Ground) -> Result<(Vec<String>, usize)> {
    let pods = ground.pods("app").await?.iter().map(Pod::name_any).collect();
    Ok((pods, ground.template_changes("Deployment", "app").await?))
}

async fn replaced_once(ground: &mut Ground, password: &str) -> Result<()> {
    let before = ground.template_changes("Deployment", "app").await?;
    ground.kill()?;
    sleep(EDGE).await;
    edit_by_hand(ground).await?;
    sleep(EDGE).await;
    let pods = ground.wait_pods("app", 2).await?;
    let gone = pods[0].name_any();
    ground.scene.api::<Pod>().delete(&gone, &DeleteParams::default().grace_period(0)).await?;
    let pods = until("another pod runs instead", async || {
        let pods = ground.wait_pods("app", 2).await?;
        Ok(pods.iter().all(|pod| pod.name_any() != gone).then_some(pods))
    })
    .await?;
    let mut held = Vec::new();
    for pod in &pods {
        held.push(ground.held(pod).await?.unwrap_or_default());
    }
    held.sort();
    ensure!(held == ["foreign", password], "one pod holds the foreign value: {held:?}");
    ground.start()?;
    ground.scene.wait_data("db", &[("password", password)]).await?;
    ground.wait_held("app", password, 2).await?;
    ground.wait_current("1/1").await?;
    let changes = async || Ok(ground.template_changes("Deployment", "app").await? - before);
    stays("restarts after the foreign edit", 1, REST, changes).await?;
    ground.wait_held("app", password, 2).await
}
