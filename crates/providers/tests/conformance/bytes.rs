//! Stores of text keep every byte of it.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::{
    aws::Aws,
    parameters::Parameters,
    subject::{Subject, opened},
};

/// A JSON text with what parsers like to change is read as it was put, and put as it was written.
async fn goes_round(subject: &dyn Subject) -> Result<()> {
    const TEXT: &str = " { \"id\": 12345678901234567890123,\n\t\"price\" : 1.10, \"text\": \"\\u0026 & \\u00fc\", \"none\": null, \"id\": -0 } \n";
    let (store, key) = (opened(subject, None).await?, subject.key("verbatim"));
    let base = subject.put(&key, TEXT.as_bytes()).await?;
    ensure!(store.read(&key).await?.0 == TEXT.as_bytes());
    let changed = TEXT.replace("1.10", "1.20");
    let version = store.write(&key, Some(&base), changed.as_bytes()).await?;
    ensure!(store.read(&key).await? == (changed.into_bytes(), version));
    Ok(())
}

pub async fn secrets(aws: Arc<Aws>) -> Result<()> {
    goes_round(&*aws).await
}

pub async fn parameters(parameters: Arc<Parameters>) -> Result<()> {
    goes_round(&*parameters).await
}
