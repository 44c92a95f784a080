//! Several Secrets, several consumers.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{TryStreamExt as _, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::{WatchStreamExt as _, watcher};
use rekey_e2e::{
    World,
    wait::until_equal,
    workloads::{Form, workload},
};
use serde_json::json;

use crate::ground::{Consumer, Ground};

pub async fn two_secrets_changed_together_cause_one_restart(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "both").await?;
    ground.published().await?;
    ground.put("cache", "orders", "one").await?;
    ground.policy("cache", json!({})).await?;
    ground.scene.wait_synced("cache").await?;
    let mut manifest = workload("Deployment", &ground.scene.namespace, "app", "db", Form::Env);
    manifest["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "cache"}}]);
    ground.scene.world.apply(manifest).await?;
    ground.scene.wait_pod("app").await?;
    ground.put("db", "orders", "two").await?;
    ground.put("cache", "orders", "three").await?;
    tokio::try_join!(ground.scene.sync("db"), ground.scene.sync("cache"))?;
    let consumer = |form| Consumer { ground: &ground, kind: "Deployment", name: "app", form };
    consumer(Form::Env).settles_on("two", 2).await?;
    consumer(Form::EnvFrom).settles_on("three", 2).await?;
    let marker = consumer(Form::Env).marker().await?.context("no marker")?;
    ensure!(marker.contains("db=") && marker.contains("cache="), "{marker}");
    for policy in ["db", "cache"] {
        ground.wait_consumers(policy, "1/1", "ConsumersCurrent=True/AllCurrent").await?;
    }
    let events = ground.scene.events("app").await?;
    ensure!(events.iter().any(|event| event.contains("cache, db")), "one Event names both: {events:?}");
    Ok(())
}

/// Two rollouts that last some seconds; the test sees every state.
pub async fn two_consumers_never_roll_at_the_same_time(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "turns").await?;
    ground.published().await?;
    for name in ["first", "second"] {
        let mut manifest = workload("Deployment", &ground.scene.namespace, name, "db", Form::Env);
        manifest["spec"]["minReadySeconds"] = json!(3);
        ground.scene.world.apply(manifest).await?;
    }
    ground.wait_current(2).await?;
    for name in ["first", "second"] {
        until_equal(&format!("{name} is available"), false, || rolls(&ground, name)).await?;
    }
    ground.change("two").await?;
    let rolling = RefCell::new(BTreeMap::new());
    let seen = RefCell::new(Vec::new());
    let restarted = async {
        for name in ["first", "second"] {
            let consumer = ground.deployment(name);
            consumer.settles_on("two", 2).await?;
        }
        ground.wait_current(2).await
    };
    tokio::select! {
        done = restarted => done?,
        watched = watch(&ground, &rolling, &seen) => watched?,
    }
    let seen = seen.into_inner();
    let rolled = ["first", "second"].iter().all(|name| seen.iter().any(|at| at == &vec![(*name).to_owned()]));
    ensure!(rolled, "both were seen rolling alone: {seen:?}");
    ensure!(seen.iter().all(|at| at.len() < 2), "two at the same time: {seen:?}");
    Ok(())
}

pub async fn watch(
    ground: &Ground,
    rolling: &RefCell<BTreeMap<String, bool>>,
    seen: &RefCell<Vec<Vec<String>>>,
) -> Result<()> {
    let stream = watcher(ground.scene.api::<Deployment>(), watcher::Config::default()).applied_objects();
    pin_mut!(stream);
    while let Some(deployment) = stream.try_next().await? {
        let name = deployment.metadata.name.clone().unwrap_or_default();
        let mut rolling = rolling.borrow_mut();
        rolling.insert(name, is_rolling(&deployment));
        let now: Vec<String> = rolling.iter().filter(|(_, rolls)| **rolls).map(|(name, _)| name.clone()).collect();
        seen.borrow_mut().push(now);
    }
    bail!("the watch ended")
}

pub async fn rolls(ground: &Ground, name: &str) -> Result<bool> {
    Ok(is_rolling(&ground.scene.api::<Deployment>().get(name).await?))
}

fn is_rolling(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation != deployment.metadata.generation
        || status.updated_replicas != Some(1)
        || status.replicas != Some(1)
        || status.available_replicas != Some(1)
}
