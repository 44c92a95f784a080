//! Kubeconfig files for the users of a test.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::certificates::Identity;

/// How many were written, so that each has a file of its own until it is whole.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Writes a kubeconfig as JSON, which every reader of YAML accepts. A concurrent reader sees the old one or the new
/// one: tests that run side by side write the same.
pub(crate) fn write(path: &Path, url: &str, ca_pem: &str, identity: &Identity) -> Result<()> {
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "clusters": [{ "name": "test", "cluster": {
            "server": url,
            "certificate-authority-data": STANDARD.encode(ca_pem),
        }}],
        "users": [{ "name": "test", "user": {
            "client-certificate-data": STANDARD.encode(&identity.certificate_pem),
            "client-key-data": STANDARD.encode(&identity.key_pem),
        }}],
    });
    let new = path.with_extension(format!("new-{}", WRITTEN.fetch_add(1, Ordering::Relaxed)));
    let written = fs::write(&new, serde_json::to_vec_pretty(&content)?).and_then(|()| fs::rename(&new, path));
    written.with_context(|| format!("write {}", path.display()))
}
