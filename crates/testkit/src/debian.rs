//! The parts that come from the operating system: a database, an SSH server, a container runtime, network plugins.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::cache;

/// What the tests without a node need.
pub const DATABASE: &[&str] = &["postgresql", "util-linux"];

/// What a login by SSH needs.
pub const LOGIN: &[&str] = &["openssh-server", "util-linux"];

/// What a node needs.
pub const NODE: &[&str] = &["runc", "containernetworking-plugins", "util-linux", "iproute2", "iptables"];

/// Where programs of the system are, also those that only root has in its `PATH`.
const PROGRAMS: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Asks `dpkg` not to start any service while it exists.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure that the Debian packages are installed, or their programs in another way.
///
/// As root on a machine with `apt-get`, installs the missing ones and starts none of their services.
///
/// # Errors
/// When something is missing and cannot be installed; the message is the line to run.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    if !nix::unistd::Uid::effective().is_root() || program("apt-get").is_none() {
        bail!("missing here; run: {}", line(&missing));
    }
    let _held = cache::lock("debian")?;
    let wanted = self::missing(packages); // another process may have installed them while this one waited
    if wanted.is_empty() {
        return Ok(());
    }
    eprintln!("rekey: installing {} (once)", wanted.join(" "));
    let quiet = Quiet::new()?;
    let installed = install(&wanted);
    drop(quiet);
    installed.with_context(|| format!("run yourself: {}", line(&wanted)))?;
    let still = self::missing(&wanted);
    if still.is_empty() { Ok(()) } else { bail!("installed, but still not found: {}", still.join(" ")) }
}

/// The newest `PostgreSQL` server of this machine: the directory with `initdb`, `postgres` and `psql`.
#[must_use]
pub fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let found = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("postgres").exists());
    found.max_by_key(|bin| version(bin))
}

/// The place of a program of the system.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    PROGRAMS.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.exists())
}

fn version(bin: &Path) -> Option<u32> {
    bin.parent()?.file_name()?.to_str()?.parse().ok()
}

fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    packages.iter().copied().filter(|package| !present(package)).collect()
}

fn present(package: &str) -> bool {
    match package {
        "runc" | "iptables" => program(package).is_some(),
        "openssh-server" => program("sshd").is_some(),
        "iproute2" => program("ip").is_some(),
        "util-linux" => program("setpriv").is_some() && program("unshare").is_some(),
        "postgresql" => postgres_programs().is_some(),
        "containernetworking-plugins" => {
            ["/usr/lib/cni", "/opt/cni/bin"].iter().any(|place| Path::new(place).join("host-local").exists())
        }
        // Debian has `venv` itself in another package than the parts that `venv` installs first.
        "python3-venv" => succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])),
        other => succeeds(Command::new("dpkg-query").args(["-W", other])),
    }
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn line(packages: &[&str]) -> String {
    format!("sudo apt-get install -y {}", packages.join(" "))
}

fn install(packages: &[&str]) -> Result<()> {
    if apt(&["install", "-y", "--no-install-recommends"], packages).is_ok() {
        return Ok(());
    }
    // A fresh machine has no package lists, and old lists name files that are gone.
    apt(&["update"], &[])?;
    apt(&["install", "-y", "--no-install-recommends"], packages)
}

fn apt(arguments: &[&str], packages: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("start apt-get")?;
    if !output.status.success() {
        bail!("apt-get {} ended with {}: {}", arguments[0], output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Keeps packages from starting their services, as long as it lives.
struct Quiet {
    ours: bool,
}

impl Quiet {
    fn new() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false }); // the machine has a policy of its own
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("write {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self { ours: true })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.ours {
            fs::remove_file(POLICY).ok();
        }
    }
}
