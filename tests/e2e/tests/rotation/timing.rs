//! When rotations start.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rekey_api::{SecretPolicy, rotation::RotationReason};
use rekey_e2e::{
    World,
    wait::{stays, until, until_equal},
};
use serde_json::json;

use crate::stage::{OLD, Stage};

pub async fn a_period_rotates_again_and_again(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "every").await?;
    stage.published().await?;
    stage.schedule("vault", &json!({"schedule": {"every": "5s"}})).await?;
    ensure!(stage.stored().await?.0["password"] == OLD, "enabling a schedule rotates nothing");
    until("two rotations", || async {
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        Ok((status.history.len() >= 2).then_some(()))
    })
    .await?;
    stage.change(json!({"suspend": true})).await?;
    let history = until("the schedule rests", || async {
        let schedule = stage.scene.schedule("db").await?;
        let generation = schedule.metadata.generation;
        let status = schedule.status.unwrap_or_default();
        let rests = status.rotation.is_none() && status.observed_generation == generation;
        Ok((rests && stage.pending().await?.is_empty()).then_some(status.history))
    })
    .await?;
    // It may have been the turn of the operator that made a rotation due, not the clock: then it is a catch-up.
    let due = |reason| matches!(reason, RotationReason::Schedule | RotationReason::CatchUp);
    ensure!(history.iter().all(|past| due(past.reason) && past.requested_by.is_none()), "{history:?}");
    ensure!(history.windows(2).all(|pair| pair[0].id > pair[1].id), "the newest first: {history:?}");
    let (value, versions) = stage.stored().await?;
    ensure!(versions.len() == history.len() + 1, "{} rotations made versions {versions:?}", history.len());
    stage.scene.wait_synced("db").await?;
    let password = value["password"].as_str().unwrap_or_default();
    stage.scene.wait_data("db", &[("username", "orders"), ("password", password)]).await
}

pub async fn a_cron_pattern_in_a_time_zone_is_planned(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "cron").await?;
    stage.published().await?;
    let timing = json!({"schedule": {"cron": "30 3 * * *", "timeZone": "Asia/Kathmandu"}});
    stage.schedule("vault", &timing).await?;
    let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
    let next = status.next_rotation_time.context("no next time")?;
    ensure!(next.ends_with("T21:45:00Z"), "03:30 in Kathmandu is 21:45 UTC, not {next}");
    ensure!(status.schedule.as_deref() == Some("30 3 * * * Asia/Kathmandu"), "{:?}", status.schedule);
    until_equal("next rotation time of the policy", Some(next), || async {
        Ok(stage.scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default().next_rotation_time)
    })
    .await?;
    ensure!(status.history.is_empty() && status.rotation.is_none(), "enabling a schedule rotates nothing");
    stage.change(json!({"schedule": {"cron": "0 0 30 2 *"}})).await?;
    let never = stage.shows("db", "Ready=True/Synced").await?;
    until("a schedule that never comes up says so", || async {
        Ok(stage.shows("db", "Ready=True/Synced").await?.contains("names no time in the future").then_some(()))
    })
    .await
    .context(never)
}

pub async fn an_old_token_is_recorded_not_acted_on(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "token").await?;
    stage.published().await?;
    stage
        .scene
        .world
        .apply(json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "RotationSchedule",
            "metadata": {
                "name": "db",
                "namespace": stage.scene.namespace,
                "annotations": {"rekey.dev/rotate-requested": "from the backup"},
            },
            "spec": {
                "policyRef": {"name": "db"},
                "writeTo": {"storeRef": {"name": "vault"}, "key": stage.key()},
                "rotator": {"generate": {"fields": [{"property": "password", "password": {"length": 40}}]}},
            },
        }))
        .await?;
    until("the token is recorded", || async {
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        Ok((status.last_handled_rotate.as_deref() == Some("from the backup")).then_some(()))
    })
    .await?;
    let untouched = || async { Ok((stage.stored().await?.1, stage.pending().await?.len())) };
    stays("versions and pending Secrets", (vec![1], 0), Duration::from_secs(3), untouched).await?;
    stage.ask("a new one").await?;
    ensure!(stage.ended(1).await?[0].reason == RotationReason::Requested);
    ensure!(stage.stored().await?.1 == [1, 2]);
    Ok(())
}

/// A tool that writes the spec more often than the period, with another value of something else each time.
pub async fn a_schedule_that_is_edited_all_the_time_rotates_when_it_is_due(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "edited").await?;
    stage.published().await?;
    stage.schedule("vault", &json!({"schedule": {"every": "6s"}})).await?;
    let hours = AtomicU32::new(24);
    until("a rotation", || async {
        let overdue_after = format!("{}h", hours.fetch_add(1, Ordering::Relaxed));
        stage.change(json!({"overdueAfter": overdue_after})).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        Ok((!status.history.is_empty()).then_some(()))
    })
    .await
}
