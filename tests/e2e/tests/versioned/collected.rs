//! Which versions go.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::Job,
    core::v1::Pod,
    rbac::v1::{ClusterRole, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rekey_e2e::{
    Scene, World,
    versions::{change, current, deployment, held, policy, scene, versioned, versions},
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use rekey_testkit::node::IMAGE;
use serde_json::json;

pub async fn what_is_kept_stays_and_the_rest_goes(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "kept").await?;
    let _operator = scene.operator()?;
    policy(&scene, versioned(2)).await?;
    current(&scene, "one").await?;
    for number in 1..=6 {
        change(&scene, &format!("n{number}")).await?;
    }
    until_equal("what the versions hold", ["n4", "n5", "n6"].map(str::to_owned).to_vec(), || held(&scene)).await?;
    // Fewer are kept from here on.
    policy(&scene, versioned(0)).await?;
    until_equal("what the versions hold", vec!["n6".to_owned()], || held(&scene)).await
}

async fn scale(scene: &Scene, name: &str, replicas: u32) -> Result<()> {
    let body = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    scene.api::<Deployment>().patch(name, &PatchParams::default(), &body).await?;
    Ok(())
}

/// A pod of nobody's, or a Job, that refers to a Secret.
fn template(secret: &str) -> serde_json::Value {
    json!({
        "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
        "containers": [{"name": "app", "image": IMAGE, "imagePullPolicy": "Never",
            "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}}]}],
    })
}

/// With `keep: 0`, so that nothing stays but for what refers to it.
pub async fn what_a_pod_or_its_maker_refers_to_stays(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "referred").await?;
    let _operator = scene.operator()?;
    policy(&scene, versioned(0)).await?;
    // A bare pod.
    let bare = current(&scene, "one").await?;
    scene
        .apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "labels": {"app": "bare"}},
        "spec": template(&bare)}))
        .await?;
    ensure!(scene.held("bare", "PASSWORD").await? == "one");
    // A suspended Job, which has no pod.
    let job = change(&scene, "of-job").await?;
    scene
        .apply(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "later"},
        "spec": {"suspend": true, "template": {"spec": template(&job)}}}))
        .await?;
    // A ReplicaSet that an unfinished rollout still needs, and one that is only kept to go back to.
    let old = change(&scene, "of-old-set").await?;
    deployment(&scene, "web", &old).await?;
    scene.wait_pod("web").await?;
    let new = change(&scene, "of-new-set").await?;
    deployment(&scene, "web", &new).await?;
    until("the rollout is done", || async {
        Ok((scene.held("web", "PASSWORD").await.ok().as_deref() == Some("of-new-set")).then_some(()))
    })
    .await?;
    let sets = scene.api::<ReplicaSet>().list(&ListParams::default()).await?.items;
    ensure!(
        sets.iter().filter(|set| set.spec.as_ref().and_then(|spec| spec.replicas) == Some(0)).count() == 1,
        "{sets:?}"
    );
    // A StatefulSet.
    let stateful = change(&scene, "of-stateful-set").await?;
    let manifest = workload("StatefulSet", &scene.namespace, "store", &stateful, Form::Volume);
    world.apply(manifest).await?;
    scene.wait_pod("store").await?;

    change(&scene, "last").await?;
    let wanted = ["last", "of-job", "of-new-set", "of-stateful-set", "one"].map(str::to_owned).to_vec();
    until_equal("what the versions hold", wanted.clone(), || held(&scene)).await?;
    stays("what something refers to", wanted, Duration::from_secs(2), || held(&scene)).await?;

    // When that is gone, the next publication takes them along.
    scene.api::<Pod>().delete("bare", &DeleteParams::default().grace_period(0)).await?;
    let later =
        DeleteParams { propagation_policy: Some(kube::api::PropagationPolicy::Background), ..DeleteParams::default() };
    scene.api::<Job>().delete("later", &later).await?;
    until("the pod is gone", || async { Ok(scene.api::<Pod>().get_opt("bare").await?.is_none().then_some(())) })
        .await?;
    scale(&scene, "web", 0).await?;
    change(&scene, "really-last").await?;
    let wanted = ["of-new-set", "of-stateful-set", "really-last"].map(str::to_owned).to_vec();
    until_equal("what the versions hold", wanted, || held(&scene)).await
}

/// A role of the installer's own that lacks one right.
pub async fn without_the_right_to_look_nothing_is_deleted(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "unlisted").await?;
    let cluster_roles: Api<ClusterRole> = Api::all(world.client.clone());
    let mut role = cluster_roles.get("rekey-namespace").await?;
    let name = format!("{}-without-jobs", scene.namespace);
    let rules = role.rules.take().context("rules")?;
    let others: Vec<_> =
        rules.into_iter().filter(|rule| !rule.resources.iter().flatten().any(|resource| resource == "jobs")).collect();
    world
        .apply(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name}, "rules": others}))
        .await?;
    scene.apply(rekey_e2e::shipped::binding(&scene.namespace, ("rekey", &name))).await?;
    scene.vault_store("ReadWrite").await?;
    rekey_e2e::versions::put(&scene, "one").await?;
    let _operator = scene.operator()?;
    policy(&scene, versioned(0)).await?;
    current(&scene, "one").await?;
    change(&scene, "two").await?;
    change(&scene, "three").await?;
    stays("the versions", 3, Duration::from_secs(2), || async { Ok(versions(&scene).await?.len()) }).await?;
    scene.wait_synced("db").await?;
    // With the right, the next publication takes all of them along.
    scene.api::<RoleBinding>().delete("rekey", &DeleteParams::default()).await?;
    scene.open().await?;
    change(&scene, "four").await?;
    until_equal("what the versions hold", vec!["four".to_owned()], || held(&scene)).await
}
