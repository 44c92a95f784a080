//! Builds the operator and shows the progress: the first time that takes minutes.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rekey_testkit::checkout::repository;

use crate::operator::target;

/// Builds it unless it is up to date. Cargo's lines about progress go to standard error.
///
/// # Errors
/// When it does not build.
pub fn build() -> Result<()> {
    let mut cargo = Command::new("cargo")
        .args(["build", "--package", "rekey", "--target-dir"])
        .arg(target()?)
        .current_dir(repository())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("run cargo build")?;
    if let Some(progress) = cargo.stderr.take() {
        for line in BufReader::new(progress).lines() {
            let line = line?;
            if !line.trim_start().starts_with("Finished") {
                eprintln!("{line}");
            }
        }
    }
    let status = cargo.wait()?;
    ensure!(status.success(), "cargo build --package rekey ended with {status}");
    Ok(())
}
