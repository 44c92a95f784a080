//! The images of the node: one static program, as a container and as the sandbox of a pod.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

/// The image of test pods, to be used with `imagePullPolicy: Never`. Its program serves 200 on `/healthz` at `$PORT`
/// when that is set, with `$WATCH_FILE` prints the SHA-256 of that file whenever it changes, and ends at once on
/// SIGTERM. It runs as user 65532.
pub const IMAGE: &str = "rekey.dev/consumer:test";

/// The image that holds a pod's namespaces.
pub(super) const SANDBOX: &str = "rekey.dev/sandbox:test";

const USER: &str = "65532:65532";

/// Writes both images as an archive that `ctr images import` reads.
pub(super) fn write(program: &Path, archive: &Path) -> Result<()> {
    let content = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let mut layer = Builder::new(Vec::new());
    append(&mut layer, "consumer", 0o755, &content)?;
    let layer = layer.into_inner()?;
    let digest = hexadecimal(&Sha256::digest(&layer));

    let file = File::create(archive).with_context(|| format!("make {}", archive.display()))?;
    let mut images = Builder::new(file);
    append(&mut images, "layer.tar", 0o644, &layer)?;
    let mut manifest = Vec::new();
    for (name, command, config) in
        [(IMAGE, json!(["/consumer"]), "consumer.json"), (SANDBOX, json!(["/consumer", "pause"]), "sandbox.json")]
    {
        append(&mut images, config, 0o644, &serde_json::to_vec(&configuration(&command, &digest))?)?;
        manifest.push(json!({ "Config": config, "RepoTags": [name], "Layers": ["layer.tar"] }));
    }
    append(&mut images, "manifest.json", 0o644, &serde_json::to_vec(&manifest)?)?;
    images.into_inner().context("finish the image archive")?;
    Ok(())
}

fn configuration(command: &Value, layer: &str) -> Value {
    json!({
        "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
        "os": "linux",
        "config": { "Entrypoint": command, "User": USER, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
    })
}

fn append<W: std::io::Write>(archive: &mut Builder<W>, name: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_mode(mode);
    header.set_size(u64::try_from(content.len())?);
    archive.append_data(&mut header, name, content).with_context(|| format!("add {name} to the image"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
