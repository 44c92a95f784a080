//! A release of the chart, made by a real Helm.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rekey_testkit::plane::Plane;
use tokio::process::Command;

/// The namespace that it is in.
pub const SYSTEM: &str = "rekey-system";

/// See the [module documentation](self).
pub struct Release {
    helm: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Release {
    /// One that this Helm makes on a plane; nothing is installed yet.
    #[must_use]
    pub fn new(helm: &Path, plane: &Plane) -> Self {
        let (kubeconfig, home) = (plane.kubeconfig().to_owned(), plane.directory().to_owned());
        Self { helm: helm.to_owned(), kubeconfig, home }
    }

    /// Runs Helm with all rights, and returns what it printed.
    ///
    /// # Errors
    /// When it fails; the message holds its error.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.helm)
            .args(arguments)
            .args(["--namespace", SYSTEM, "--kubeconfig"])
            .arg(&self.kubeconfig)
            .env("HOME", &self.home)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {}: {said}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Installs the chart in this directory, or upgrades to it; `values` are flags.
    ///
    /// # Errors
    /// As [`Release::helm`].
    pub async fn install(&self, chart: &Path, values: &[&str]) -> Result<String> {
        let chart = chart.to_str().context("the path of the chart")?;
        self.helm(&[&["upgrade", "--install", "rekey", chart, "--create-namespace"], values].concat()).await
    }
}

/// The chart of a checkout in this directory.
#[must_use]
pub fn chart(checkout: &Path) -> PathBuf {
    checkout.join("deploy/chart/rekey")
}
