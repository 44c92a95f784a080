//! The shipped image on a real node, installed as the README says: two replicas, a value that comes in, one restart, and what
//! happens when the leader is gone. The tests stand on each other, so they run one by one in this order.

mod image;
mod installation;
mod leader;
mod pods;
mod quick_start;
mod removal;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use rekey_testkit::network::Network;
use tokio::runtime::Runtime;

use self::{image::Image, installation::Installation};

type Step = fn(&Runtime, &Installation) -> Result<()>;

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let steps: [(&str, Step); 5] = [
        ("the_quick_start_of_the_readme_ends_in_one_restart", |runtime, on| runtime.block_on(quick_start::walk(on))),
        ("two_replicas_keep_the_restricted_standard", |runtime, on| runtime.block_on(pods::restricted(on))),
        ("probes_and_metrics_are_served_to_the_cluster", |runtime, on| runtime.block_on(pods::serve(on))),
        ("the_other_replica_works_soon_after_the_leader_was_killed", |runtime, on| {
            runtime.block_on(leader::killed(on))
        }),
        ("helm_4_upgrades_and_uninstalls_what_helm_3_has_installed", |runtime, on| {
            runtime.block_on(removal::by_the_other_helm(on))
        }),
    ];
    if arguments.list {
        return Ok(libtest_mimic::run(&arguments, trials(&steps, None)).exit_code());
    }
    // Building takes the registries, which the network of the test does not reach.
    let image = Image::pack()?;
    let network = Network::enter()?;
    let runtime = Arc::new(Runtime::new()?);
    let installation = Arc::new(runtime.block_on(Installation::start(image, network))?);
    let conclusion = libtest_mimic::run(&arguments, trials(&steps, Some((&runtime, &installation))));
    if conclusion.has_failed() {
        eprintln!("the logs are kept in {}", installation.keep_logs()?.display());
    }
    let _inside = runtime.enter();
    Arc::into_inner(installation).context("a test still runs")?.stop()?;
    Ok(conclusion.exit_code())
}

fn trials(steps: &[(&str, Step)], on: Option<(&Arc<Runtime>, &Arc<Installation>)>) -> Vec<Trial> {
    let trial = |(name, step): &(&str, Step)| {
        let (step, on) = (*step, on.map(|(runtime, on)| (Arc::clone(runtime), Arc::clone(on))));
        Trial::test(*name, move || {
            let (runtime, on) = on.context("only listed").map_err(|error| error.to_string())?;
            step(&runtime, &on).map_err(|error| Failed::from(format!("{error:?}")))
        })
    };
    steps.iter().map(trial).collect()
}
