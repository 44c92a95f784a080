//! `source.existing`: another tool's Secret gets versions, and is never written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use rekey_api::{SecretPolicy, names, policy::ConsumerState};
use rekey_e2e::{
    Scene, World,
    versions::{current, held, status, versions},
    wait::{stays, until, until_equal},
    workloads::Form,
};
use serde_json::{Value, json};

use super::references::{apply, manifest, states, wait_current};

/// The other tool.
const MAKER: &str = "cert-manager";
const A_WHILE: Duration = Duration::from_secs(4);

async fn policy(scene: &Scene, references: &str) -> Result<()> {
    let versions = json!({"references": references, "keep": 1});
    scene.policy_of("db", json!({"source": {"existing": {}}, "immutability": "Versioned", "versions": versions})).await
}

/// The other tool makes the Secret, or changes it.
async fn make(scene: &Scene, password: &str) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "example.com/login",
                        "metadata": {"name": "db", "namespace": scene.namespace, "labels": {"of": "theirs"}},
                        "stringData": {"password": password}});
    scene.api::<Secret>().patch("db", &PatchParams::apply(MAKER).force(), &Patch::Apply(object)).await.map(drop)?;
    Ok(())
}

/// Nothing on the Secret is ours: neither a mark, nor a field.
async fn is_untouched(scene: &Scene) -> Result<()> {
    let Secret { metadata, immutable, .. } = scene.api::<Secret>().get("db").await?;
    let ours = |text: &str| text.starts_with("rekey");
    let fields = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref()).any(ours);
    let marks = metadata.annotations.iter().flatten().any(|(name, _)| ours(name));
    let labels = metadata.labels.iter().flatten().any(|(_, value)| ours(value));
    ensure!(!fields && !marks && !labels && metadata.owner_references.is_none() && immutable.is_none(), "{metadata:?}");
    Ok(())
}

pub async fn a_secret_of_another_tool_gets_versions_and_its_consumers_are_moved(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "foreign").await?;
    let mut operator = scene.operator()?;
    policy(&scene, "Move").await?;
    scene.wait_policy("db", "Ready=False/SecretNotFound").await?;
    make(&scene, "one").await?;
    let first = current(&scene, "one").await?;
    apply(&scene, "Deployment", "web", Form::Env).await?;
    wait_current(&scene, &["web"]).await?;
    let generation = || scene.generation("Deployment", "web");
    ensure!(generation().await? == 2 && scene.held("web", "PASSWORD").await? == "one", "one move");
    let version = scene.api::<Secret>().get(&first).await?;
    ensure!(version.immutable == Some(true) && version.type_.as_deref() == Some("example.com/login"), "{version:?}");
    ensure!(!version.labels().contains_key("of"), "its maker's labels are not copied: {:?}", version.labels());

    make(&scene, "two").await?;
    let second = current(&scene, "two").await?;
    wait_current(&scene, &["web"]).await?;
    ensure!(first != second && generation().await? == 3 && scene.held("web", "PASSWORD").await? == "two");
    is_untouched(&scene).await?;
    // What is no change of the value is no version, and a start of the operator is none either.
    scene.annotate::<Secret>("db", "example.com/renewed", "today").await?;
    let names = || async { Ok(versions(&scene).await?.into_keys().collect::<Vec<_>>()) };
    stays("the versions", names().await?, A_WHILE, names).await?;
    operator.stop()?;
    let _operator = scene.operator()?;
    stays("the versions", names().await?, A_WHILE, names).await?;
    ensure!(generation().await? == 3 && status(&scene).await?.secret_name == Some(second));

    // It is gone: what it held goes on, and the next one is followed.
    scene.api::<Secret>().delete("db", &DeleteParams::default()).await?;
    let said = scene.wait_policy("db", "Fresh=False/SecretNotFound").await?;
    ensure!(said.contains("Secret \"db\" does not exist"), "{said}");
    scene.wait_policy("db", "Ready=True/ServingLastKnown").await?;
    stays("the generation of web", 3, A_WHILE, generation).await?;
    ensure!(scene.held("web", "PASSWORD").await? == "two" && scene.data("db").await?.is_none());
    make(&scene, "three").await?;
    current(&scene, "three").await?;
    wait_current(&scene, &["web"]).await?;
    ensure!(generation().await? == 4 && scene.held("web", "PASSWORD").await? == "three");
    is_untouched(&scene).await?;

    scene.api::<SecretPolicy>().delete("db", &DeleteParams::default()).await?;
    until_equal("what something refers to stays", vec!["three".to_owned()], || held(&scene)).await?;
    is_untouched(&scene).await?;
    scene.wait_data("db", &[("password", "three")]).await
}

/// What nothing refers to goes with the policy, and the Secret of the other tool stays.
pub async fn its_versions_go_with_the_policy(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "foreigngone").await?;
    let _operator = scene.operator()?;
    make(&scene, "one").await?;
    policy(&scene, "Publish").await?;
    current(&scene, "one").await?;
    make(&scene, "two").await?;
    current(&scene, "two").await?;
    scene.api::<SecretPolicy>().delete("db", &DeleteParams::default()).await?;
    until_equal("the versions", BTreeMap::new(), || versions(&scene)).await?;
    is_untouched(&scene).await?;
    scene.wait_data("db", &[("password", "two")]).await
}

/// What was governed in place gets versions, and goes back. Its marks of the first time stay as they are.
pub async fn a_governed_secret_becomes_versioned_and_goes_back(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "governed").await?;
    let _operator = scene.operator()?;
    make(&scene, "one").await?;
    let governed = || scene.policy_of("db", json!({"source": {"existing": {}}}));
    governed().await?;
    ensure!(current(&scene, "one").await? == "db");
    let before = status(&scene).await?;
    let object = || async { Ok(serde_json::to_value(scene.api::<Secret>().get("db").await?)?) };
    let marked: Value = object().await?;
    policy(&scene, "Publish").await?;
    until("a version", || async { Ok((current(&scene, "one").await? != "db").then_some(())) }).await?;
    let now = status(&scene).await?;
    ensure!(now.revision == before.revision && now.history == before.history, "{now:?}");
    stays("the Secret", marked.clone(), A_WHILE, object).await?;
    make(&scene, "two").await?;
    let second = current(&scene, "two").await?;
    let record = |of: &Value| of["metadata"]["annotations"].clone();
    ensure!(record(&object().await?) == record(&marked), "the record is on the versions now");
    governed().await?;
    until("the plain name", || async { Ok((current(&scene, "two").await? == "db").then_some(())) }).await?;
    let secret = scene.api::<Secret>().get("db").await?;
    ensure!(secret.annotations().get(names::REVISION).map(|at| format!("db-{at}")) == Some(second), "{secret:?}");
    scene.wait_data("db", &[("password", "two")]).await
}

/// A tool that puts the plain name back runs its pods on the Secret itself: they are restarted when that changes.
pub async fn a_reference_that_is_put_back_runs_on_the_secret_itself(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "foreignback").await?;
    let _operator = scene.operator()?;
    make(&scene, "one").await?;
    policy(&scene, "Move").await?;
    current(&scene, "one").await?;
    apply(&scene, "Deployment", "web", Form::Env).await?;
    wait_current(&scene, &["web"]).await?;
    let put_back = || async {
        let params = PatchParams::apply("hostile").force();
        let object = manifest(&scene, "Deployment", "web", Form::Env);
        scene.api::<Deployment>().patch("web", &params, &Patch::Apply(object)).await.map(drop)
    };
    for password in ["two", "three"] {
        make(&scene, password).await?;
        current(&scene, password).await?;
        until("it is held", || async {
            put_back().await?;
            tokio::time::sleep(Duration::from_secs(1)).await; // the tool's own rhythm
            let state = states(&scene).await?.remove("web");
            Ok(state.filter(|(state, _)| *state == ConsumerState::Held))
        })
        .await?;
        put_back().await?;
        let holds = || async { Ok((scene.held("web", "PASSWORD").await? == password).then_some(())) };
        until("its pod holds the value", holds).await?;
    }
    let generation = || scene.generation("Deployment", "web");
    stays("the generation of web", generation().await?, Duration::from_secs(8), generation).await?;
    is_untouched(&scene).await
}
