//! A directory for the data, sockets and logs of one cluster, which goes with it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{cache, checkout};

const OWNER: &str = "owner.lock";
const KEPT: &str = "target/e2e-logs";

/// The directory; its logs are copied before it goes if the start failed, a test asked for them or the thread panics.
pub(crate) struct Scratch {
    directory: TempDir,
    keep: AtomicBool,
    // Locked as long as this process lives, so that others recognise an abandoned directory.
    _owner: File,
}

impl Scratch {
    /// Makes a directory with a short path (sockets have room for 108 characters), and removes those that killed
    /// tests left behind.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        // Between its creation and its lock a directory looks abandoned.
        let _lock = cache::lock("scratch")?;
        sweep(prefix);
        let directory = tempfile::Builder::new().prefix(prefix).rand_bytes(5).tempdir().context("make a directory")?;
        let owner = File::create(directory.path().join(OWNER))?;
        owner.lock().context("lock the new directory")?;
        Ok(Self { directory, keep: AtomicBool::new(true), _owner: owner })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The servers here have started: from now on it keeps logs only on request.
    pub(crate) fn started(&self) {
        self.keep.store(false, Ordering::Relaxed);
    }

    /// Copies the logs now, and once more at the end.
    pub(crate) fn keep_logs(&self) -> Result<PathBuf> {
        self.keep.store(true, Ordering::Relaxed);
        self.copy_logs()
    }

    fn copy_logs(&self) -> Result<PathBuf> {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(Path::file_stem).map_or_else(String::new, |stem| {
            let stem = stem.to_string_lossy();
            // Cargo names a test program <name>-<hash>.
            stem.rsplit_once('-').map_or(stem.as_ref(), |(name, _)| name).to_owned()
        });
        let own = self.path().file_name().context("the directory has a name")?;
        let target = checkout::repository().join(KEPT).join(format!("{program}-{}", std::process::id())).join(own);
        fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
        let target = target.canonicalize()?;
        copy(self.path(), &target)?;
        let pods = self.path().join("pod-logs");
        for log in if pods.exists() { below(&pods)? } else { Vec::new() } {
            let name = log.strip_prefix(&pods)?.to_string_lossy().replace('/', "_");
            fs::copy(&log, target.join(&name)).with_context(|| format!("copy {}", log.display()))?;
        }
        Ok(target)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking() || self.keep.load(Ordering::Relaxed) {
            match self.copy_logs() {
                Ok(target) => eprintln!("testkit: the logs are in {}", target.display()),
                Err(error) => eprintln!("testkit: cannot keep the logs: {error:#}"),
            }
        }
    }
}

fn copy(directory: &Path, target: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if let (Some(name), true) = (path.file_name(), path.extension().is_some_and(|kind| kind == "log")) {
            fs::copy(&path, target.join(name)).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// All files in a directory and those in it.
fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Leaves files that it cannot remove: they cost space, not correctness.
fn sweep(prefix: &str) {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let unowned = File::open(entry.path().join(OWNER)).is_ok_and(|owner| owner.try_lock().is_ok());
        if unowned {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
