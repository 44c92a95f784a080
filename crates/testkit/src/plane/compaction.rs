//! Compaction of etcd, by its JSON gateway (<https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/>). The API server does the
//! same every five minutes.

use anyhow::{Context as _, Result, bail};
use reqwest::Client;
use serde_json::{Value, json};

use crate::loopback;

/// Makes etcd forget all revisions before its newest one, which is returned.
pub(super) async fn compact(etcd_url: &str) -> Result<u64> {
    let client = loopback::client()?;
    let found = ask(&client, etcd_url, "kv/range", &json!({"key": "AA==", "limit": 1})).await?;
    let newest = &found["header"]["revision"]; // 64-bit numbers are texts
    let newest: u64 = newest.as_str().and_then(|text| text.parse().ok()).context("etcd names no revision")?;
    let wish = json!({"revision": newest.to_string(), "physical": true});
    ask(&client, etcd_url, "kv/compaction", &wish).await?;
    Ok(newest)
}

async fn ask(client: &Client, etcd_url: &str, path: &str, body: &Value) -> Result<Value> {
    let answer = client.post(format!("{etcd_url}/v3/{path}")).json(body).send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    if !status.is_success() {
        bail!("etcd answers {path} with {status}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("etcd answers {path} with {text:?}"))
}
