//! Tells the program which commit it is built from: `REKEY_COMMIT` if that is set, as for a build from an archive, else
//! the commit of this checkout, else nothing. It runs again when one of these changes, and not at each build.

use std::{path::Path, process::Command};

fn main() {
    let commit = option_env!("REKEY_COMMIT").map(str::to_owned).or_else(checked_out);
    let commit =
        commit.filter(|commit| !commit.is_empty() && commit.chars().all(|letter| letter.is_ascii_alphanumeric()));
    println!("cargo:rustc-env=REKEY_BUILT_FROM={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo:rerun-if-changed=build.rs");
    // Relocations in their short form (DT_RELR): 1.5 MB less of the file is read at each start and stays in memory. The
    // loader of glibc supports it since 2.36, the version in Debian 12.
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The commit, when these sources are a checkout of their own and not a part of another one.
fn checked_out() -> Option<String> {
    let root = Path::new("../..").canonicalize().ok()?; // cargo runs this in the directory of the package
    if Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != root {
        return None;
    }
    // Files that change with each commit and each change of the branch. With a path that does not exist, it would run
    // at each build.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim().to_owned())
}
