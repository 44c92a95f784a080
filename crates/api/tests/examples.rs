//! The files in `examples/` and `deploy/` say what users are told to apply: nothing in them may be unknown to the types
//! or refused by the schema.

#![expect(clippy::unwrap_used, reason = "a broken example is a failed test")]

#[path = "cel/structure.rs"]
mod structure;

use std::path::{Path, PathBuf};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::core::cel::{ValidationErrors, Validator, apply_defaults};
use rekey_api::{ClusterRemoteStore, GoDuration, RemoteStore, RotationSchedule, SecretPolicy, crds};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// An object of a file.
struct Document {
    /// File and position, for messages.
    title: String,
    kind: String,
    object: Value,
}

/// Every document of every YAML file in a directory of the repository.
fn documents(directory: &str) -> Vec<Document> {
    let directory = Path::new("../..").join(directory);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Document> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    parsed(&name, &std::fs::read_to_string(path).unwrap())
}

fn parsed(name: &str, text: &str) -> Vec<Document> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents
        .into_iter()
        .enumerate()
        .map(|(position, object)| {
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            Document { title: format!("{name}, document {position} ({kind})"), kind, object }
        })
        .collect()
}

/// Reads an object as `K` and writes it again.
fn round_trip<K: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    let read: K = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(read).map_err(|error| error.to_string())
}

fn written(document: &Document) -> Result<Value, String> {
    let object = &document.object;
    match document.kind.as_str() {
        "SecretPolicy" => round_trip::<SecretPolicy>(object),
        "RotationSchedule" => round_trip::<RotationSchedule>(object),
        "RemoteStore" => round_trip::<RemoteStore>(object),
        "ClusterRemoteStore" => round_trip::<ClusterRemoteStore>(object),
        "Namespace" => round_trip::<Namespace>(object),
        "ServiceAccount" => round_trip::<ServiceAccount>(object),
        "ClusterRole" => round_trip::<ClusterRole>(object),
        "ClusterRoleBinding" => round_trip::<ClusterRoleBinding>(object),
        "Role" => round_trip::<Role>(object),
        "RoleBinding" => round_trip::<RoleBinding>(object),
        "Deployment" => round_trip::<Deployment>(object),
        "Service" => round_trip::<Service>(object),
        "CustomResourceDefinition" => round_trip::<CustomResourceDefinition>(object),
        "PodDisruptionBudget" => round_trip::<PodDisruptionBudget>(object),
        kind => Err(format!("no type is known for the kind {kind:?}")),
    }
}

/// Paths of `object` that `written` has lost or changed; what it has in addition are defaults.
fn lost(path: &str, object: &Value, written: &Value) -> Vec<String> {
    match (object, written) {
        (Value::Object(members), Value::Object(others)) => {
            let below = |(name, member): (&String, &Value)| {
                lost(&format!("{path}.{name}"), member, others.get(name).unwrap_or(&Value::Null))
            };
            members.iter().flat_map(below).collect()
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            let pairs = items.iter().zip(others).enumerate();
            pairs.flat_map(|(index, (item, other))| lost(&format!("{path}[{index}]"), item, other)).collect()
        }
        (Value::String(text), Value::String(other)) if same_duration(text, other) => Vec::new(),
        // Bounds of a schema are read as floats.
        (Value::Number(number), Value::Number(other)) if number.as_f64() == other.as_f64() => Vec::new(),
        (object, written) if object == written => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

fn same_duration(one: &str, other: &str) -> bool {
    match (one.parse::<GoDuration>(), other.parse::<GoDuration>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// What the API server would say to an object of ours.
fn refusals(document: &Document) -> Vec<String> {
    let all = crds::all();
    let Some(crd) = all.iter().find(|crd| crd.spec.names.kind == document.kind) else {
        return Vec::new();
    };
    let version = &crd.spec.versions[0];
    if document.object["apiVersion"] != format!("{}/{}", crd.spec.group, version.name) {
        return vec![format!("apiVersion {} is not served", document.object["apiVersion"])];
    }
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let schema = serde_json::to_value(schema).unwrap();
    let object = apply_defaults(&schema, &document.object);
    let said = structure::check(&schema, &object);
    if !said.is_empty() {
        return said;
    }
    let errors = Validator::new().validate(&schema, &object, None).err();
    errors.into_iter().flat_map(ValidationErrors::into_vec).map(|error| error.message).collect()
}

fn faults(documents: &[Document]) -> Vec<String> {
    let of = |document: &Document| {
        let mut faults = match written(document) {
            Ok(written) => lost("", &document.object, &written),
            Err(error) => vec![error],
        };
        faults.extend(refusals(document));
        faults.into_iter().map(|fault| format!("{}: {fault}", document.title)).collect::<Vec<_>>()
    };
    documents.iter().flat_map(of).collect()
}

#[test]
fn every_example_is_read_without_loss_and_accepted() {
    let documents = documents("examples");
    assert_eq!(faults(&documents), Vec::<String>::new());
    for (kind, least) in [("RemoteStore", 3), ("SecretPolicy", 3), ("RotationSchedule", 2)] {
        let found = documents.iter().filter(|document| document.kind == kind).count();
        assert!(found >= least, "{found} examples of {kind}");
    }
}

#[test]
fn what_the_readme_shows_is_read_without_loss_and_accepted() {
    let readme = std::fs::read_to_string("../../README.md").unwrap();
    let blocks = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let documents: Vec<Document> = blocks.flat_map(|block| parsed("README.md", block)).collect();
    assert_eq!(faults(&documents), Vec::<String>::new());
    let kinds: Vec<&str> = documents.iter().map(|document| document.kind.as_str()).collect();
    assert_eq!(kinds, ["SecretPolicy", "RotationSchedule"]);
}

#[test]
fn every_shipped_manifest_is_read_without_loss() {
    let documents = documents("deploy");
    assert_eq!(faults(&documents), Vec::<String>::new());
    assert!(documents.iter().any(|document| document.kind == "Deployment"));
}

#[test]
fn what_is_unknown_or_refused_is_found() {
    let mut policies = documents("examples");
    policies
        .retain(|document| document.kind == "SecretPolicy" && !document.object["spec"]["source"]["remote"].is_null());
    policies[0].object["spec"]["source"]["remote"]["refreshIntervall"] = "5m".into();
    policies[1].object["spec"]["source"]["existing"] = serde_json::json!({});
    let found = faults(&policies);
    assert!(found.iter().any(|fault| fault.contains("refreshIntervall")), "{found:?}");
    assert!(found.iter().any(|fault| fault.contains("exactly one")), "{found:?}");
}

/// The operator has no right on Secrets but by a `RoleBinding`.
#[test]
fn no_cluster_wide_right_on_secrets_is_shipped() {
    let documents = documents("deploy");
    let bound: Vec<&str> = documents
        .iter()
        .filter(|document| document.kind == "ClusterRoleBinding")
        .filter_map(|document| document.object["roleRef"]["name"].as_str())
        .collect();
    assert_eq!(bound, ["rekey"]);
    let role = documents
        .iter()
        .find(|document| document.kind == "ClusterRole" && document.object["metadata"]["name"] == "rekey");
    let role: ClusterRole = serde_json::from_value(role.unwrap().object.clone()).unwrap();
    for rule in role.rules.unwrap_or_default() {
        let groups = rule.api_groups.unwrap_or_default();
        // Of the core group, where Secrets are, there is one thing: labels of namespaces.
        if groups.iter().any(String::is_empty) {
            let resources = rule.resources.unwrap_or_default();
            assert_eq!(
                (resources, rule.verbs),
                (vec!["namespaces".to_owned()], vec!["list".to_owned(), "watch".to_owned()])
            );
            continue;
        }
        let mut names = groups.iter().chain(rule.resources.iter().flatten()).chain(&rule.verbs);
        assert!(names.all(|name| name != "*" && !name.contains("secrets")), "{:?}", rule.verbs);
    }
}
