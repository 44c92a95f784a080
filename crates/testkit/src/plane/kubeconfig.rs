//! Kubeconfig files for the users of a test.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::certificates::Identity;

/// Writes a kubeconfig; it is JSON, which every reader of YAML takes.
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
    fs::write(path, serde_json::to_vec_pretty(&content)?).with_context(|| format!("write {}", path.display()))
}
