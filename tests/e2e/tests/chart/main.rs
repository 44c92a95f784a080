//! The chart, by Helm 3 and Helm 4: what it renders and refuses, and its life on a real API server, where no node runs, so no pod
//! becomes ready. And the kustomize bases that are made from it.

mod kustomize;
mod life;

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use rekey_testkit::{
    checkout::repository,
    helm::{Helms, helms},
};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial("the_chart_holds_what_it_says_by_helm_3", |helms| checked(&helms.three)),
        trial("the_chart_holds_what_it_says_by_helm_4", |helms| checked(&helms.four)),
        trial("kustomize_makes_what_the_install_file_holds", |_| kustomize::base()),
        trial("a_component_opens_the_namespace_that_names_it", |_| kustomize::components()),
        trial("helm_3_installs_upgrades_goes_back_and_uninstalls", |helms| lived(&helms.three)),
        trial("helm_4_installs_upgrades_goes_back_and_uninstalls", |helms| lived(&helms.four)),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: fn(Helms) -> Result<()>) -> Trial {
    Trial::test(name, move || helms().and_then(test).map_err(|error| Failed::from(format!("{error:?}"))))
}

/// Lint, refused values, the table of values, flags, definitions; and all that is made from the chart is as it was made last.
fn checked(helm: &std::path::Path) -> Result<()> {
    let script = repository().join("scripts/chart.sh");
    let output = Command::new(script).env("HELM", helm).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn lived(helm: &std::path::Path) -> Result<()> {
    Runtime::new()?.block_on(life::whole(helm))
}
