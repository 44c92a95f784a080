//! The directory where the test kit keeps what is expensive to get: built programs, unpacked packages.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Where the cache is: `$REKEY_CACHE`, else `$XDG_CACHE_HOME/rekey`, else `~/.cache/rekey`. It exists afterwards.
///
/// # Errors
/// When no such variable is set, or the directory cannot be made.
pub fn directory() -> Result<PathBuf> {
    let directory = variable("REKEY_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| Path::new(&base).join("rekey")))
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache/rekey")))
        .context("none of REKEY_CACHE, XDG_CACHE_HOME and HOME is set: there is no place for a cache")?;
    fs::create_dir_all(&directory).with_context(|| format!("make the cache {}", directory.display()))?;
    Ok(directory)
}

/// Keeps other processes, and other callers in this one, from the same entry of the cache.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Waits until no other caller holds `name` in the cache; it is free again when the result is dropped.
///
/// # Errors
/// When the lock file cannot be made or locked.
pub fn lock(name: &str) -> Result<Lock> {
    let path = directory()?.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(Lock { _file: file })
}

/// The directory `name` of the cache, filled by `fill` if this is the first time. One that was not filled to its end is
/// never used.
///
/// # Errors
/// When it cannot be made, or the error of `fill`.
pub fn once(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = directory()?.join(name);
    let complete = place.join("complete"); // written last
    if complete.exists() {
        return Ok(place);
    }
    let _held = lock(name)?;
    if complete.exists() {
        return Ok(place);
    }
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("remove the unfinished {}", place.display()))?;
    }
    fs::create_dir(&place).with_context(|| format!("make {}", place.display()))?;
    fill(&place)?;
    fs::write(&complete, "").with_context(|| format!("write {}", complete.display()))?;
    Ok(place)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test kit has no command line; where its cache is, and which Kubernetes it starts, comes from the environment"
)]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
