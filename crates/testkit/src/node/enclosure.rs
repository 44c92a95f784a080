//! A process and mount namespace of its own for a node.
//!
//! The shims of containerd and the mounts of the kubelet outlive their makers, and a killed test cleans up nothing. In
//! here they cannot: when the first process of the namespace ends, the kernel ends all others and drops all mounts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{process::Process, wait};

/// containerd, runc and the kubelet have several fixed paths: we mount memory of our own over them, and over /var/lib.
/// The kubelet and the network plugin set kernel parameters of the whole machine unless they read the required value:
/// so they read it, and the machine keeps its own.
const SETUP: &str = r#"
set -eu
mount -t tmpfs node /run
mount -t tmpfs node /var/log
mkdir /run/upper /run/work /run/parameters
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/upper,workdir=/run/work node /var/lib
parameter() {
    file="/run/parameters/$(basename "$1")"
    echo "$2" >"$file"
    mount --bind "$file" "/proc/sys/$1"
}
parameter vm/overcommit_memory 1
parameter vm/panic_on_oom 0
parameter kernel/panic 10
parameter kernel/panic_on_oops 1
parameter kernel/keys/root_maxkeys 1000000
parameter kernel/keys/root_maxbytes 25000000
parameter net/ipv4/ip_forward 1
exec "$0" pause
"#;

const STARTS_WITHIN: Duration = Duration::from_secs(10);
const ENDS_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Enclosure {
    // Ends with this process, and then takes the first process of the namespace along.
    outer: Process,
    first: u32,
    programs: PathBuf,
}

impl Enclosure {
    pub(super) async fn start(programs: &Path, directory: &Path) -> Result<Self> {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--", "sh", "-c", SETUP])
            .arg(programs.join("consumer"));
        let mut outer = Process::spawn("enclosure", &command, directory)?;
        let first = wait::until("the namespaces of the node are there", STARTS_WITHIN, async || {
            outer.alive()?;
            // The mounts are done when the shell has become the program.
            Ok(child_of(outer.id()).filter(|id| {
                fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "consumer")
            }))
        })
        .await?;
        Ok(Self { outer, first, programs: programs.to_owned() })
    }

    /// A command that runs in the namespaces.
    pub(super) fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first)).args(["--mount", "--pid", "--"]).arg(path);
        // containerd looks up its shim, runc and mount in the path.
        let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env("PATH", format!("{}:{system}", self.programs.display()));
        command
    }

    /// Runs a command in the namespaces to its end.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        let Output { status, stdout, stderr } =
            command.args(arguments).stdin(Stdio::null()).output().with_context(|| format!("run {program}"))?;
        ensure!(status.success(), "{program} {arguments:?} ended with {status}: {}", String::from_utf8_lossy(&stderr));
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Where the files of a process are, by its number in the namespace.
    pub(super) fn proc(&self, id: u32) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/proc/{id}", self.first))
    }

    /// Ends all processes in it and waits until they are gone, and their mounts with them.
    pub(super) fn stop(&mut self) -> Result<()> {
        if self.outer.exited()?.is_some() {
            return Ok(());
        }
        // The first process ends only after all others have; then its parent ends, too.
        kill(Pid::from_raw(i32::try_from(self.first)?), Signal::SIGKILL).context("end the node")?;
        let end = Instant::now() + ENDS_WITHIN;
        while self.outer.exited()?.is_none() {
            ensure!(Instant::now() < end, "process {} of the node does not end", self.first);
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        self.stop().ok();
    }
}

/// Asks a program that [`Enclosure::command`] started to end. `nsenter` is between it and us and ends after it; it does
/// not pass signals on.
pub(super) fn stop(mut process: Process) -> Result<()> {
    if process.exited()?.is_some() {
        return Ok(());
    }
    if let Some(id) = child_of(process.id()) {
        kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM).ok();
    }
    let end = Instant::now() + ENDS_WITHIN;
    while process.exited()?.is_none() {
        if Instant::now() >= end {
            process.kill()?;
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The child of a process that has one.
fn child_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        (line.trim().parse() == Ok(parent)).then_some(id)
    })
}
