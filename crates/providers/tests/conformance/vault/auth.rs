//! Ways to log in, and renewals of logins.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::SigningKey as _;
use rekey_core::store::StoreErrorKind;
use rekey_testkit::bao::{Mark, OpenBao};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ALLOWED, Bao, Shared};
use crate::{
    keeper::Keeper,
    stub,
    subject::{BAD, CANARY, Opened, Subject, open, opened, refused},
};

/// Enables the Kubernetes auth method; returns the token that it knows.
pub async fn kubernetes(server: &OpenBao) -> Result<String> {
    let account = account_token("reader");
    let known = account.clone();
    let reviewer = stub::answering(move |request| review(request, &known)).await?;
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?.cert.pem();
    server.enable_kubernetes_auth(&reviewer, &certificate, &account_token("reviewer")).await?;
    server.kubernetes_role("shop", "shop", "reader", "shop", "vault").await?;
    Ok(account)
}

/// A token in the form of Kubernetes; the reviewer decides whether it is good.
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

/// Logs in as a `ServiceAccount`, whose token and role can be wrong.
async fn as_account(bao: &Bao, role: &str, token: &str) -> Result<Opened> {
    let account = json!({ "name": "reader", "audiences": ["vault"] });
    let keeper = Arc::new(Keeper::default());
    keeper.set("reader", token);
    open(bao.with(&json!({ "auth": { "kubernetes": { "role": role, "serviceAccountRef": account } } })), keeper).await
}

pub async fn kubernetes_login(bao: Shared) -> Result<()> {
    let store = as_account(&bao, "shop", &bao.account).await?;
    let probe = store.store.probe().await?;
    ensure!(probe.identity.starts_with("role shop at 127.0.0.1:"), "{probe:?}");
    let mark = bao.server.mark()?;
    let fresh = as_account(&bao, "shop", &bao.account).await?;
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
    let store = as_account(&bao, "shop", &forged).await?;
    let error = refused(&*bao, store.read(ALLOWED).await, StoreErrorKind::Denied);
    let error = error.context("a token that the API server does not know")?;
    ensure!(error.text.contains("at auth/kubernetes with role shop was refused"), "{error}");
    ensure!(error.text.contains("binds ServiceAccount reader and the audience vault"), "{error}");
    ensure!(!error.text.contains(&forged), "{error}");
    store.keeper.set("reader", &bao.account);
    store.read(ALLOWED).await.context("the account is good now")?;
    let store = as_account(&bao, "nobody", &bao.account).await?;
    refused(&*bao, store.read(ALLOWED).await, StoreErrorKind::Denied).context("a role that does not exist")?;
    Ok(())
}

/// A login that claims a longer life than any clock counts is used like one without end.
pub async fn endless_login(bao: Shared) -> Result<()> {
    for lease in ["9000000000000000", "18446744073709551615", "1e300"] {
        let address = stub::answering(move |request| {
            let login = format!(r#"{{"auth":{{"client_token":"t","lease_duration":{lease},"renewable":true}}}}"#);
            let value = r#"{"data":{"data":{"a":"b"},"metadata":{"version":1,"created_time":"","deletion_time":"","destroyed":false}}}"#;
            stub::http("200 OK", "", if request.contains("/login") { login.as_str() } else { value })
        });
        let account = json!({ "name": "reader", "audiences": ["vault"] });
        let auth = json!({ "kubernetes": { "role": "shop", "serviceAccountRef": account } });
        let keeper = Arc::new(Keeper::default());
        keeper.set("reader", &bao.account);
        let store = open(bao.with(&json!({ "auth": auth, "server": address.await? })), keeper).await?;
        store.read(ALLOWED).await.with_context(|| format!("a lease of {lease}"))?;
        store.read(ALLOWED).await.context("the same login again")?;
        ensure!(store.keeper.reads() == 1, "{lease}: {} logins", store.keeper.reads());
    }
    Ok(())
}

/// Waits for requests that a store makes by itself; how many of a kind with one client.
async fn until_asked(bao: &Bao, mark: Mark, asked: (&str, &str), times: usize) -> Result<()> {
    let patience = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let requests = bao.server.requests_since(mark)?;
            if requests.iter().filter(|seen| (seen.client.as_str(), seen.path.as_str()) == asked).count() >= times {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    patience.await.with_context(|| format!("{asked:?} was not asked {times} times"))?
}

/// A token from a Secret that is good for two seconds outlives them without being used.
pub async fn idle_token(bao: Shared) -> Result<()> {
    let asked = json!({ "policies": ["shop"], "ttl": "2s", "renewable": true, "display_name": "idle" });
    let made = bao.server.request(Method::POST, "auth/token/create", Some(&asked)).await?;
    let token = made["auth"]["client_token"].as_str().context("a token")?;
    let store = opened(&*bao, None).await?;
    store.keeper.set("vault/token", token);
    let mark = bao.server.mark()?;
    store.read(ALLOWED).await?;
    until_asked(&bao, mark, ("token-idle", "auth/token/renew-self"), 4).await?;
    ensure!(store.keeper.reads() >= 4, "the Secret is read afresh for each renewal");
    store.read(ALLOWED).await?;
    Ok(())
}

async fn app_role(bao: &Bao, role_id: &str, secret_id: &str) -> Result<Opened> {
    let keeper = Arc::new(Keeper::default());
    keeper.set("approle/secretId", &format!("{secret_id}\n"));
    let reference = json!({ "name": "approle", "key": "secretId" });
    open(bao.with(&json!({ "auth": { "appRole": { "roleId": role_id, "secretRef": reference } } })), keeper).await
}

/// A login that is good for three seconds is renewed without being used, and replaced when it has lived for seven.
pub async fn app_role_login(bao: Shared) -> Result<()> {
    let (role_id, secret_id) = bao.server.enable_app_role("shop", "shop", "3s", "7s").await?;
    let store = app_role(&bao, &role_id, &secret_id).await?;
    let mark = bao.server.mark()?;
    ensure!(store.read(ALLOWED).await?.0 == bao.value(CANARY));
    let probe = store.store.probe().await?;
    ensure!(probe.identity.starts_with(&format!("AppRole {role_id} at 127.0.0.1:")), "{probe:?}");
    until_asked(&bao, mark, ("", "auth/approle/login"), 2).await?;
    let asked = bao.server.requests_since(mark)?.into_iter();
    let seen = asked.filter(|request| request.path == "auth/approle/login" || request.client == "approle");
    let seen: Vec<String> = seen.map(|request| request.path).collect();
    let last = seen.iter().rposition(|path| path == "auth/approle/login").unwrap_or_default();
    ensure!(
        seen[..last].iter().any(|path| path.ends_with("renew-self")),
        "it is renewed before it is replaced: {seen:?}"
    );
    store.read(ALLOWED).await.context("after its first token ended")?;

    let store = app_role(&bao, &role_id, BAD).await?;
    let error = refused(&*bao, store.read(ALLOWED).await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains("at auth/approle with AppRole"), "{error}");
    store.keeper.set("approle/secretId", &secret_id);
    store.read(ALLOWED).await.context("the secret id is read afresh")?;
    store.keeper.set("approle/secretId", " \n");
    let store = app_role(&bao, &role_id, " ").await?;
    refused(&*bao, store.read(ALLOWED).await, StoreErrorKind::Invalid)?;
    Ok(())
}

/// A token of the cluster, signed with `key`.
fn signed(key: &rcgen::KeyPair, subject: &str, audience: &str) -> Result<String> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({ "aud": [audience], "exp": 4_000_000_000_u64, "iat": 1_000_000_000, "sub": subject });
    let said = format!("{}.{}", part(&json!({ "alg": "EdDSA", "typ": "JWT" })), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(said.as_bytes())?);
    Ok(format!("{said}.{signature}"))
}

pub async fn jwt_login(bao: Shared) -> Result<()> {
    const READER: &str = "system:serviceaccount:shop:reader";
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    bao.server.enable_jwt_auth(&key.public_key_pem(), "shop", "shop", "vault", READER).await?;
    let account = json!({ "name": "reader", "audiences": ["vault"] });
    let provider = bao.with(&json!({ "auth": { "jwt": { "role": "shop", "serviceAccountRef": account } } }));
    let keeper = Arc::new(Keeper::default());
    keeper.set("reader", &signed(&key, READER, "vault")?);
    let store = open(provider.clone(), keeper).await?;
    ensure!(store.read(ALLOWED).await?.0 == bao.value(CANARY));
    ensure!(store.store.probe().await?.identity.starts_with("role shop at 127.0.0.1:"));
    bao.server.request(Method::POST, "sys/leases/revoke-prefix/auth/jwt/login", None).await?;
    store.read(ALLOWED).await.context("a new login after the session was revoked")?;

    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let wrong = [signed(&other, READER, "vault")?, signed(&key, READER, "other")?, signed(&key, "other", "vault")?];
    for token in wrong.into_iter().chain([BAD.to_owned()]) {
        let keeper = Arc::new(Keeper::default());
        keeper.set("reader", &token);
        let store = open(provider.clone(), keeper).await?;
        let error = refused(&*bao, store.read(ALLOWED).await, StoreErrorKind::Denied)?;
        ensure!(error.text.contains("at auth/jwt with role shop was refused"), "{error}");
        ensure!(error.text.contains("audience vault") && !error.text.contains(&token), "{error}");
    }
    Ok(())
}
