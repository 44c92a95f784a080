//! What happens when the leader dies.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use rekey_e2e::{release::SYSTEM, wait::until};
use serde_json::json;

use super::installation::Installation;

/// From the death of the leader until another process has published a value. Its Lease expires 15 s after the others
/// saw it renewed, which they check every 2 s; the rest is for the lists, and the value.
const WITHIN: Duration = Duration::from_secs(20);

pub async fn another_process_works_soon_after_the_leader_was_killed(on: &Installation) -> Result<()> {
    let shop = on.shop();
    let (leader, generation) = (on.leader().await?.name_any(), shop.generation("Deployment", "web").await?);
    let before = on.world.lease().await?.holder_identity.context("no replica leads")?;
    on.world.bao.put("shop/web-session", &json!({"key": "after the leader"})).await?;
    on.world.node()?.kill(SYSTEM, &leader).await?;
    let death = Instant::now();
    shop.ask_sync("web-session").await?;
    shop.wait_data("web-session", &[("key", "after the leader")]).await?;
    let took = death.elapsed();
    println!("another process has published {:.1} s after the leader was killed", took.as_secs_f64());
    ensure!(took <= WITHIN, "it took {took:?}");
    on.leader().await?;
    ensure!(
        on.world.lease().await?.holder_identity.context("no replica leads")? != before,
        "the Lease still names who is dead: {before}"
    );
    shop.wait_settled("web-session").await?;
    ensure!(shop.generation("Deployment", "web").await? == generation + 1, "not restarted exactly once");
    // The kubelet starts the killed one again, and it waits for its turn.
    let pods: Api<Pod> = Api::namespaced(on.world.client.clone(), SYSTEM);
    until("the killed replica is back", || async {
        let status = pods.get(&leader).await?.status.unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        Ok(containers.iter().any(|container| container.restart_count == 1 && container.ready).then_some(()))
    })
    .await?;
    on.nothing_was_refused().await
}
