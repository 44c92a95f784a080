//! The commands of `docs/uninstall.md` on real control planes, by `kubectl` and Helm 3 and 4, with the operator as a process where
//! its pods would be. Definitions belong to the whole cluster, so each test has one of its own. The node only pretends: no
//! container runs, but a restart replaces pods as anywhere.

mod all_at_once;
mod cluster;
mod namespace_first;
mod one_by_one;
mod runbook;
mod shop;
mod stand_in;
mod with_operator;
mod without_operator;

use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Trial};
use rekey_e2e::{World, kubelet::Kubelet, suite, tests};
use tokio::runtime::Runtime;

/// The blocks, by the tests that run them.
const RUN: [&[&str]; 4] = [&with_operator::RUNS, &runbook::EITHER_WAY, &namespace_first::RUNS, &all_at_once::RUNS];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(5); // they wait most of the time
    let mut trials = tests![
        trial;
        namespace_first::the_namespace_of_the_operator_goes_first,
        with_operator::with_the_operator_every_secret_stays,
        one_by_one::what_goes_while_the_operator_runs,
        without_operator::without_the_operator_every_secret_stays,
        all_at_once::what_hangs_without_the_operator_is_freed,
    ];
    trials.extend(tests![suite::trial; every_command_is_run_by_a_test]);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test in a world of its own, in which nothing is installed. It keeps its logs when it fails.
fn trial<F, R>(name: &'static str, test: F) -> Trial
where
    F: Fn(Arc<World>) -> R + Send + 'static,
    R: Future<Output = Result<()>>,
{
    suite::trial(name, move || {
        let run = async {
            let world = Arc::new(World::bare(false, &[]).await?);
            let _node = Kubelet::start(&world.client).await?;
            let started = Instant::now();
            let tested = test(Arc::clone(&world)).await;
            eprintln!("{name}: {:.0} s", started.elapsed().as_secs_f64());
            if tested.is_err() {
                eprintln!("the logs are kept in {}", world.plane.keep_logs()?.display());
            }
            tested
        };
        Runtime::new()?.block_on(run)
    })
}

fn every_command_is_run_by_a_test() -> Result<()> {
    let blocks = runbook::blocks()?;
    let run: BTreeSet<&str> = RUN.into_iter().flatten().copied().collect();
    let not_run: Vec<&String> = blocks.keys().filter(|heading| !run.contains(heading.as_str())).collect();
    ensure!(not_run.is_empty(), "no test runs the blocks of docs/uninstall.md under {not_run:?}");
    let gone: Vec<&&str> = run.iter().filter(|heading| !blocks.contains_key(**heading)).collect();
    ensure!(gone.is_empty(), "docs/uninstall.md has no blocks under {gone:?}");
    Ok(())
}
