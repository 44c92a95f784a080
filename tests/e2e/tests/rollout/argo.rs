//! Argo Rollouts: the kind as far as we read it, with this test as its controller.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use rekey_api::names;
use rekey_e2e::{
    World, foreign,
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

use crate::ground::{Ground, REST};

fn manifest(namespace: &str) -> Value {
    let mut manifest = workload("Deployment", namespace, "app", "db", Form::Env);
    manifest["apiVersion"] = json!("argoproj.io/v1alpha1");
    manifest["kind"] = json!("Rollout");
    manifest
}

/// What its controller does: the pod of the current template, and a status.
async fn rolled(ground: &Ground, api: &Api<DynamicObject>) -> Result<()> {
    let rollout = api.get("app").await?;
    let generation = rollout.metadata.generation.context("no generation")?;
    let name = format!("app-{generation}");
    let mut pod = rollout.data["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    ground.scene.apply(pod).await?;
    let status = json!({"status": {"observedGeneration": generation.to_string(), "phase": "Healthy"}});
    api.patch_status("app", &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

pub async fn an_argo_rollout_restarts_once(world: Arc<World>) -> Result<()> {
    let probe = world.plane.namespace("argo").await?;
    world.serve(foreign::rollouts(), manifest(&probe)).await?;
    let ground = Ground::new(&world, "argo").await?;
    ground.published().await?;
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"), "rollouts");
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &ground.scene.namespace, &resource);
    ground.scene.apply(manifest(&ground.scene.namespace)).await?;
    rolled(&ground, &api).await?;
    ensure!(ground.scene.held("app", "PASSWORD").await? == "one");
    ground.wait_current(1).await?;
    ensure!(ground.state("db", "app").await? == "Assumed");
    ground.change("two").await?;
    let generation = || async { api.get("app").await?.metadata.generation.context("no generation") };
    until("the marker is written", || async { Ok((generation().await? == 2).then_some(())) }).await?;
    let template = api.get("app").await?.data["spec"]["template"].clone();
    let marker = template["metadata"]["annotations"][names::CONSUMED].as_str().unwrap_or_default();
    ensure!(marker.starts_with("db="), "{template}");
    ensure!(template["spec"]["containers"][0]["name"] == "app", "the rest of it stays: {template}");
    ground.scene.wait_policy("db", "ConsumersCurrent=False/ConsumersOutdated").await?;
    ground.scene.api::<Pod>().delete("app-1", &DeleteParams::default().grace_period(0)).await?;
    rolled(&ground, &api).await?;
    ground.wait_current(1).await?;
    ensure!(ground.scene.held("app", "PASSWORD").await? == "two");
    stays("its generation", 2, REST, generation).await
}

/// Argo refuses a Rollout that has a template beside its `workloadRef`.
pub async fn an_argo_rollout_without_a_template_is_left_alone(world: Arc<World>) -> Result<()> {
    let probe = world.plane.namespace("borrowed").await?;
    world.serve(foreign::rollouts(), manifest(&probe)).await?;
    let mut ground = Ground::new(&world, "borrowed").await?;
    let mut rollout = manifest(&ground.scene.namespace);
    rollout["spec"]["template"].take();
    rollout["spec"]["workloadRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    world.apply(rollout).await?;
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"), "rollouts");
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &ground.scene.namespace, &resource);
    ground.put("db", "orders", "one").await?;
    let named = json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "app"}]);
    ground.policy("db", json!({"rollout": {"consumers": named}})).await?;
    let said = "Failed it takes its template from Deployment web: name that one in spec.rollout.consumers".to_owned();
    until_equal("what is said of it", said.clone(), || async {
        Ok(ground.state("db", "app").await.unwrap_or_default()) // before the first status there is none
    })
    .await?;
    ground.change("two").await?;
    ground.stop()?;
    ground.start()?;
    ground.scene.sync("db").await?;
    let seen = || async {
        let left = api.get("app").await?.data["spec"]["template"].is_null();
        Ok((left, ground.state("db", "app").await?))
    };
    stays("the Rollout", (true, said), REST, seen).await
}
