//! Which container of a pod has read the value, and when.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_api::names;
use rekey_e2e::{
    World,
    wait::{stays, until, until_equal},
};
use rekey_testkit::node::IMAGE;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::ground::{CONTAINER, EDGE, Ground, REST};

const HELD: &str = "Held";

/// The init container runs once a pod, so the file stays as it is when another container starts again.
pub async fn a_copy_that_an_init_container_made_stays_old_when_a_container_restarts(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "copy").await?;
    ground.run(copying(&ground), 1).await?;
    until_equal("the copy", "one".to_owned(), || copy(&ground)).await?;
    held_back(&ground).await?;
    ground.crash("app").await?;
    ensure!(copy(&ground).await? == "one", "the container that restarted reads the same file");
    let record = ground.record();
    ground.scene.sync("db").await?;
    stays("the consumer after its container restarted", HELD.to_owned(), REST * 2, || state(&ground)).await?;
    let said = record.said()?;
    let current = said.iter().find(|at| at.consumers.current > 0);
    ensure!(current.is_none(), "it holds the old value, and was shown as current: {current:?}");
    ensure!(ground.template_changes("Deployment", "app").await? == 0, "it was restarted in spite of its annotation");
    let_go(&ground).await?;
    until_equal("the restarts", 1, || ground.template_changes("Deployment", "app")).await?;
    until("the new copy", async || Ok((copy(&ground).await.ok().as_deref() == Some("two")).then_some(()))).await?;
    ground.wait_current("1/1").await?;
    stays("the restarts", 1, REST, || ground.template_changes("Deployment", "app")).await
}

/// The pod has a container that is older than the change, and has nothing to do with the Secret.
pub async fn a_container_that_has_read_the_value_again_needs_no_restart(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "beside").await?;
    let mut manifest = ground.reader("Deployment", "app");
    if let Some(containers) = manifest["spec"]["template"]["spec"]["containers"].as_array_mut() {
        containers.push(json!({"name": "beside", "image": IMAGE, "imagePullPolicy": "Never"}));
    }
    ground.run(manifest, 1).await?;
    held_back(&ground).await?;
    let pod = ground.wait_pods("app", 1).await?[0].name_any();
    ground.crash("app").await?;
    ground.wait_held("app", "two", 1).await?;
    let_go(&ground).await?;
    ground.scene.sync("db").await?;
    stays("the restarts", 0, REST, || ground.template_changes("Deployment", "app")).await?;
    ground.wait_current("1/1").await?;
    let now = ground.wait_pods("app", 1).await?[0].name_any();
    ensure!(now == pod, "its pod was replaced");
    ensure!(ground.template_changes("Deployment", "app").await? == 0, "it holds the value, and was restarted");
    Ok(())
}

/// An init container writes the password into a file that the main container reads.
fn copying(ground: &Ground) -> Value {
    let mut manifest = ground.reader("Deployment", "app");
    let pod = &mut manifest["spec"]["template"]["spec"];
    let mounts = json!([{"name": "copy", "mountPath": "/copy"}]);
    let mut reads = pod["containers"][0].clone();
    reads["name"] = json!("copy");
    reads["args"] = json!(["copy", "/copy/password"]);
    reads["volumeMounts"] = mounts.clone();
    pod["initContainers"] = json!([reads]);
    pod["containers"] =
        json!([{"name": CONTAINER, "image": IMAGE, "imagePullPolicy": "Never", "volumeMounts": mounts}]);
    pod["volumes"] = json!([{"name": "copy", "emptyDir": {}}]);
    manifest
}

async fn copy(ground: &Ground) -> Result<String> {
    let pod = ground.wait_pods("app", 1).await?[0].name_any();
    let content = ground.scene.world.node()?.file(&ground.scene.namespace, &pod, "/copy/password").await?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Publishes another value, which the Deployment is not restarted for.
async fn held_back(ground: &Ground) -> Result<()> {
    ground.scene.annotate::<Deployment>("app", names::RESTART, "Never").await?;
    ground.publish("two").await?;
    until_equal("the consumer", HELD.to_owned(), || state(ground)).await?;
    sleep(EDGE).await; // what starts from here on has read the new value
    Ok(())
}

/// The state of the consumer, without its message.
async fn state(ground: &Ground) -> Result<String> {
    let state = ground.state("Deployment", "app").await?.unwrap_or_default();
    Ok(state.split(':').next().unwrap_or_default().to_owned())
}

/// Takes the annotation off.
async fn let_go(ground: &Ground) -> Result<()> {
    let body = Patch::Merge(json!({"metadata": {"annotations": {names::RESTART: null}}}));
    ground.scene.api::<Deployment>().patch("app", &PatchParams::default(), &body).await?;
    Ok(())
}
