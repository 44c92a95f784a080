//! The two versions: this checkout, and the one before it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rekey_e2e::{operator, release::chart};
use rekey_testkit::{cache, checkout::repository};

/// A version of the operator.
pub struct Version {
    /// Its name here.
    pub name: &'static str,
    /// Its program.
    pub program: PathBuf,
    /// The directory of its chart.
    pub chart: PathBuf,
}

/// This checkout.
pub fn current() -> Result<Version> {
    Ok(Version { name: "new", program: operator::binary()?, chart: chart(&repository()) })
}

/// The version that `scripts/previous.sh` names; the first call builds it.
pub fn previous() -> Result<Version> {
    let commit = run(&mut Command::new(repository().join("scripts/previous.sh")))?;
    let short = commit.get(..12).context("scripts/previous.sh printed no commit")?;
    let place = cache::once(&format!("previous-{short}"), |place| {
        eprintln!("rekey: building the version before this one, {short} (once, some minutes)");
        build(short, place).with_context(|| format!("build the version before this one, {short}"))
    })?;
    Ok(Version { name: "old", program: place.join("rekey"), chart: chart(&place) })
}

/// Puts program and chart of a commit into `place`. Its sources are below the target directory meanwhile. Cargo's
/// output stays in the cache, so that the next version compiles few dependencies.
fn build(commit: &str, place: &Path) -> Result<()> {
    let sources = operator::target()?.join("previous").join(commit);
    if sources.exists() {
        fs::remove_dir_all(&sources)?;
    }
    extract(commit, ".", &sources)?;
    extract(commit, "deploy/chart/rekey", place)?;
    let builds = cache::directory()?.join("previous-builds");
    let cargo = ["build", "--quiet", "--locked", "--package", "rekey", "--target-dir"];
    run(Command::new("cargo").args(cargo).arg(&builds).current_dir(&sources).env("REKEY_COMMIT", commit))?;
    fs::copy(builds.join("debug/rekey"), place.join("rekey"))?;
    fs::remove_dir_all(&sources)?;
    Ok(())
}

/// Extracts a part of a commit into `into`.
fn extract(commit: &str, part: &str, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let archive = into.join("sources.tar");
    let git = ["archive", "--format=tar", "--output"];
    run(Command::new("git").args(git).arg(&archive).args([commit, part]).current_dir(repository()))?;
    run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(into))?;
    fs::remove_file(&archive)?;
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
