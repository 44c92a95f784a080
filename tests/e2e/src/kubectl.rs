//! The real `kubectl`, as its users see it.

use std::{path::PathBuf, process::Output};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::World;

/// Runs `kubectl` with all rights, and returns what it printed.
///
/// # Errors
/// When it fails; the message holds its error.
pub async fn kubectl(world: &World, arguments: &[&str]) -> Result<String> {
    let output = run(world, arguments).await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {}: {complaint}", arguments.join(" "), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn run(world: &World, arguments: &[&str]) -> Result<Output> {
    // Each run has a cache of its own; otherwise its data about a kind may be older than the kind.
    let kubeconfig: PathBuf = world.plane.kubeconfig().to_owned();
    let cache = world.plane.directory().join("kubectl-cache");
    let tools = tokio::task::spawn_blocking(rekey_testkit::python::tools).await??;
    Command::new(tools.kubectl)
        .args(arguments)
        .arg(format!("--cache-dir={}", cache.display()))
        .env("KUBECONFIG", kubeconfig)
        .output()
        .await
        .context("run kubectl")
}

/// The lines of a table, each as the text under the headings; columns are as wide as kubectl makes them.
///
/// # Errors
/// When there is no heading.
pub fn table(printed: &str) -> Result<Vec<Vec<(String, String)>>> {
    let mut lines = printed.lines();
    let heading = lines.next().context("kubectl printed nothing")?;
    let columns = columns(heading);
    let cell = |line: &str, at: usize| {
        let start = columns[at].0.min(line.len());
        let end = columns.get(at + 1).map_or(line.len(), |next| next.0.min(line.len()));
        line[start..end].trim().to_owned()
    };
    Ok(lines.map(|line| (0..columns.len()).map(|at| (columns[at].1.clone(), cell(line, at))).collect()).collect())
}

/// The headings: two spaces or more are between them, one within.
#[must_use]
pub fn headings(printed: &str) -> Vec<String> {
    columns(printed.lines().next().unwrap_or_default()).into_iter().map(|(_, name)| name).collect()
}

fn columns(heading: &str) -> Vec<(usize, String)> {
    let mut columns: Vec<(usize, String)> = Vec::new();
    let mut at = 0;
    for part in heading.split("  ") {
        let name = part.trim();
        if !name.is_empty() {
            columns.push((at + part.len() - part.trim_start().len(), name.to_owned()));
        }
        at += part.len() + 2;
    }
    columns
}
