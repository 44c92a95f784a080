//! What stores keep of a value beside it: custom metadata, and tags.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rekey_core::store::{Locator, Pin, StoreErrorKind};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{
    aws::Aws,
    cases::key,
    parameters::{Parameters, put},
    stub,
    subject::{CANARY, Opened, Subject, opened, refused},
    vault::{Bao, kv1::Plain},
};

async fn read(store: &Opened, key: &str) -> Result<(String, String)> {
    let (bytes, version) = store.read_at(key, Pin::Metadata).await?;
    Ok((String::from_utf8(bytes)?, version))
}

/// The value and the metadata of one key, asked for together with those of another.
async fn together(store: &Opened, [key, other]: [&str; 2]) -> Result<Vec<String>> {
    let asked = [(key, Pin::Metadata), (key, Pin::Current), (other, Pin::Current), (other, Pin::Metadata)];
    let locators = asked.map(|(key, pin)| Locator { key: key.to_owned(), pin });
    let mut texts = Vec::new();
    for answer in store.read_all(&locators).await {
        texts.push(answer?.bytes.expose_text().context("text")?.to_owned());
    }
    Ok(texts)
}

pub async fn custom(bao: Arc<Bao>) -> Result<()> {
    let (store, key, other) = (opened(&*bao, None).await?, key("metadata"), key("metadata-other"));
    bao.put_tagged(&key, &bao.value("one"), &[("team", "a & <b>"), ("owner.name", "\u{fc} \"x\"")]).await?;
    bao.put(&other, &bao.value("two")).await?;
    let (text, first) = read(&store, &key).await?;
    ensure!(text == "{\"owner.name\":\"\u{fc} \\\"x\\\"\",\"team\":\"a & <b>\"}", "{text}");
    ensure!(!first.is_empty() && read(&store, &other).await?.0 == "{}", "none is an empty object");
    let (one, two) = ("{\"a\":\"one\"}", "{\"a\":\"two\"}");
    ensure!(together(&store, [&key, &other]).await? == [&*text, one, two, "{}"]);
    bao.put(&key, &bao.value("three")).await?;
    ensure!(read(&store, &key).await? == (text, first.clone()), "another value is no other metadata");
    let server = bao.server();
    let path = format!("secret/metadata/{key}");
    server.request(Method::POST, &path, Some(&json!({ "custom_metadata": { "team": "b" } }))).await?;
    let (text, second) = read(&store, &key).await?;
    ensure!(text == "{\"team\":\"b\"}" && second != first, "{second}");
    server.request(Method::DELETE, &format!("secret/data/{key}"), None).await?;
    ensure!(read(&store, &key).await? == (text, second.clone()), "it stays when the value is deleted");
    server.request(Method::DELETE, &path, None).await?;
    let error = refused(&*bao, store.read_at(&key, Pin::Metadata).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains(&key), "{error}");
    for team in ["c", "d"] {
        server.request(Method::POST, &path, Some(&json!({ "custom_metadata": { "team": team } }))).await?;
    }
    let (text, third) = read(&store, &key).await?;
    ensure!(text == "{\"team\":\"d\"}" && third != second, "as many writes, of another key: {third}");
    Ok(())
}

/// The right to read the value is none to read its metadata.
pub async fn custom_denied(bao: Arc<Bao>) -> Result<()> {
    let store = opened(&*bao, None).await?;
    let key = key("metadata-denied");
    bao.put_tagged(&key, &bao.value(CANARY), &[("team", "shop")]).await?;
    let policy = format!("path \"secret/data/{key}\" {{ capabilities = [\"read\"] }}");
    bao.server().policy("values-only", &policy).await?;
    store.keeper.set("vault/token", &bao.server().token_for("values-only").await?);
    store.read(&key).await?;
    let error = refused(&*bao, store.read_at(&key, Pin::Metadata).await, StoreErrorKind::Denied)?;
    ensure!(error.text.ends_with(&format!("allows read on secret/metadata/{key}")), "{error}");
    Ok(())
}

/// Where no one counts the changes, the version is unknown; the time of an update is that of the whole key.
pub async fn uncounted(bao: Arc<Bao>) -> Result<()> {
    let data = json!({
        "created_time": "2026-01-01T00:00:00Z", "updated_time": "2026-01-02T00:00:00Z", "current_version": 3,
        "custom_metadata": { "team": "shop" },
    });
    let answer = json!({ "data": data }).to_string();
    let address = stub::answering(move |_| stub::http("200 OK", "", &answer)).await?;
    let store = opened(&*bao, Some(&address)).await?;
    ensure!(read(&store, "shop/a").await? == ("{\"team\":\"shop\"}".to_owned(), String::new()));
    let strange = json!({ "data": { "custom_metadata": CANARY } }).to_string();
    let address = stub::answering(move |_| stub::http("200 OK", "", &strange)).await?;
    let store = opened(&*bao, Some(&address)).await?;
    refused(&*bao, store.read_at("shop/a", Pin::Metadata).await, StoreErrorKind::Malformed).map(drop)
}

pub async fn none_in_kv1(plain: Arc<Plain>) -> Result<()> {
    let store = opened(&*plain, None).await?;
    let error = refused(&*plain, store.read_at("shop/a", Pin::Metadata).await, StoreErrorKind::InvalidKey)?;
    ensure!(error.text.contains("write metadataPolicy: None"), "{error}");
    Ok(())
}

pub async fn secrets(aws: Arc<Aws>) -> Result<()> {
    let (store, moto) = (opened(&*aws, None).await?, aws.server());
    let [key, other] = ["a", "b"].map(|name| format!("metadata-{}/{name}", Uuid::now_v7()));
    let tags = json!([{ "Key": "team", "Value": "shop" }, { "Key": "empty", "Value": "" }]);
    moto.secrets_manager("CreateSecret", &json!({ "Name": key, "SecretString": "one", "Tags": tags })).await?;
    moto.create(&other, "two").await?;
    let expected = "{\"empty\":\"\",\"team\":\"shop\"}";
    ensure!(read(&store, &key).await? == (expected.to_owned(), String::new()), "no version that could be known");
    ensure!(together(&store, [&key, &other]).await? == [expected, "one", "two", "{}"]);
    let tag = json!({ "SecretId": key, "Tags": [{ "Key": "team", "Value": "other" }] });
    moto.secrets_manager("TagResource", &tag).await?;
    ensure!(read(&store, &key).await?.0 == "{\"empty\":\"\",\"team\":\"other\"}");
    moto.secrets_manager("DeleteSecret", &json!({ "SecretId": key })).await?;
    for key in [key, format!("{other}-nobody")] {
        let error = refused(&*aws, store.read_at(&key, Pin::Metadata).await, StoreErrorKind::NotFound)?;
        ensure!(error.text.contains(&key), "{error}");
    }
    let denied = json!({ "__type": "AccessDeniedException", "Message": CANARY }).to_string();
    let address = stub::answering(move |_| stub::http("400 Bad Request", "", &denied)).await?;
    let store = opened(&*aws, Some(&address)).await?;
    let error = refused(&*aws, store.read_at(&other, Pin::Metadata).await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains("secretsmanager:DescribeSecret"), "{error}");
    Ok(())
}

pub async fn parameters(parameters: Arc<Parameters>) -> Result<()> {
    let (store, moto) = (opened(&*parameters, None).await?, parameters.0.server());
    let [key, other] = ["a", "b"].map(|name| format!("/metadata-{}/{name}", Uuid::now_v7()));
    put(moto, &key, "one", &json!({ "Tags": [{ "Key": "team", "Value": "shop" }] })).await?;
    put(moto, &other, "two", &json!({})).await?;
    ensure!(read(&store, &key).await? == ("{\"team\":\"shop\"}".to_owned(), String::new()));
    ensure!(together(&store, [&key, &other]).await? == ["{\"team\":\"shop\"}", "one", "two", "{}"]);
    let missing = format!("{other}-nobody");
    let error = refused(&*parameters, store.read_at(&missing, Pin::Metadata).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains(&missing), "{error}");
    for (key, fix) in [
        ("shop/db", "write \"/shop/db\""),
        ("arn:aws:ssm:eu-west-1:123456789012:parameter/shop/db", "write key \"/shop/db\""),
        ("arn:aws:ssm:eu-west-1:123456789012:parameter/db", "write key \"db\" or \"/db\""),
        ("/aws/reference/secretsmanager/shop/db", "service SecretsManager"),
    ] {
        let error = refused(&*parameters, store.read_at(key, Pin::Metadata).await, StoreErrorKind::InvalidKey)?;
        ensure!(error.text.contains(fix), "{error}");
    }
    let denied = json!({ "__type": "AccessDeniedException", "Message": CANARY }).to_string();
    let address = stub::answering(move |_| stub::http("400 Bad Request", "", &denied)).await?;
    let store = opened(&*parameters, Some(&address)).await?;
    let error = refused(&*parameters, store.read_at(&other, Pin::Metadata).await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains("ssm:ListTagsForResource"), "{error}");
    Ok(())
}
