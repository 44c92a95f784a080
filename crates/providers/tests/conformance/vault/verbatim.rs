//! What a key-value engine keeps of a value, and how it answers: it differs from what was written only where the server
//! itself rewrites it.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::{Bao, kv1::Plain};
use crate::{
    cases::key,
    subject::{Opened, opened},
};

/// As people write it, with what a parser of numbers or of texts could change.
const WRITTEN: &str = r#"{ "url": "http://h/?a=1&b=<2>", "text": "\\u0026 \u0026 \"\u003c\"", "id": 12345678901234567890123,
    "price": 1.10, "nested": { "z": -0, "a": "\u00fc & \u2028" }, "none": null }"#;
/// As version 1 keeps it: members by name, no white space, all else as it was.
const KEPT: &str = "{\"id\":12345678901234567890123,\"nested\":{\"a\":\"\u{fc} & \\u2028\",\"z\":-0},\"none\":null,\"price\":1.10,\
    \"text\":\"\\\\u0026 & \\\"<\\\"\",\"url\":\"http://h/?a=1&b=<2>\"}";

/// As version 2 answers: it takes numbers for 64-bit floats when it reads.
fn kept_by_version_2() -> String {
    KEPT.replace("12345678901234567890123", "1.2345678901234568e+22").replace("1.10", "1.1")
}

/// Writes past every client but this one, which changes nothing.
async fn put(bao: &Bao, path: &str, body: String) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request =
        client.post(format!("{}/v1/{path}", bao.server.address())).header("X-Vault-Token", bao.server.token());
    request.body(body).send().await?.error_for_status()?;
    Ok(())
}

/// A value that is read, changed and written back differs only by the change.
async fn goes_round(store: &Opened, key: &str, kept: &str, changes: &[(&str, &str)]) -> Result<()> {
    let (mut kept, mut read) = (kept.to_owned(), store.read(key).await?);
    ensure!(read.0 == kept.as_bytes(), "{}", String::from_utf8_lossy(&read.0));
    for (part, other) in changes {
        kept = kept.replace(part, other);
        store.write(key, Some(&read.1), kept.as_bytes()).await?;
        read = store.read(key).await?;
        ensure!(read.0 == kept.as_bytes(), "{}", String::from_utf8_lossy(&read.0));
    }
    Ok(())
}

pub async fn kept(bao: Arc<Bao>) -> Result<()> {
    let (store, key) = (opened(&*bao, None).await?, key("verbatim"));
    put(&bao, &format!("secret/data/{key}"), format!("{{\"data\": {WRITTEN}}}")).await?;
    goes_round(&store, &key, &kept_by_version_2(), &[("a=1", "a=3"), ("null", "\"\"")]).await
}

pub async fn kept_plain(plain: Arc<Plain>) -> Result<()> {
    let (store, key) = (opened(&*plain, None).await?, key("verbatim"));
    put(&plain.0, &format!("plain/{key}"), WRITTEN.to_owned()).await?;
    goes_round(&store, &key, KEPT, &[("1.10", "1.20"), ("1.20", "1.2"), ("890123,", "890124,")]).await
}
