//! The requests to the store, from its audit file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::OpenBao;

/// A place in the audit file.
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

/// A request as the server saw it, also when it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `read`, `list`, `create`, `update`, `patch` or `delete`.
    pub operation: String,
    /// Without `/v1/`, for example `secret/data/app`.
    pub path: String,
    /// The display name of the token: `root` for the tests' own requests, `token-<policy>`, `kubernetes-…`; empty for
    /// requests without a valid token.
    pub client: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    auth: Auth,
    request: Asked,
}

#[derive(Deserialize, Default)]
struct Auth {
    #[serde(default)]
    display_name: String,
}

#[derive(Deserialize)]
struct Asked {
    operation: String,
    #[serde(default)]
    path: String,
}

impl OpenBao {
    /// Where the audit file ends now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        match fs::metadata(self.audit()) {
            Ok(file) => Ok(Mark(file.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Mark(0)),
            Err(error) => Err(error).context("look at the audit file"),
        }
    }

    /// How often each (operation, path) was requested since the mark, refused requests included.
    ///
    /// # Errors
    /// When the audit file cannot be read.
    pub fn reads_since(&self, mark: Mark) -> Result<BTreeMap<(String, String), usize>> {
        let mut counts = BTreeMap::new();
        for request in self.requests_since(mark)? {
            *counts.entry((request.operation, request.path)).or_default() += 1;
        }
        Ok(counts)
    }

    /// Every request since the mark in its order; each is written before it is answered.
    ///
    /// # Errors
    /// When the audit file cannot be read.
    pub fn requests_since(&self, mark: Mark) -> Result<Vec<Request>> {
        let path = self.audit();
        let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut requests = Vec::new();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let entry: Entry = serde_json::from_str(line).with_context(|| format!("read the audit entry {line}"))?;
            if entry.kind == "request" {
                let Asked { operation, path } = entry.request;
                requests.push(Request { operation, path, client: entry.auth.display_name });
            }
        }
        Ok(requests)
    }

    fn audit(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }
}
