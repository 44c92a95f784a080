//! The API as the API server and `kubectl` see it: the same table of objects that the unit tests check against the
//! schema, the definitions that the binary prints, their documentation and their columns.

#[path = "../../../crates/api/tests/cases/mod.rs"]
mod cases;

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use cases::Case;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use rekey_api::SecretPolicy;
use rekey_e2e::{
    World,
    kubectl::{headings, kubectl},
    operator::binary,
    shipped::every_document,
    suite, tests,
};
use rekey_testkit::checkout::repository;
use serde_json::{Value, json};

const KINDS: [(&str, &str); 4] = [
    ("ClusterRemoteStore", "clusterremotestores"),
    ("RemoteStore", "remotestores"),
    ("RotationSchedule", "rotationschedules"),
    ("SecretPolicy", "secretpolicies"),
];

fn main() -> Result<ExitCode> {
    suite::main(
        false,
        tests![
            every_case_is_accepted_or_refused_by_the_api_server,
            the_binary_prints_the_definitions_that_are_installed,
            every_field_is_documented,
            kubectl_explain_documents_the_fields,
            kubectl_get_prints_the_columns,
            two_who_apply_the_same_policy_do_not_conflict,
        ],
    )
}

/// Where objects of a kind are, below the server.
fn collection(kind: &str, namespace: &str) -> Result<String> {
    let (_, plural) = KINDS.iter().find(|(name, _)| *name == kind).with_context(|| format!("no plural of {kind}"))?;
    Ok(match kind {
        "ClusterRemoteStore" => format!("/apis/rekey.dev/v1alpha1/{plural}"),
        _ => format!("/apis/rekey.dev/v1alpha1/namespaces/{namespace}/{plural}"),
    })
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Result<Result<Value, String>> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(body)?)?;
    match client.request::<Value>(request).await {
        Ok(answer) => Ok(Ok(answer)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message)),
        Err(error) => bail!("{method} {path}: {error}"),
    }
}

/// The API server's refusal of a case; `None`: it accepts it.
async fn verdict(client: &Client, case: &Case, namespace: &str) -> Result<Option<String>> {
    let place = collection(&case.kind, namespace)?;
    let options = "dryRun=All&fieldValidation=Strict";
    let Some(before) = &case.before else {
        return Ok(send(client, "POST", &format!("{place}?{options}"), &case.object).await?.err());
    };
    let present = send(client, "POST", &format!("{place}?fieldValidation=Strict"), before).await?;
    let present = present.map_err(|text| anyhow::anyhow!("{}: the object before is refused: {text}", case.title))?;
    let mut object = case.object.clone();
    object["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"].clone();
    let said = send(client, "PUT", &format!("{place}/case?{options}"), &object).await?.err();
    let gone = send(client, "DELETE", &format!("{place}/case"), &json!({})).await?;
    gone.map_err(|text| anyhow::anyhow!("{}: the object is not deleted: {text}", case.title))?;
    Ok(said)
}

async fn every_case_is_accepted_or_refused_by_the_api_server(world: Arc<World>) -> Result<()> {
    let namespace = world.plane.namespace("cases").await?;
    let (mut wrong, mut accepted, mut refused) = (Vec::new(), 0, 0);
    for case in cases::all() {
        let said = verdict(&world.client, &case, &namespace).await?;
        let right = match (&case.refused, &said) {
            (None, None) => true,
            (Some(fragment), Some(text)) => text.contains(fragment.as_str()),
            (None, Some(_)) | (Some(_), None) => false,
        };
        match said {
            None => accepted += 1,
            Some(_) => refused += 1,
        }
        if !right {
            wrong.push(format!("{}: expected {:?}, got {said:?}", case.title, case.refused));
        }
    }
    println!("{accepted} objects accepted, {refused} refused, {} wrongly", wrong.len());
    ensure!(accepted > 40 && refused > 80, "the table is not what it was");
    ensure!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

async fn the_binary_prints_the_definitions_that_are_installed(world: Arc<World>) -> Result<()> {
    let printed = tokio::process::Command::new(binary()?).arg("crds").output().await?;
    ensure!(printed.status.success(), "rekey crds ended with {}", printed.status);
    let printed = every_document(&String::from_utf8(printed.stdout)?)?;
    let mut committed = Vec::new();
    for entry in std::fs::read_dir(repository().join("crds"))? {
        committed.extend(every_document(&std::fs::read_to_string(entry?.path())?)?);
    }
    let named = |all: Vec<Value>| -> BTreeMap<String, Value> {
        all.into_iter().map(|crd| (crd["metadata"]["name"].as_str().unwrap_or_default().to_owned(), crd)).collect()
    };
    let (printed, committed) = (named(printed), named(committed));
    ensure!(printed.len() == KINDS.len(), "{:?}", printed.keys());
    for (name, crd) in &printed {
        ensure!(committed.get(name) == Some(crd), "{name}: what the binary prints differs from crds/");
    }
    ensure!(printed.len() == committed.len(), "crds/ has others: {:?}", committed.keys());
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let served = api.list(&ListParams::default()).await?;
    for name in printed.keys() {
        let crd = served.iter().find(|crd| crd.metadata.name.as_ref() == Some(name));
        let conditions = crd.and_then(|crd| crd.status.as_ref()?.conditions.clone()).unwrap_or_default();
        for kind in ["Established", "NamesAccepted"] {
            let holds = conditions.iter().any(|at| at.type_ == kind && at.status == "True");
            ensure!(holds, "{name} is not {kind}: {conditions:?}");
        }
        let doubts = conditions.iter().any(|at| at.type_ == "NonStructuralSchema" && at.status == "True");
        ensure!(!doubts, "{name}: {conditions:?}");
    }
    Ok(())
}

/// `kubectl explain` shows what the server publishes as its `OpenAPI` document, so the test checks every field in it.
async fn every_field_is_documented(world: Arc<World>) -> Result<()> {
    let request = http::Request::get("/openapi/v3/apis/rekey.dev/v1alpha1").body(Vec::new())?;
    let document: Value = world.client.request(request).await?;
    let (mut fields, mut silent) = (0, Vec::new());
    for (kind, _) in KINDS {
        let schemas = document["components"]["schemas"].as_object().context("no schemas")?;
        let schema = schemas.iter().find(|(name, _)| name.ends_with(&format!(".{kind}"))).map(|(_, schema)| schema);
        let schema = schema.with_context(|| format!("no schema of {kind}"))?;
        for part in ["spec", "status"] {
            walk(&format!("{kind}.{part}"), &schema["properties"][part], &mut fields, &mut silent);
        }
    }
    println!("{fields} fields documented");
    ensure!(fields > 400, "only {fields} fields were found");
    ensure!(silent.is_empty(), "fields without a description: {silent:?}");
    Ok(())
}

fn walk(path: &str, schema: &Value, fields: &mut usize, silent: &mut Vec<String>) {
    *fields += 1;
    if schema["description"].as_str().is_none_or(str::is_empty) {
        silent.push(path.to_owned());
    }
    let within = if schema["items"].is_object() { &schema["items"] } else { schema };
    for (name, field) in within["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), field, fields, silent);
    }
}

async fn kubectl_explain_documents_the_fields(world: Arc<World>) -> Result<()> {
    let said = kubectl(&world, &["explain", "secretpolicy.spec.source.remote.data"]).await?;
    for text in ["secretKey", "remoteRef", "storeRef", "Key of the Secret", "Another store for this value"] {
        ensure!(said.contains(text), "no {text:?} in:\n{said}");
    }
    let said = kubectl(&world, &["explain", "secretpolicy.spec.source.remote.data.remoteRef"]).await?;
    for text in ["key", "property", "jmesPath", "version", "stage", "decoding", "dotted path"] {
        ensure!(said.contains(text), "no {text:?} in:\n{said}");
    }
    for (_, plural) in KINDS {
        let said = kubectl(&world, &["explain", &format!("{plural}.spec")]).await?;
        ensure!(said.contains("FIELDS:"), "{plural}: {said}");
        ensure!(!said.contains("<empty>") && !said.contains("<no description>"), "{plural}: {said}");
    }
    Ok(())
}

/// Server-side apply, with every list that is merged as a whole; and the state of the object before the operator sees
/// it.
async fn two_who_apply_the_same_policy_do_not_conflict(world: Arc<World>) -> Result<()> {
    let namespace = world.plane.namespace("twice").await?;
    let policy = json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "twice"},
        "spec": {
            "source": {"remote": {"storeRef": {"name": "vault"}, "dataFrom": [
                {"extract": {"key": "a"}, "storeRef": {"name": "other"}},
                {"find": {"path": "b"}, "rewrite": [{"regexp": {"source": "a", "target": "b"}}]},
            ]}},
            "target": {"template": {"from": [{"configMapRef": {"name": "app", "key": "conf"}, "as": "conf"}]}},
            "rollout": {"windows": [{"cron": "0 2 * * *", "duration": "2h"}]},
        },
    });
    let api: Api<SecretPolicy> = Api::namespaced(world.client.clone(), &namespace);
    for manager in ["first", "second"] {
        let applied = api.patch("twice", &PatchParams::apply(manager), &Patch::Apply(&policy)).await;
        let applied = applied.with_context(|| format!("applied by the {manager}"))?;
        ensure!(applied.status.is_some_and(|status| status.is_unseen()), "the operator has not seen it");
    }
    let stored = api.get("twice").await?.status.unwrap_or_default();
    ensure!(stored.observed_generation == Some(-1), "{stored:?}");
    Ok(())
}

async fn kubectl_get_prints_the_columns(world: Arc<World>) -> Result<()> {
    let namespace = world.plane.namespace("columns").await?;
    for case in cases::all().iter().filter(|case| case.refused.is_none() && case.title.ends_with("as it is")) {
        let mut object = case.object.clone();
        object["metadata"]["name"] = Value::from("shown");
        let place = collection(&case.kind, &namespace)?;
        send(&world.client, "POST", &place, &object).await?.ok(); // later bases of a kind find the name taken
    }
    let store = ["NAME", "IDENTITY", "ACCESS", "READY", "REASON", "AGE"];
    for (kinds, short, plain, wide) in [
        (
            "secretpolicies",
            "secpol",
            vec!["NAME", "SOURCE", "TARGET", "READY", "REASON", "CONSUMERS", "NEXT ROTATION", "AGE"],
            vec!["REVISION", "IMMUTABILITY", "MESSAGE"],
        ),
        (
            "rotationschedules",
            "rotsched",
            vec!["NAME", "POLICY", "ROTATOR", "SCHEDULE", "LAST", "NEXT", "STEP", "READY"],
            vec![],
        ),
        ("remotestores", "rstore", store.to_vec(), vec!["MESSAGE"]),
        ("clusterremotestores", "crstore", store.to_vec(), vec!["MESSAGE"]),
    ] {
        let printed = kubectl(&world, &["get", kinds, "-n", &namespace]).await?;
        ensure!(headings(&printed) == plain, "{kinds}: {:?}", headings(&printed));
        ensure!(printed.contains("shown"), "{kinds}: {printed}");
        let printed = kubectl(&world, &["get", short, "-n", &namespace, "-o", "wide"]).await?;
        let all = headings(&printed);
        let there = plain.iter().chain(&wide).all(|name| all.iter().any(|heading| heading == name));
        ensure!(there, "{short} -o wide: {all:?}");
    }
    let all = kubectl(&world, &["get", "rekey", "-n", &namespace, "-o", "name"]).await?;
    for (_, plural) in KINDS {
        let singular = plural.trim_end_matches('s').replace("policie", "policy");
        ensure!(all.contains(&format!("{singular}.rekey.dev/shown")), "the category rekey lacks {plural}: {all}");
    }
    Ok(())
}
