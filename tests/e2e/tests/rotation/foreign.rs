//! A value that another tool puts into the store after ours was written.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use rekey_api::rotation::RotationOutcome;
use rekey_e2e::{World, wait::stays};
use rekey_testkit::proxy::Fault;
use serde_json::json;

use crate::{
    disturbed::held_up,
    stage::{OLD, Stage},
};

/// The rotation is not complete, says why, and leaves the value in the store.
async fn superseded(stage: &Stage, theirs: &str) -> Result<()> {
    let history = stage.ended(1).await?;
    ensure!(history[0].outcome == RotationOutcome::Superseded, "{history:?}");
    let text = stage.shows("db", "Rotated=False/ForeignRotation").await?;
    ensure!(text.contains("another tool"), "{text}");
    let events = stage.scene.events("db").await?;
    ensure!(events.iter().any(|event| event.starts_with("ForeignRotation: ")), "{events:?}");
    let stored = || async {
        let (value, versions) = stage.stored().await?;
        Ok((value["password"].as_str().unwrap_or_default().to_owned(), versions))
    };
    stays("the stored value", (theirs.to_owned(), vec![1, 2, 3]), Duration::from_secs(3), stored).await?;
    stage.scene.wait_data("db", &[("username", "orders"), ("password", theirs)]).await
}

/// While a consumer holds the rotation in `RollingOut`.
async fn rolling(world: Arc<World>, name: &str, theirs: &str) -> Result<()> {
    let stage = Stage::new(&world, name).await?;
    stage.held_in_rolling_out().await?;
    stage.put(&json!({"username": "orders", "password": theirs})).await?;
    superseded(&stage, theirs).await
}

pub async fn an_old_value_put_back_while_consumers_follow_supersedes(world: Arc<World>) -> Result<()> {
    rolling(world, "old-rolling", OLD).await
}

pub async fn a_foreign_value_while_consumers_follow_supersedes(world: Arc<World>) -> Result<()> {
    rolling(world, "foreign-rolling", "theirs").await
}

/// While the policy has not published ours yet.
async fn publishing(world: Arc<World>, name: &str, theirs: &str) -> Result<()> {
    let (stage, proxy) = held_up(&world, name, Fault::Drop).await?;
    stage.scene.suspend("db", true).await?;
    stage.scene.wait_policy("db", "ConsumersCurrent=False/Suspended").await?;
    proxy.disarm();
    rekey_e2e::wait::until("the store has our value", || async {
        let open = stage.scene.schedule("db").await?.status.unwrap_or_default().rotation;
        Ok(open.and_then(|open| open.version))
    })
    .await?;
    stage.put(&json!({"username": "orders", "password": theirs})).await?;
    stage.scene.suspend("db", false).await?;
    superseded(&stage, theirs).await
}

pub async fn an_old_value_put_back_while_publishing_supersedes(world: Arc<World>) -> Result<()> {
    publishing(world, "old-publishing", OLD).await
}

pub async fn a_foreign_value_while_publishing_supersedes(world: Arc<World>) -> Result<()> {
    publishing(world, "foreign-publishing", "theirs").await
}

/// Reads of the key by the operator, from the request to the end, undisturbed.
pub async fn an_undisturbed_rotation_reads_the_store_seldom(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "reads").await?;
    stage.published().await?;
    stage.consumer("web", "password").await?;
    stage.schedule("vault", &json!({})).await?;
    let mark = world.bao.mark()?;
    stage.ask("token-1").await?;
    stage.ended(1).await?;
    let path = format!("secret/data/{}", stage.key());
    let requests = world.bao.requests_since(mark)?;
    let count = requests.iter().filter(|at| at.operation == "read" && at.path == path).count();
    println!("an undisturbed rotation reads the store {count} times");
    ensure!(count <= 24, "{count} reads of the store");
    Ok(())
}
