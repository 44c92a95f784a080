//! What happens to a consumer long after its restart is no failure of that restart.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_e2e::{
    World,
    wait::{stays, until},
};
use serde_json::json;
use tokio::time::sleep;

use crate::ground::{DEADLINE, Ground, REST};

/// The pod is ready as long as the test says so in this condition, so that no template changes.
const GATE: &str = "rekey.dev/test-serves";

pub async fn a_daemon_set_that_was_healthy_has_not_failed_later(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "agent").await?;
    let mut manifest = ground.reader("DaemonSet", "agent");
    manifest["spec"]["template"]["spec"]["readinessGates"] = json!([{"conditionType": GATE}]);
    ground.scene.world.apply(manifest).await?;
    let first = say(&ground, None, "True").await?;
    ground.wait_pods("agent", 1).await?;
    ground.wait_at_rest(1).await?;
    ground.publish("two").await?;
    say(&ground, Some(&first), "True").await?;
    ground.wait_held("agent", "two", 1).await?;
    ground.wait_current("1/1").await?;
    ensure!(ground.template_changes("DaemonSet", "agent").await? == 1, "it was restarted once");
    sleep(DEADLINE).await;
    ground.kill()?;
    say(&ground, None, "False").await?;
    until("its controller knows that the pod is down", async || {
        let status = ground.scene.api::<DaemonSet>().get("agent").await?.status.unwrap_or_default();
        Ok((status.number_unavailable == Some(1)).then_some(()))
    })
    .await?;
    ground.start()?;
    ground.scene.sync("db").await?; // by now it has looked at everything
    let failed = async || Ok(ground.state("DaemonSet", "agent").await?.filter(|state| state.starts_with("Failed")));
    stays("a failure of the DaemonSet", None, REST, failed).await?;
    let warnings = ground.scene.warnings("db").await?;
    ensure!(warnings.iter().all(|event| !event.starts_with("ConsumerFailed")), "{warnings:?}");
    say(&ground, None, "True").await?;
    ground.wait_current("1/1").await?;
    ensure!(ground.template_changes("DaemonSet", "agent").await? == 1, "it was restarted again");
    Ok(())
}

/// Says whether the only pod serves, once it runs and is another one than `gone`; returns its name.
async fn say(ground: &Ground, gone: Option<&str>, serves: &str) -> Result<String> {
    let name = until("the pod runs", async || {
        let pods = ground.pods("agent").await?;
        let runs = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let new: Vec<&Pod> = pods.iter().filter(|pod| gone != Some(pod.name_any().as_str()) && runs(pod)).collect();
        Ok(if let [pod] = new.as_slice() { Some(pod.name_any()) } else { None })
    })
    .await?;
    let status = json!({"status": {"conditions": [{"type": GATE, "status": serves}]}});
    ground.scene.api::<Pod>().patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    Ok(name)
}
