//! The chart, by Helm 3 and Helm 4: what it renders and refuses, and its life on a real API server, where no node runs, so no pod
//! becomes ready. And the kustomize bases that are made from it.

mod kustomize;
mod life;

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use libtest_mimic::Arguments;
use rekey_e2e::{suite, tests};
use rekey_testkit::{checkout::repository, helm::helms};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = tests![
        suite::trial;
        the_chart_holds_what_it_says_by_helm_3,
        the_chart_holds_what_it_says_by_helm_4,
        kustomize::kustomize_makes_what_the_install_file_holds,
        kustomize::a_component_opens_the_namespace_that_names_it,
        helm_3_installs_upgrades_goes_back_and_uninstalls,
        helm_4_installs_upgrades_goes_back_and_uninstalls,
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn the_chart_holds_what_it_says_by_helm_3() -> Result<()> {
    checked(&helms()?.three)
}

fn the_chart_holds_what_it_says_by_helm_4() -> Result<()> {
    checked(&helms()?.four)
}

fn helm_3_installs_upgrades_goes_back_and_uninstalls() -> Result<()> {
    lived(&helms()?.three)
}

fn helm_4_installs_upgrades_goes_back_and_uninstalls() -> Result<()> {
    lived(&helms()?.four)
}

/// Lint, refused values, the table of values, flags, definitions; and checks that all files made from the chart are up
/// to date.
fn checked(helm: &std::path::Path) -> Result<()> {
    let script = repository().join("scripts/chart.sh");
    let output = Command::new(script).env("HELM", helm).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn lived(helm: &std::path::Path) -> Result<()> {
    Runtime::new()?.block_on(life::whole(helm))
}
