//! Consumers that do not follow by themselves.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use rekey_api::rotation::RotationOutcome;
use rekey_e2e::{World, wait::stays};

use crate::stage::{OLD, Stage, fresh};

/// Only its owner restarts it; until then the rotation is open and says why.
pub async fn a_consumer_that_is_never_restarted_keeps_a_rotation_open(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "never").await?;
    stage.held_in_rolling_out().await?;
    let password = fresh(&stage.stored().await?.0)?;
    let open = || async {
        let open = stage.scene.schedule("db").await?.status.unwrap_or_default().rotation;
        let step = open.map(|open| open.step.as_str());
        Ok((step, stage.restarts("web").await?))
    };
    stays("step and restarts", (Some("RollingOut"), 0), Duration::from_secs(5), open).await?;
    let text = stage.step("RollingOut").await?;
    ensure!(text.contains("Deployment web (Held)"), "{text}");
    ensure!(stage.scene.held("web", "PASSWORD").await? == OLD);
    stage.restart("web").await?;
    ensure!(stage.ended(1).await?[0].outcome == RotationOutcome::Completed);
    ensure!(stage.scene.held("web", "PASSWORD").await? == password);
    ensure!(stage.restarts("web").await? == 1);
    Ok(())
}
