//! What other tools do to the Secrets of a policy, in each mode: it is repaired or refused within 5 s, and reported; no
//! consumer is restarted for it where the bytes are equal, and no pod misses its Secret.

mod expected;
mod face;
mod other_tool;
mod stage;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use rekey_e2e::{World, suite, tests};

use self::{expected::Which, other_tool::ALL, stage::Stage};

/// All attempts on one Secret, one after the other.
async fn table(world: &Arc<World>, which: Which, prefix: &str) -> Result<()> {
    let mut stage = Stage::new(world, which, prefix).await?;
    let _operator = stage.scene.operator()?;
    stage.prepare().await?;
    let (mut bad, mut slowest) = (Vec::new(), Duration::ZERO);
    for attempt in ALL {
        match stage.run(attempt).await {
            Ok(took) => slowest = slowest.max(took),
            Err(error) => {
                bad.push(format!("{attempt:?}: {error:#}"));
                stage.reset().await?;
            }
        }
    }
    ensure!(bad.is_empty(), "{} of {} attempts on {which:?}:\n{}", bad.len(), ALL.len(), bad.join("\n"));
    stage.starts_late().await?;
    println!("{which:?}: {} attempts of another tool; the slowest answer took {slowest:.1?}", ALL.len());
    Ok(())
}

async fn on_a_mutable_secret(world: Arc<World>) -> Result<()> {
    table(&world, Which::Mutable, "try-mutable").await
}

async fn on_a_locked_secret(world: Arc<World>) -> Result<()> {
    table(&world, Which::Locked, "try-locked").await
}

async fn on_a_version_that_is_published(world: Arc<World>) -> Result<()> {
    table(&world, Which::Published, "try-published").await
}

async fn on_a_version_that_references_move_to(world: Arc<World>) -> Result<()> {
    table(&world, Which::Moved, "try-moved").await
}

async fn on_the_plain_secret_beside_versions(world: Arc<World>) -> Result<()> {
    table(&world, Which::Plain, "try-plain").await
}

async fn on_a_version_that_is_kept(world: Arc<World>) -> Result<()> {
    table(&world, Which::Superseded, "try-superseded").await
}

async fn on_a_private_copy(world: Arc<World>) -> Result<()> {
    table(&world, Which::Copy, "try-copy").await
}

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6, // they mostly wait
        true,
        tests![
            on_a_mutable_secret,
            on_a_locked_secret,
            on_a_version_that_is_published,
            on_a_version_that_references_move_to,
            on_the_plain_secret_beside_versions,
            on_a_version_that_is_kept,
            on_a_private_copy,
        ],
    )
}
