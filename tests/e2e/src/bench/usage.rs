//! What a process has used, from `/proc`.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result};

/// Ticks of `/proc/<pid>/stat` in a second: fixed in the kernel's interface.
const TICKS: f64 = 100.0;

/// The state of a connection in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// Seconds of processor time that a process has used since its start, in user and kernel mode.
///
/// # Errors
/// When it is gone.
pub fn cpu(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).context("read the processor time")?;
    // The second field is the name in parentheses, which may hold anything.
    let (_, rest) = text.rsplit_once(')').context("no name in /proc/<pid>/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a short /proc/<pid>/stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// Resident memory of a process in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub now: f64,
    /// The most it ever was.
    pub peak: f64,
}

/// The memory of a process.
///
/// # Errors
/// When it is gone.
pub fn memory(process: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).context("read the resident memory")?;
    let field = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    };
    Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// Connections of a process to a server on this machine, by the server's `https://address:port`.
///
/// # Errors
/// When the process is gone.
pub fn connections(process: u32, server: &str) -> Result<u64> {
    let port: u16 = server.trim_end_matches('/').rsplit(':').next().context("no port")?.parse()?;
    let of_process: BTreeSet<String> = fs::read_dir(format!("/proc/{process}/fd"))?
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    let mut count = 0;
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}"))?;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, _, remote, state, _, _, _, _, _, inode, ..] = fields[..] else { continue };
            let to_server = remote.ends_with(&format!(":{port:04X}")) && state == ESTABLISHED;
            count += u64::from(to_server && of_process.contains(&format!("socket:[{inode}]")));
        }
    }
    Ok(count)
}

/// Cores and memory of this machine.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    let gib: u64 = kib.map_or(0, |kib: u64| kib / 1024 / 1024);
    format!("{cores} cores, {gib} GiB")
}

/// How many processes wanted to run in the last minute, on average: with more than there are cores, times are longer
/// than on an idle machine.
#[must_use]
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}
