//! Ways to log in to AWS: roles, web identity, the operator's own credentials.

use std::{
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use rekey_core::store::StoreErrorKind;
use rekey_testkit::moto::REGION;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    aws::{Aws, GUARDED},
    keeper::{Keeper, OWN},
    stub,
    subject::{BAD, CANARY, Opened, Subject, open, opened, refused},
};

/// The argument that makes this program open a store with its own credentials, at the address that follows.
pub const CHILD: &str = "--own-credentials-at";

const TOKEN: &str = "good.token.of-the-account";
const ANNOTATION: &str = "reader@eks.amazonaws.com/role-arn";

type Shared = Arc<Aws>;

fn arn(role: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{role}")
}

/// STS and Secrets Manager, as strict as this needs: credentials are `ASIA…` with the name of the role and a number, and a
/// secret's value is the credential that it was asked with.
struct Cloud {
    address: String,
    logins: Arc<AtomicUsize>,
    /// The credential that is taken for expired.
    expired: Arc<Mutex<String>>,
}

impl Cloud {
    async fn start() -> Result<Self> {
        let (logins, expired) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
        let (count, ended) = (Arc::clone(&logins), Arc::clone(&expired));
        let address = stub::answering(move |request| cloud(request, &count, &ended)).await?;
        Ok(Self { address, logins, expired })
    }

    fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }

    async fn open(&self, role: Option<Value>, keeper: Arc<Keeper>) -> Result<Opened> {
        let account = json!({ "name": "reader", "audiences": ["sts.amazonaws.com"] });
        let auth = json!({ "serviceAccountRef": account });
        let mut provider =
            json!({ "aws": { "region": REGION, "service": "SecretsManager", "endpoint": self.address, "auth": auth } });
        if let Some(role) = role {
            provider["aws"]["role"] = role;
        }
        open(provider, keeper).await
    }
}

fn between<'t>(text: &'t str, begin: &str, ends: &[char]) -> Option<&'t str> {
    text.split_once(begin)?.1.split(ends).next()
}

fn cloud(request: &str, logins: &AtomicUsize, expired: &Mutex<String>) -> String {
    let signed = between(request, "Credential=", &['/']).unwrap_or_default();
    let role = between(request, "role%2F", &['&', '%']).unwrap_or_default();
    let session = between(request, "RoleSessionName=", &['&', '\r']).unwrap_or_default();
    let refuse = |code: &str| {
        let text =
            format!("<ErrorResponse><Error><Code>{code}</Code><Message>{CANARY}</Message></Error></ErrorResponse>");
        stub::http("403 Forbidden", "", &text)
    };
    let issue = |operation: &str| {
        let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
        let id = format!("<AccessKeyId>ASIA-{role}-{session}-{number}</AccessKeyId>");
        let rest = format!("<SecretAccessKey>{CANARY}</SecretAccessKey><SessionToken>{CANARY}</SessionToken>");
        let inside = format!("<Credentials>{id}{rest}<Expiration>2036-01-01T00:00:00Z</Expiration></Credentials>");
        let text =
            format!("<{operation}Response><{operation}Result>{inside}</{operation}Result></{operation}Response>");
        stub::http("200 OK", "", &text)
    };
    if request.contains("Action=AssumeRoleWithWebIdentity") {
        let is_good = request.contains(&format!("WebIdentityToken={TOKEN}")) && signed.is_empty();
        return if is_good { issue("AssumeRoleWithWebIdentity") } else { refuse("InvalidIdentityToken") };
    }
    if request.contains("Action=AssumeRole&") {
        return if request.contains("ExternalId=shop") { issue("AssumeRole") } else { refuse("AccessDenied") };
    }
    if request.contains("Action=GetCallerIdentity") {
        let arn = format!("<Arn>arn:aws:sts::123456789012:assumed-role/{signed}/rekey</Arn>");
        let text = format!(
            "<GetCallerIdentityResponse><GetCallerIdentityResult>{arn}</GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        return stub::http("200 OK", "", &text);
    }
    if expired.lock().is_ok_and(|expired| *expired == signed) {
        let text = json!({ "__type": "ExpiredTokenException", "message": CANARY });
        return stub::http("400 Bad Request", "", &text.to_string());
    }
    let value = json!({ "Name": "a", "SecretString": signed, "VersionId": "v", "VersionStages": ["AWSCURRENT"] });
    stub::http("200 OK", "", &value.to_string())
}

fn keeper(entries: &[(&str, &str)]) -> Arc<Keeper> {
    let keeper = Arc::new(Keeper::default());
    for (place, value) in entries {
        keeper.set(place, value);
    }
    keeper
}

async fn signed_by(store: &Opened) -> Result<String> {
    Ok(String::from_utf8(store.read("a").await?.0)?)
}

/// On the emulator that checks signatures and rights.
pub async fn assumed_role(aws: Shared) -> Result<()> {
    let mut provider = aws.provider(Some(aws.guard()));
    provider["aws"]["role"] = json!({ "arn": arn("reader"), "sessionName": "shop", "externalId": "shop" });
    let keeper = Arc::new(Keeper::default());
    aws.good(&keeper);
    let store = open(provider.clone(), Arc::clone(&keeper)).await?;
    ensure!(store.read(GUARDED).await?.0 == CANARY.as_bytes());
    let probe = store.store.probe().await?;
    ensure!(probe.identity == "role reader in account 123456789012", "{probe:?}");
    ensure!(keeper.reads() == 2, "the role is good for an hour: {} reads of the key pair", keeper.reads());
    provider["aws"]["role"]["externalId"] = json!("other");
    let store = open(provider, keeper).await?;
    let error = refused(&*aws, store.read(GUARDED).await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains("role/reader") && error.text.contains("sts:AssumeRole"), "{error}");
    Ok(())
}

pub async fn web_identity(aws: Shared) -> Result<()> {
    let cloud = Cloud::start().await?;
    let annotated = keeper(&[("reader", TOKEN), (ANNOTATION, &arn("annotated"))]);
    let store = cloud.open(None, Arc::clone(&annotated)).await?;
    ensure!(signed_by(&store).await? == "ASIA-annotated-rekey-1");
    let probe = store.store.probe().await?;
    ensure!(
        probe.identity == "role ASIA-annotated-rekey-1 in account 123456789012 by ServiceAccount reader",
        "{probe:?}"
    );
    ensure!((cloud.logins(), annotated.reads()) == (1, 1), "one login is shared");

    let named = json!({ "arn": arn("named"), "sessionName": "shop" });
    let store = cloud.open(Some(named.clone()), keeper(&[("reader", TOKEN)])).await?;
    ensure!(signed_by(&store).await? == "ASIA-named-shop-2", "the role of the spec, directly");
    let same = keeper(&[("reader", TOKEN), (ANNOTATION, &arn("named"))]);
    ensure!(signed_by(&cloud.open(Some(named), same).await?).await? == "ASIA-named-shop-3", "the same role");

    let store = cloud.open(None, keeper(&[("reader", TOKEN)])).await?;
    let error = refused(&*aws, store.read("a").await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("eks.amazonaws.com/role-arn") && error.text.contains("role.arn"), "{error}");
    Ok(())
}

pub async fn chained_roles(aws: Shared) -> Result<()> {
    let cloud = Cloud::start().await?;
    let entries = keeper(&[("reader", TOKEN), (ANNOTATION, &arn("first"))]);
    let role = json!({ "arn": arn("second"), "externalId": "shop" });
    let store = cloud.open(Some(role), Arc::clone(&entries)).await?;
    ensure!(signed_by(&store).await? == "ASIA-second-rekey-2");
    let other = json!({ "arn": arn("second"), "externalId": "other" });
    let store = cloud.open(Some(other), entries).await?;
    let error = refused(&*aws, store.read("a").await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains("role/second") && error.text.contains("externalId"), "{error}");
    Ok(())
}

pub async fn refused_by_sts(aws: Shared) -> Result<()> {
    let cloud = Cloud::start().await?;
    let entries = keeper(&[("reader", BAD), (ANNOTATION, &arn("reader"))]);
    let store = cloud.open(None, Arc::clone(&entries)).await?;
    let error = refused(&*aws, store.store.probe().await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains("ServiceAccount reader") && error.text.contains("OIDC provider"), "{error}");
    entries.set("reader", TOKEN);
    ensure!(signed_by(&store).await? == "ASIA-reader-rekey-1", "the token is good now");
    let store = cloud.open(None, keeper(&[(ANNOTATION, &arn("reader"))])).await?;
    refused(&*aws, store.read("a").await, StoreErrorKind::Invalid)?;
    Ok(())
}

/// Credentials that AWS calls expired are fetched afresh, once.
pub async fn refreshed(aws: Shared) -> Result<()> {
    let cloud = Cloud::start().await?;
    let entries = keeper(&[("reader", TOKEN), (ANNOTATION, &arn("reader"))]);
    let store = cloud.open(None, entries).await?;
    ensure!(signed_by(&store).await? == "ASIA-reader-rekey-1");
    if let Ok(mut expired) = cloud.expired.lock() {
        "ASIA-reader-rekey-1".clone_into(&mut expired);
    }
    ensure!(signed_by(&store).await? == "ASIA-reader-rekey-2");
    if let Ok(mut expired) = cloud.expired.lock() {
        "ASIA-reader-rekey-3".clone_into(&mut expired);
    }
    ensure!(signed_by(&store).await? == "ASIA-reader-rekey-2" && cloud.logins() == 2);
    if let Ok(mut expired) = cloud.expired.lock() {
        expired.clear();
    }
    let guarded = opened(&*aws, Some(&cloud.address)).await?;
    ensure!(signed_by(&guarded).await?.starts_with("AKIA"), "a key pair signs itself");
    Ok(())
}

/// Times from a service that no clock can hold break nothing: nothing is computed with them.
pub async fn odd_times(aws: Shared) -> Result<()> {
    for time in ["9e15", "-9e15", "1e300", "-1e300", "18446744073709551615", "\"NaN\"", "\"Infinity\""] {
        let address = stub::answering(move |_| {
            let value = format!(r#"{{"Name":"a","SecretString":"s","VersionId":"v","CreatedDate":{time}}}"#);
            stub::http("200 OK", "", &value)
        });
        let store = opened(&*aws, Some(&address.await?)).await?;
        match store.read("a").await {
            Ok((value, _)) => ensure!(value == b"s", "{time}"),
            Err(error) => ensure!(error.kind == StoreErrorKind::Malformed, "{time}: {error}"),
        }
    }
    Ok(())
}

/// What the other side of [`own_credentials`] does.
pub async fn with_own_credentials(endpoint: &str) -> Result<()> {
    let provider = json!({ "aws": { "region": REGION, "service": "SecretsManager", "endpoint": endpoint } });
    let store = open(provider, keeper(&[(OWN, "")])).await?;
    match store.read("a").await {
        Ok((value, _)) => println!("value {}", String::from_utf8(value)?),
        Err(error) => println!("{:?} {error}", error.kind),
    }
    println!("{}", store.store.probe().await.map_or_else(|error| error.text, |probe| probe.identity));
    Ok(())
}

/// Opens a store in a process with this environment only; returns what it says.
async fn child(endpoint: &str, environment: &[(&str, &str)]) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([CHILD, endpoint]).env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
    let made = command.envs(environment.iter().copied()).stdin(Stdio::null()).kill_on_drop(true).output().await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(String::from_utf8(made.stdout)?)
}

/// Pod Identity: an address and a token in the environment, which only a process of its own can have for a test.
pub async fn own_credentials(_: Shared) -> Result<()> {
    let cloud = Cloud::start().await?;
    let agent = stub::answering(|request| {
        if !request.to_lowercase().contains(&format!("authorization: {TOKEN}")) {
            return stub::http("403 Forbidden", "", &json!({ "Code": "AccessDenied", "Message": CANARY }).to_string());
        }
        let issued = json!({
            "AccessKeyId": "ASIA-pod", "SecretAccessKey": CANARY, "Token": CANARY, "Expiration": "9999-12-31T23:59:59Z",
        });
        stub::http("200 OK", "content-type: application/json\r\n", &issued.to_string())
    });
    let agent = format!("{}/v1/credentials", agent.await?);
    let directory = TempDir::with_prefix("rekey-pod-")?;
    let run = async |token: &str| {
        let file = directory.path().join("token");
        std::fs::write(&file, token)?;
        let file = file.to_string_lossy();
        let address = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.as_str());
        child(&cloud.address, &[address, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file)]).await
    };
    let said = run(TOKEN).await?;
    ensure!(said.starts_with("value ASIA-pod\n"), "{said}");
    ensure!(said.contains("role ASIA-pod in account 123456789012 by the operator's own credentials"), "{said}");
    let said = run(BAD).await?;
    ensure!(said.starts_with("Denied ") && said.contains("Pod Identity association"), "{said}");
    ensure!(!said.contains(BAD) && !said.contains(CANARY), "{said}");
    let said = child(&cloud.address, &[]).await?;
    ensure!(said.starts_with("Invalid ") && said.contains("no AWS credentials of its own"), "{said}");

    let provider = json!({ "aws": { "region": REGION, "service": "SecretsManager" } });
    let error = open(provider, keeper(&[])).await.err().context("not allowed")?;
    ensure!(error.to_string().contains("--allow-ambient-credentials"), "{error}");
    Ok(())
}
