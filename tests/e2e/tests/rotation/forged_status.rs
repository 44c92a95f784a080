//! Statuses that another client writes: the operator checks what they say, and does nothing on their word.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Resource,
    api::{Patch, PatchParams},
};
use rekey_api::{RotationSchedule, SecretPolicy, rotation::RotationOutcome};
use rekey_e2e::{World, wait::stays};
use rekey_testkit::proxy::Fault;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    disturbed::held_up,
    stage::{OLD, Stage, fresh},
};

/// How long a lie is repeated, and how often.
const LASTING: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

async fn forge<K: Resource<DynamicType = ()>>(stage: &Stage, status: &Value) -> Result<()> {
    let body = Patch::Merge(json!({"status": status}));
    stage.scene.objects::<K>().patch_status("db", &PatchParams::default(), &body).await?;
    Ok(())
}

/// Writes a status again and again, so that the operator sees it between two of its own.
async fn insist<K: Resource<DynamicType = ()>>(stage: &Stage, status: &Value) -> Result<()> {
    let lies = async {
        loop {
            forge::<K>(stage, status).await?;
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        result = lies => result,
        () = sleep(LASTING) => Ok(()), // there is no condition to wait for when something must not happen
    }
}

/// The store holds the old value only, and no rotation has ended.
async fn nothing_was_done(stage: &Stage) -> Result<()> {
    let done = || async {
        let (value, versions) = stage.stored().await?;
        let ended = stage.scene.schedule("db").await?.status.unwrap_or_default().history.len();
        Ok((value["password"].as_str().unwrap_or_default().to_owned(), versions, ended))
    };
    stays("the store, and rotations that have ended", (OLD.to_owned(), vec![1], 0), Duration::from_secs(2), done).await
}

/// A policy that falsely says that it has published: the rotation waits for the Secret.
pub async fn a_policy_that_says_it_has_published_is_not_believed(world: Arc<World>) -> Result<()> {
    let (stage, proxy) = held_up(&world, "says-published", Fault::Drop).await?;
    stage.scene.suspend("db", true).await?;
    stage.scene.wait_policy("db", "ConsumersCurrent=False/Suspended").await?;
    proxy.disarm();
    let id = rekey_e2e::wait::until("the store has the new value", || async {
        let open = stage.scene.schedule("db").await?.status.unwrap_or_default().rotation;
        Ok(open.filter(|open| open.version.is_some()).map(|open| open.id))
    })
    .await?;
    let all = json!({"summary": "1/1", "total": 1, "current": 1, "outdated": 0, "failed": 0, "items": []});
    let status = json!({
        "rotation": {"id": id, "version": "2"},
        "sourceVersions": [{"key": stage.key(), "version": "2"}],
        "consumers": all,
    });
    insist::<SecretPolicy>(&stage, &status).await?;
    let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
    let step = status.rotation.map(|open| open.step.as_str());
    ensure!(step == Some("Publishing") && status.history.is_empty(), "{step:?}, {:?}", status.history);
    stage.scene.suspend("db", false).await?;
    let history = stage.ended(1).await?;
    ensure!(history[0].id == id && history[0].outcome == RotationOutcome::Completed, "{history:?}");
    let (value, versions) = stage.stored().await?;
    ensure!(versions == [1, 2], "versions {versions:?}");
    stage.reported(&id, "2", &fresh(&value)?).await
}

/// A schedule that says that it is further than it is, or that nothing is open.
pub async fn a_schedule_that_says_it_is_further_is_not_believed(world: Arc<World>) -> Result<()> {
    for step in ["RollingOut", "Settling", "Retiring", "Failed"] {
        let (stage, proxy) = held_up(&world, "says-further", Fault::Drop).await?;
        let open = stage.scene.schedule("db").await?.status.and_then(|status| status.rotation);
        let mut open = serde_json::to_value(open.context("no open rotation")?)?;
        (open["step"], open["version"]) = (json!(step), json!("2"));
        insist::<RotationSchedule>(&stage, &json!({"rotation": open})).await?;
        let (value, versions) = stage.stored().await?;
        let history = stage.scene.schedule("db").await?.status.unwrap_or_default().history;
        let completed = history.iter().any(|past| past.outcome == RotationOutcome::Completed);
        ensure!(value["password"] == OLD && versions == [1] && !completed, "{step}: {versions:?}, {history:?}");
        drop(proxy);
    }
    Ok(())
}

/// A status that is emptied while a rotation is open: its value is durable, and goes on.
pub async fn a_status_that_is_emptied_loses_no_rotation(world: Arc<World>) -> Result<()> {
    let (stage, proxy) = held_up(&world, "says-nothing", Fault::Drop).await?;
    let pending = stage.pending().await?;
    insist::<RotationSchedule>(&stage, &json!({"rotation": null})).await?;
    ensure!(stage.pending().await? == pending, "the value is kept");
    proxy.disarm();
    let history = stage.ended(1).await?;
    ensure!(history[0].outcome == RotationOutcome::Completed, "{history:?}");
    ensure!(pending == [format!("rekey-pending-{}", history[0].id)], "{pending:?}, {history:?}");
    let (value, versions) = stage.stored().await?;
    ensure!(versions == [1, 2], "versions {versions:?}");
    stage.reported(&history[0].id, "2", &fresh(&value)?).await
}

/// An open rotation that never was.
pub async fn a_rotation_that_only_a_status_knows_changes_nothing(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "says-open").await?;
    stage.published().await?;
    stage.schedule("vault", &json!({})).await?;
    for step in ["Publishing", "RollingOut", "Settling"] {
        let open = json!({
            "id": "ffffffff-ffff-7fff-bfff-ffffffffffff", "step": step, "version": "1", "reason": "Schedule",
            "startedAt": "2026-01-01T00:00:00Z", "attempts": 0,
        });
        forge::<RotationSchedule>(&stage, &json!({"rotation": open})).await?;
        let history = stage.ended(1).await?;
        ensure!(history[0].outcome == RotationOutcome::Failed, "{step}: {history:?}");
        forge::<RotationSchedule>(&stage, &json!({"history": []})).await?;
        nothing_was_done(&stage).await?;
    }
    stage.ask("token-1").await?;
    stage.ended(1).await?;
    fresh(&stage.stored().await?.0).map(drop)
}
