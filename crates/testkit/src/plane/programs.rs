//! The programs of the cluster: built once from pinned Go modules by `tests/e2e/controlplane/build.sh`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::Kubernetes;
use crate::{cache, checkout};

const BUILD: &str = "tests/e2e/controlplane/build.sh";

/// The groups of programs, with their names in `build.sh`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Group {
    /// etcd, the API server, the controller manager, the scheduler.
    Plane,
    /// The kubelet, containerd with its shim, and the program in the image of test pods.
    Node,
}

/// The directory with the programs of a group in a version of Kubernetes; it builds missing ones, which takes minutes,
/// and says so on standard error.
pub(crate) async fn directory(group: Group, kubernetes: Kubernetes) -> Result<PathBuf> {
    tokio::task::spawn_blocking(move || build(group, kubernetes)).await.context("wait for the build")?
}

/// The same, for callers without a runtime.
pub(crate) fn build(group: Group, kubernetes: Kubernetes) -> Result<PathBuf> {
    let name = match group {
        Group::Plane => "plane",
        Group::Node => "node",
    };
    let output = Command::new(checkout::repository().join(BUILD))
        .args([name, kubernetes.name()])
        .env("REKEY_CACHE", cache::directory()?)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {BUILD}"))?;
    ensure!(output.status.success(), "{BUILD} {name} ended with {}: its output is above", output.status);
    let directory = String::from_utf8(output.stdout).context("the path of the built programs")?;
    Ok(Path::new(directory.trim_end()).to_owned())
}
