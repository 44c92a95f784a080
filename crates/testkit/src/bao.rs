//! A real `OpenBao` server whose audit file records its requests.
//!
//! It keeps its data on disk, so that it can be stopped and started again with all its data, and it can be sealed.

mod access;
mod audit;
mod engines;
mod secrets;

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use audit::{Mark, Request};

use crate::{
    loopback,
    process::{Process, free_port},
    python,
};

/// A running `OpenBao`, gone with everything in it when dropped. `secret/` is a KV version 2 engine.
#[derive(Debug)]
pub struct OpenBao {
    process: Process, // before the directory: fields are dropped in this order
    directory: TempDir,
    program: PathBuf,
    address: String,
    secure: Secure,
    token: String,
    key: String,
    client: Client,
}

/// The same server behind TLS.
#[derive(Clone, Debug)]
pub struct Secure {
    /// The URL.
    pub address: String,
    /// Its certificate, which signs itself, in PEM.
    pub certificate: String,
}

impl OpenBao {
    /// Starts a server on a free loopback port, unsealed and with the root token at hand.
    ///
    /// # Errors
    /// When the program cannot be installed or does not become ready.
    pub async fn start() -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same at another address of this machine or [network](crate::network).
    ///
    /// # Errors
    /// As [`OpenBao::start`].
    pub async fn start_at(host: Ipv4Addr) -> Result<Self> {
        let program = python::tools()?.bao;
        let directory = TempDir::with_prefix("rekey-bao-").context("make a directory for OpenBao")?;
        let address = format!("{host}:{}", free_port()?);
        fs::create_dir(directory.path().join("data"))?;
        let secure = secure(&directory, host)?;
        fs::write(directory.path().join("bao.hcl"), configuration(&directory, &address, &secure)?)?;
        let process = launch(&program, &directory)?;
        let client = loopback::client()?;
        let address = format!("http://{address}");
        let (token, key) = (String::new(), String::new());
        let mut bao = Self { process, directory, program, address, secure, token, key, client };
        bao.initialize().await.context("set up OpenBao")?;
        Ok(bao)
    }

    /// The URL of the server.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How to reach it by TLS.
    #[must_use]
    pub fn secure(&self) -> &Secure {
        &self.secure
    }

    /// The root token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Seals the server: it runs and answers everything with 503.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn seal(&self) -> Result<()> {
        self.request(Method::POST, "sys/seal", None).await.map(drop)
    }

    /// Opens a sealed server and waits until it serves.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn unseal(&mut self) -> Result<()> {
        let key = json!({ "key": self.key });
        self.request(Method::POST, "sys/unseal", Some(&key)).await?;
        loopback::ready(&self.client, &mut self.process, &format!("{}/v1/sys/health", self.address), &[200]).await
    }

    /// Ends the server; connections are refused from now on.
    ///
    /// # Errors
    /// When it could not be waited for.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop().map(drop)
    }

    /// Starts the stopped server again at the same address, with all its data, unsealed.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = launch(&self.program, &self.directory)?;
        self.reachable().await?;
        self.unseal().await
    }

    /// Any other request, with the root token: `path` without `/v1/`.
    ///
    /// # Errors
    /// When the server refuses; the message holds its answer.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let what = format!("{method} {}/v1/{path}", self.address);
        match self.send(method, path, body).await? {
            (status, answer) if status.is_success() => Ok(answer),
            (status, answer) => bail!("{what}: {status} {answer}"),
        }
    }

    async fn initialize(&mut self) -> Result<()> {
        self.reachable().await?;
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let answer = self.request(Method::POST, "sys/init", Some(&shares)).await?;
        answer["root_token"].as_str().context("no root token")?.clone_into(&mut self.token);
        answer["keys"][0].as_str().context("no key")?.clone_into(&mut self.key);
        self.unseal().await?;
        let engine = json!({ "type": "kv", "options": { "version": "2" } });
        self.request(Method::POST, "sys/mounts/secret", Some(&engine)).await?;
        // A new engine refuses requests until it has set itself up.
        while self.send(Method::GET, "secret/config", None).await?.0 != StatusCode::OK {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn reachable(&mut self) -> Result<()> {
        loopback::ready(&self.client, &mut self.process, &format!("{}/v1/sys/init", self.address), &[200]).await
    }

    async fn read(&self, path: &str) -> Result<Option<Value>> {
        match self.send(Method::GET, path, None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, answer) if status.is_success() => Ok(Some(answer)),
            (status, answer) => bail!("GET {}/v1/{path}: {status} {answer}", self.address),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let url = format!("{}/v1/{path}", self.address);
        let mut request = self.client.request(method, &url);
        if !self.token.is_empty() {
            request = request.header("X-Vault-Token", &self.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("call {url}"))?;
        let (status, text) = (answer.status(), answer.text().await.with_context(|| format!("read from {url}"))?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        self.process.kill().ok(); // nothing needs its data any more, so no orderly end
    }
}

/// A free address for TLS, with a certificate and its key in `directory`.
fn secure(directory: &TempDir, host: Ipv4Addr) -> Result<Secure> {
    let made = rcgen::generate_simple_self_signed([host.to_string()]).context("make a certificate")?;
    let certificate = made.cert.pem();
    fs::write(directory.path().join("tls.crt"), &certificate)?;
    fs::write(directory.path().join("tls.key"), made.signing_key.serialize_pem())?;
    Ok(Secure { address: format!("https://{host}:{}", free_port()?), certificate })
}

fn configuration(directory: &TempDir, address: &str, secure: &Secure) -> Result<String> {
    let secure = secure.address.trim_start_matches("https://");
    let directory = directory.path().display();
    let (cluster, behind_tls) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
    // Only here the server accepts audit devices: the API refuses them.
    Ok(format!(
        r#"api_addr = "http://{address}"
cluster_addr = "https://{cluster}"
storage "raft" {{
  path = "{directory}/data"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "{address}"
  cluster_address = "{cluster}"
  tls_disable = true
}}
listener "tcp" {{
  address = "{secure}"
  cluster_address = "{behind_tls}"
  tls_cert_file = "{directory}/tls.crt"
  tls_key_file = "{directory}/tls.key"
}}
audit "file" "requests" {{
  options = {{ file_path = "{directory}/audit.log" }}
}}
"#
    ))
}

fn launch(program: &Path, directory: &TempDir) -> Result<Process> {
    let mut command = Command::new(program);
    command.arg("server").arg(format!("-config={}", directory.path().join("bao.hcl").display()));
    Process::spawn("bao", &command, directory.path())
}
