//! The objects that an installation makes, read from the CRDs and the install file.

use anyhow::{Context as _, Result};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use rekey_testkit::checkout::repository;
use serde_json::{Value, json};

use crate::wait::until;

/// Objects that need an image or are for tools: the tests run the operator as a process.
const LEFT_OUT: [&str; 3] = ["Deployment", "PodDisruptionBudget", "Kustomization"];

/// All bindings that open a namespace: their names, and those of the `ClusterRole`s.
pub const NAMESPACE_ROLES: [(&str, &str); 3] = [
    ("rekey", "rekey-namespace"),
    ("rekey-rollouts", "rekey-namespace-argo-rollouts"),
    ("rekey-gateways", "rekey-namespace-gateways"),
];

/// The `RoleBinding` that gives the operator a `ClusterRole` in a namespace.
#[must_use]
pub fn binding(namespace: &str, (name, role): (&str, &str)) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "rekey", "namespace": "rekey-system"}],
    })
}

/// The CRDs, then every shipped object but those that need an image.
///
/// # Errors
/// When a manifest cannot be read.
pub fn objects() -> Result<Vec<Value>> {
    let mut all = documents(&rekey_api::crds::yaml())?;
    all.extend(manifests()?.into_iter().filter(|object| !left_out(object)));
    Ok(all)
}

/// The objects that need an image: the Deployment, and the budget of its pods.
///
/// # Errors
/// When a manifest cannot be read.
pub fn with_image() -> Result<Vec<Value>> {
    Ok(manifests()?.into_iter().filter(left_out).collect())
}

/// A file of `deploy/`.
///
/// # Errors
/// When it cannot be read.
pub fn file(name: &str) -> Result<String> {
    let path = repository().join("deploy").join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The install file without its CRDs, which come from the types.
fn manifests() -> Result<Vec<Value>> {
    let all = every_document(&file("install.yaml")?).context("deploy/install.yaml")?;
    Ok(all.into_iter().filter(|object| object["kind"] != "CustomResourceDefinition").collect())
}

/// Every document of a YAML text but empty ones and those that need an image.
///
/// # Errors
/// When it is not YAML.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    Ok(every_document(text)?.into_iter().filter(|object| !left_out(object)).collect())
}

/// Every document of a YAML text but empty ones.
///
/// # Errors
/// When it is not YAML.
pub fn every_document(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

fn left_out(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| LEFT_OUT.contains(&kind))
}

/// Applies [all shipped objects](objects), and waits until the API server serves our kinds.
///
/// # Errors
/// When one is refused.
pub async fn install(client: &Client, manager: &str) -> Result<()> {
    let (definitions, others): (Vec<Value>, Vec<Value>) =
        objects()?.into_iter().partition(|object| object["kind"] == "CustomResourceDefinition");
    for definition in definitions {
        apply(client, manager, definition).await?;
    }
    served(client).await?;
    for object in others {
        apply(client, manager, object).await?;
    }
    Ok(())
}

/// Waits until the API server serves our kinds, from its cache: a definition that is deleted sooner hangs, since
/// Kubernetes fails to list its objects.
///
/// # Errors
/// When it does not.
pub async fn served(client: &Client) -> Result<()> {
    for kind in ["secretpolicies", "rotationschedules", "remotestores", "clusterremotestores"] {
        until(&format!("{kind} are served"), || async {
            let resource = ApiResource {
                group: "rekey.dev".to_owned(),
                version: "v1alpha1".to_owned(),
                api_version: "rekey.dev/v1alpha1".to_owned(),
                kind: String::new(),
                plural: kind.to_owned(),
            };
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            Ok(api.list(&ListParams::default().match_any()).await.ok())
        })
        .await?;
    }
    Ok(())
}

/// Applies one object, in the namespace that it names.
///
/// # Errors
/// When it is refused.
pub async fn apply(client: &Client, manager: &str, value: Value) -> Result<DynamicObject> {
    let (api, object) = located(client, value)?;
    let name = object.name_any();
    let params = PatchParams::apply(manager).force();
    api.patch(&name, &params, &Patch::Apply(&object))
        .await
        .with_context(|| format!("apply {} {name}", object.types.as_ref().map_or("object", |types| &types.kind)))
}

/// An object, and the API that holds it.
///
/// # Errors
/// When it lacks `apiVersion` or `kind`.
pub fn located(client: &Client, value: Value) -> Result<(Api<DynamicObject>, DynamicObject)> {
    let api_version = value["apiVersion"].as_str().context("apiVersion")?.to_owned();
    let kind = value["kind"].as_str().context("kind")?.to_owned();
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &kind), &plural(&kind));
    let object: DynamicObject = serde_json::from_value(value)?;
    let api = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    Ok((api, object))
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        None if lower.ends_with('s') => format!("{lower}es"),
        Some(_) | None => format!("{lower}s"),
    }
}
