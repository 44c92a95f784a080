//! The operator of one version dies in an open rotation, and that of the other one finishes it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{ListParams, Patch, PatchParams};
use rekey_e2e::{Operator, World, wait::until};
use rekey_testkit::{
    helm::helms,
    proxy::{Fault, Proxy, filter},
};
use serde_json::json;

use crate::{
    audit::{Since, refreshed},
    ground::{Ground, Way},
};

pub async fn a_rotation_that_rolls_out_is_finished_by_the_new_version(world: Arc<World>) -> Result<()> {
    rolling_out(&world, Way::Upgrade).await
}

pub async fn a_rotation_that_rolls_out_is_finished_by_the_old_version_on_the_way_back(world: Arc<World>) -> Result<()> {
    rolling_out(&world, Way::Back).await
}

/// The old version restarts one consumer; the other one is paused, and the next version restarts it.
async fn rolling_out(world: &Arc<World>, way: Way) -> Result<()> {
    let ground = Ground::new(world, &tokio::task::spawn_blocking(helms).await??.four, way).await?;
    let mut leaving = ground.start(&ground.from).await?;
    ground.scene.vault_store("ReadWrite").await?;
    ground.rotated().await?;
    ground.consumer("Deployment", "first").await?;
    ground.consumer("Deployment", "second").await?;
    pause(&ground, true).await?;

    let since = Since::now(world).await?;
    ground.rotate("token").await?;
    until("the rotation rolls out, and the first consumer is restarted", || async {
        let open = ground.scene.schedule("db").await?.status.and_then(|status| status.rotation);
        let restarted = restarts(&ground, "first").await? == 1 && ground.scene.wait_pod("first").await.is_ok();
        Ok((open.is_some_and(|open| open.step.as_str() == "RollingOut") && restarted).then_some(()))
    })
    .await?;
    ground.move_release().await?;
    let coming = ground.start(&ground.to).await?;
    coming.wait_ready().await?;
    leaving.kill()?;
    takes_over(&coming).await?;
    ensure!(restarts(&ground, "second").await? == 0, "a paused consumer was restarted");
    pause(&ground, false).await?;
    finished(&ground, &since).await
}

/// The store has the new value, and the operator died before it got the answer.
pub async fn a_write_to_the_store_that_the_old_version_never_heard_of_is_not_repeated_by_the_new_one(
    world: Arc<World>,
) -> Result<()> {
    let ground = Ground::new(&world, &tokio::task::spawn_blocking(helms).await??.four, Way::Upgrade).await?;
    let leaving: Arc<Mutex<Operator>> = Arc::new(Mutex::new(ground.start(&ground.from).await?));
    let proxy = Proxy::http(world.bao.address())?;
    proxy.count(filter::vault);
    ground.scene.vault_store_at(proxy.address(), "ReadWrite").await?;
    ground.rotated().await?;
    ground.consumer("Deployment", "first").await?;
    ground.consumer("Deployment", "second").await?;

    ground.move_release().await?;
    let coming = ground.start(&ground.to).await?;
    coming.wait_ready().await?;
    let since = Since::now(&world).await?;
    let dying = Arc::clone(&leaving);
    proxy.on_kill(Box::new(move || {
        dying.lock().unwrap_or_else(PoisonError::into_inner).kill().ok();
    }));
    proxy.arm(1, Fault::KillAfterBeforeAnswer);
    ground.rotate("token").await?;
    until("the operator dies at its write", || async { Ok((proxy.kills() == 1).then_some(())) }).await?;
    let open = ground.scene.schedule("db").await?.status.and_then(|status| status.rotation);
    ensure!(open.is_some_and(|open| open.step.as_str() == "Publishing"), "it died in another step");
    takes_over(&coming).await?;
    finished(&ground, &since).await
}

/// The Lease of the killed leader has to expire.
async fn takes_over(coming: &Operator) -> Result<()> {
    let killed = Instant::now();
    coming.wait_leads().await?;
    println!("the next one leads {:.1} s after the one before was killed", killed.elapsed().as_secs_f64());
    Ok(())
}

/// One rotation, one write to the store, one restart of each consumer, and none of it comes again.
async fn finished(ground: &Ground, since: &Since) -> Result<()> {
    ground.rotated_times(1, &["first", "second"]).await?;
    refreshed(&ground.scene, &["db"]).await?;
    let writes = since.store_writes(&ground.scene)?;
    ensure!(writes == [format!("update secret/data/{}", ground.scene.key("db"))], "written to the store: {writes:?}");
    for consumer in ["first", "second"] {
        let restarts = restarts(ground, consumer).await?;
        ensure!(restarts == 1, "{consumer} was restarted {restarts} times");
    }
    Ok(())
}

/// How often its pods were replaced.
async fn restarts(ground: &Ground, app: &str) -> Result<usize> {
    let sets = ground.scene.api::<ReplicaSet>().list(&ListParams::default().labels(&format!("app={app}"))).await?;
    Ok(sets.items.len().saturating_sub(1))
}

async fn pause(ground: &Ground, paused: bool) -> Result<()> {
    let change = Patch::Strategic(json!({"spec": {"paused": paused}}));
    ground.scene.api::<Deployment>().patch("second", &PatchParams::default(), &change).await?;
    Ok(())
}
