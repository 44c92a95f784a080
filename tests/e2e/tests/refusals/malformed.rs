//! Objects that were stored under rules other than the current ones.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::core::v1::Secret, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, ResourceExt as _,
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

/// Objects of other versions: `newer` has a word that the current schema does not know, `broken` has other types
/// altogether.
fn stored_before(kind: &str) -> [Value; 2] {
    let object = |name: &str, spec: Value| json!({"apiVersion": "rekey.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let data = json!([{"secretKey": "password", "remoteRef": {"key": "db"}}]);
    let remote = json!({"remote": {"storeRef": {"name": "vault"}, "refreshInterval": "10s", "data": data}});
    let generate = json!({"generate": {"fields": [{"property": "password", "password": {}}]}});
    let to = json!({"storeRef": {"name": "vault"}, "key": "db"});
    let server = json!({"server": "https://bao.infra", "auth": {"token": {"secretRef": {"name": "a", "key": "b"}}}});
    match kind {
        "SecretPolicy" => [
            object("newer", json!({"source": remote, "immutability": "Sealed"})),
            object(
                "broken",
                json!({"source": {"remote": {"storeRef": "vault", "refreshInterval": "soon", "data": 1}}}),
            ),
        ],
        "RotationSchedule" => [
            object(
                "newer",
                json!({"policyRef": {"name": "db"}, "writeTo": to, "rotator": generate, "approval": "Asked"}),
            ),
            object("broken", json!({"policyRef": ["db"], "rotator": 7})),
        ],
        _ => [
            object("newer", json!({"provider": {"vault": server}, "access": "WriteOnly"})),
            object("broken", json!({"provider": "vault"})),
        ],
    }
}

pub async fn an_object_that_cannot_be_read_is_told_and_stops_nobody(_shared: Arc<World>) -> Result<()> {
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
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let before = scene.operator()?;
    scene.policy("kept", "vault", &[("password", &key, "password")], json!({})).await?;
    scene.wait_synced("kept").await?;
    drop(before);
    for (kind, plural) in KINDS {
        store(&scene, kind, plural).await?;
    }
    let served = scene.api::<Secret>().get("kept").await?.resource_version();
    let mut operator = scene.operator()?;
    for (kind, plural) in KINDS {
        let said = told(&scene, kind, plural, "newer").await?;
        ensure!(said.contains("apply the object again"), "{kind}: {said}");
        // The current rules refuse every write of the other one, its status too, so an Event reports it.
        until(&format!("an Event about the broken {kind}"), || async {
            let events = scene.events("broken").await?;
            let found = events.iter().find(|text| text.starts_with("MalformedObject: "));
            Ok(found.is_some_and(|text| text.contains("apply the object again")).then_some(()))
        })
        .await?;
    }
    // What was published before stays.
    let said = told(&scene, "SecretPolicy", "secretpolicies", "kept").await?;
    ensure!(said.contains("Sealed") && said.contains("apply the object again"), "{said}");
    ensure!(scene.api::<Secret>().get("kept").await?.resource_version() == served, "the Secret was touched");
    // One bad object stops nobody.
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    scene.wait_data("db", &[("password", "one")]).await?;
    scene.policy("by-broken", "broken", &[("password", &key, "password")], json!({})).await?;
    let said = scene.wait_policy("by-broken", "Ready=False/StoreNotAllowed").await?;
    ensure!(said.contains("RemoteStore/broken") && said.contains("malformed"), "{said}");
    // Once fixed, they work, and nothing is left of the message.
    for name in ["newer", "broken", "kept"] {
        let data = json!([{"secretKey": "password", "remoteRef": {"key": key, "property": "password"}}]);
        let whole = json!({"spec": {
            "immutability": "None",
            "source": {"remote": {"storeRef": {"name": "vault"}, "refreshInterval": "10s", "data": data}},
        }});
        api(&scene, "SecretPolicy", "secretpolicies")
            .patch(name, &PatchParams::default(), &Patch::Merge(&whole))
            .await?;
        scene.wait_data(name, &[("password", "one")]).await?;
        let status = scene.wait_synced(name).await?.status.unwrap_or_default();
        let shown = conditions::shown(&status.conditions);
        ensure!(shown == ["Ready=True/Synced"], "{name}: {shown:?}");
    }
    operator.alive()
}

/// Stores both objects of a kind while its definition takes anything, and makes it strict again.
async fn store(scene: &Scene, kind: &str, plural: &str) -> Result<()> {
    let world = &scene.world;
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let strict = crds.get(&format!("{plural}.rekey.dev")).await?;
    define(world, &loosened(&strict)?).await?;
    for object in stored_before(kind) {
        let object: DynamicObject = serde_json::from_value(object)?;
        // The API server takes a moment to follow.
        until(&format!("a malformed {kind} is stored"), || async {
            Ok(api(scene, kind, plural).create(&PostParams::default(), &object).await.ok())
        })
        .await?;
    }
    if kind == "SecretPolicy" {
        let newer = Patch::Merge(json!({"spec": {"immutability": "Sealed"}}));
        api(scene, kind, plural).patch("kept", &PatchParams::default(), &newer).await?;
    }
    define(world, &serde_json::to_value(&strict)?).await?;
    let [mut other, _] = stored_before(kind);
    other["metadata"]["name"] = json!("other");
    let other: DynamicObject = serde_json::from_value(other)?;
    until(&format!("{kind} is strict again"), || async {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        Ok(api(scene, kind, plural).create(&params, &other).await.err().map(drop))
    })
    .await
}

async fn told(scene: &Scene, kind: &str, plural: &str, name: &str) -> Result<String> {
    until(&format!("the malformed {kind} {name} is reported"), || async {
        let object = api(scene, kind, plural).get(name).await?;
        let found: Vec<Condition> =
            serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default();
        conditions::check(kind, &found)?;
        let stalled = conditions::shown(&found).contains(&"Stalled=True/MalformedObject".to_owned());
        Ok(stalled.then(|| conditions::message(&found, "Stalled")))
    })
    .await
}
