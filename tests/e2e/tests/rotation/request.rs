//! A rotation on request, from the annotation to the pod.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use rekey_api::rotation::{RotationOutcome, RotationReason};
use rekey_e2e::{
    World,
    kubectl::{headings, kubectl, table},
    wait::stays,
};
use serde_json::json;

use crate::stage::{OLD, Stage, fresh};

pub async fn a_request_rotates_once_on_openbao(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "request").await?;
    stage.published().await?;
    stage.consumer("web", "password").await?;
    stage.consumer("other", "username").await?;
    ensure!(stage.scene.held("web", "PASSWORD").await? == OLD);
    let other = stage.scene.wait_pod("other").await?;
    stage.schedule("vault", &json!({})).await?;
    stage.ask("token-1").await?;
    let history = stage.ended(1).await?;
    let (value, versions) = stage.stored().await?;
    let password = fresh(&value)?;
    ensure!(versions == [1, 2], "versions {versions:?}");
    ensure!(stage.scene.held("web", "PASSWORD").await? == password, "the consumer holds another password");
    stage.reported(&history[0].id, "2", &password).await?;
    checked(&stage, "token-1").await?;
    let once = || async { Ok((stage.restarts("web").await?, stage.restarts("other").await?)) };
    stays("restarts", (1, 0), Duration::from_secs(5), once).await?;
    ensure!(stage.scene.wait_pod("other").await?.metadata.uid == other.metadata.uid, "another pod of `other`");
    ensure!(stage.stored().await?.1 == [1, 2]);
    stage.told_nobody(&password).await
}

pub async fn a_request_rotates_once_on_secrets_manager(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "request-aws").await?;
    let key = stage.key();
    let first = world.moto.create(&key, &json!({"username": "orders", "password": OLD}).to_string()).await?;
    stage.policy("aws").await?;
    stage.scene.wait_synced("db").await?;
    stage.consumer("web", "password").await?;
    stage.schedule("aws", &json!({})).await?;
    stage.ask("token-1").await?;
    let history = stage.ended(1).await?;
    let password = fresh(&serde_json::from_str(&world.moto.get(&key, "AWSCURRENT").await?)?)?;
    let versions = world.moto.versions(&key).await?;
    let stages = |id: &str| versions.iter().find(|version| version.id == id).map(|version| version.stages.clone());
    ensure!(versions.len() == 2, "{versions:?}");
    ensure!(stages(&first) == Some(vec!["AWSPREVIOUS".to_owned()]), "{versions:?}");
    ensure!(stages(&history[0].id) == Some(vec!["AWSCURRENT".to_owned()]), "the id is the token: {versions:?}");
    ensure!(stage.scene.held("web", "PASSWORD").await? == password, "the consumer holds another password");
    stage.reported(&history[0].id, &history[0].id, &password).await?;
    checked(&stage, "token-1").await?;
    ensure!(stage.restarts("web").await? == 1);
    stage.told_nobody(&password).await
}

/// What the schedule says after one rotation that `somebody` requested.
async fn checked(stage: &Stage, token: &str) -> Result<()> {
    let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
    let [past] = status.history.as_slice() else { anyhow::bail!("{:?}", status.history) };
    ensure!(past.outcome == RotationOutcome::Completed && past.reason == RotationReason::Requested, "{past:?}");
    ensure!(past.requested_by.as_deref() == Some("somebody") && past.finished_at.is_some(), "{past:?}");
    let steps: Vec<&str> = past.steps.iter().map(|step| step.step.as_str()).collect();
    ensure!(steps == ["Preparing", "Publishing", "RollingOut", "Settling"], "{steps:?}");
    ensure!(status.last_rotation_time == past.finished_at, "{status:?}");
    ensure!(status.last_handled_rotate.as_deref() == Some(token), "{status:?}");
    ensure!(status.rotation.is_none() && status.next_rotation_time.is_none(), "{status:?}");
    stage.shows("db", "Ready=True/Synced").await?;
    stage.shows("db", "Rotated=True/Rotated").await?;
    let events = stage.scene.events("db").await?;
    let told = |start: &str| events.iter().filter(|event| event.starts_with(start)).count();
    ensure!((told("Rotating"), told("Rotated")) == (4, 1), "one of each step: {events:?}");
    Ok(())
}

pub async fn a_key_that_is_missing_is_created(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "missing").await?;
    let key = stage.key();
    stage.scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    stage.scene.wait_policy("db", "Ready=False/KeyNotFound").await?;
    stage.schedule("vault", &json!({"schedule": {"every": "720h", "rotateOnCreate": true}})).await?;
    let history = stage.ended(1).await?;
    ensure!(history[0].reason == RotationReason::Created && history[0].outcome == RotationOutcome::Completed);
    let (value, versions) = stage.stored().await?;
    let password = value["password"].as_str().unwrap_or_default();
    ensure!(versions == [1] && password.len() == 40, "versions {versions:?}");
    stage.reported(&history[0].id, "1", password).await
}

pub async fn kubectl_prints_the_truth(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "columns").await?;
    stage.published().await?;
    stage.schedule("vault", &json!({"schedule": {"every": "720h"}})).await?;
    stage.ask("token-1").await?;
    stage.ended(1).await?;
    stage.shows("db", "Ready=True/Synced").await?;
    let printed = kubectl(&world, &["get", "rotationschedules", "-n", &stage.scene.namespace]).await?;
    let wanted = ["NAME", "POLICY", "ROTATOR", "SCHEDULE", "LAST", "NEXT", "STEP", "READY"];
    ensure!(headings(&printed) == wanted, "{printed}");
    let lines = table(&printed)?;
    let cell = |name: &str| {
        let found = lines[0].iter().find(|(heading, _)| heading == name);
        found.map(|(_, text)| text.clone()).unwrap_or_default()
    };
    let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
    for (name, text) in [
        ("NAME", "db"),
        ("POLICY", "db"),
        ("ROTATOR", "generate"),
        ("SCHEDULE", "every 720h"),
        ("STEP", ""),
        ("READY", "True"),
    ] {
        ensure!(cell(name).starts_with(text) && (text.is_empty() == cell(name).is_empty()), "{name}:\n{printed}");
    }
    ensure!(Some(cell("NEXT")) == status.next_rotation_time, "{printed}");
    ensure!(cell("LAST").ends_with('s') || cell("LAST").ends_with('m'), "an age:\n{printed}");
    Ok(())
}
