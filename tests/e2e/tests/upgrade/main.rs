//! Two versions on one plane: the one before this one, whose operator and chart are built from the history, and this one.
//! Upgrade and way back: nothing is written but other words, and nothing restarts. Only `make prove` runs it.

mod audit;
mod ground;
mod idle;
mod objects;
mod open;
mod version;

use std::{future::Future, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Trial};
use rekey_e2e::{World, suite, tests};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each has a plane of its own.
    arguments.test_threads.get_or_insert(1);
    let trials = tests![
        trial;
        idle::an_upgrade_changes_nothing_but_words_and_restarts_nobody,
        idle::the_way_back_changes_nothing_but_words_and_restarts_nobody,
        open::a_rotation_that_rolls_out_is_finished_by_the_new_version,
        open::a_rotation_that_rolls_out_is_finished_by_the_old_version_on_the_way_back,
        open::a_write_to_the_store_that_the_old_version_never_heard_of_is_not_repeated_by_the_new_one,
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial<F, R>(name: &str, test: F) -> Trial
where
    F: Fn(Arc<World>) -> R + Send + 'static,
    R: Future<Output = Result<()>>,
{
    suite::trial(name, move || run(&test))
}

/// Runs it in a world in which nothing of ours is installed yet.
fn run<R: Future<Output = Result<()>>>(test: impl Fn(Arc<World>) -> R) -> Result<()> {
    // Builds run outside of the runtime, and before the world takes its memory.
    version::previous()?;
    version::current()?;
    Runtime::new()?.block_on(async {
        let world = Arc::new(World::bare(true, &[]).await?);
        let outcome = test(Arc::clone(&world)).await;
        if outcome.is_err() {
            eprintln!("the logs are kept in {}", world.plane.keep_logs()?.display());
        }
        let world = Arc::into_inner(world).context("the test still holds its world")?;
        outcome.and(world.stop())
    })
}
