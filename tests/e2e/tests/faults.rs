//! The operator dies at each of its writes, loses the API server, is answered wrongly: the end is the same.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Secret,
};
use kube::{Api, api::ListParams};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene, World,
    kill::{self, Rig, Scenario},
    mask::Mask,
    suite,
    wait::{until, until_equal},
    workloads::{Form, workload},
};
use rekey_testkit::proxy::Fault;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Longer than the operator gathers changes for, and than it waits before it tries again.
const REST: Duration = Duration::from_secs(4);

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        3,
        true,
        vec![
            suite::test("kill_9_at_any_write_of_a_sync_and_a_restart_ends_the_same", killed),
            suite::test("an_api_server_that_is_away_during_a_change_is_caught_up_with", away),
            suite::test("a_conflict_on_a_status_write_ends_the_same", conflict),
        ],
    )
}

async fn killed(world: Arc<World>) -> Result<()> {
    kill::prove(&world, &Change).await
}

/// A first sync, then a change of the value, which restarts one consumer.
struct Change;

impl Scenario for Change {
    fn name(&self) -> &'static str {
        "change"
    }

    async fn prepare(&self, rig: &Rig) -> Result<()> {
        put(&rig.scene, "one").await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        consumer(&rig.scene).await?;
        put(&rig.scene, "two").await?;
        rig.scene.ask_sync("db").await.map(drop)
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        rig.scene.wait_data("db", &[("password", "two")]).await?;
        settled(&rig.scene).await?;
        kill::quiet(rig, REST).await?;
        end(&rig.scene).await
    }
}

/// Restarts are not prevented by the API server's absence, nor made twice.
async fn away(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "away").await?;
    rig.start_ready().await?;
    put(&rig.scene, "one").await?;
    consumer(&rig.scene).await?;
    rig.kubernetes.down();
    put(&rig.scene, "two").await?;
    rig.scene.ask_sync("db").await?;
    sleep(Duration::from_secs(10)).await; // how long it is away is what is tested
    rig.kubernetes.up();
    rig.scene.wait_data("db", &[("password", "two")]).await?;
    settled(&rig.scene).await?;
    rig.alive()?;
    ensure!(restarts(&rig.scene).await? == 1, "not one restart");
    Ok(())
}

async fn conflict(world: Arc<World>) -> Result<()> {
    let undisturbed = conflicted(&world, false).await.context("undisturbed")?;
    let disturbed = conflicted(&world, true).await.context("with a conflict")?;
    ensure!(undisturbed == disturbed, "another end:\n{undisturbed:#}\n{disturbed:#}");
    Ok(())
}

/// The status write after a change is refused, once.
async fn conflicted(world: &Arc<World>, disturb: bool) -> Result<Value> {
    let rig = Rig::new(world, "conflict").await?;
    rig.start_ready().await?;
    put(&rig.scene, "one").await?;
    consumer(&rig.scene).await?;
    kill::quiet(&rig, Duration::from_secs(1)).await?;
    let before = rig.kubernetes.calls().len();
    if disturb {
        let second = before as u64 + 2; // the Secret is the first
        rig.kubernetes.arm(second, Fault::Status(409));
    }
    put(&rig.scene, "two").await?;
    rig.scene.ask_sync("db").await?;
    rig.scene.wait_data("db", &[("password", "two")]).await?;
    settled(&rig.scene).await?;
    kill::quiet(&rig, REST).await?;
    if disturb {
        let call = &rig.kubernetes.calls()[before + 1];
        ensure!(call.path.ends_with("/secretpolicies/db/status"), "the fault was at {call:?}");
    }
    Ok(Mask::new(&rig.scene.namespace)?.of(&end(&rig.scene).await?))
}

async fn put(scene: &Scene, password: &str) -> Result<()> {
    scene.world.bao.put(&scene.key("db"), &json!({"password": password})).await.map(drop)
}

/// A policy and a Deployment that runs on its Secret.
async fn consumer(scene: &Scene) -> Result<()> {
    let hourly = json!({"source": {"remote": {"refreshInterval": "1h"}}});
    scene.policy("db", "vault", &[("password", &scene.key("db"), "password")], hourly).await?;
    scene.wait_synced("db").await?;
    scene.world.apply(workload("Deployment", &scene.namespace, "web", "db", Form::Env)).await?;
    scene.wait_pod("web").await?;
    until("the policy has seen its consumer", || async {
        let status = scene.wait_synced("db").await?.status.unwrap_or_default();
        Ok(status.consumers.filter(|consumers| consumers.summary == "1/1"))
    })
    .await
    .map(drop)
}

/// Waits until the pod holds the present value and the status says so.
async fn settled(scene: &Scene) -> Result<()> {
    until_equal("PASSWORD in the pod", "two".to_owned(), || async {
        Ok(scene.variable("web", "PASSWORD").await.unwrap_or_default())
    })
    .await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
    scene.wait_synced("db").await.map(drop)
}

/// How often the pod template has been changed.
async fn restarts(scene: &Scene) -> Result<usize> {
    let api: Api<ReplicaSet> = scene.api();
    Ok(api.list(&ListParams::default().labels("app=web")).await?.items.len() - 1)
}

/// Everything that must be equal.
async fn end(scene: &Scene) -> Result<Value> {
    let policy = scene.api::<SecretPolicy>().get("db").await?;
    let secret = scene.api::<Secret>().get("db").await?;
    let web = scene.api::<Deployment>().get("web").await?;
    let template = web.spec.map(|spec| spec.template).unwrap_or_default().metadata.unwrap_or_default();
    let marker = template.annotations.unwrap_or_default().get(names::CONSUMED).cloned();
    let mut policy = serde_json::to_value(policy)?;
    // The token that asked for the sync carries a resourceVersion.
    policy["metadata"]["annotations"].take();
    let handled = policy["status"]["lastHandledSync"].take();
    Ok(json!({
        "policy": policy,
        "handled": handled.is_string(),
        "secret": secret,
        "generation": web.metadata.generation,
        "marker": marker,
        "restarts": restarts(scene).await?,
        "value": scene.variable("web", "PASSWORD").await?,
        // An Event may be lost with the operator, but none is told twice.
        "events": scene.events("web").await?.iter().filter(|event| event.starts_with("Restarting")).count().max(1),
    }))
}
