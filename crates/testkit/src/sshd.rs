//! A real SSH server, OpenSSH's, from the Debian package of this machine.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::{
    debian,
    process::{Process, free_port},
    wait,
};

/// It needs a moment; the rest is for a machine that is compiling at the same time.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where Debian's `sshd`, run as root, confines connections before the login. Its service would create it.
const EMPTY: &str = "/run/sshd";

/// A running server, gone with everything in it when dropped. It accepts the account that runs the tests, by key.
#[derive(Debug)]
pub struct Sshd {
    process: Process, // before the directory: fields are dropped in this order
    directory: TempDir,
    port: u16,
    user: String,
}

impl Sshd {
    /// Starts a server on a free loopback port, without any key yet. `settings` are lines of `sshd_config`, which win
    /// over those below.
    ///
    /// # Errors
    /// When the package is missing or the server does not become ready.
    pub async fn start(settings: &[&str]) -> Result<Self> {
        debian::ensure(debian::LOGIN)?;
        let program = debian::program("sshd").context("there is no sshd")?;
        let directory = TempDir::with_prefix("rekey-sshd-").context("make a directory for sshd")?;
        let account = User::from_uid(Uid::effective()).context("look up the account of the tests")?;
        let user = account.context("the account of the tests has no name")?.name;
        if Uid::effective().is_root() {
            DirBuilder::new().recursive(true).mode(0o755).create(EMPTY).with_context(|| format!("make {EMPTY}"))?;
        }
        let port = free_port()?;
        host_key(&directory.path().join("host"))?;
        let configuration = directory.path().join("sshd_config");
        fs::write(&configuration, configured(settings, directory.path(), port)).context("write sshd_config")?;
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(&configuration);
        let process = Process::spawn("sshd", command.current_dir(directory.path()), directory.path())?;
        let mut sshd = Self { process, directory, port, user };
        sshd.authorize("")?;
        let is_ready = async || {
            sshd.process.alive()?;
            Ok(sshd.log()?.contains("Server listening on").then_some(()))
        };
        wait::until("sshd listens", PATIENCE, is_ready).await?;
        Ok(sshd)
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user who may log in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Replaces its `authorized_keys`, which is read at each login.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn authorize(&self, keys: &str) -> Result<()> {
        fs::write(self.directory.path().join("authorized_keys"), keys).context("write authorized_keys")
    }

    /// What it has logged since its start.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(self.process.log()).context("read the log of sshd")
    }
}

fn host_key(file: &Path) -> Result<()> {
    let mut command = Command::new(debian::program("ssh-keygen").context("there is no ssh-keygen")?);
    let output =
        command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).output().context("start ssh-keygen")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ssh-keygen failed: {message}");
    Ok(())
}

/// Of each setting the first line counts.
fn configured(settings: &[&str], directory: &Path, port: u16) -> String {
    let own = [
        format!("Port {port}"),
        "ListenAddress 127.0.0.1".to_owned(),
        format!("HostKey {}", directory.join("host").display()),
        format!("AuthorizedKeysFile {}", directory.join("authorized_keys").display()),
        "PidFile none".to_owned(),
        "UsePAM no".to_owned(),
        // The directory is below a world-writable one.
        "StrictModes no".to_owned(),
        "PermitRootLogin yes".to_owned(),
        "PasswordAuthentication no".to_owned(),
        "KbdInteractiveAuthentication no".to_owned(),
        "LogLevel VERBOSE".to_owned(),
    ];
    settings.iter().copied().chain(own.iter().map(String::as_str)).flat_map(|line| [line, "\n"]).collect()
}
