//! Stores, keys and values that do not fit.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rekey_e2e::{Scene, World, conditions};
use serde_json::{Value, json};

fn vault(scene: &Scene, secret: &str) -> Value {
    json!({"vault": {
        "server": scene.world.bao.address(),
        "mount": "secret",
        "kvVersion": "V2",
        "auth": {"token": {"secretRef": {"name": secret, "key": "token"}}},
    }})
}

async fn store_says(scene: &Scene, store: &str, reason: &str) -> Result<String> {
    let status = scene.wait_store(store, &format!("Ready=False/{reason}")).await?.status.context("no status")?;
    ensure!(status.capabilities.is_empty(), "{store}: {:?}", status.capabilities);
    Ok(conditions::message(&status.conditions, "Ready"))
}

pub async fn wrong_credentials_are_told_by_the_store_and_mended(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "credentials").await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.secret("wrong", &[("token", "hvs.this-is-no-token")]).await?;
    scene.secret("keyless", &[("other", "x")]).await?;
    let names = ["wrong", "keyless", "absent"];
    for name in names {
        scene.store(name, "ReadOnly", vault(&scene, name)).await?;
        scene.policy(&format!("by-{name}"), name, &[("password", &key, "password")], json!({})).await?;
    }
    let _operator = scene.operator()?;
    for (name, reason, by, part) in [
        ("wrong", "AccessDenied", "AccessDenied", "was refused (403)"),
        ("keyless", "CredentialsNotFound", "StoreNotReady", "Secret \"keyless\" has no key \"token\""),
        ("absent", "CredentialsNotFound", "StoreNotReady", "Secret \"absent\" does not exist"),
    ] {
        let said = store_says(&scene, name, reason).await?;
        ensure!(said.contains(part), "{name}: {said}");
        ensure!(!said.contains("this-is-no-token"), "{name}: {said}");
        scene.wait_policy(&format!("by-{name}"), &format!("Ready=False/{by}")).await?;
        ensure!(scene.data(&format!("by-{name}")).await?.is_none(), "a Secret was written");
    }
    // Once fixed, they work at once and without a restart.
    for name in names {
        scene.secret(name, &[("token", world.bao.token())]).await?;
        scene.wait_store(name, "Ready=True/Synced").await?;
        scene.wait_data(&format!("by-{name}"), &[("password", "one")]).await?;
    }
    Ok(())
}

pub async fn what_is_missing_is_waited_for(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "missing").await?;
    let _operator = scene.operator()?;
    let (db, cloud, later) = (scene.key("db"), scene.key("cloud"), scene.key("later"));
    world.bao.put(&db, &json!({"username": "orders"})).await?;
    scene.policy("no-store", "nowhere", &[("username", &db, "username")], json!({})).await?;
    scene.policy("no-key", "vault", &[("password", &later, "password")], json!({})).await?;
    scene.policy("no-cloud-key", "aws", &[("password", &cloud, "password")], json!({})).await?;
    scene.policy("no-property", "vault", &[("password", &db, "password")], json!({})).await?;
    for (policy, reason, part) in [
        ("no-store", "StoreNotFound", "RemoteStore/nowhere does not exist in this namespace"),
        ("no-key", "KeyNotFound", "there is no key"),
        ("no-cloud-key", "KeyNotFound", "cloud"),
        ("no-property", "PropertyNotFound", "has no property \"password\""),
    ] {
        let said = scene.wait_policy(policy, &format!("Ready=False/{reason}")).await?;
        ensure!(said.contains(part), "{policy}: {said}");
        let shown = conditions::shown(&scene.policy_conditions(policy).await?);
        ensure!(shown.contains(&"Reconciling=True/ProgressingWithRetry".to_owned()), "{policy}: {shown:?}");
        ensure!(scene.data(policy).await?.is_none(), "{policy}: a Secret was written");
    }
    // Served as soon as it is there.
    world.bao.put(&later, &json!({"password": "now"})).await?;
    world.moto.create(&cloud, r#"{"password": "now"}"#).await?;
    world.bao.put(&db, &json!({"username": "orders", "password": "now"})).await?;
    scene.store("nowhere", "ReadOnly", vault(&scene, "vault-token")).await?;
    for policy in ["no-key", "no-cloud-key", "no-property"] {
        scene.wait_data(policy, &[("password", "now")]).await?;
        scene.wait_synced(policy).await?;
    }
    scene.wait_data("no-store", &[("username", "orders")]).await
}

/// Policies that stall: name, the change of the spec, the condition's reason, a part of the message.
fn unfit_table(key: &str) -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let template = |text: &str| json!({"target": {"template": {"data": {"url": text}}}});
    let data = |reference: Value| {
        let mut reference = reference;
        reference["key"] = json!(key);
        json!({"source": {"remote": {"data": [{"secretKey": "value", "remoteRef": reference}]}}})
    };
    let large =
        |name: &str| json!({"secretKey": name, "remoteRef": {"key": format!("{key}-large"), "property": "blob"}});
    let twice = json!({"source": {"remote": {"data": [large("one"), large("two")]}}});
    let bomb = "{{ range $i := 9000 }}{{ range $j := 9000 }}aaaaaaaaaaaaaaaaaaaa{{ end }}{{ end }}";
    let recursion = "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}";
    vec![
        ("too-large", twice, "SecretTooLarge", "bytes or more; a Secret holds at most 1048576"),
        ("syntax", template("postgres://{{ .username"), "TemplateError", "spec.target.template.data \"url\""),
        ("no-function", template("{{ .username | nothing }}"), "TemplateError", "no function \"nothing\""),
        ("no-such-field", template("{{ .nope }}"), "TemplateError", "nope"),
        ("no-such-index", template("{{ index .username \"nope\" }}"), "TemplateError", "line 1, column "),
        ("explodes", template(bomb), "TemplateError", "\"url\""),
        ("recursion", template(recursion), "TemplateError", "\"url\""),
        ("no-base64", data(json!({"property": "password", "decoding": "Base64"})), "InvalidData", "is not base64"),
        ("tls", json!({"target": {"type": "kubernetes.io/tls"}}), "InvalidData", "key \"tls.crt\""),
        ("ssh", json!({"target": {"type": "kubernetes.io/ssh-auth"}}), "InvalidData", "key \"ssh-privatekey\""),
        (
            "docker",
            json!({"target": {"type": "kubernetes.io/dockerconfigjson"}}),
            "InvalidData",
            "key \".dockerconfigjson\"",
        ),
    ]
}

pub async fn what_cannot_become_a_secret_stalls(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "unfit").await?;
    let mut operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"username": "orders", "password": "p%ss"})).await?;
    world.bao.put(&format!("{key}-large"), &json!({"blob": "x".repeat(600 * 1024)})).await?;
    world.moto.create(&scene.key("text"), "no JSON at all").await?;
    let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
    let table = unfit_table(&key);
    for (name, more, _, _) in &table {
        scene.policy(name, "vault", &items, more.clone()).await?;
    }
    scene.policy("no-json", "aws", &[("password", &scene.key("text"), "password")], json!({})).await?;
    let text = ("no-json", Value::Null, "InvalidData", "is not a JSON object");
    for (name, _, reason, part) in table.iter().chain([&text]) {
        let said = scene.wait_policy(name, &format!("Stalled=True/{reason}")).await?;
        ensure!(said.contains(part), "{name}: {said}");
        ensure!(!said.contains("p%ss") && !said.contains("no JSON at all"), "{name} tells a value: {said}");
        scene.wait_policy(name, &format!("Ready=False/{reason}")).await?;
        ensure!(scene.data(name).await?.is_none(), "{name}: a Secret was written");
    }
    // Nobody else suffers.
    operator.alive()?;
    scene.policy("good", "vault", &items, json!({})).await?;
    scene.wait_synced("good").await?;
    // A fixed spec is followed.
    scene
        .policy(
            "syntax",
            "vault",
            &items,
            json!({"target": {"template": {"mergePolicy": "Merge", "data": {"url": "{{ .username }}"}}}}),
        )
        .await?;
    scene.wait_data("syntax", &[("username", "orders"), ("password", "p%ss"), ("url", "orders")]).await
}

pub async fn bad_data_later_keeps_the_last_good_secret(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "later").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"username": "orders", "password": "one"})).await?;
    let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
    scene.policy("db", "vault", &items, json!({})).await?;
    scene.wait_synced("db").await?;
    let before = scene.api::<Secret>().get("db").await?.resource_version();
    for (more, wanted) in [
        (json!({"target": {"template": {"data": {"url": "{{ .username"}}}}), "Stalled=True/TemplateError"),
        (json!({"target": {"template": {"data": {"url": "{{ .gone }}"}}}}), "Stalled=True/TemplateError"),
        (
            json!({"immutability": "Versioned", "versions": {"references": "Publish"},
                   "source": {"remote": {"onMissing": "Delete"}}}),
            "Stalled=True/NotSupportedYet",
        ),
    ] {
        scene.policy("db", "vault", &items, more).await?;
        scene.wait_policy("db", wanted).await?;
        ensure!(scene.api::<Secret>().get("db").await?.resource_version() == before, "{wanted}: it was written");
    }
    scene.policy("db", "vault", &items, json!({})).await?;
    scene.wait_synced("db").await?;
    ensure!(scene.api::<Secret>().get("db").await?.resource_version() == before, "it was written");
    // A property that goes: the last value is served, and the status says which is missing.
    world.bao.put(&key, &json!({"username": "orders"})).await?;
    scene.wait_policy("db", "Ready=True/ServingLastKnown").await?;
    let said = scene.wait_policy("db", "Fresh=False/PropertyNotFound").await?;
    ensure!(said.contains("\"password\""), "{said}");
    scene.wait_data("db", &[("username", "orders"), ("password", "one")]).await?;
    world.bao.put(&key, &json!({"username": "orders", "password": "two"})).await?;
    scene.wait_data("db", &[("username", "orders"), ("password", "two")]).await?;
    let shown = conditions::shown(&scene.wait_synced("db").await?.status.unwrap_or_default().conditions);
    ensure!(shown == ["Ready=True/Synced"], "{shown:?}");
    Ok(())
}

pub async fn the_api_refuses_what_no_operator_should_see(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "refused").await?;
    let key = scene.key("db");
    let data = |name: &str| json!({"source": {"remote": {"data": [{"secretKey": name, "remoteRef": {"key": key}}]}}});
    for (name, more, part) in [
        (
            "token",
            json!({"target": {"type": "kubernetes.io/service-account-token"}}),
            "service account and bootstrap tokens",
        ),
        (
            "bootstrap",
            json!({"target": {"type": "bootstrap.kubernetes.io/token"}}),
            "service account and bootstrap tokens",
        ),
        ("often", json!({"source": {"remote": {"refreshInterval": "1s"}}}), "write at least 10s"),
        ("upper", json!({"target": {"name": "Not_A_Name"}}), "should match"),
        ("key", data("pass/word"), "secretKey"),
        ("ours", json!({"target": {"template": {"metadata": {"labels": {"rekey.dev/x": "y"}}}}}), "rekey.dev/"),
    ] {
        let refused = scene.policy(name, "vault", &[("password", &key, "password")], more).await;
        let said = refused.err().map(|error| format!("{error:#}")).with_context(|| format!("{name} is accepted"))?;
        ensure!(said.contains(part), "{name}: {said}");
    }
    Ok(())
}
