//! Secrets Manager, as the emulator has it, in the suite, and what only it has.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use rekey_core::store::{Allowance, Locator, Pin, StoreError, StoreErrorKind};
use rekey_testkit::moto::{Moto, REGION, Version};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cases::key,
    keeper::Keeper,
    stub,
    subject::{BAD, CANARY, Opened, Subject, opened, refused, write},
};

const PENDING: &str = "AWSPENDING";
/// The key that is on the guarded emulator, for Parameter Store with a slash before it.
pub const GUARDED: &str = "shop/guarded";

/// Two emulators: an open one, and one that checks signatures and rights.
pub struct Aws {
    server: Moto,
    guard: Moto,
    id: String,
    secret: String,
}

impl Aws {
    /// Starts and fills them.
    pub async fn start() -> Result<Self> {
        let (server, guard) = tokio::try_join!(Moto::start(), Moto::start())?;
        guard.create(GUARDED, CANARY).await?;
        let parameter = json!({ "Name": format!("/{GUARDED}"), "Value": CANARY, "Type": "SecureString" });
        guard.parameter_store("PutParameter", &parameter).await?;
        iam(&guard, &[("Action", "CreateUser"), ("UserName", "shop")]).await?;
        let rights = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": ["secretsmanager:*", "ssm:*", "sts:*"], "Resource": "*" }] });
        let rights = rights.to_string();
        let policy = [("PolicyName", "shop"), ("PolicyDocument", &rights)];
        iam(&guard, &[&[("Action", "PutUserPolicy"), ("UserName", "shop")], &policy[..]].concat()).await?;
        let user = json!({ "AWS": "arn:aws:iam::123456789012:user/shop" });
        let asks = json!({ "StringEquals": { "sts:ExternalId": "shop" } });
        let trusts = json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": user, "Condition": asks });
        let trust = json!({ "Version": "2012-10-17", "Statement": [trusts] });
        let trust = ("AssumeRolePolicyDocument", &*trust.to_string());
        iam(&guard, &[("Action", "CreateRole"), ("RoleName", "reader"), trust]).await?;
        iam(&guard, &[&[("Action", "PutRolePolicy"), ("RoleName", "reader")], &policy[..]].concat()).await?;
        let made = iam(&guard, &[("Action", "CreateAccessKey"), ("UserName", "shop")]).await?;
        let part = |name: &str| {
            let (_, rest) = made.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        let (id, secret) = part("AccessKeyId").zip(part("SecretAccessKey")).context("an access key")?;
        let locked = client()?.post(format!("{}/moto-api/reset-auth", guard.endpoint())).body("0").send().await?;
        locked.error_for_status()?;
        Ok(Self { server, guard, id, secret })
    }

    /// The open emulator.
    pub fn server(&self) -> &Moto {
        &self.server
    }

    /// The address of the one that checks signatures and rights.
    pub fn guard(&self) -> &str {
        self.guard.endpoint()
    }

    async fn versions(&self, key: &str) -> Result<Vec<Version>> {
        self.server.versions(key).await
    }

    /// The version in a stage.
    async fn holder(&self, key: &str, stage: &str) -> Result<Option<String>> {
        let holds = |version: &Version| version.stages.iter().any(|other| other == stage);
        Ok(self.versions(key).await?.into_iter().find(holds).map(|version| version.id))
    }
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

async fn iam(moto: &Moto, form: &[(&str, &str)]) -> Result<String> {
    let mut url = reqwest::Url::parse(moto.endpoint())?;
    url.query_pairs_mut().extend_pairs(form);
    let scope =
        format!("AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/iam/aws4_request, SignedHeaders=host, Signature=a");
    let answer = client()?.post(url).header("authorization", scope).send().await?;
    Ok(answer.error_for_status()?.text().await?)
}

#[async_trait]
impl Subject for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn provider(&self, address: Option<&str>) -> Value {
        let (id, secret) = (json!({ "name": "aws", "key": "id" }), json!({ "name": "aws", "key": "secret" }));
        let auth = json!({ "secretRef": { "accessKeyId": id, "secretAccessKey": secret } });
        let endpoint = address.unwrap_or(self.server.endpoint());
        json!({ "aws": { "service": "SecretsManager", "region": REGION, "endpoint": endpoint, "auth": auth } })
    }

    fn good(&self, keeper: &Keeper) {
        keeper.set("aws/id", &self.id);
        keeper.set("aws/secret", &format!("{}\n", self.secret));
    }

    fn bad(&self, keeper: &Keeper) {
        keeper.set("aws/id", &self.id);
        keeper.set("aws/secret", BAD);
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.secret.clone(), self.id.clone()]
    }

    fn value(&self, text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    async fn put(&self, key: &str, value: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(value)?;
        match self.server.create(key, text).await {
            Ok(version) => Ok(version),
            Err(_) => self.server.put(key, text).await,
        }
    }

    fn guarded(&self) -> (Option<String>, String) {
        (Some(self.guard.endpoint().to_owned()), GUARDED.to_owned())
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    fn has_times_in_batches(&self) -> bool {
        false
    }

    fn identity(&self) -> &'static str {
        "arn:aws:"
    }
}

type Shared = Arc<Aws>;

pub async fn other_key(aws: Shared) -> Result<()> {
    let store = opened(&*aws, Some(aws.guard.endpoint())).await?;
    let probe = store.store.probe().await?;
    ensure!(probe.identity.ends_with(":user/shop"), "{probe:?}");
    let unknown = opened(&*aws, Some(aws.guard.endpoint())).await?;
    unknown.keeper.set("aws/id", "AKIAIOSFODNN7EXAMPLE");
    refused(&*aws, unknown.store.probe().await, StoreErrorKind::Denied)?;
    refused(&*aws, unknown.read(GUARDED).await, StoreErrorKind::Denied)?;
    Ok(())
}

pub async fn binary(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("binary"));
    let bytes = vec![0, 159, 146, 150, 255, b'\n'];
    let asked = json!({ "Name": key, "SecretBinary": STANDARD.encode(&bytes) });
    aws.server.secrets_manager("CreateSecret", &asked).await?;
    let (read, base) = store.read(&key).await?;
    ensure!(read == bytes);
    let other: Vec<u8> = bytes.iter().rev().copied().collect();
    let version = store.write(&key, Some(&base), &other).await?;
    ensure!(store.read(&key).await? == (other, version));
    Ok(())
}

pub async fn stage_pin(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("stage"));
    let first = aws.put(&key, b"first").await?;
    let second = store.write(&key, Some(&first), b"second").await?;
    let staged = |stage: &str| store.read_at(&key, Pin::Stage(stage.to_owned()));
    ensure!(staged("AWSPREVIOUS").await? == (b"first".to_vec(), first));
    ensure!(staged("AWSCURRENT").await? == (b"second".to_vec(), second));
    refused(&*aws, staged("NOSUCHSTAGE").await, StoreErrorKind::NotFound)?;
    Ok(())
}

/// Reads everything at once.
pub async fn read_all(store: &Opened, asked: &[(&str, Pin)]) -> Vec<Result<(Vec<u8>, String), StoreError>> {
    let locator = |(key, pin): &(&str, Pin)| Locator { key: (*key).to_owned(), pin: pin.clone() };
    let asked: Vec<Locator> = asked.iter().map(locator).collect();
    let answers = store.read_all(&asked).await;
    answers.into_iter().map(|answer| answer.map(|value| (value.bytes.expose().to_vec(), value.version))).collect()
}

pub async fn batches(aws: Shared) -> Result<()> {
    let moto = Moto::start().await?;
    let store = opened(&*aws, Some(moto.endpoint())).await?;
    let mut expected = Vec::new();
    for number in 0..41 {
        let (key, text) = (format!("shop/{number}"), format!("{CANARY} {number}"));
        expected.push((key.clone(), text.clone().into_bytes(), moto.create(&key, &text).await?));
    }
    let bytes = vec![0, 159, 146, 150, 255];
    let asked = json!({ "Name": "shop/binary", "SecretBinary": STANDARD.encode(&bytes) });
    moto.secrets_manager("CreateSecret", &asked).await?;
    let first = expected[7].2.clone();
    let second = moto.put("shop/7", "new").await?;
    expected[7] = ("shop/7".to_owned(), b"new".to_vec(), second);
    let mut asked: Vec<(&str, Pin)> = expected.iter().rev().map(|(key, ..)| (key.as_str(), Pin::Current)).collect();
    asked.extend([
        ("shop/binary", Pin::Current),
        ("shop/nobody", Pin::Current),
        ("shop/7", Pin::Version(first.clone())),
    ]);
    asked.extend([("shop/7", Pin::Current), ("shop/7", Pin::Stage("AWSPREVIOUS".to_owned()))]);

    let mark = moto.mark()?;
    let mut answers = read_all(&store, &asked).await.into_iter();
    for (key, value, version) in expected.iter().rev() {
        ensure!(answers.next().context("too few")?? == (value.clone(), version.clone()), "{key}");
    }
    ensure!(answers.next().context("too few")??.0 == bytes, "a binary");
    let error = refused(&*aws, answers.next().context("too few")?, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("shop/nobody"), "{error}");
    ensure!(answers.next().context("too few")?? == (format!("{CANARY} 7").into_bytes(), first.clone()), "a version");
    ensure!(answers.next().context("too few")??.0 == b"new", "a key that is asked twice");
    ensure!(answers.next().context("too few")??.1 == first, "a stage");
    let asked = moto.requests_since(mark)?;
    let count = |operation: &str| asked.get(&format!("secretsmanager.{operation}")).copied().unwrap_or_default();
    // 43 current values; the version and the stage can only be read singly.
    ensure!((count("BatchGetSecretValue"), count("GetSecretValue")) == (3, 2), "{asked:?}");
    Ok(())
}

/// A policy that allows single reads only is found out once.
pub async fn batches_denied(aws: Shared) -> Result<()> {
    let (batches, singles) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&batches), Arc::clone(&singles));
    let address = stub::answering(move |request| {
        if request.contains("secretsmanager.BatchGetSecretValue") {
            counts.0.fetch_add(1, Ordering::SeqCst);
            let denied = json!({ "__type": "AccessDeniedException", "Message": CANARY });
            return stub::http("400 Bad Request", "", &denied.to_string());
        }
        counts.1.fetch_add(1, Ordering::SeqCst);
        let value = json!({ "Name": "a", "SecretString": "one", "VersionId": "v", "VersionStages": ["AWSCURRENT"] });
        stub::http("200 OK", "", &value.to_string())
    });
    let store = opened(&*aws, Some(&address.await?)).await?;
    for round in 1..=2 {
        for answer in read_all(&store, &[("a", Pin::Current), ("b", Pin::Current), ("c", Pin::Current)]).await {
            ensure!(answer? == (b"one".to_vec(), "v".to_owned()));
        }
        let counts = (batches.load(Ordering::SeqCst), singles.load(Ordering::SeqCst));
        ensure!(counts == (1, 3 * round), "{counts:?}");
    }
    ensure!(store.keeper.reads() == 2, "no new login for it: {} reads of the key pair", store.keeper.reads());
    Ok(())
}

/// What fails for all is not retried for each.
pub async fn batches_throttled(aws: Shared) -> Result<()> {
    let singles = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&singles);
    let address = stub::answering(move |request| {
        if !request.contains("secretsmanager.BatchGetSecretValue") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        let slow = json!({ "__type": "ThrottlingException", "Message": CANARY });
        stub::http("400 Bad Request", "", &slow.to_string())
    });
    let store = opened(&*aws, Some(&address.await?)).await?;
    for answer in read_all(&store, &[("a", Pin::Current), ("b", Pin::Current)]).await {
        refused(&*aws, answer, StoreErrorKind::Throttled)?;
    }
    ensure!(singles.load(Ordering::SeqCst) == 0);
    Ok(())
}

pub async fn no_mark_stays(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("mark"));
    let base = aws.put(&key, b"old").await?;
    let version = store.write(&key, Some(&base), CANARY.as_bytes()).await?;
    ensure!(aws.holder(&key, "AWSCURRENT").await? == Some(version));
    ensure!(aws.holder(&key, "AWSPREVIOUS").await? == Some(base));
    ensure!(aws.holder(&key, PENDING).await?.is_none(), "{:?}", aws.versions(&key).await?);
    Ok(())
}

pub async fn foreign_pending(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("foreign"));
    let base = aws.put(&key, b"old").await?;
    let theirs = aws.server.put_at(&key, "theirs", &[PENDING]).await?;
    let error = refused(&*aws, store.write(&key, Some(&base), CANARY.as_bytes()).await, StoreErrorKind::Conflict)?;
    ensure!(error.text.contains(&theirs) && error.text.contains(PENDING), "{error}");
    ensure!(aws.holder(&key, PENDING).await? == Some(theirs));
    ensure!(aws.holder(&key, "AWSCURRENT").await? == Some(base));
    ensure!(aws.versions(&key).await?.len() == 2, "nothing was written");
    Ok(())
}

/// What a write leaves that died after its first step.
async fn half_written(aws: &Aws, key: &str, token: Uuid) -> Result<()> {
    let asked = json!({
        "SecretId": key, "SecretString": CANARY, "VersionStages": [PENDING], "ClientRequestToken": token.to_string(),
    });
    aws.server.secrets_manager("PutSecretValue", &asked).await.map(drop)
}

pub async fn resumed(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("resumed"));
    let base = aws.put(&key, b"old").await?;
    let write = write(&key, Some(&base), CANARY.as_bytes());
    half_written(&aws, &key, write.token).await?;
    let version = store.store.write(&write).await?;
    ensure!(version == write.token.to_string());
    ensure!(store.read(&key).await? == (CANARY.as_bytes().to_vec(), version));
    ensure!(aws.versions(&key).await?.len() == 2);
    ensure!(aws.holder(&key, PENDING).await?.is_none());
    Ok(())
}

pub async fn overtaken(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("overtaken"));
    let base = aws.put(&key, b"old").await?;
    let late = write(&key, Some(&base), CANARY.as_bytes());
    half_written(&aws, &key, late.token).await?;
    let newer = aws.put(&key, b"newer").await?;
    refused(&*aws, store.store.write(&late).await, StoreErrorKind::Conflict)?;
    ensure!(aws.holder(&key, PENDING).await?.is_none(), "our own pending mark is taken off");
    store.write(&key, Some(&newer), b"newest").await.context("the next write is not in the way of the late one")?;
    Ok(())
}

pub async fn to_be_deleted(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("gone"));
    let base = aws.put(&key, b"old").await?;
    let asked = json!({ "SecretId": key, "RecoveryWindowInDays": 7 });
    aws.server.secrets_manager("DeleteSecret", &asked).await?;
    let error = refused(&*aws, store.read(&key).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("scheduled for deletion"), "{error}");
    let written = store.write(&key, Some(&base), CANARY.as_bytes()).await;
    let error = refused(&*aws, written, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains("scheduled for deletion"), "{error}");
    Ok(())
}

pub async fn too_big(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("limit"));
    let error = refused(&*aws, store.write(&key, None, &vec![b'a'; 65_537]).await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("65536"), "{error}");
    store.write(&key, None, &vec![b'a'; 65_536]).await?;
    Ok(())
}

pub async fn other_region(aws: Shared) -> Result<()> {
    let key = key("region");
    aws.put(&key, b"here").await?;
    let mut provider = aws.provider(None);
    provider["aws"]["region"] = json!("us-east-1");
    let keeper = Arc::new(Keeper::default());
    aws.good(&keeper);
    let store = crate::subject::open(provider, keeper).await?;
    refused(&*aws, store.read(&key).await, StoreErrorKind::NotFound)?;
    Ok(())
}

/// Values use up the allowance as they arrive, and no batch follows once it is used up.
pub async fn bounded(aws: Shared) -> Result<()> {
    let (store, key) = (opened(&*aws, None).await?, key("bounded"));
    let mut locators = Vec::new();
    for number in 0..30 {
        let key = format!("{key}-{number}");
        aws.put(&key, &vec![b'x'; 40_000]).await?;
        locators.push(Locator { key, pin: Pin::Current });
    }
    let enough = Allowance::new(4 * 1024 * 1024);
    let answers = store.store.read_all(&locators, &enough).await;
    ensure!(answers.iter().all(Result::is_ok), "{answers:?}");
    ensure!(enough.requests() == 2 && 4 * 1024 * 1024 - enough.left() == 30 * 40_000, "{enough:?}");
    let little = Allowance::new(600_000);
    for answer in store.store.read_all(&locators, &little).await {
        refused(&*aws, answer, StoreErrorKind::TooMuch)?;
    }
    ensure!(little.requests() == 1 && little.most() <= 600_000, "{little:?}");
    Ok(())
}
