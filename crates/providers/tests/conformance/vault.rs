//! `OpenBao` in the suite, and what only it has.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rekey_core::store::{Pin, StoreErrorKind};
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
        let account = account_token("reader");
        let known = account.clone();
        let reviewer = stub::answering(move |request| review(request, &known)).await?;
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?.cert.pem();
        server.enable_kubernetes_auth(&reviewer, &certificate, &account_token("reviewer")).await?;
        server.kubernetes_role("shop", "shop", "reader", "shop", "vault").await?;
        Ok(Self { server, token, account })
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

    /// Logs in as a `ServiceAccount`, whose token and role can be wrong.
    async fn as_account(&self, role: &str, token: &str) -> Result<Opened> {
        let account = json!({ "name": "reader", "audiences": ["vault"] });
        let keeper = Arc::new(Keeper::default());
        keeper.set("reader", token);
        open(self.with(&json!({ "auth": { "kubernetes": { "role": role, "serviceAccountRef": account } } })), keeper)
            .await
    }
}

/// A token in the form of Kubernetes; the reviewer is the one who says whether it is good.
fn account_token(account: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let named = json!({ "namespace": "shop", "serviceaccount": { "name": account, "uid": "1" } });
    let claims = json!({
        "aud": ["vault"], "exp": 4_000_000_000_u64, "iat": 1_000_000_000, "iss": "test", "sub":
        format!("system:serviceaccount:shop:{account}"), "kubernetes.io": named,
    });
    let signature = URL_SAFE_NO_PAD.encode([7; 256]);
    format!("{}.{}.{signature}", part(&json!({ "alg": "RS256", "kid": "a" })), part(&claims))
}

/// The part of the API server that the auth method asks.
fn review(request: &str, known: &str) -> String {
    let user =
        json!({ "username": "system:serviceaccount:shop:reader", "uid": "1", "groups": ["system:serviceaccounts"] });
    let status = if request.contains(known) {
        json!({ "authenticated": true, "user": user, "audiences": ["vault"] })
    } else {
        json!({ "authenticated": false, "error": "unknown" })
    };
    let answer = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status });
    stub::http("201 Created", "content-type: application/json\r\n", &answer.to_string())
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
    refused(&*bao, store.read_at("shop/a", Pin::Stage("AWSCURRENT".into())).await, StoreErrorKind::Invalid)?;
    for version in ["0", "latest", "-1", "1.5"] {
        refused(&*bao, store.read_at("shop/a", Pin::Version(version.into())).await, StoreErrorKind::Invalid)?;
    }
    for key in ["../sys/mounts", "shop/../../sys/mounts", "", "/shop", "shop/", "shop//a"] {
        refused(&*bao, store.read(key).await, StoreErrorKind::Invalid)?;
    }
    let text = CANARY.as_bytes();
    refused(&*bao, store.write(&key("form"), None, text).await, StoreErrorKind::Invalid)?;
    let other = bao.open_with(&json!({ "mount": "other" })).await?;
    refused(&*bao, other.read("shop/a").await, StoreErrorKind::NotFound)?;
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

pub async fn kubernetes_login(bao: Shared) -> Result<()> {
    let store = bao.as_account("shop", &bao.account).await?;
    let probe = store.store.probe().await?;
    ensure!(probe.identity.starts_with("role shop at 127.0.0.1:"), "{probe:?}");
    let mark = bao.server.mark()?;
    let fresh = bao.as_account("shop", &bao.account).await?;
    let reads = (0..8).map(|_| fresh.read(ALLOWED));
    for read in futures::future::join_all(reads).await {
        ensure!(read?.0 == bao.value(CANARY));
    }
    // Other cases log in at the same time, but only this one uses this store.
    ensure!(fresh.keeper.reads() == 1, "eight reads share one login, not {}", fresh.keeper.reads());
    let paths = bao.server.reads_since(mark)?;
    ensure!(paths.keys().any(|(_, path)| path == "auth/kubernetes/login"), "{paths:?}");

    bao.server.request(Method::POST, "sys/leases/revoke-prefix/auth/kubernetes/login", None).await?;
    let (value, _) = fresh.read(ALLOWED).await.context("a new login after the session was revoked")?;
    ensure!(value == bao.value(CANARY) && fresh.keeper.reads() == 2, "{} logins", fresh.keeper.reads());
    Ok(())
}

pub async fn kubernetes_refused(bao: Shared) -> Result<()> {
    let forged = account_token(BAD);
    let store = bao.as_account("shop", &forged).await?;
    let error = refused(&*bao, store.read(ALLOWED).await, StoreErrorKind::Denied);
    let error = error.context("a token that the API server does not know")?;
    ensure!(error.text.contains("at auth/kubernetes with role \"shop\" was refused"), "{error}");
    ensure!(error.text.contains("binds ServiceAccount reader and the audience vault"), "{error}");
    ensure!(!error.text.contains(&forged), "{error}");
    store.keeper.set("reader", &bao.account);
    store.read(ALLOWED).await.context("the account is good now")?;
    let store = bao.as_account("nobody", &bao.account).await?;
    refused(&*bao, store.read(ALLOWED).await, StoreErrorKind::Denied).context("a role that does not exist")?;
    Ok(())
}

/// A token that is good for four seconds is used for seven.
pub async fn renewed_token(bao: Shared) -> Result<()> {
    let asked = json!({ "policies": ["shop"], "ttl": "4s", "renewable": true });
    let made = bao.server.request(Method::POST, "auth/token/create", Some(&asked)).await?;
    let token = made["auth"]["client_token"].as_str().context("a token")?;
    let store = opened(&*bao, None).await?;
    store.keeper.set("vault/token", token);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(7) {
        store.read(ALLOWED).await.with_context(|| format!("after {:?}", start.elapsed()))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!((3..=4).contains(&store.keeper.reads()), "renewed at two thirds, not {} times", store.keeper.reads());
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
    ensure!(store.read(&key).await? == (value, version));
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
        ensure!(error.text.contains("TLS with") && error.text.contains("caBundle"), "{error}");
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
