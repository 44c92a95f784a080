//! Parameter Store, as the emulator has it, in the suite, and what only it has.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use rekey_core::store::{Pin, StoreErrorKind};
use rekey_testkit::moto::Moto;
use serde_json::{Value, json};

use crate::{
    aws::{Aws, GUARDED, read_all},
    keeper::Keeper,
    stub,
    subject::{CANARY, Subject, opened, refused},
};

/// The other service of the same emulators.
pub struct Parameters(pub Arc<Aws>);

#[async_trait]
impl Subject for Parameters {
    fn name(&self) -> &'static str {
        "parameters"
    }

    fn provider(&self, address: Option<&str>) -> Value {
        let mut provider = self.0.provider(address);
        provider["aws"]["service"] = json!("ParameterStore");
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
        text.as_bytes().to_vec()
    }

    async fn put(&self, key: &str, value: &[u8]) -> Result<String> {
        put(self.0.server(), key, std::str::from_utf8(value)?, &json!({ "Overwrite": true })).await
    }

    fn guarded(&self) -> (Option<String>, String) {
        (Some(self.0.guard().to_owned()), format!("/{GUARDED}"))
    }

    fn is_idempotent(&self) -> bool {
        false
    }

    fn path(&self, key: &str) -> String {
        format!("/{key}")
    }

    fn room(&self) -> usize {
        4096
    }

    fn identity(&self) -> &'static str {
        "arn:aws:"
    }
}

/// Puts a parameter, a secure one unless said otherwise; returns its version.
pub async fn put(moto: &Moto, key: &str, value: &str, more: &Value) -> Result<String> {
    let mut asked = json!({ "Name": key, "Value": value, "Type": "SecureString" });
    for (field, value) in more.as_object().into_iter().flatten() {
        asked[field] = value.clone();
    }
    Ok(moto.parameter_store("PutParameter", &asked).await?["Version"].to_string())
}

async fn kind(moto: &Moto, key: &str) -> Result<Value> {
    let answer = moto.parameter_store("GetParameter", &json!({ "Name": key, "WithDecryption": true })).await?;
    Ok(answer["Parameter"]["Type"].clone())
}

type Shared = Arc<Parameters>;

pub async fn kinds(parameters: Shared) -> Result<()> {
    let (store, moto) = (opened(&*parameters, None).await?, parameters.0.server());
    for (name, old) in [("String", "text"), ("StringList", "a,b,c"), ("SecureString", CANARY)] {
        let key = parameters.key(name);
        let base = put(moto, &key, old, &json!({ "Type": name })).await?;
        ensure!(store.read(&key).await? == (old.as_bytes().to_vec(), base.clone()), "{name}");
        let version = store.write(&key, Some(&base), b"d,e").await?;
        ensure!(store.read(&key).await? == (b"d,e".to_vec(), version), "{name}");
        ensure!(kind(moto, &key).await? == name, "a write keeps the type");
    }
    let key = parameters.key("new");
    store.write(&key, None, CANARY.as_bytes()).await?;
    ensure!(kind(moto, &key).await? == "SecureString", "a new parameter is encrypted");
    Ok(())
}

/// The emulator keeps the KMS key by itself; AWS would take the default one.
pub async fn kept_as_it_was(parameters: Shared) -> Result<()> {
    let written = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&written);
    let address = stub::answering(move |request| {
        let answer = if request.contains("AmazonSSM.PutParameter") {
            if let Ok(mut seen) = seen.lock() {
                request.clone_into(&mut seen);
            }
            json!({ "Version": 8, "Tier": "Standard" })
        } else if request.contains("AmazonSSM.DescribeParameters") {
            json!({ "Parameters": [{ "Name": "/shop/db", "Type": "SecureString", "KeyId": "alias/shop", "Version": 7 }] })
        } else {
            json!({ "Parameter": { "Name": "/shop/db", "Type": "SecureString", "Value": CANARY, "Version": 7 } })
        };
        stub::http("200 OK", "", &answer.to_string())
    });
    let store = opened(&*parameters, Some(&address.await?)).await?;
    ensure!(store.write("/shop/db", Some("7"), b"new").await? == "8");
    let written = written.lock().map(|text| text.clone()).unwrap_or_default();
    ensure!(written.contains("\"KeyId\":\"alias/shop\"") && written.contains("\"Overwrite\":true"), "{written}");
    ensure!(!written.contains("\"Tier\""), "Rekey does not choose a tier that costs money: {written}");
    Ok(())
}

pub async fn label_pin(parameters: Shared) -> Result<()> {
    let (store, key, moto) = (opened(&*parameters, None).await?, parameters.key("label"), parameters.0.server());
    let first = parameters.put(&key, b"first").await?;
    let second = parameters.put(&key, b"second").await?;
    let asked = json!({ "Name": key, "ParameterVersion": 1, "Labels": ["live"] });
    moto.parameter_store("LabelParameterVersion", &asked).await?;
    let live = || Pin::Stage("live".to_owned());
    ensure!(store.read_at(&key, live()).await? == (b"first".to_vec(), first.clone()));
    refused(&*parameters, store.read_at(&key, Pin::Stage("none".to_owned())).await, StoreErrorKind::NotFound)?;
    let mut all = read_all(&store, &[(&key, live()), (&key, Pin::Current), (&key, Pin::Version(first.clone()))]).await;
    ensure!(all.remove(0)? == (b"first".to_vec(), first.clone()), "by label");
    ensure!(all.remove(0)? == (b"second".to_vec(), second), "the current one");
    ensure!(all.remove(0)? == (b"first".to_vec(), first), "by version");
    Ok(())
}

pub async fn names(parameters: Shared) -> Result<()> {
    let store = opened(&*parameters, None).await?;
    let error = refused(&*parameters, store.read("shop/db").await, StoreErrorKind::InvalidKey)?;
    ensure!(error.text.contains("\"/shop/db\""), "{error}");
    let error = refused(&*parameters, store.write("shop/db", None, b"a").await, StoreErrorKind::InvalidKey)?;
    ensure!(error.text.contains("\"/shop/db\""), "{error}");
    let plain = format!("plain-{}", uuid::Uuid::now_v7());
    let version = store.write(&plain, None, b"a").await?;
    ensure!(store.read(&plain).await? == (b"a".to_vec(), version), "a name without a path");
    for key in ["/shop/db:3", "/shop/db/", "/shop//db", "/", " /shop/db", "/shop%2Fdb"] {
        let error = refused(&*parameters, store.read(key).await, StoreErrorKind::InvalidKey)?;
        ensure!(error.text.contains("write "), "{error}");
    }
    for pin in [Pin::Version("latest".into()), Pin::Stage("1".into())] {
        refused(&*parameters, store.read_at("/shop/db", pin).await, StoreErrorKind::InvalidKey)?;
    }
    Ok(())
}

pub async fn limits(parameters: Shared) -> Result<()> {
    let store = opened(&*parameters, None).await?;
    let key = parameters.key("limit");
    for value in [vec![b'a'; 8193], Vec::new()] {
        let error = refused(&*parameters, store.write(&key, None, &value).await, StoreErrorKind::Invalid)?;
        ensure!(error.text.contains("4096") && error.text.contains("8192"), "{error}");
    }
    let error = refused(&*parameters, store.write(&key, None, &[0, 159, 146, 150]).await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("UTF-8"), "{error}");
    store.write(&key, None, &vec![b'a'; 8192]).await.context("AWS decides by the tier")?;
    let refusing = json!({ "__type": "ValidationException", "message": CANARY }).to_string();
    let missing = json!({ "__type": "ParameterNotFound" }).to_string();
    let address = stub::answering(move |request| {
        let answer = if request.contains("AmazonSSM.PutParameter") { &refusing } else { &missing };
        stub::http("400 Bad Request", "", answer)
    });
    let store = opened(&*parameters, Some(&address.await?)).await?;
    let written = store.write("/shop/db", None, &vec![b'a'; 4097]).await;
    let error = refused(&*parameters, written, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("more than 4096 bytes needs a parameter of the advanced tier"), "{error}");
    Ok(())
}

pub async fn batches(parameters: Shared) -> Result<()> {
    let moto = Moto::start().await?;
    let store = opened(&*parameters, Some(moto.endpoint())).await?;
    let keys: Vec<String> = (0..22).map(|number| format!("/shop/{number}")).collect();
    for key in &keys {
        put(&moto, key, &format!("{CANARY} {key}"), &json!({})).await?;
    }
    let mut asked: Vec<(&str, Pin)> = keys.iter().rev().map(|key| (key.as_str(), Pin::Current)).collect();
    asked.extend([("/shop/nobody", Pin::Current), ("no/slash", Pin::Current), ("/shop/3", Pin::Version("9".into()))]);
    asked.push(("/shop/3", Pin::Current));
    let mark = moto.mark()?;
    let mut answers = read_all(&store, &asked).await.into_iter();
    for key in keys.iter().rev() {
        ensure!(answers.next().context("too few")?? == (format!("{CANARY} {key}").into_bytes(), "1".to_owned()));
    }
    let error = refused(&*parameters, answers.next().context("too few")?, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("/shop/nobody"), "{error}");
    refused(&*parameters, answers.next().context("too few")?, StoreErrorKind::InvalidKey)?;
    refused(&*parameters, answers.next().context("too few")?, StoreErrorKind::NotFound)?;
    ensure!(answers.next().context("too few")?? == (format!("{CANARY} /shop/3").into_bytes(), "1".to_owned()));
    let asked = moto.requests_since(mark)?;
    let count = |operation: &str| asked.get(&format!("AmazonSSM.{operation}")).copied().unwrap_or_default();
    // 24 names at once; those that are not there are asked for singly, to say why.
    ensure!((count("GetParameters"), count("GetParameter")) == (3, 2), "{asked:?}");
    Ok(())
}

/// AWS refuses a whole batch for one key that may not be read: the others must not suffer.
pub async fn batches_denied(parameters: Shared) -> Result<()> {
    let batches = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&batches);
    let address = stub::answering(move |request| {
        let denied = json!({ "__type": "AccessDeniedException", "Message": CANARY }).to_string();
        if request.contains("AmazonSSM.GetParameters") {
            count.fetch_add(1, Ordering::SeqCst);
            return stub::http("400 Bad Request", "", &denied);
        }
        if request.contains("/shop/secret") {
            return stub::http("400 Bad Request", "", &denied);
        }
        let value = json!({ "Parameter": { "Name": "/shop/a", "Type": "String", "Value": "one", "Version": 4 } });
        stub::http("200 OK", "", &value.to_string())
    });
    let store = opened(&*parameters, Some(&address.await?)).await?;
    let mut answers = read_all(&store, &[("/shop/a", Pin::Current), ("/shop/secret", Pin::Current)]).await;
    ensure!(answers.remove(0)? == (b"one".to_vec(), "4".to_owned()));
    let error = refused(&*parameters, answers.remove(0), StoreErrorKind::Denied)?;
    ensure!(error.text.contains("/shop/secret") && error.text.contains("ssm:GetParameter"), "{error}");
    ensure!(batches.load(Ordering::SeqCst) == 1);
    Ok(())
}

/// Without a check by AWS both writes may happen; then at most one of them reports success.
pub async fn raced(parameters: Shared) -> Result<()> {
    let (store, key) = (opened(&*parameters, None).await?, parameters.key("race"));
    let base = parameters.put(&key, b"old").await?;
    let (one, two) = tokio::join!(store.write(&key, Some(&base), b"one"), store.write(&key, Some(&base), b"two"));
    ensure!(one.is_err() || two.is_err(), "both won: {one:?} {two:?}");
    for error in [one.err(), two.err()].into_iter().flatten() {
        ensure!(error.kind == StoreErrorKind::Conflict, "{error:?}");
    }
    let new = parameters.key("race-new");
    let (one, two) = tokio::join!(store.write(&new, None, b"one"), store.write(&new, None, b"two"));
    let (value, version) = store.read(&new).await?;
    ensure!(version == "1", "a new parameter is made once: {one:?} {two:?}");
    let winner = if one.is_ok() { b"one" } else { b"two" };
    ensure!(one.is_ok() != two.is_ok() && value == winner, "{one:?} {two:?}");
    Ok(())
}
