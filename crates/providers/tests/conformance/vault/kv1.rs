//! KV version 1: a subject of its own, and what it cannot do.

use std::sync::Arc;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use rekey_core::store::{Pin, Search, StoreErrorKind};
use serde_json::{Value, json};

use super::{ALLOWED, Bao};
use crate::{
    cases::key,
    keeper::Keeper,
    stub,
    subject::{CANARY, Subject, opened, refused},
};

/// The mount `plain` of the server.
pub struct Plain(pub Arc<Bao>);

#[async_trait]
impl Subject for Plain {
    fn name(&self) -> &'static str {
        "openbao-kv1"
    }

    fn provider(&self, address: Option<&str>) -> Value {
        let mut provider = self.0.provider(address);
        provider["vault"]["kvVersion"] = json!("V1");
        provider["vault"]["mount"] = json!("plain");
        provider
    }

    fn good(&self, keeper: &Keeper) {
        self.0.good(keeper);
    }

    fn bad(&self, keeper: &Keeper) {
        self.0.bad(keeper);
    }

    fn secrets(&self) -> Vec<String> {
        self.0.secrets()
    }

    fn value(&self, text: &str) -> Vec<u8> {
        self.0.value(text)
    }

    async fn put(&self, key: &str, value: &[u8]) -> Result<String> {
        self.0.server.put_plain(&format!("plain/{key}"), &serde_json::from_slice(value)?).await?;
        Ok(String::new())
    }

    fn guarded(&self) -> (Option<String>, String) {
        (None, ALLOWED.to_owned())
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    fn has_times(&self) -> bool {
        false
    }

    fn identity(&self) -> &'static str {
        self.0.identity()
    }

    fn other_json(&self) -> &'static str {
        r#"{"data":["a"]}"#
    }
}

type Shared = Arc<Plain>;

pub async fn no_versions(plain: Shared) -> Result<()> {
    let (store, key) = (opened(&*plain, None).await?, key("no-versions"));
    plain.put(&key, &plain.value(CANARY)).await?;
    for pin in [Pin::Version("1".into()), Pin::Stage("a".into())] {
        let error = refused(&*plain, store.read_at(&key, pin).await, StoreErrorKind::InvalidKey)?;
        ensure!(error.text.contains("remoteRef.version"), "{error}");
    }
    Ok(())
}

pub async fn overwritten(plain: Shared) -> Result<()> {
    let (store, key) = (opened(&*plain, None).await?, key("overwritten"));
    let value = plain.value(CANARY);
    refused(&*plain, store.write(&key, Some(""), &value).await, StoreErrorKind::Conflict)?;
    refused(&*plain, store.read(&key).await, StoreErrorKind::NotFound)?;
    plain.put(&key, &plain.value("old")).await?;
    refused(&*plain, store.write(&key, None, &value).await, StoreErrorKind::Conflict)?;
    refused(&*plain, store.write(&key, Some("7"), &value).await, StoreErrorKind::Conflict)?;
    refused(&*plain, store.write(&key, Some(""), CANARY.as_bytes()).await, StoreErrorKind::Invalid)?;
    ensure!(store.read(&key).await?.0 == plain.value("old"), "refused writes change nothing");
    ensure!(store.write(&key, Some(""), &value).await?.is_empty());
    ensure!(store.read(&key).await? == (value, String::new()));
    Ok(())
}

/// Servers write JSON in their own way: what is read back is compared by what it holds.
pub async fn written_otherwise(plain: Shared) -> Result<()> {
    let (store, key) = (opened(&*plain, None).await?, key("otherwise"));
    let value = br#"{ "z": "\u00fc", "a": [1.50, {"y": null, "b": true}] }"#;
    store.write(&key, None, value).await?;
    ensure!(store.read(&key).await?.0 != value, "this server does not rewrite values any more");
    let mark = plain.0.server.mark()?;
    store.write(&key, Some(""), value).await?;
    let path = ("update".to_owned(), format!("plain/{key}"));
    ensure!(!plain.0.server.reads_since(mark)?.contains_key(&path), "what is there is not written again");
    Ok(())
}

/// Another tool writes after us: we read back its value.
pub async fn written_over(plain: Shared) -> Result<()> {
    let address = stub::answering(|request| match request.split_once(' ') {
        Some(("POST", rest)) if rest.starts_with("/v1/plain/") => stub::http("204 No Content", "", ""),
        _ => stub::http("200 OK", "", r#"{"data":{"a":"theirs"}}"#),
    })
    .await?;
    let store = opened(&*plain, Some(&address)).await?;
    let error =
        refused(&*plain, store.write("shop/a", Some(""), &plain.value(CANARY)).await, StoreErrorKind::Conflict)?;
    ensure!(error.text.contains("at the same time"), "{error}");
    Ok(())
}

pub async fn hints(plain: Shared) -> Result<()> {
    let store = opened(&*plain, None).await?;
    store.keeper.set("vault/token", &plain.0.token);
    let value = plain.value(CANARY);
    for result in [store.read(ALLOWED).await.map(drop), store.write(ALLOWED, Some(""), &value).await.map(drop)] {
        let error = refused(&*plain, result, StoreErrorKind::Denied)?;
        ensure!(error.text.ends_with("allows read on plain/shop/allowed"), "{error}");
    }
    let error = refused(&*plain, opened(&*plain, None).await?.read("nobody").await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("KV version 1"), "{error}");
    Ok(())
}

/// `kvVersion` is not that of the mount.
pub async fn other_version(plain: Shared) -> Result<()> {
    plain.0.put("shop/other-version", &plain.value(CANARY)).await?;
    let search = Search { path: Some("shop".to_owned()), ..Search::default() };
    let store = plain.0.open_with(&json!({ "kvVersion": "V1" })).await?;
    let error = refused(&*plain, store.read("shop/other-version").await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("check mount, kvVersion"), "{error}");
    let error = refused(&*plain, store.find(&search).await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("KV version 1"), "{error}");
    let store = plain.0.open_with(&json!({ "mount": "plain" })).await?;
    let error = refused(&*plain, store.read(ALLOWED).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("KV version 2"), "{error}");
    Ok(())
}

pub async fn no_tags(plain: Shared) -> Result<()> {
    let store = opened(&*plain, None).await?;
    let search = Search { tags: [("a".to_owned(), "b".to_owned())].into(), ..Search::default() };
    let error = refused(&*plain, store.find(&search).await, StoreErrorKind::InvalidKey)?;
    ensure!(error.text.contains("find.tags"), "{error}");
    Ok(())
}
