//! Consumers that do not become healthy, and markers that another tool removes.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rekey_api::{names, policy::ConsumerState};
use rekey_e2e::{
    World,
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ground::{Consumer, Ground, REST};

const FAILED: &str = "ConsumersCurrent=False/ConsumerFailed";

/// So long must a pod be ready until it counts; it is no part of the template.
fn ready_after(seconds: u32) -> Value {
    json!({"spec": {"minReadySeconds": seconds}})
}

/// The two consumers, of which none can become available in time: the one that fails, and the one that waits. They get so
/// slow only after the change: who is unavailable before it holds nobody.
pub async fn a_consumer_that_misses_its_deadline_has_failed_and_the_others_wait(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "deadline").await?;
    ground.put("db", "orders", "one").await?;
    ground.policy("db", json!({"rollout": {"progressDeadline": "5s"}})).await?;
    ground.scene.wait_synced("db").await?;
    for name in ["first", "second"] {
        ground.consumer("Deployment", name, Form::Env).await?;
    }
    ground.wait_current(2).await?;
    for name in ["first", "second"] {
        ground.edit(name, json!({"spec": {"paused": true}})).await?;
    }
    ground.change("two").await?;
    ground.wait_consumers("db", "0/2", "ConsumersCurrent=False/Held").await?;
    for name in ["first", "second"] {
        ground.edit(name, json!({"spec": {"paused": false, "minReadySeconds": 500}})).await?;
    }
    let found = ground.wait_consumers("db", "0/2", FAILED).await?;
    ensure!((found.failed, found.outdated) == (1, 1), "{found:?}");
    // The value is published, so Ready is true; its reason is where people look.
    ground.scene.wait_policy("db", "Ready=True/ConsumerFailed").await?;
    // The condition of the consumers is false, and says that time does not help.
    let slow = |wanted: &str| json!({"rollout": {"progressDeadline": "5s", "readyWhen": wanted}});
    ground.policy("db", slow("ConsumersHealthy")).await?;
    ground.scene.wait_policy("db", "Ready=False/ConsumerFailed").await?;
    ground.scene.wait_policy("db", "Stalled=True/ConsumerFailed").await?;
    ground.policy("db", slow("Published")).await?;
    ground.scene.wait_policy("db", "Ready=True/ConsumerFailed").await?;
    let in_state = |state: ConsumerState| {
        let item = found.items.iter().find(|item| item.state == state);
        item.cloned().with_context(|| format!("none is {state:?}: {found:?}"))
    };
    let (failed, waits) = (in_state(ConsumerState::Failed)?, in_state(ConsumerState::Outdated)?);
    let said = failed.message.unwrap_or_default();
    ensure!(said.starts_with("not healthy 5s after its restart; "), "{said}");
    let said = waits.message.unwrap_or_default();
    ensure!(said == format!("waits for Deployment {}, which has failed", failed.name), "{said}");
    let generation = || ground.scene.generation("Deployment", &waits.name);
    stays("the one that waits", generation().await?, REST, generation).await?;
    let warnings = ground.scene.warnings("db").await?;
    let told: Vec<_> = warnings.iter().filter(|event| event.starts_with("ConsumerFailed: ")).collect();
    ensure!(told.len() == 1 && told[0].contains(&failed.name), "{warnings:?}");
    // Once fixed, it is current, and it is the other one's turn at once, without a poll.
    for name in ["first", "second"] {
        ground.edit(name, ready_after(0)).await?;
    }
    until("the failed one is healthy", || async {
        let state = ground.state("db", &failed.name).await?;
        Ok((state == "Current").then_some(()))
    })
    .await?;
    let since = Instant::now();
    let next = ground.deployment(if waits.name == "first" { "first" } else { "second" });
    until_equal("the templates of the next one", 2, || next.templates()).await?;
    ensure!(since.elapsed() < Duration::from_secs(20), "the next one followed after {:?}", since.elapsed());
    ground.wait_current(2).await?;
    for name in ["first", "second"] {
        ground.deployment(name).settles_on("two", 2).await?;
    }
    Ok(())
}

/// The old pod stays for long when it is rolled, so that removing the marker at once leads back to it.
pub async fn a_marker_taken_off_twice_is_left_off(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "reverted").await?;
    ground.published().await?;
    let mut manifest = workload("Deployment", &ground.scene.namespace, "app", "db", Form::Env);
    manifest["spec"]["minReadySeconds"] = json!(20);
    world.apply(manifest).await?;
    let consumer = ground.deployment("app");
    ground.wait_available("app").await?;
    ground.change("two").await?;
    for _ in 0..2 {
        until("the marker is there", || async { consumer.marker().await }).await?;
        take_off(&ground, &consumer).await?;
    }
    until("the revert is reported", || async {
        let events = ground.scene.warnings("app").await?;
        Ok(events.into_iter().find(|event| event.starts_with("MarkerReverted: ")))
    })
    .await
    .and_then(|event| {
        ensure!(event.contains("(test)"), "who manages the template: {event}");
        Ok(())
    })?;
    ground.wait_consumers("db", "0/1", "ConsumersCurrent=False/Held").await?;
    ground.scene.wait_policy("db", "Ready=True/Held").await?;
    let state = ground.state("db", "app").await?;
    ensure!(state.starts_with("Held another tool removed its restart marker twice; "), "{state}");
    let generation = || ground.scene.generation("Deployment", "app");
    stays("the generation", generation().await?, REST, generation).await?;
    ensure!(consumer.marker().await?.is_none());
    // The next value restarts it again.
    ground.change("three").await?;
    consumer.settles_on("three", 3).await?;
    ground.wait_current(1).await
}

async fn take_off(ground: &Ground, consumer: &Consumer<'_>) -> Result<()> {
    let removed = json!({"spec": {"template": {"metadata": {"annotations": {names::CONSUMED: null}}}}});
    ground.edit(consumer.name, removed).await
}
