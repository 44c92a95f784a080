//! The AWS emulator. It checks no signatures and has neither rights nor limits.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, bail};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    loopback,
    process::{Process, free_port},
    python,
};

/// The region of the helpers here.
pub const REGION: &str = "eu-central-1";

/// A running emulator, gone with everything in it when dropped.
#[derive(Debug)]
pub struct Moto {
    _process: Process, // before the directory: fields are dropped in this order
    directory: TempDir,
    endpoint: String,
    client: Client,
}

/// A place in the record of the requests.
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

/// A version of a secret and the stages it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The id of the version.
    pub id: String,
    /// For example `AWSCURRENT`; sorted.
    pub stages: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
}

impl Moto {
    /// Starts the emulator on a free loopback port.
    ///
    /// # Errors
    /// When it cannot be installed or does not become ready.
    pub async fn start() -> Result<Self> {
        let program = python::tools()?.moto_server;
        let directory = TempDir::with_prefix("rekey-moto-").context("make a directory for the AWS emulator")?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).current_dir(directory.path());
        command.env("MOTO_ENABLE_RECORDING", "true").env("MOTO_RECORDER_FILEPATH", record(&directory));
        let mut process = Process::spawn("moto", &command, directory.path())?;
        let client = loopback::client()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        loopback::ready(&client, &mut process, &format!("{endpoint}/moto-api/data.json"), &[200]).await?;
        Ok(Self { _process: process, directory, endpoint, client })
    }

    /// The URL for every service.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Creates a secret with a text value and returns the id of its first version.
    ///
    /// # Errors
    /// When the emulator refuses, for example because there is one of this name.
    pub async fn create(&self, name: &str, value: &str) -> Result<String> {
        let asked = json!({ "Name": name, "SecretString": value });
        version_id(&self.secrets_manager("CreateSecret", &asked).await?)
    }

    /// Puts a new value under `AWSCURRENT` and returns the id of its version.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn put(&self, name: &str, value: &str) -> Result<String> {
        self.put_at(name, value, &["AWSCURRENT"]).await
    }

    /// Puts a new value under the given stages and returns the id of its version.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn put_at(&self, name: &str, value: &str, stages: &[&str]) -> Result<String> {
        let asked = json!({ "SecretId": name, "SecretString": value, "VersionStages": stages });
        version_id(&self.secrets_manager("PutSecretValue", &asked).await?)
    }

    /// The text value under a stage.
    ///
    /// # Errors
    /// When there is no such secret, stage or text.
    pub async fn get(&self, name: &str, stage: &str) -> Result<String> {
        let asked = json!({ "SecretId": name, "VersionStage": stage });
        let answer = self.secrets_manager("GetSecretValue", &asked).await?;
        Ok(answer["SecretString"].as_str().with_context(|| format!("{name} has no text at {stage}"))?.to_owned())
    }

    /// Deletes a secret at once.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let asked = json!({ "SecretId": name, "ForceDeleteWithoutRecovery": true });
        self.secrets_manager("DeleteSecret", &asked).await.map(drop)
    }

    /// All versions of a secret with their stages, also those that are in none.
    ///
    /// # Errors
    /// When the emulator refuses.
    pub async fn versions(&self, name: &str) -> Result<Vec<Version>> {
        let asked = json!({ "SecretId": name, "IncludeDeprecated": true });
        let answer = self.secrets_manager("ListSecretVersionIds", &asked).await?;
        let listed = answer["Versions"].as_array().context("no versions in the answer")?;
        listed.iter().map(version).collect()
    }

    /// Any operation of Secrets Manager.
    ///
    /// # Errors
    /// When the emulator refuses; the message holds its answer.
    pub async fn secrets_manager(&self, operation: &str, asked: &Value) -> Result<Value> {
        self.call("secretsmanager", &format!("secretsmanager.{operation}"), asked).await
    }

    /// Any operation of Parameter Store.
    ///
    /// # Errors
    /// When the emulator refuses; the message holds its answer.
    pub async fn parameter_store(&self, operation: &str, asked: &Value) -> Result<Value> {
        self.call("ssm", &format!("AmazonSSM.{operation}"), asked).await
    }

    /// Where the record of the requests ends now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        match fs::metadata(record(&self.directory)) {
            Ok(file) => Ok(Mark(file.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Mark(0)),
            Err(error) => Err(error).context("look at the record of the AWS emulator"),
        }
    }

    /// How often each operation was requested since the mark: `secretsmanager.GetSecretValue` and the like; for
    /// services without an operation header the method and the path (`POST /`).
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn requests_since(&self, mark: Mark) -> Result<BTreeMap<String, usize>> {
        let path = record(&self.directory);
        let mut text = String::new();
        match File::open(&path) {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(mark.0))?;
                file.read_to_string(&mut text)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {} // it is made by the first request
            Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
        }
        let mut counts = BTreeMap::new();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let entry: Entry = serde_json::from_str(line).with_context(|| format!("read the record {line}"))?;
            *counts.entry(operation(&entry, &self.endpoint)).or_default() += 1;
        }
        Ok(counts)
    }

    async fn call(&self, service: &str, target: &str, asked: &Value) -> Result<Value> {
        // The emulator finds service and region in here and ignores the rest.
        let scope = format!("AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request");
        let request = self
            .client
            .post(&self.endpoint)
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", target)
            .header("Authorization", format!("{scope}, SignedHeaders=host, Signature=0"))
            .body(asked.to_string());
        let answer = request.send().await.with_context(|| format!("call {target} at {}", self.endpoint))?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("{target} at {}: {status} {text}", self.endpoint);
        }
        serde_json::from_str(&text).with_context(|| format!("read the answer of {target}: {text}"))
    }
}

fn record(directory: &TempDir) -> PathBuf {
    directory.path().join("requests.jsonl")
}

fn operation(entry: &Entry, endpoint: &str) -> String {
    let target = entry.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"));
    target.map_or_else(
        || format!("{} {}", entry.method, entry.url.strip_prefix(endpoint).unwrap_or(&entry.url)),
        |(_, target)| target.clone(),
    )
}

fn version_id(answer: &Value) -> Result<String> {
    Ok(answer["VersionId"].as_str().with_context(|| format!("no version in the answer {answer}"))?.to_owned())
}

fn version(listed: &Value) -> Result<Version> {
    let stages = listed["VersionStages"].as_array().into_iter().flatten();
    let mut stages: Vec<String> = stages.filter_map(|stage| stage.as_str().map(str::to_owned)).collect();
    stages.sort();
    Ok(Version { id: version_id(listed)?, stages })
}
