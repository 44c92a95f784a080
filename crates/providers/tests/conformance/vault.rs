//! `OpenBao` in the suite, and what only it has.

pub mod auth;
pub mod engine;
pub mod kv1;
pub mod search;
pub mod spelling;
pub mod verbatim;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use base64::Engine as _;
use rekey_api::store::Capability;
use rekey_core::store::{Allowance, Locator, Pin, StoreErrorKind};
use rekey_testkit::bao::OpenBao;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cases::key,
    keeper::Keeper,
    stub,
    subject::{BAD, CANARY, Opened, Subject, open, opened, refused},
};

/// The key that the restricted token may read.
const ALLOWED: &str = "shop/allowed";

/// A server with what the cases need on it.
pub struct Bao {
    server: OpenBao,
    token: String,
    account: String,
}

impl Bao {
    /// Starts and fills it.
    pub async fn start() -> Result<Self> {
        let server = OpenBao::start().await?;
        server.policy("shop", "path \"secret/data/shop/allowed\" { capabilities = [\"read\"] }").await?;
        let token = server.token_for("shop").await?;
        server.put(ALLOWED, &json!({ "a": CANARY })).await?;
        server.mount("plain", "kv", &json!({ "version": "1" })).await?;
        server.put_plain(&format!("plain/{ALLOWED}"), &json!({ "a": CANARY })).await?;
        let account = auth::kubernetes(&server).await?;
        Ok(Self { server, token, account })
    }

    /// The server.
    pub fn server(&self) -> &OpenBao {
        &self.server
    }

    fn with(&self, changes: &Value) -> Value {
        let mut provider = self.provider(None);
        for (field, value) in changes.as_object().into_iter().flatten() {
            provider["vault"][field] = value.clone();
        }
        provider
    }

    async fn open_with(&self, changes: &Value) -> Result<Opened> {
        let keeper = Arc::new(Keeper::default());
        self.good(&keeper);
        open(self.with(changes), keeper).await
    }
}

#[async_trait]
impl Subject for Bao {
    fn name(&self) -> &'static str {
        "openbao"
    }

    fn provider(&self, address: Option<&str>) -> Value {
        let token = json!({ "secretRef": { "name": "vault", "key": "token" } });
        json!({ "vault": { "server": address.unwrap_or(self.server.address()), "auth": { "token": token } } })
    }

    fn good(&self, keeper: &Keeper) {
        keeper.set("vault/token", &format!("{}\n", self.server.token()));
    }

    fn bad(&self, keeper: &Keeper) {
        keeper.set("vault/token", BAD);
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.server.token().to_owned(), self.token.clone(), self.account.clone()]
    }

    fn value(&self, text: &str) -> Vec<u8> {
        json!({ "a": text }).to_string().into_bytes()
    }

    async fn put(&self, key: &str, value: &[u8]) -> Result<String> {
        Ok(self.server.put(key, &serde_json::from_slice(value)?).await?.to_string())
    }

    async fn put_tagged(&self, key: &str, value: &[u8], tags: &[(&str, &str)]) -> Result<()> {
        self.put(key, value).await?;
        let tags: BTreeMap<_, _> = tags.iter().copied().collect();
        let path = format!("secret/metadata/{key}");
        self.server.request(Method::POST, &path, Some(&json!({ "custom_metadata": tags }))).await.map(drop)
    }

    fn guarded(&self) -> (Option<String>, String) {
        (None, ALLOWED.to_owned())
    }

    fn is_idempotent(&self) -> bool {
        false
    }

    fn identity(&self) -> &'static str {
        "token root at 127.0.0.1:"
    }
}

type Shared = Arc<Bao>;

pub async fn restricted_token(bao: Shared) -> Result<()> {
    let store = opened(&*bao, None).await?;
    store.keeper.set("vault/token", &bao.token);
    let probe = store.store.probe().await?;
    ensure!(probe.identity.starts_with("the token in vault/token at"), "{probe:?}");
    store.read(ALLOWED).await?;
    let error = refused(&*bao, store.read("shop/other").await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains("secret/data/shop/other"), "{error}");
    refused(&*bao, store.read("shop/other").await, StoreErrorKind::Denied)?;
    ensure!(store.keeper.reads() == 1, "a missing right is no reason to log in again and again");
    Ok(())
}

pub async fn deleted(bao: Shared) -> Result<()> {
    let (store, key) = (opened(&*bao, None).await?, key("deleted"));
    bao.server.put(&key, &json!({ "a": "b" })).await?;
    bao.server.delete(&key).await?;
    let error = refused(&*bao, store.read(&key).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("deleted"), "{error}");
    let error = refused(&*bao, store.read_at(&key, Pin::Version("1".into())).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("deleted"), "{error}");
    let value = bao.value(CANARY);
    ensure!(store.write(&key, None, &value).await? == "2", "what is deleted can be written as new");
    ensure!(store.read(&key).await? == (value, "2".to_owned()));
    let path = format!("secret/destroy/{key}");
    bao.server.request(Method::POST, &path, Some(&json!({ "versions": [2] }))).await?;
    let error = refused(&*bao, store.read(&key).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("destroyed"), "{error}");
    Ok(())
}

pub async fn refused_requests(bao: Shared) -> Result<()> {
    let store = opened(&*bao, None).await?;
    refused(&*bao, store.read_at("shop/a", Pin::Stage("AWSCURRENT".into())).await, StoreErrorKind::InvalidKey)?;
    for version in ["0", "latest", "-1", "1.5"] {
        refused(&*bao, store.read_at("shop/a", Pin::Version(version.into())).await, StoreErrorKind::InvalidKey)?;
    }
    for key in ["../sys/mounts", "shop/../../sys/mounts", "", "/", "shop/", "shop//a", " shop/a", "shop/a\n"] {
        refused(&*bao, store.read(key).await, StoreErrorKind::InvalidKey)?;
        refused(&*bao, store.write(key, None, b"{}").await, StoreErrorKind::InvalidKey)?;
    }
    let text = CANARY.as_bytes();
    refused(&*bao, store.write(&key("form"), None, text).await, StoreErrorKind::Invalid)?;
    let other = bao.open_with(&json!({ "mount": "other" })).await?;
    let error = refused(&*bao, other.read("shop/a").await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("check mount, kvVersion and namespace"), "{error}");
    Ok(())
}

pub async fn strange_keys(bao: Shared) -> Result<()> {
    let store = opened(&*bao, None).await?;
    for name in ["with space", "question?mark=1", "hash#tag", "percent%2e%2e", "grün", "plus+and&amp", "semi;colon"] {
        let (key, value) = (format!("{}/{name}", key("strange")), bao.value("a"));
        let version = store.write(&key, None, &value).await?;
        ensure!(store.read(&key).await? == (value, version), "{name}");
    }
    Ok(())
}

pub async fn namespaces(bao: Shared) -> Result<()> {
    bao.server.request(Method::POST, "sys/namespaces/team-shop", None).await?;
    let engine = json!({ "type": "kv", "options": { "version": "2" } });
    bao.server.request(Method::POST, "team-shop/sys/mounts/teams/kv", Some(&engine)).await?;
    let store = bao.open_with(&json!({ "namespace": "team-shop", "mount": "teams/kv" })).await?;
    let (key, value) = (key("namespace"), bao.value(CANARY));
    // A new engine refuses requests until it has set itself up.
    let version = loop {
        match store.write(&key, None, &value).await {
            Err(error) if error.kind == StoreErrorKind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => break result?,
        }
    };
    ensure!(store.read(&key).await? == (value.clone(), version.clone()));
    for namespace in ["team-shop/", "/team-shop/"] {
        let store = bao.open_with(&json!({ "namespace": namespace, "mount": "teams/kv/" })).await?;
        ensure!(store.read(&key).await? == (value.clone(), version.clone()), "{namespace}");
    }
    let outside = opened(&*bao, None).await?;
    refused(&*bao, outside.read(&key).await, StoreErrorKind::NotFound)?;
    Ok(())
}

pub async fn certificates(bao: Shared) -> Result<()> {
    let target = bao.server.address().trim_start_matches("http://").to_owned();
    let (address, pem) = stub::with_tls(target.clone()).await?;
    let (_, other) = stub::with_tls(target).await?;
    let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    let trusted = bao.open_with(&json!({ "server": address, "caBundle": encode(&pem) })).await?;
    trusted.read(ALLOWED).await.context("the CA bundle is trusted")?;
    for changes in [json!({ "server": address }), json!({ "server": address, "caBundle": encode(&other) })] {
        let store = bao.open_with(&changes).await?;
        let error = refused(&*bao, store.read(ALLOWED).await, StoreErrorKind::Unavailable)?;
        ensure!(error.text.contains("is not responding") && error.text.contains("caBundle"), "{error}");
    }
    for kind in ["ConfigMap", "Secret"] {
        let keeper = Arc::new(Keeper::default());
        bao.good(&keeper);
        keeper.set("ca/ca.crt", &pem);
        let reference = json!({ "kind": kind, "name": "ca", "key": "ca.crt" });
        let store = open(bao.with(&json!({ "server": address, "caBundleRef": reference })), keeper).await?;
        store.read(ALLOWED).await.with_context(|| format!("the CA bundle of a {kind} is trusted"))?;
    }
    Ok(())
}

pub async fn sealed(_: Shared) -> Result<()> {
    let bao = Bao::start().await?;
    let store = opened(&bao, None).await?;
    store.read(ALLOWED).await?;
    bao.server.seal().await?;
    let error = refused(&bao, store.read(ALLOWED).await, StoreErrorKind::Unavailable)?;
    ensure!(error.text.contains("sealed"), "{error}");
    refused(&bao, store.store.probe().await, StoreErrorKind::Unavailable)?;
    Ok(())
}

pub async fn searchable(bao: Shared) -> Result<()> {
    let probe = opened(&*bao, None).await?.store.probe().await?;
    ensure!(probe.capabilities.contains(&Capability::Find), "{probe:?}");
    Ok(())
}

/// Values are JSON, so bytes are in base64.
pub async fn binary(bao: Shared) -> Result<()> {
    let (store, key) = (opened(&*bao, None).await?, key("binary"));
    let bytes: Vec<u8> = (0..=255).collect();
    let encode = base64::engine::general_purpose::STANDARD;
    bao.put(&key, &bao.value(&encode.encode(&bytes))).await?;
    let read: Value = serde_json::from_slice(&store.read(&key).await?.0)?;
    ensure!(encode.decode(read["a"].as_str().context("a text")?)? == bytes);
    Ok(())
}

pub async fn many_keys(bao: Shared) -> Result<()> {
    let (store, folder) = (opened(&*bao, None).await?, key("many"));
    let mut locators = Vec::new();
    for number in 0..20 {
        let key = format!("{folder}/{number}");
        if number % 5 != 3 {
            bao.put(&key, &bao.value(&number.to_string())).await?;
        }
        locators.push(Locator { key, pin: Pin::Current });
    }
    locators.push(Locator { key: "../sys".to_owned(), pin: Pin::Current });
    let answers = store.read_all(&locators).await;
    ensure!(answers.len() == 21, "{} answers", answers.len());
    for (number, answer) in answers.into_iter().enumerate() {
        match number {
            20 => drop(refused(&*bao, answer, StoreErrorKind::InvalidKey)?),
            number if number % 5 == 3 => drop(refused(&*bao, answer, StoreErrorKind::NotFound)?),
            number => ensure!(answer?.bytes.expose() == bao.value(&number.to_string()), "answer {number}"),
        }
    }
    Ok(())
}

/// Answers that arrive side by side stay within the allowance together, and no request follows once it is used up.
pub async fn bounded(bao: Shared) -> Result<()> {
    const VALUE: usize = 900 * 1024;
    let value = json!({"data": {
        "data": {"a": "x".repeat(VALUE)},
        "metadata": {"version": 1, "created_time": "", "deletion_time": "", "destroyed": false},
    }});
    let answer = value.to_string();
    let address = stub::answering(move |_| stub::http("200 OK", "", &answer)).await?;
    let store = opened(&*bao, Some(&address)).await?;
    let locators: Vec<Locator> =
        (0..200).map(|number| Locator { key: number.to_string(), pin: Pin::Current }).collect();
    let allowance = Allowance::new(4 * 1024 * 1024);
    let answers = store.store.read_all(&locators, &allowance).await;
    ensure!(answers.len() == 200 && allowance.is_over());
    ensure!(allowance.most() <= 4 * 1024 * 1024, "{} bytes at once", allowance.most());
    ensure!((4..=12).contains(&allowance.requests()), "{} requests", allowance.requests());
    for answer in answers.into_iter().filter(Result::is_err) {
        refused(&*bao, answer, StoreErrorKind::TooMuch)?;
    }
    // As many as there is room for come, and the room is the values' alone afterwards.
    let allowance = Allowance::new(4 * VALUE);
    ensure!(store.store.read_all(&locators[..1], &allowance).await[0].is_ok());
    let (left, all) = (allowance.left(), 4 * VALUE);
    ensure!((all - left).abs_diff(VALUE) < 100, "{left} of {all} bytes are left");
    Ok(())
}
