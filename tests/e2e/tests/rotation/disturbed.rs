//! What happens to the store, the spec and the schedule while a rotation is open.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use rekey_api::{RotationSchedule, rotation::RotationOutcome};
use rekey_e2e::{Scene, World, wait::until};
use rekey_testkit::proxy::{Fault, Proxy, filter};
use serde_json::json;

use crate::stage::{OLD, Stage, fresh};

/// A rotation that has its pending Secret and cannot write to the store, since each write meets this fault.
pub async fn held_up(world: &Arc<World>, name: &str, fault: Fault) -> Result<(Stage, Proxy)> {
    let proxy = Proxy::http(world.bao.address())?;
    proxy.count(filter::vault);
    let scene = Scene::closed(world, name).await?;
    scene.open().await?;
    scene.vault_store_at(proxy.address(), "ReadWrite").await?;
    let stage = Stage::with(scene)?;
    stage.published().await?;
    stage.schedule("vault", &json!({})).await?;
    proxy.arm_from(1, fault);
    stage.ask("token-1").await?;
    stage.step("Publishing").await?;
    until("a write was tried and its failure is reported", || async {
        let open = stage.scene.schedule("db").await?.status.unwrap_or_default().rotation;
        Ok(open.filter(|open| open.attempts > 0 && open.message.is_some()))
    })
    .await?;
    ensure!(stage.pending().await?.len() == 1);
    ensure!(!proxy.calls().is_empty());
    Ok((stage, proxy))
}

pub async fn an_outage_while_publishing_ends_in_one_version(world: Arc<World>) -> Result<()> {
    let (stage, proxy) = held_up(&world, "outage", Fault::Drop).await?;
    let pending = stage.pending().await?;
    proxy.down();
    let text = until("the outage is reported", || async {
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        let told = status.rotation.filter(|open| open.attempts > 2).and_then(|open| open.message);
        Ok(told.filter(|text| text.contains("RemoteStore/vault")))
    })
    .await?;
    ensure!(stage.pending().await? == pending, "the value is kept: {text}");
    proxy.disarm();
    proxy.up();
    let history = stage.ended(1).await?;
    ensure!(history[0].outcome == RotationOutcome::Completed, "{history:?}");
    let (value, versions) = stage.stored().await?;
    ensure!(versions == [1, 2], "versions {versions:?}");
    stage.reported(&history[0].id, "2", &fresh(&value)?).await?;
    stage.shows("db", "Ready=True/Synced").await.map(drop)
}

pub async fn a_foreign_password_stands(world: Arc<World>) -> Result<()> {
    let (stage, proxy) = held_up(&world, "foreign", Fault::Status(503)).await?;
    stage.put(&json!({"username": "orders", "password": "theirs"})).await?;
    proxy.disarm();
    let history = stage.ended(1).await?;
    ensure!(history[0].outcome == RotationOutcome::Superseded, "{history:?}");
    let (value, versions) = stage.stored().await?;
    ensure!(value["password"] == "theirs" && versions == [1, 2], "nothing is overwritten: versions {versions:?}");
    stage.shows("db", "Rotated=False/ForeignRotation").await?;
    stage.scene.wait_data("db", &[("username", "orders"), ("password", "theirs")]).await?;
    stage.ask("token-2").await?;
    ensure!(stage.ended(2).await?[0].outcome == RotationOutcome::Completed, "the next one is not hindered");
    fresh(&stage.stored().await?.0).map(drop)
}

pub async fn other_properties_that_move_are_merged(world: Arc<World>) -> Result<()> {
    // The writes reach the store without an answer: first the answer is lost, then the base has changed.
    let (stage, proxy) = held_up(&world, "merged", Fault::Drop).await?;
    stage.put(&json!({"username": "orders", "password": OLD, "host": "db.shop"})).await?;
    proxy.disarm();
    let history = stage.ended(1).await?;
    ensure!(history[0].outcome == RotationOutcome::Completed, "{history:?}");
    let (value, versions) = stage.stored().await?;
    ensure!(value["host"] == "db.shop" && versions == [1, 2, 3], "versions {versions:?}");
    stage.reported(&history[0].id, "3", &fresh(&value)?).await
}

async fn gone(stage: &Stage) -> Result<()> {
    until("the schedule and its pending Secret are gone", || async {
        let schedule = stage.scene.api::<RotationSchedule>().get_opt("db").await?;
        Ok((schedule.is_none() && stage.pending().await?.is_empty()).then_some(()))
    })
    .await
}

pub async fn a_deletion_while_publishing_completes_and_goes(world: Arc<World>) -> Result<()> {
    let (stage, proxy) = held_up(&world, "deleted", Fault::Drop).await?;
    let api = stage.scene.api::<RotationSchedule>();
    api.delete("db", &DeleteParams::default()).await?;
    ensure!(api.get("db").await?.metadata.deletion_timestamp.is_some(), "an open rotation holds it");
    proxy.disarm();
    gone(&stage).await?;
    let (value, versions) = stage.stored().await?;
    ensure!(versions == [1, 2], "versions {versions:?}");
    let password = fresh(&value)?;
    stage.scene.wait_data("db", &[("username", "orders"), ("password", &password)]).await
}

pub async fn a_deletion_with_a_refused_spec_goes(world: Arc<World>) -> Result<()> {
    let (stage, proxy) = held_up(&world, "deleted-refused", Fault::Drop).await?;
    stage.change(json!({"schedule": {"renewBefore": "24h"}})).await?;
    stage.shows("db", "Stalled=True/NotSupportedYet").await?;
    stage.scene.api::<RotationSchedule>().delete("db", &DeleteParams::default()).await?;
    gone(&stage).await?;
    ensure!(stage.stored().await?.0["password"] == OLD && stage.stored().await?.1 == [1]);
    drop(proxy);
    Ok(())
}
