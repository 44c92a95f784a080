//! Argo Rollouts: the kind as far as we read it, with this test as its controller.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};
use rekey_api::names;
use rekey_e2e::{
    World, foreign,
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

use crate::ground::{Ground, REST};

/// The label by which Argo Rollouts distinguishes the pods of one template from those of another.
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

fn manifest(namespace: &str) -> Value {
    let mut manifest = workload("Deployment", namespace, "app", "db", Form::Env);
    manifest["apiVersion"] = json!("argoproj.io/v1alpha1");
    manifest["kind"] = json!("Rollout");
    manifest
}

/// What its controller does: a `ReplicaSet` of the current template, the end of the one before, and a status.
async fn rolled(ground: &Ground, api: &Api<DynamicObject>) -> Result<()> {
    let rollout = api.get("app").await?;
    let generation = rollout.metadata.generation.context("no generation")?;
    let hash = generation.to_string();
    let mut template = rollout.data["spec"]["template"].clone();
    template["metadata"]["labels"][ROLLOUT_HASH] = json!(hash);
    ground
        .scene
        .apply(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": format!("app-{generation}")},
            "spec": {"replicas": 1, "selector": {"matchLabels": {ROLLOUT_HASH: hash}}, "template": template},
        }))
        .await?;
    let sets = ground.scene.api::<ReplicaSet>();
    if sets.get_opt(&format!("app-{}", generation - 1)).await?.is_some() {
        sets.delete(&format!("app-{}", generation - 1), &DeleteParams::background()).await?;
    }
    let hash = ListParams::default().labels(&format!("{ROLLOUT_HASH}={hash}"));
    until("only the new pod is left", || async {
        let pods = ground.scene.api::<Pod>();
        let (all, new) = (pods.list(&ListParams::default()).await?, pods.list(&hash).await?);
        Ok((all.items.len() == 1 && new.items.len() == 1).then_some(()))
    })
    .await?;
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
