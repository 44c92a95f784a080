//! The built operator as a process.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rekey_testkit::{
    checkout::repository,
    process::{Process, free_port},
};

use crate::wait::until;

/// How the operator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its access to the cluster.
    pub kubeconfig: PathBuf,
    /// More arguments of `rekey run`.
    pub arguments: Vec<String>,
}

/// How an operator differs from the usual one.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'s> {
    /// More variables of its environment.
    pub variables: &'s [(&'s str, &'s str)],
    /// Whether it may reach stores by http and at every address.
    pub insecure: bool,
}

/// The usual one.
const USUAL: Setting<'static> = Setting { variables: &[], insecure: true };

/// A running operator. It is stopped when dropped.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    health: u16,
    metrics: u16,
}

impl Operator {
    /// Starts `rekey run` with its log in `directory` under `name`.
    ///
    /// # Errors
    /// When the binary cannot be built or started.
    pub fn start(name: &str, directory: &Path, options: &Options) -> Result<Self> {
        Self::start_in(&USUAL, name, directory, options)
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// When the binary cannot be built or started.
    pub fn start_in(setting: &Setting<'_>, name: &str, directory: &Path, options: &Options) -> Result<Self> {
        Self::start_program(Program { path: &binary()?, level: "debug" }, setting, name, directory, options)
    }

    /// Starts `rekey run` of this binary, as it is shipped: logs should not slow a measurement.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_shipped(program: &Path, name: &str, directory: &Path, options: &Options) -> Result<Self> {
        Self::start_program(Program { path: program, level: "info" }, &USUAL, name, directory, options)
    }

    fn start_program(
        program: Program<'_>,
        setting: &Setting<'_>,
        name: &str,
        directory: &Path,
        options: &Options,
    ) -> Result<Self> {
        let (health, metrics) = (free_port()?, free_port()?);
        let is_asked = |flag: &str| options.arguments.iter().any(|argument| argument.starts_with(flag));
        let mut command = Command::new(program.path);
        command
            .arg("run")
            .args(setting.insecure.then_some("--allow-insecure-stores"))
            .args((!is_asked("--log-format")).then_some("--log-format=text"))
            .args((!is_asked("--log-level")).then(|| format!("--log-level={}", program.level)))
            .arg(format!("--health-addr=127.0.0.1:{health}"))
            .arg(format!("--metrics-addr=127.0.0.1:{metrics}"))
            .args(&options.arguments)
            .env("KUBECONFIG", &options.kubeconfig)
            .envs(setting.variables.iter().copied());
        let process = Process::spawn(name, &command, directory)?;
        Ok(Self { process, health, metrics })
    }

    /// Ends it at once, as the kernel would (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Ends it in order (SIGTERM), and checks that it succeeded.
    ///
    /// # Errors
    /// When it does not end with success.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "the operator ended with {status}: {}", self.process.tail(20));
        Ok(())
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it serves health and metrics, on the loopback address.
    #[must_use]
    pub fn ports(&self) -> (u16, u16) {
        (self.health, self.metrics)
    }

    /// Everything it has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(self.process.log()).context("read the operator's log")
    }

    /// Fails with the end of its log when it has ended.
    ///
    /// # Errors
    /// When it is no longer running.
    pub fn alive(&mut self) -> Result<()> {
        self.process.alive()
    }

    /// Waits until it is ready: it leads, or could take over.
    ///
    /// # Errors
    /// When it is not.
    pub async fn wait_ready(&self) -> Result<()> {
        let ready = || async { Ok(self.get("/readyz").await.is_ok_and(|(status, _)| status == 200).then_some(())) };
        until("the operator is ready", ready).await
    }

    /// Whether it leads, as its metrics say; false if it does not serve them yet.
    ///
    /// # Errors
    /// Never.
    pub async fn leads(&self) -> Result<bool> {
        let answer = self.get("/metrics").await.ok();
        Ok(answer.is_some_and(|(_, metrics)| says_it_leads(&metrics)))
    }

    /// Waits until it leads.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_leads(&self) -> Result<()> {
        until("the operator leads", || async { Ok(self.leads().await?.then_some(())) }).await
    }

    /// The answer of `/livez`, `/readyz` or (by the metrics port) `/metrics`: status and text.
    ///
    /// # Errors
    /// When it is not responding.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let port = if path == "/metrics" { self.metrics } else { self.health };
        get("127.0.0.1", port, path).await
    }
}

/// Whether an operator with these metrics leads.
#[must_use]
pub fn says_it_leads(metrics: &str) -> bool {
    metrics.lines().any(|line| line == "rekey_leader 1")
}

/// The answer of an operator's port: status and text.
///
/// # Errors
/// When it is not responding.
pub async fn get(host: &str, port: u16, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect((host, port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await??;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// A binary, and how much it logs.
#[derive(Clone, Copy)]
struct Program<'p> {
    path: &'p Path,
    level: &'p str,
}

/// The operator's binary, built from this checkout into the target directory that this test came from.
///
/// # Errors
/// When it does not build.
pub fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build("rekey", "dev").map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

/// The operator's binary as it is shipped: built for release, which takes minutes.
///
/// # Errors
/// When it does not build.
pub fn shipped_binary() -> Result<PathBuf> {
    build("rekey", "release")
}

fn build(package: &str, profile: &str) -> Result<PathBuf> {
    let target = target()?;
    let output = Command::new("cargo")
        .args(["build", "--quiet", "--package", package, "--profile", profile, "--target-dir"])
        .arg(&target)
        .current_dir(repository())
        .output()
        .context("run cargo build")?;
    if !output.status.success() {
        bail!("cargo build --package {package} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(target.join(directory).join(package))
}

/// The target directory that this program came from.
///
/// # Errors
/// When the program is not in one.
pub fn target() -> Result<PathBuf> {
    // <target>/debug/deps/<test>, or <target>/debug/<program>
    let here = std::env::current_exe()?;
    let mut profile = here.parent().context("no parent")?;
    if profile.ends_with("deps") {
        profile = profile.parent().context("no parent")?;
    }
    Ok(profile.parent().context("no parent")?.to_owned())
}
