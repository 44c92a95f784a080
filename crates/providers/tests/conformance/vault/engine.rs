//! Requests to engines.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use rekey_core::{
    store::{Answer, Call, CallMethod, StoreError, StoreErrorKind},
    time::LONGEST_LIFE,
};
use rekey_testkit::postgres::Postgres;
use reqwest::Method;
use serde_json::Value;

use super::Shared;
use crate::{
    keeper::Keeper,
    stub,
    subject::{CANARY, Opened, Subject, open_for, opened, refused},
};

async fn call(
    store: &Opened,
    method: CallMethod,
    path: &str,
    parameters: &[(&str, &str)],
) -> Result<Answer, StoreError> {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    store.store.call(&Call { path: path.to_owned(), method, parameters }).await
}

fn data(answer: &Answer) -> Result<Value> {
    Ok(serde_json::from_slice(answer.value.bytes.expose())?)
}

/// By `Post` through a store that may be written only: an engine may be another mount of values.
pub async fn certificates_issued(bao: Shared) -> Result<()> {
    bao.server.enable_pki("pki", "web").await?;
    let keeper = Keeper::default();
    bao.good(&keeper);
    let issue = [("common_name", "web.shop"), ("ttl", "1h"), ("alt_names", "a.shop,b.shop")];
    let keeper = Arc::new(keeper);
    let closed = open_for("ReadOnly", bao.provider(None), Arc::clone(&keeper)).await?;
    let error =
        refused(&*bao, call(&closed, CallMethod::Post, "pki/issue/web", &issue).await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("a Post to an engine needs ReadWrite"), "{error}");
    let store = open_for("ReadWrite", bao.provider(None), keeper).await?;
    let answer = call(&store, CallMethod::Post, "pki/issue/web", &issue).await?;
    let issued = data(&answer)?;
    ensure!(issued["private_key"].as_str().is_some_and(|key| key.contains("PRIVATE KEY")), "no key");
    ensure!(issued["serial_number"].as_str() == Some(answer.value.version.as_str()), "{:?}", answer.value.version);
    ensure!(!answer.is_stable, "each request issues another one");
    let lifetime = answer.lifetime.context("certificates expire")?;
    ensure!((Duration::from_secs(3590)..=Duration::from_secs(3630)).contains(&lifetime), "{lifetime:?}");
    let other = call(&store, CallMethod::Post, "pki/issue/web", &issue).await?;
    ensure!(other.value.version != answer.value.version);

    let read = call(&store, CallMethod::Get, &format!("pki/cert/{}", answer.value.version), &[]).await?;
    ensure!(data(&read)?["certificate"] == issued["certificate"], "a request by Get");
    let error =
        refused(&*bao, call(&store, CallMethod::Post, "pki/issue/nobody", &issue).await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("Post of pki/issue/nobody"), "{error}");
    Ok(())
}

pub async fn database_roles(bao: Shared) -> Result<()> {
    let postgres = tokio::task::spawn_blocking(Postgres::start).await??;
    bao.server.enable_database("database", &postgres, "app", "app_user").await?;
    let store = opened(&*bao, None).await?;
    let read = async || call(&store, CallMethod::Get, "database/static-creds/app", &[]).await;
    let answer = read().await?;
    let login = data(&answer)?;
    ensure!(login["username"] == "app_user");
    let password = login["password"].as_str().context("a password")?;
    ensure!(postgres.login("app_user", password)?, "the password is good");
    ensure!(answer.is_stable && answer.value.version.starts_with("20"), "{:?}", answer.value.version);
    let lifetime = answer.lifetime.context("it is rotated in an hour")?;
    ensure!((Duration::from_secs(3500)..=Duration::from_hours(1)).contains(&lifetime), "{lifetime:?}");
    ensure!(read().await?.value.version == answer.value.version, "asking again gives the same");
    bao.server.request(Method::POST, "database/rotate-role/app", None).await?;
    let next = read().await?;
    ensure!(next.value.version != answer.value.version && data(&next)?["password"] != login["password"]);

    // The other kind comes with a lease.
    let users = "select count(*) from pg_roles where rolname like 'v-%'";
    let result = call(&store, CallMethod::Get, "database/creds/app-made", &[]).await;
    let leased =
        StoreErrorKind::NotSupported { field: "spec.source.vaultEngine.path (dynamic credentials with a lease)" };
    let error = refused(&*bao, result, leased)?;
    ensure!(
        error.text.contains("static role") && error.text.contains("database/creds/app-made was revoked at once"),
        "{error}"
    );
    ensure!(postgres.sql(users)? == "0", "the user that was made is gone");

    bao.server.policy("creds", "path \"database/creds/app-made\" { capabilities = [\"read\"] }").await?;
    let limited = opened(&*bao, None).await?;
    limited.keeper.set("vault/token", &bao.server.token_for("creds").await?);
    let result = call(&limited, CallMethod::Get, "database/creds/app-made", &[]).await;
    let error = refused(&*bao, result, leased)?;
    ensure!(error.text.contains("could not be revoked") && error.text.contains("sys/leases/revoke"), "{error}");
    ensure!(!error.text.contains("database/creds/app-made/"), "the text has no id of the lease: {error}");
    Ok(())
}

pub async fn engine_refusals(bao: Shared) -> Result<()> {
    use CallMethod::{Get, Post};
    let store = opened(&*bao, None).await?;
    let table = [
        (Get, "sys/mounts", StoreErrorKind::InvalidKey, "sys or auth"),
        (Get, "auth/token/lookup-self", StoreErrorKind::InvalidKey, "sys or auth"),
        (Post, "secret/data/shop/allowed", StoreErrorKind::InvalidKey, "spec.source.remote"),
        (Get, "nowhere/creds/app", StoreErrorKind::NotFound, "Get of nowhere/creds/app"),
        (Post, "cubbyhole/a", StoreErrorKind::Invalid, "has no data"),
        (Post, "identity/entity/id", StoreErrorKind::Invalid, "spec.source.vaultEngine"),
    ];
    for (method, path, kind, expected) in table {
        let error = refused(&*bao, call(&store, method, path, &[("a", "b")]).await, kind);
        let error = error.with_context(|| format!("{method:?} {path}"))?;
        ensure!(error.text.contains(expected), "{path}: {error}");
    }
    let limited = opened(&*bao, None).await?;
    limited.keeper.set("vault/token", &bao.token);
    for (method, right) in [(Get, "read"), (Post, "create and update")] {
        let error = refused(&*bao, call(&limited, method, "transit/keys/a", &[]).await, StoreErrorKind::Denied)?;
        ensure!(error.text.ends_with(&format!("allows {right} on transit/keys/a")), "{error}");
    }
    Ok(())
}

/// The answer is passed on as it is, and its end is computed by the server's clock.
pub async fn engine_answers(bao: Shared) -> Result<()> {
    const DATE: &str = "date: Wed, 25 Nov 2026 13:00:00 GMT\r\n";
    let body = |data: &str| format!(r#"{{"lease_id":"","data":{data}}}"#);
    let odd = format!(r#"{{ "b":1.50,"a":"{CANARY}","expiration":1795611630}}"#);
    let address = {
        let answer = body(&odd);
        stub::answering(move |request| {
            let asked = request.lines().next().unwrap_or_default();
            let is_right = asked == "GET /v1/a/creds/b%C3%A4c?x=1+%26&y=%C3%BC HTTP/1.1";
            if is_right { stub::http("200 OK", DATE, &answer) } else { stub::http("404 Not Found", DATE, "{}") }
        })
        .await?
    };
    let token = stub::answering(|_| stub::http("200 OK", "", r#"{"data":{"token":"t","ttl":3600}}"#)).await?;
    let answer = call(&opened(&*bao, Some(&token)).await?, CallMethod::Get, "identity/oidc/token/a", &[]).await?;
    ensure!(!answer.is_stable && answer.lifetime == Some(Duration::from_hours(1)), "{:?}", answer.lifetime);
    let store = opened(&*bao, Some(&address)).await?;
    let answer = call(&store, CallMethod::Get, "a/creds/bäc", &[("x", "1 &"), ("y", "ü")]).await?;
    ensure!(answer.value.bytes.expose() == odd.as_bytes());
    ensure!(answer.lifetime == Some(Duration::from_secs(30)), "{:?}", answer.lifetime);
    // No number is too large, and none makes a life that no clock holds.
    for data in [r#"{"ttl":9e15}"#, r#"{"ttl":18446744073709551615}"#, r#"{"expiration":9000000000000000}"#] {
        let body = body(data);
        let address = stub::answering(move |_| stub::http("200 OK", DATE, &body)).await?;
        let answer = call(&opened(&*bao, Some(&address)).await?, CallMethod::Get, "a/b", &[]).await?;
        ensure!(answer.lifetime == Some(LONGEST_LIFE), "{data}: {:?}", answer.lifetime);
    }
    let table = [
        ("", body(r#"{"token":"t","ttl":0}"#), "expired already"),
        (DATE, body(r#"{"expiration":1795600000}"#), "expired already"),
        ("", body(r#"{"expiration":1795611630}"#), "Date"),
        (DATE, body("null"), "not a JSON object"),
        (DATE, "<html>".to_owned(), "documented form"),
    ];
    for (headers, body, expected) in table {
        let address = stub::answering(move |_| stub::http("200 OK", headers, &body)).await?;
        let store = opened(&*bao, Some(&address)).await?;
        let error = refused(&*bao, call(&store, CallMethod::Get, "a/b", &[]).await, StoreErrorKind::Malformed)?;
        ensure!(error.text.contains(expected), "{error}");
    }
    Ok(())
}
