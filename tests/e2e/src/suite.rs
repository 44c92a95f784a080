//! A suite of tests that share one world. Each target has a `main` of its own, so that the world is stopped in order
//! when the last test is done, and the logs are kept when one has failed.

use std::{future::Future, pin::Pin, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::World;

type Run = Box<dyn Fn(Arc<World>) -> Outcome + Send + Sync>;
type Outcome = Pin<Box<dyn Future<Output = Result<()>>>>;

/// A test: its name, and what it does in the world.
pub struct Test {
    name: &'static str,
    run: Run,
}

/// The tests of these functions, each named by its path. `make; paths` makes something other than a [`Test`] of each
/// name and function.
#[macro_export]
macro_rules! tests {
    ($make:path; $($run:path),+ $(,)?) => { vec![$($make(stringify!($run), $run)),+] };
    ($($run:path),+ $(,)?) => { $crate::tests![$crate::suite::test; $($run),+] };
}

/// Makes a test of an async function.
pub fn test<F, R>(name: &'static str, run: F) -> Test
where
    F: Fn(Arc<World>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<()>> + 'static,
{
    Test { name, run: Box::new(move |world| Box::pin(run(world))) }
}

/// A test that makes its own surroundings, for a target whose tests share no world.
pub fn trial(name: &str, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(|error| Failed::from(format!("{error:?}"))))
}

/// Runs the tests in one world, which the first test that needs it starts.
///
/// # Errors
/// When the runtime cannot be built, or the world cannot be stopped.
pub fn main(node: bool, tests: Vec<Test>) -> Result<ExitCode> {
    run(&Arguments::from_args(), node, tests)
}

/// The same, with this many tests at a time unless the command line says how many: for those that mostly wait.
///
/// # Errors
/// As [`main`].
pub fn main_at_once(threads: usize, node: bool, tests: Vec<Test>) -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    run(&arguments, node, tests)
}

fn run(arguments: &Arguments, node: bool, tests: Vec<Test>) -> Result<ExitCode> {
    let runtime = Arc::new(Runtime::new()?);
    let world: Arc<OnceCell<Arc<World>>> = Arc::default();
    let trials = tests
        .into_iter()
        .map(|test| {
            let (runtime, world) = (Arc::clone(&runtime), Arc::clone(&world));
            trial(test.name, move || {
                runtime.block_on(async {
                    let world = world.get_or_try_init(|| async { World::start(node).await.map(Arc::new) }).await;
                    (test.run)(Arc::clone(world.context("the world did not start")?)).await
                })
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    if conclusion.has_failed()
        && let Some(world) = world.get()
    {
        eprintln!("the logs are kept in {}", world.plane.keep_logs()?.display());
    }
    let _inside = runtime.enter();
    drop(world);
    Ok(conclusion.exit_code())
}
