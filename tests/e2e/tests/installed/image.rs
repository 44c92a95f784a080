//! The image, packed as `make image` packs it.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use rekey_e2e::{
    kill::everything,
    operator::{binary, shipped_binary, target},
};
use rekey_testkit::checkout::repository;

/// The name that the packer gives it, as containerd spells it out.
pub const REPOSITORY: &str = "docker.io/library/rekey";

/// A packed image.
pub struct Image {
    /// The docker-archive.
    pub archive: PathBuf,
    /// Its tag.
    pub tag: String,
}

impl Image {
    /// Builds the operator and packs it: the release build for `make prove`, else the program of the other tests,
    /// without debug information.
    pub fn pack() -> Result<Self> {
        let directory = target()?.join("packed");
        std::fs::create_dir_all(&directory)?;
        let program = directory.join("rekey");
        let built = if everything() { shipped_binary()? } else { binary()? };
        run(Command::new("strip").arg("-o").arg(&program).arg(&built))?;
        let version = run(Command::new(&program).arg("--version"))?;
        // rekey VERSION (COMMIT)
        let (tag, commit) = version
            .trim_end_matches([')', '\n'])
            .strip_prefix("rekey ")
            .and_then(|rest| rest.split_once(" ("))
            .with_context(|| format!("the version {version}"))?;
        let mut packer = Command::new("python3");
        packer.arg("-B").arg(repository().join("scripts/image")).arg("--program").arg(&program);
        run(packer.arg("--output").arg(&directory).env("REKEY_COMMIT", commit).current_dir(repository()))?;
        Ok(Self { archive: directory.join(format!("rekey-{tag}.tar")), tag: tag.to_owned() })
    }
}

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {name}"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
