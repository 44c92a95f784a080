//! Where this checkout is.

use std::path::{Path, PathBuf};

/// A file that no other project has there.
const MARK: &str = "tests/e2e/controlplane/build.sh";

/// The root of this checkout: above the current directory, which cargo sets for tests. Cargo does not distinguish
/// clones that share builds, so a compiled path may be that of another clone; it counts only outside of a checkout.
#[must_use]
pub fn repository() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let root = here.ancestors().find(|directory| directory.join(MARK).exists());
    root.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), Path::to_owned)
}
