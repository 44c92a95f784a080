//! Secrets Manager, as the emulator has it, in the suite, and what only it has.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use rekey_core::store::{Pin, StoreErrorKind};
use rekey_testkit::moto::{Moto, REGION, Version};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cases::key,
    keeper::Keeper,
    subject::{BAD, CANARY, Subject, opened, refused, write},
};

const PENDING: &str = "AWSPENDING";
const GUARDED: &str = "shop/guarded";

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
        iam(&guard, &[("Action", "CreateUser"), ("UserName", "shop")]).await?;
        let rights = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": ["secretsmanager:*", "sts:*"], "Resource": "*" }] });
        let policy = [("UserName", "shop"), ("PolicyName", "shop"), ("PolicyDocument", &rights.to_string())];
        iam(&guard, &[&[("Action", "PutUserPolicy")], &policy[..]].concat()).await?;
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

/// What a write that died after its first step has left.
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
