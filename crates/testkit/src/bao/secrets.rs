//! Reads and writes of secrets by the tests.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::OpenBao;

impl OpenBao {
    /// Writes a new version of a secret (`path` without `secret/data/`) and returns its number.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn put(&self, path: &str, data: &Value) -> Result<u64> {
        let answer = self.request(Method::POST, &format!("secret/data/{path}"), Some(&json!({ "data": data }))).await?;
        answer["data"]["version"].as_u64().with_context(|| format!("no version in the answer for {path}: {answer}"))
    }

    /// The newest version of a secret; nothing when there is none, or when it was deleted.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        let answer = self.read(&format!("secret/data/{path}")).await?;
        Ok(answer.map(|answer| answer["data"]["data"].clone()).filter(|data| !data.is_null()))
    }

    /// Deletes the newest version; its number stays used.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.request(Method::DELETE, &format!("secret/data/{path}"), None).await.map(drop)
    }

    /// Deletes a secret with all its versions.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn destroy(&self, path: &str) -> Result<()> {
        self.request(Method::DELETE, &format!("secret/metadata/{path}"), None).await.map(drop)
    }

    /// What the server knows about a secret besides its content; nothing when there is no such secret.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn metadata(&self, path: &str) -> Result<Option<Value>> {
        Ok(self.read(&format!("secret/metadata/{path}")).await?.map(|answer| answer["data"].clone()))
    }

    /// The numbers of all versions, oldest first; empty when there is no such secret.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn versions(&self, path: &str) -> Result<Vec<u64>> {
        let metadata = self.metadata(path).await?.unwrap_or_default();
        let named = metadata["versions"].as_object().map(|versions| versions.keys().filter_map(|key| key.parse().ok()));
        let mut numbers: Vec<u64> = named.into_iter().flatten().collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}
