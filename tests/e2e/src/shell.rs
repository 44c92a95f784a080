//! A person at a shell, with the programs that a document names, and with nothing else of this machine's environment.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rekey_testkit::checkout::repository;
use tokio::process::Command;

/// Longer than any command of a document takes.
const PATIENCE: Duration = Duration::from_mins(5);

/// See the [module documentation](self).
pub struct Shell {
    home: PathBuf,
    path: String,
    variables: Vec<(String, String)>,
}

/// What commands have printed.
#[derive(Debug)]
pub struct Said {
    /// To the standard output.
    pub out: String,
    /// To the standard error.
    pub err: String,
}

impl Shell {
    /// With a home of its own, and these programs by their names in the document.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub fn new(home: PathBuf, programs: &[(&str, &Path)]) -> Result<Self> {
        let directory = home.join("bin");
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        for (name, program) in programs {
            symlink(program, directory.join(name)).with_context(|| (*name).to_owned())?;
        }
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", directory.display());
        Ok(Self { home, path, variables: Vec::new() })
    }

    /// With a variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Runs commands from the root of the repository; none of them may fail.
    ///
    /// # Errors
    /// When one fails or hangs; the message holds what was printed.
    pub async fn run(&self, kubeconfig: &Path, commands: &str) -> Result<Said> {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(repository())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", &self.home)
            .env("KUBECONFIG", kubeconfig)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let Ok(output) = tokio::time::timeout(PATIENCE, output).await else {
            bail!("it hangs:\n{commands}");
        };
        let output = output.context("run bash")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = Said { out: text(&output.stdout), err: text(&output.stderr) };
        ensure!(output.status.success(), "{commands}\n{}:\n{}{}", output.status, said.out, said.err);
        Ok(said)
    }
}
