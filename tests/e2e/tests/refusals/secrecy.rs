//! Values are nowhere but in Secrets: not in logs, Events, statuses, metadata or metrics; not plain, in base64 or hashed.

use std::{fmt::Write as _, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Event, Secret},
};
use kube::{ResourceExt as _, api::ListParams};
use rekey_api::{RemoteStore, RotationSchedule, SecretPolicy, names};
use rekey_e2e::{Operator, Scene, World, operator::Setting, wait::until};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Every value of a store or a credential contains this.
const CANARY: &str = "cAnAry-7f3e9b1d";

/// The id of the key pair in use, which is a name and stays out of logs all the same.
const ACCESS_KEY_ID: &str = "AKIACANARY0123456789";

fn base64(bytes: &[u8]) -> Result<String> {
    let text = serde_json::to_value(ByteString(bytes.to_vec()))?;
    Ok(text.as_str().context("no text")?.trim_end_matches('=').to_owned())
}

/// Bytes as `Debug` lists them, without the brackets.
fn listed(bytes: &[u8]) -> String {
    format!("{bytes:?}").trim_matches(['[', ']']).to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// The forms in which a value could leak: itself, its bytes in hex and as a list of numbers, its middle in base64 at
/// each of the three alignments, its hash.
fn forms(values: &[String]) -> Result<Vec<String>> {
    let mut forms = vec![CANARY.to_owned(), CANARY.to_lowercase(), CANARY.to_uppercase(), listed(CANARY.as_bytes())];
    forms.extend([hex(CANARY.as_bytes()), hex(CANARY.as_bytes()).to_uppercase()]);
    for shift in 0..3 {
        let encoded = base64(&[&vec![b'x'; shift], CANARY.as_bytes()].concat())?;
        // Letters that the neighbours could change are left out.
        forms.push(encoded[if shift == 0 { 0 } else { 4 }..encoded.len() - 2].to_owned());
    }
    for value in values {
        let hash = Sha256::digest(value);
        forms.extend([hex(&hash)[..16].to_owned(), base64(&hash)?[..16].to_owned()]);
    }
    Ok(forms)
}

fn leaks(text: &str, forms: &[String]) -> Vec<String> {
    forms.iter().filter(|form| text.contains(form.as_str())).cloned().collect()
}

/// Policies that go well and policies that fail in each way that has a value at hand.
async fn provoke(scene: &Scene) -> Result<Vec<String>> {
    let world = &scene.world;
    let value = |name: &str| format!("{name}-{CANARY}");
    let key = scene.key("db");
    let names = ["password", "username", "token"];
    let object: Value = names.iter().map(|name| ((*name).to_owned(), json!(value(name)))).collect();
    world.bao.put(&key, &object).await?;
    let text = value("text");
    world.moto.create(&scene.key("text"), &text).await?;
    scene.secret("aws", &[("id", ACCESS_KEY_ID), ("secret", &value("secret-access-key"))]).await?;
    let secret = value("credential");
    scene.secret("bad", &[("token", &secret)]).await?;
    let auth = json!({"token": {"secretRef": {"name": "bad", "key": "token"}}});
    let provider =
        json!({"vault": {"server": world.bao.address(), "mount": "secret", "kvVersion": "V2", "auth": auth}});
    scene.store("bad", "ReadOnly", provider).await?;
    let items = [("password", key.as_str(), "password"), ("username", key.as_str(), "username")];
    let template = |text: &str| json!({"target": {"template": {"mergePolicy": "Merge", "data": {"out": text}}}});
    for (name, store, items, more) in [
        ("good", "vault", &items[..], template("{{ .username | quote }}:{{ .password | b64enc }}")),
        ("locked", "vault", &items, json!({"immutability": "Locked"})),
        ("rotated", "vault", &items[..1], json!({})),
        ("index", "vault", &items, template("{{ index .password 3 4 }}")),
        ("decode", "vault", &items, template("{{ .password | b64dec }}")),
        ("number", "vault", &items, template("{{ printf \"%d\" .password }}")),
        ("call", "vault", &items, template("{{ call .password }}")),
        ("tls", "vault", &items, json!({"target": {"type": "kubernetes.io/tls"}})),
        ("missing", "vault", &[("x", key.as_str(), "nope")], json!({})),
        ("json", "aws", &[("x", &scene.key("text"), "nope")], json!({})),
        ("denied", "bad", &items, json!({})),
    ] {
        scene.policy(name, store, items, more).await?;
    }
    let data = json!({"source": {"remote": {"data": [
        {"secretKey": "x", "remoteRef": {"key": key, "property": "password", "decoding": "Base64"}},
    ]}}});
    scene.policy("base64", "vault", &[], data).await?;
    let mut all: Vec<String> = names.iter().map(|name| value(name)).collect();
    all.extend([text, secret, value("secret-access-key"), world.bao.token().to_owned()]);
    Ok(all)
}

async fn settled(scene: &Scene) -> Result<()> {
    for (name, wanted) in [
        ("good", "Ready=True/Synced"),
        ("locked", "Ready=True/Synced"),
        ("rotated", "Ready=True/Synced"),
        ("index", "Stalled=True/TemplateError"),
        ("decode", "Stalled=True/TemplateError"),
        ("call", "Stalled=True/TemplateError"),
        ("tls", "Stalled=True/InvalidData"),
        ("missing", "Ready=False/PropertyNotFound"),
        ("json", "Stalled=True/InvalidData"),
        ("denied", "Ready=False/AccessDenied"),
        ("base64", "Stalled=True/InvalidData"),
    ] {
        scene.wait_policy(name, wanted).await?;
    }
    Ok(())
}

/// A change, a locked value that moves on, an edit that is repaired, a rotation.
async fn stir(scene: &Scene) -> Result<String> {
    let key = scene.key("db");
    let later = format!("later-{CANARY}");
    scene.world.bao.put(&key, &json!({"password": later, "username": format!("username-{CANARY}")})).await?;
    scene.wait_policy("locked", "Stalled=True/LockedAndChanged").await?;
    let edit = json!({"stringData": {"password": format!("edited-{CANARY}")}});
    let params = kube::api::PatchParams { field_manager: Some("editor".to_owned()), ..Default::default() };
    scene.api::<Secret>().patch("good", &params, &kube::api::Patch::Merge(&edit)).await?;
    until("the edit is repaired", || async {
        Ok(scene.data("good").await?.is_some_and(|data| data["password"] == later).then_some(()))
    })
    .await?;
    let schedule = json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": "rotated"},
        "spec": {
            "policyRef": {"name": "rotated"},
            "writeTo": {"storeRef": {"name": "vault"}, "key": key},
            "rotator": {"generate": {"fields": [{"property": "password", "password": {}}]}},
            "retireAfter": "1s",
        },
    });
    scene.apply(schedule).await?;
    until("the schedule is ready", || async {
        let status = scene.schedule("rotated").await?.status;
        Ok(status.is_some_and(|status| !status.conditions.is_empty()).then_some(()))
    })
    .await?;
    scene.annotate::<RotationSchedule>("rotated", names::ROTATE_REQUESTED, "now").await?;
    until("a rotation is done", || async {
        let status = scene.schedule("rotated").await?.status.unwrap_or_default();
        Ok((status.rotation.is_none() && !status.history.is_empty()).then_some(()))
    })
    .await?;
    let stored = scene.world.bao.get(&key).await?.context("nothing in the store")?;
    Ok(stored["password"].as_str().context("no password")?.to_owned())
}

/// Everything that Rekey writes, by place.
async fn told(scene: &Scene, operator: &Operator) -> Result<Vec<(String, String)>> {
    let all = ListParams::default();
    let mut told =
        vec![("the log".to_owned(), operator.log()?), ("the metrics".to_owned(), operator.get("/metrics").await?.1)];
    for event in scene.api::<Event>().list(&all).await? {
        told.push((format!("Event {}", event.name_any()), serde_json::to_string(&event)?));
    }
    for policy in scene.api::<SecretPolicy>().list(&all).await? {
        told.push((format!("SecretPolicy {}", policy.name_any()), serde_json::to_string(&policy)?));
    }
    for store in scene.api::<RemoteStore>().list(&all).await? {
        told.push((format!("RemoteStore {}", store.name_any()), serde_json::to_string(&store)?));
    }
    for schedule in scene.api::<RotationSchedule>().list(&all).await? {
        told.push((format!("RotationSchedule {}", schedule.name_any()), serde_json::to_string(&schedule)?));
    }
    for secret in scene.api::<Secret>().list(&all).await? {
        told.push((format!("metadata of Secret {}", secret.name_any()), serde_json::to_string(&secret.metadata)?));
    }
    Ok(told)
}

pub async fn no_value_is_found_in_what_the_operator_tells(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "canaries").await?;
    let operator = scene.operator()?;
    nothing_is_told(&scene, &operator).await
}

/// The same with the most verbose log level, and with every variable that makes libraries log more.
pub async fn no_value_is_logged_at_trace_whatever_the_environment_asks_for(world: Arc<World>) -> Result<()> {
    let variables = [
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
        ("RUST_LIB_BACKTRACE", "1"),
        ("LOG_SIGNABLE_BODY", "true"),
        ("LOG_SENSITIVE_BODIES", "true"),
        ("AWS_LOG_LEVEL", "trace"),
        ("AWS_DEBUG", "true"),
        ("SSLKEYLOGFILE", "/dev/stderr"),
    ];
    let scene = Scene::new(&world, "trace").await?;
    let only = format!("--namespaces={}", scene.namespace);
    let setting = Setting { variables: &variables, insecure: true };
    let arguments = [only.as_str(), "--leader-elect=false", "--log-level=trace"];
    let operator = world.operator_in(&setting, "trace", &arguments)?;
    nothing_is_told(&scene, &operator).await?;
    let log = operator.log()?;
    for library in ["aws_sigv4", "aws_smithy", "hyper", "reqwest", "kube_client", "rustls", "CLIENT_RANDOM"] {
        let said = log.lines().find(|line| line.contains(library) && !line.contains("WARN") && !line.contains("ERROR"));
        ensure!(said.is_none(), "{library} says more than warnings: {said:?}");
    }
    Ok(())
}

async fn nothing_is_told(scene: &Scene, operator: &Operator) -> Result<()> {
    let world = &scene.world;
    let mut values = provoke(scene).await?;
    settled(scene).await?;
    let rotated = stir(scene).await?;
    values.extend([format!("later-{CANARY}"), format!("edited-{CANARY}"), rotated.clone()]);
    let mut forms = forms(&values)?;
    forms.extend([world.bao.token().to_owned(), base64(rotated.as_bytes())?, listed(rotated.as_bytes()), rotated]);
    forms.push(ACCESS_KEY_ID.to_owned());
    // The search finds what is there: the data of a Secret, as the API shows it.
    let shown = serde_json::to_string(&scene.api::<Secret>().get("good").await?.data)?;
    ensure!(!leaks(&shown, &forms).is_empty(), "the search finds nothing in a Secret");
    let told = told(scene, operator).await?;
    ensure!(told.iter().map(|(_, text)| text.len()).sum::<usize>() > 20_000, "Rekey wrote hardly anything");
    for (place, text) in &told {
        let found = leaks(text, &forms);
        ensure!(found.is_empty(), "{place} tells {found:?}");
    }
    println!("{} places searched for {} forms", told.len(), forms.len());
    Ok(())
}
