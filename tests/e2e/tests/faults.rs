//! The operator dies at each of its writes, loses the API server, gets wrong answers: the end is the same.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Secret,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene, World,
    kill::{self, Rig, Scenario},
    mask::Mask,
    suite, tests,
    wait::{until, until_equal},
    workloads::{Form, workload},
};
use rekey_testkit::proxy::Fault;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Longer than the operator gathers changes, and than it waits before a retry.
const REST: Duration = Duration::from_secs(4);

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        3,
        true,
        tests![
            kill_9_at_any_write_of_a_sync_and_a_restart_ends_the_same,
            an_api_server_that_is_away_during_a_change_is_caught_up_with,
            an_operator_that_starts_while_the_api_server_is_away_works_when_it_is_back,
            a_conflict_on_a_write_ends_the_same,
            watches_that_have_expired_lose_nothing,
        ],
    )
}

async fn kill_9_at_any_write_of_a_sync_and_a_restart_ends_the_same(world: Arc<World>) -> Result<()> {
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
        settled(&rig.scene, "two").await?;
        kill::quiet(rig, REST).await?;
        end(&rig.scene).await
    }
}

/// An outage of the API server prevents no restart, and doubles none.
async fn an_api_server_that_is_away_during_a_change_is_caught_up_with(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "away").await?;
    rig.start_ready().await?;
    put(&rig.scene, "one").await?;
    consumer(&rig.scene).await?;
    rig.kubernetes.down();
    put(&rig.scene, "two").await?;
    rig.scene.ask_sync("db").await?;
    sleep(Duration::from_secs(10)).await; // the test is about how long it is away
    rig.kubernetes.up();
    rig.scene.wait_data("db", &[("password", "two")]).await?;
    settled(&rig.scene, "two").await?;
    rig.alive()?;
    ensure!(restarts(&rig.scene).await? == 1, "not one restart");
    Ok(())
}

/// The operator retries everything of its start: the digest key, the lists, the identity.
async fn an_operator_that_starts_while_the_api_server_is_away_works_when_it_is_back(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "away-start").await?;
    rig.kubernetes.down();
    rig.start()?;
    sleep(Duration::from_secs(5)).await; // the test is about how long it is away
    rig.alive()?;
    put(&rig.scene, "one").await?;
    rig.kubernetes.up();
    let hourly = json!({"source": {"remote": {"refreshInterval": "1h"}}});
    rig.scene.policy("db", "vault", &[("password", &rig.scene.key("db"), "password")], hourly).await?;
    rig.scene.wait_data("db", &[("password", "one")]).await?;
    rig.scene.wait_synced("db").await?;
    rig.alive()
}

async fn a_conflict_on_a_write_ends_the_same(world: Arc<World>) -> Result<()> {
    let undisturbed = conflicted(&world, None).await.context("undisturbed")?;
    for (number, write) in [(1, "/secrets/db"), (2, "/secretpolicies/db/status")] {
        let disturbed = conflicted(&world, Some((number, write))).await.with_context(|| write.to_owned())?;
        ensure!(undisturbed == disturbed, "another end:\n{undisturbed:#}\n{disturbed:#}");
    }
    Ok(())
}

/// One write after a change is refused, once; `refused` names it, with the end of its path.
async fn conflicted(world: &Arc<World>, refused: Option<(usize, &str)>) -> Result<Value> {
    let rig = Rig::new(world, "conflict").await?;
    rig.start_ready().await?;
    put(&rig.scene, "one").await?;
    consumer(&rig.scene).await?;
    kill::quiet(&rig, Duration::from_secs(1)).await?;
    let before = rig.kubernetes.calls().len();
    if let Some((number, _)) = refused {
        rig.kubernetes.arm((before + number) as u64, Fault::Status(409));
    }
    put(&rig.scene, "two").await?;
    rig.scene.ask_sync("db").await?;
    until("the new value is published and reported", || async {
        // A conflict is over at the next attempt, and does not concern users.
        for at in rig.scene.policy_conditions("db").await? {
            ensure!(at.reason != "ApiError" && at.reason != "ServingLastKnown" && at.type_ != "Stalled", "{at:?}");
        }
        let status = rig.scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default();
        Ok((status.history.len() == 2).then_some(()))
    })
    .await?;
    rig.scene.wait_data("db", &[("password", "two")]).await?;
    settled(&rig.scene, "two").await?;
    kill::quiet(&rig, REST).await?;
    if let Some((number, path)) = refused {
        let call = &rig.kubernetes.calls()[before + number - 1];
        ensure!(call.path.ends_with(path) && call.status.is_none(), "the fault was at {call:?}");
    }
    for event in rig.scene.events("db").await? {
        ensure!(event.starts_with("Synced: ") || event.starts_with("Restarting: "), "{event}");
    }
    Ok(Mask::new(&rig.scene.namespace)?.of(&end(&rig.scene).await?))
}

/// Both ways in which an API server can say that a watch is too old: what happened meanwhile is seen, once.
async fn watches_that_have_expired_lose_nothing(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "expired").await?;
    rig.start_ready().await?;
    put(&rig.scene, "one").await?;
    consumer(&rig.scene).await?;
    for (value, fault) in [("two", Fault::WatchError(410)), ("three", Fault::Status(410))] {
        kill::quiet(&rig, REST).await?;
        let before = (rig.writes(), restarts(&rig.scene).await?);
        // Nothing has happened: nothing is written, and nobody is restarted.
        expire(&rig, fault).await?;
        kill::quiet(&rig, REST).await?;
        ensure!((rig.writes(), restarts(&rig.scene).await?) == before, "{fault:?} made the operator write");
        // A change and a loss that no watch will report.
        rig.kubernetes.down();
        put(&rig.scene, value).await?;
        rig.scene.ask_sync("db").await?;
        rig.scene.api::<Secret>().delete("db", &DeleteParams::default()).await?;
        rig.kubernetes.up();
        expire(&rig, fault).await?;
        rig.scene.wait_data("db", &[("password", value)]).await?;
        settled(&rig.scene, value).await?;
        ensure!(restarts(&rig.scene).await? == before.1 + 1, "not one restart with {fault:?}");
    }
    rig.alive()
}

/// Answers the next watch of each kind with this, and waits until every kind that matters here has had it.
async fn expire(rig: &Rig, fault: Fault) -> Result<()> {
    rig.kubernetes.arm_watches(fault);
    rig.kubernetes.cut();
    until(&format!("watches are answered with {fault:?}"), || async {
        let broken = rig.kubernetes.broken_watches();
        let all = ["/secrets", "/secretpolicies", "/remotestores", "/deployments"]
            .iter()
            .all(|kind| broken.iter().any(|path| path.ends_with(kind)));
        Ok(all.then_some(()))
    })
    .await
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
    scene.wait_at_rest("db", "web").await?;
    scene.wait_synced("db").await.map(drop)
}

/// Waits until the pod holds this value and the status says so.
async fn settled(scene: &Scene, password: &str) -> Result<()> {
    until_equal("PASSWORD in the pod", password.to_owned(), || async {
        Ok(scene.variable("web", "PASSWORD").await.unwrap_or_default())
    })
    .await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
    scene.wait_synced("db").await.map(drop)
}

/// How often the pod template has changed.
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
    // The token of the requested sync has a resourceVersion.
    policy["metadata"]["annotations"].take();
    let handled = policy["status"]["lastHandled"]["sync"].take();
    Ok(json!({
        "policy": policy,
        "handled": handled.is_string(),
        "secret": secret,
        "generation": web.metadata.generation,
        "marker": marker,
        "restarts": restarts(scene).await?,
        "value": scene.variable("web", "PASSWORD").await?,
        // An Event may be lost with the operator, but none comes twice.
        "events": scene.events("web").await?.iter().filter(|event| event.starts_with("Restarting")).count().max(1),
    }))
}
