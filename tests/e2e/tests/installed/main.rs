//! The shipped image on a real node, installed as docs/quick-start.md says: two replicas, a value that arrives, one
//! restart, and what happens when the leader dies. The steps build on each other: a test runs those before its own, and
//! says which one failed.

mod image;
mod installation;
mod leader;
mod pods;
mod quick_start;
mod removal;

use std::{
    pin::Pin,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use libtest_mimic::Arguments;
use rekey_e2e::{suite, tests};
use rekey_testkit::network::Network;
use tokio::runtime::Runtime;

use self::{image::Image, installation::Installation};

struct Step {
    name: &'static str,
    run: Run,
}

type Run = Box<dyn Fn(&Installation) -> Pin<Box<dyn Future<Output = Result<()>> + '_>> + Send + Sync>;

fn step<F>(name: &'static str, run: F) -> Step
where
    F: AsyncFn(&Installation) -> Result<()> + Copy + Send + Sync + 'static,
{
    Step { name, run: Box::new(move |on| Box::pin(async move { run(on).await })) }
}

fn steps() -> Vec<Step> {
    tests![
        step;
        quick_start::the_quick_start_ends_in_one_restart,
        pods::two_replicas_keep_the_restricted_standard,
        pods::probes_and_metrics_are_served_to_the_cluster,
        leader::another_process_works_soon_after_the_leader_was_killed,
        removal::helm_4_upgrades_and_uninstalls_what_helm_3_has_installed,
    ]
}

/// The steps that are done, and the one that failed.
#[derive(Default)]
struct Progress {
    done: usize,
    failed: Option<&'static str>,
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let steps = Arc::new(steps());
    if arguments.list {
        let listed = steps.iter().map(|step| suite::trial(step.name, || Ok(())));
        return Ok(libtest_mimic::run(&arguments, listed.collect()).exit_code());
    }
    // A build needs the registries, which the network of the test does not reach.
    let image = Image::pack()?;
    let network = Network::enter()?;
    let runtime = Arc::new(Runtime::new()?);
    let installation = Arc::new(runtime.block_on(Installation::start(image, network))?);
    let progress: Arc<Mutex<Progress>> = Arc::default();
    let trials = (0..steps.len()).map(|wanted| {
        let (runtime, installation, progress) =
            (Arc::clone(&runtime), Arc::clone(&installation), Arc::clone(&progress));
        let steps = Arc::clone(&steps);
        suite::trial(steps[wanted].name, move || {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            runtime.block_on(go_to(&steps[..=wanted], &mut progress, &installation))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if conclusion.has_failed() {
        eprintln!("the logs are kept in {}", installation.keep_logs()?.display());
    }
    let _inside = runtime.enter();
    Arc::into_inner(installation).context("a test still runs")?.stop()?;
    Ok(conclusion.exit_code())
}

/// Does those of the steps that are not done yet.
async fn go_to(steps: &[Step], progress: &mut Progress, on: &Installation) -> Result<()> {
    while let Some(step) = steps.get(progress.done) {
        if let Some(failed) = progress.failed {
            bail!("not run, since {failed} failed");
        }
        progress.failed = Some(step.name);
        (step.run)(on).await?;
        progress.failed = None;
        progress.done += 1;
    }
    Ok(())
}
