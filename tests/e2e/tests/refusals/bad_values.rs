//! Values that go bad in the store after they were published.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{Scene, World, conditions};
use rekey_testkit::plane::Identity;
use serde_json::{Value, json};

use crate::kept::{stalls, version};

/// A value that goes bad in the store.
struct Bad {
    /// Of the policy and of the remote key.
    name: &'static str,
    remote: Value,
    target: Value,
    good: Value,
    later: Value,
    reason: &'static str,
    part: &'static str,
}

/// One key of the Secret, from a property of the remote key.
fn one(key: &str, secret_key: &str, property: &str) -> Value {
    json!({"secretKey": secret_key, "remoteRef": {"key": key, "property": property}})
}

/// Values that do not fit the type of the Secret.
fn of_types(scene: &Scene, own: &Identity, other: &Identity) -> Vec<Bad> {
    let (tls, docker) = (scene.key("tls"), scene.key("docker"));
    vec![
        Bad {
            name: "tls",
            remote: json!({"data": [one(&tls, "tls.crt", "crt"), one(&tls, "tls.key", "key")]}),
            target: json!({"type": "kubernetes.io/tls"}),
            good: json!({"crt": own.certificate_pem, "key": own.key_pem}),
            later: json!({"crt": own.certificate_pem, "key": other.key_pem}),
            reason: "InvalidData",
            part: "key \"tls.key\": it is not the private key of the certificate in `tls.crt`",
        },
        Bad {
            name: "docker",
            remote: json!({"data": [one(&docker, ".dockerconfigjson", "config")]}),
            target: json!({"type": "kubernetes.io/dockerconfigjson"}),
            good: json!({"config": r#"{"auths": {"registry.example.com": {"auth": "dTpw"}}}"#}),
            later: json!({"config": r#"{"auths": "dTpw"}"#}),
            reason: "InvalidData",
            part: "key \".dockerconfigjson\": it must be a JSON object of the form",
        },
    ]
}

/// Values that cannot be decoded, taken out or rendered.
fn of_forms(scene: &Scene) -> Vec<Bad> {
    let decoded = json!({"key": scene.key("base64"), "property": "value", "decoding": "Base64"});
    let length = json!({"key": scene.key("length"), "jmesPath": "length(name)"});
    vec![
        Bad {
            name: "base64",
            remote: json!({"data": [{"secretKey": "value", "remoteRef": decoded}]}),
            target: json!({}),
            good: json!({"value": "b25l"}),
            later: json!({"value": "%one%"}),
            reason: "InvalidData",
            part: "the value for \"value\" is not base64",
        },
        Bad {
            name: "length",
            remote: json!({"data": [{"secretKey": "value", "remoteRef": length}]}),
            target: json!({}),
            good: json!({"name": "orders"}),
            later: json!({"name": 5432}),
            reason: "InvalidData",
            part: "remoteRef.jmesPath on the value at key",
        },
        Bad {
            name: "template",
            remote: json!({"data": [one(&scene.key("template"), "value", "value")]}),
            target: json!({"template": {"data": {"url": "{{ .value | b64dec }}"}}}),
            good: json!({"value": "b25l"}),
            later: json!({"value": "%one%"}),
            reason: "TemplateError",
            part: "spec.target.template.data \"url\"",
        },
    ]
}

/// Names that cannot be keys, and more than a Secret holds.
fn of_names(scene: &Scene) -> Vec<Bad> {
    let all = |name: &str| json!({"dataFrom": [{"extract": {"key": scene.key(name)}}]});
    let mut same = all("clash");
    same["dataFrom"][0]["rewrite"] = json!([{"regexp": {"source": "^.*-", "target": ""}}]);
    vec![
        Bad {
            name: "slash",
            remote: all("slash"),
            target: json!({}),
            good: json!({"password": "one"}),
            later: json!({"pass/word": "one"}),
            reason: "InvalidData",
            part: "\"pass/word\" cannot be a key of a Secret",
        },
        Bad {
            name: "clash",
            remote: same,
            target: json!({}),
            good: json!({"a-password": "one"}),
            later: json!({"a-password": "one", "b-password": "two"}),
            reason: "InvalidData",
            part: "\"a-password\" and \"b-password\" would both become the key \"password\"",
        },
        Bad {
            name: "large",
            // The server itself takes no more than 1 MiB in one value.
            remote: json!({"data": [one(&scene.key("large"), "one", "blob"), one(&scene.key("large"), "two", "blob")]}),
            target: json!({}),
            good: json!({"blob": "x".repeat(300 * 1024)}),
            later: json!({"blob": "x".repeat(600 * 1024)}),
            reason: "SecretTooLarge",
            part: "the data has 1228800 bytes or more; a Secret holds at most 1048576 (1 MiB)",
        },
    ]
}

pub async fn a_value_that_goes_bad_keeps_the_last_good_secret(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "bad").await?;
    let mut operator = scene.operator()?;
    let (own, other) = (world.plane.identity("own", &[])?, world.plane.identity("other", &[])?);
    let table: Vec<Bad> =
        [of_types(&scene, &own, &other), of_forms(&scene), of_names(&scene)].into_iter().flatten().collect();
    for row in &table {
        world.bao.put(&scene.key(row.name), &row.good).await?;
        let mut remote = row.remote.clone();
        remote["storeRef"] = json!({"name": "vault"});
        remote["refreshInterval"] = json!("10s");
        scene.policy_of(row.name, json!({"source": {"remote": remote}, "target": row.target})).await?;
    }
    let mut before = Vec::new();
    for row in &table {
        scene.wait_synced(row.name).await?;
        before.push(version(&scene, row.name).await?);
        world.bao.put(&scene.key(row.name), &row.later).await?;
    }
    for (Bad { name, reason, part, .. }, before) in table.iter().zip(&before) {
        stalls(&scene, name, reason, part).await?;
        let said = conditions::message(&scene.policy_conditions(name).await?, "Stalled");
        ensure!(!said.contains("%one%") && !said.contains("dTpw") && !said.contains("5432"), "{name}: {said}");
        ensure!(version(&scene, name).await? == *before, "{name}: the Secret was written");
    }
    // Once the store is fixed it goes on by itself; the same value as before needs no write.
    for (row, before) in table.iter().zip(&before) {
        world.bao.put(&scene.key(row.name), &row.good).await?;
        scene.ask_sync(row.name).await?;
        scene.wait_synced(row.name).await?;
        ensure!(version(&scene, row.name).await? == *before, "{}: the Secret was written", row.name);
    }
    operator.alive()
}
