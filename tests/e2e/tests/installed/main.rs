//! The shipped image on a real node, installed as docs/quick-start.md says: two replicas, a value that comes in, one restart, and what
//! happens when the leader is gone. The steps stand on each other: a test runs those before its own, and says which one failed.

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
use libtest_mimic::{Arguments, Failed, Trial};
use rekey_testkit::network::Network;
use tokio::runtime::Runtime;

use self::{image::Image, installation::Installation};

type Step = fn(&Installation) -> Pin<Box<dyn Future<Output = Result<()>> + '_>>;

const STEPS: [(&str, Step); 5] = [
    ("the_quick_start_ends_in_one_restart", |on| Box::pin(quick_start::walk(on))),
    ("two_replicas_keep_the_restricted_standard", |on| Box::pin(pods::restricted(on))),
    ("probes_and_metrics_are_served_to_the_cluster", |on| Box::pin(pods::serve(on))),
    ("another_process_works_soon_after_the_leader_was_killed", |on| Box::pin(leader::killed(on))),
    ("helm_4_upgrades_and_uninstalls_what_helm_3_has_installed", |on| Box::pin(removal::by_the_other_helm(on))),
];

/// The steps that are done, and the one that failed.
#[derive(Default)]
struct Progress {
    done: usize,
    failed: Option<&'static str>,
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if arguments.list {
        let listed = STEPS.map(|(name, _)| Trial::test(name, || Ok(())));
        return Ok(libtest_mimic::run(&arguments, listed.into()).exit_code());
    }
    // Building takes the registries, which the network of the test does not reach.
    let image = Image::pack()?;
    let network = Network::enter()?;
    let runtime = Arc::new(Runtime::new()?);
    let installation = Arc::new(runtime.block_on(Installation::start(image, network))?);
    let progress: Arc<Mutex<Progress>> = Arc::default();
    let trials = (0..STEPS.len()).map(|wanted| {
        let (runtime, installation, progress) =
            (Arc::clone(&runtime), Arc::clone(&installation), Arc::clone(&progress));
        Trial::test(STEPS[wanted].0, move || {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            runtime
                .block_on(go_to(wanted, &mut progress, &installation))
                .map_err(|error| Failed::from(format!("{error:?}")))
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

/// Does the steps up to this one that are not done yet.
async fn go_to(wanted: usize, progress: &mut Progress, on: &Installation) -> Result<()> {
    while progress.done <= wanted {
        if let Some(failed) = progress.failed {
            bail!("not run, since {failed} failed");
        }
        let (name, step) = STEPS[progress.done];
        progress.failed = Some(name);
        step(on).await?;
        progress.failed = None;
        progress.done += 1;
    }
    Ok(())
}
