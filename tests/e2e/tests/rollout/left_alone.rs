//! What must not restart any consumer.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, rbac::v1::RoleBinding};
use kube::api::{DeleteParams, Patch, PatchParams};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene, World, conditions,
    kill::Rig,
    wait::until,
    workloads::{Form, workload},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    ground::{Ground, REST},
    held::restarted_at,
};

/// A pod that starts sooner after a change counts as one that may have read the old value.
const EDGE: Duration = Duration::from_secs(3);

/// One consumer was restarted by us, one has started after the change: both run on the current value, and one of them
/// has no marker that says so.
pub async fn nothing_but_a_changed_value_restarts_anybody(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "nothing").await?;
    ground.published().await?;
    ground.consumer("Deployment", "early", Form::Env).await?;
    ground.change("two").await?;
    ground.deployment("early").settles_on("two", 2).await?;
    ground.consumer("Deployment", "late", Form::Env).await?;
    ground.wait_current(2).await?;
    let both = async |ground: &Ground, why: &str| -> Result<()> {
        ground.scene.sync("db").await?; // by now it has handled everything
        ground.wait_current(2).await?;
        ground.deployment("early").left_alone(why, REST / 2).await?;
        ground.deployment("late").left_alone(why, REST / 2).await?;
        ensure!(ground.deployment("early").templates().await? == 2, "early after {why}");
        ensure!(ground.deployment("late").templates().await? == 1, "late after {why}");
        Ok(())
    };
    ground.put("db", "orders", "two").await?;
    both(&ground, "equal bytes in a new version").await?;
    ground.stop()?;
    ground.start()?;
    both(&ground, "a restart of the operator").await?;
    let params = PatchParams::default();
    let edits =
        json!({"metadata": {"labels": {"team": "shop"}}, "spec": {"source": {"remote": {"refreshInterval": "2h"}}}});
    ground.scene.api::<SecretPolicy>().patch("db", &params, &Patch::Merge(&edits)).await?;
    both(&ground, "a label and another refreshInterval").await?;
    ground.edit("early", restarted_at("now")).await?;
    until("a user's own restart", || async { Ok((ground.deployment("early").templates().await? == 3).then_some(())) })
        .await?;
    ground.deployment("early").settles_on("two", 3).await
}

/// Closing and opening the namespace makes the operator list everything again. Meanwhile the store has no news.
pub async fn a_relist_restarts_nobody(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "relist").await?;
    rig.start_ready().await?;
    let scene = &rig.scene;
    world.bao.put(&scene.key("db"), &json!({"password": "one"})).await?;
    scene.policy("db", "vault", &[("password", &scene.key("db"), "password")], json!({})).await?;
    scene.wait_synced("db").await?;
    world.apply(workload("Deployment", &scene.namespace, "early", "db", Form::Env)).await?;
    scene.wait_pod("early").await?;
    world.bao.put(&scene.key("db"), &json!({"password": "two"})).await?;
    scene.sync("db").await?;
    restarted(scene, "early").await?;
    world.apply(workload("Deployment", &scene.namespace, "late", "db", Form::Env)).await?;
    scene.wait_pod("late").await?;
    let lists = rig.kubernetes.others();
    scene.api::<RoleBinding>().delete("rekey", &DeleteParams::default()).await?;
    rig.kubernetes.cut();
    scene.wait_policy("db", "Stalled=True/NamespaceNotOpened").await?;
    scene.open().await?;
    scene.wait_synced("db").await?;
    scene.sync("db").await?;
    ensure!(rig.kubernetes.others() > lists + 4, "it has listed again");
    let generations = || async {
        Ok((scene.generation("Deployment", "early").await?, scene.generation("Deployment", "late").await?))
    };
    rekey_e2e::wait::stays("generations after a relist", (2, 1), REST, generations).await
}

async fn restarted(scene: &Scene, name: &str) -> Result<()> {
    until(&format!("{name} is restarted, and all is done"), || async {
        let status = scene.wait_synced("db").await?.status.unwrap_or_default();
        let current = conditions::shown(&status.conditions).iter().any(|at| at == "ConsumersCurrent=True/AllCurrent");
        Ok((current && scene.generation("Deployment", name).await? == 2).then_some(()))
    })
    .await
}

pub async fn adoption_restarts_nobody(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "adopt").await?;
    ground.put("db", "orders", "one").await?;
    ground.scene.secret("db", &[("username", "orders"), ("password", "one")]).await?;
    let consumer = ground.consumer("Deployment", "app", Form::Env).await?;
    ground.scene.annotate::<k8s_openapi::api::core::v1::Secret>("db", names::ADOPT_BY, "db").await?;
    ground.policy("db", json!({})).await?;
    ground.wait_current(1).await?;
    ensure!(ground.state("db", "app").await? == "Assumed");
    consumer.left_alone("adoption", REST).await?;
    ground.change("two").await?;
    consumer.settles_on("two", 2).await
}

/// Pods can run before the Secret is there, when their reference is optional.
pub async fn a_policy_for_running_pods_restarts_nobody(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "first").await?;
    let mut manifest = workload("Deployment", &ground.scene.namespace, "app", "db", Form::Env);
    manifest["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["optional"] =
        json!(true);
    world.apply(manifest).await?;
    ground.scene.wait_pod("app").await?;
    ground.published().await?;
    ground.wait_current(1).await?;
    let consumer = ground.deployment("app");
    ensure!(ground.state("db", "app").await? == "Assumed");
    ground.wait_consumers("db", "0/1 (1 assumed)", "ConsumersCurrent=Unknown/Assumed").await?;
    consumer.left_alone("the first publication", REST).await?;
    ensure!(consumer.templates().await? == 1);
    Ok(())
}

/// The pods of the old template are older than the change, but hold nothing of it.
pub async fn a_template_that_newly_refers_to_the_secret_rolls_once(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "newly").await?;
    ground.published().await?;
    let refers = slow(&ground, 3);
    let env = refers["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    let mut manifest = refers;
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
    world.apply(manifest).await?;
    ground.scene.wait_pod("app").await?;
    ground.change("two").await?;
    sleep(EDGE).await;
    ground.edit("app", json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}}})).await?;
    let consumer = ground.deployment("app");
    consumer.settles_on("two", 2).await?;
    ensure!(consumer.marker().await?.is_none());
    ground.wait_current(1).await
}

/// A user restarts it before we do: the new pods have read the new value, and those that go do not count.
pub async fn a_rollout_of_somebody_elses_is_not_doubled(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "own").await?;
    ground.published().await?;
    world.apply(slow(&ground, 15)).await?;
    ground.wait_current(1).await?;
    ground.wait_available("app").await?;
    let closed = json!([{"cron": "0 0 1 1 *", "duration": "1s"}]);
    ground.policy("db", json!({"rollout": {"windows": closed}})).await?;
    ground.change("two").await?;
    ground.stop()?;
    ground.policy("db", json!({})).await?;
    sleep(EDGE).await;
    ground.edit("app", restarted_at("now")).await?;
    until("the new pod runs beside the old one", || async {
        let status = ground.scene.api::<Deployment>().get("app").await?.status.unwrap_or_default();
        let both = status.replicas == Some(2) && status.ready_replicas == Some(2);
        Ok(both.then_some(()))
    })
    .await?;
    ground.start()?;
    let consumer = ground.deployment("app");
    consumer.settles_on("two", 2).await?;
    ensure!(consumer.marker().await?.is_none());
    ground.wait_current(1).await
}

/// A Deployment whose old pod stays for some seconds when it is rolled.
fn slow(ground: &Ground, seconds: u32) -> Value {
    let mut manifest = workload("Deployment", &ground.scene.namespace, "app", "db", Form::Env);
    manifest["spec"]["minReadySeconds"] = json!(seconds);
    manifest
}

pub async fn a_removed_marker_leads_to_no_restart(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "marker").await?;
    ground.published().await?;
    let consumer = ground.consumer("Deployment", "app", Form::Env).await?;
    ground.change("two").await?;
    consumer.settles_on("two", 2).await?;
    let removed = json!({"spec": {"template": {"metadata": {"annotations": {names::CONSUMED: null}}}}});
    ground.edit("app", removed).await?;
    // That is a rollout, back to the first ReplicaSet; its pod reads the current value.
    until("the pods of the old template are back", || async {
        let pod = ground.scene.wait_pod("app").await?;
        Ok((!pod.metadata.annotations.unwrap_or_default().contains_key(names::CONSUMED)).then_some(()))
    })
    .await?;
    consumer.settles_on("two", 2).await?;
    ensure!(consumer.marker().await?.is_none(), "nobody needs it");
    ensure!(ground.scene.generation("Deployment", "app").await? == 3);
    ground.wait_current(1).await
}
