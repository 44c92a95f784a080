//! Objects that were stored under other rules than today's.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use rekey_e2e::{Scene, World, conditions, wait::until};
use serde_json::{Value, json};

const KINDS: [(&str, &str); 3] =
    [("SecretPolicy", "secretpolicies"), ("RotationSchedule", "rotationschedules"), ("RemoteStore", "remotestores")];

fn api(scene: &Scene, kind: &str, plural: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("rekey.dev", "v1alpha1", kind), plural);
    Api::namespaced_with(scene.world.client.clone(), &scene.namespace, &resource)
}

/// A definition that takes anything as a spec.
fn loosened(crd: &CustomResourceDefinition) -> Result<Value> {
    let mut crd = serde_json::to_value(crd)?;
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("x-kubernetes-validations");
    }
    Ok(crd)
}

async fn define(world: &World, crd: &Value) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let name = crd["metadata"]["name"].as_str().context("no name")?;
    let mut crd = crd.clone();
    crd["metadata"]["resourceVersion"] = json!(crds.get(name).await?.metadata.resource_version);
    crds.replace(name, &PostParams::default(), &serde_json::from_value(crd)?).await?;
    Ok(())
}

fn broken(kind: &str) -> Value {
    let spec = match kind {
        "SecretPolicy" => {
            json!({"source": {"remote": {"storeRef": "vault", "refreshInterval": "soon", "data": "all"}}})
        }
        "RotationSchedule" => json!({"policyRef": ["db"], "rotator": 7}),
        _ => json!({"provider": "vault"}),
    };
    json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": kind, "metadata": {"name": "broken"}, "spec": spec,
    })
}

pub async fn objects(_shared: Arc<World>) -> Result<()> {
    // The definitions are changed for a while, so this is a world of its own.
    let world = Arc::new(World::start(false).await?);
    let outcome = stored(&world).await;
    if outcome.is_err() {
        eprintln!("the logs are kept in {}", world.plane.keep_logs()?.display());
    }
    outcome
}

async fn stored(world: &Arc<World>) -> Result<()> {
    let scene = Scene::new(world, "malformed").await?;
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    for (kind, plural) in KINDS {
        let strict = crds.get(&format!("{plural}.rekey.dev")).await?;
        define(world, &loosened(&strict)?).await?;
        let object: DynamicObject = serde_json::from_value(broken(kind))?;
        // The API server takes a moment to follow.
        until(&format!("a broken {kind} is stored"), || async {
            Ok(api(&scene, kind, plural).create(&PostParams::default(), &object).await.ok())
        })
        .await?;
        define(world, &serde_json::to_value(&strict)?).await?;
        until(&format!("{kind} is strict again"), || async {
            let mut other = object.clone();
            other.metadata.name = Some("other".to_owned());
            let params = PostParams { dry_run: true, ..PostParams::default() };
            Ok(api(&scene, kind, plural).create(&params, &other).await.err().map(drop))
        })
        .await?;
    }
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let mut operator = scene.operator()?;
    for (kind, plural) in KINDS {
        let said = told(&scene, kind, plural).await?;
        ensure!(said.contains("apply it again"), "{kind}: {said}");
    }
    // One bad object stops nobody.
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    scene.wait_data("db", &[("password", "one")]).await?;
    scene.policy("by-broken", "broken", &[("password", &key, "password")], json!({})).await?;
    let said = scene.wait_policy("by-broken", "Ready=False/DependencyNotReady").await?;
    ensure!(said.contains("RemoteStore/broken") && said.contains("malformed"), "{said}");
    // Applied again in today's form it works.
    let whole = json!({"spec": {"source": {"remote": {"storeRef": {"name": "vault"}, "refreshInterval": "10s", "data": [
        {"secretKey": "password", "remoteRef": {"key": key, "property": "password"}},
    ]}}}});
    api(&scene, "SecretPolicy", "secretpolicies")
        .patch("broken", &PatchParams::default(), &Patch::Merge(&whole))
        .await?;
    scene.wait_data("broken", &[("password", "one")]).await?;
    scene.wait_synced("broken").await?;
    operator.alive()
}

async fn told(scene: &Scene, kind: &str, plural: &str) -> Result<String> {
    until(&format!("the broken {kind} is told of"), || async {
        let object = api(scene, kind, plural).get("broken").await?;
        let found: Vec<Condition> =
            serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default();
        conditions::check(kind, &found)?;
        let stalled = conditions::shown(&found).contains(&"Stalled=True/MalformedObject".to_owned());
        Ok(stalled.then(|| conditions::message(&found, "Stalled")))
    })
    .await
}
