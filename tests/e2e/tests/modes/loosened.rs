//! The way from `Locked` to another mode, and back, with consumers.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use kube::ResourceExt as _;
use rekey_e2e::{
    World,
    kill::{self, Rig},
    versions::{current, policy, put, scene, status, versioned},
    wait::{stays, until, until_equal},
};
use rekey_testkit::proxy::Fault;
use serde_json::{Value, json};

use super::unlocked::{LOOK, both, consumer, handled, held, locked, scale, secret, templates, unlock};

pub async fn locked_becomes_mutable_while_its_consumers_are_down(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "loosened").await?;
    let _operator = scene.operator()?;
    policy(&scene, json!({})).await?;
    current(&scene, "one").await?;
    consumer(&scene, "web").await?;
    let first = scene.wait_pod("web").await?.uid();
    // Into Locked: nobody is restarted.
    policy(&scene, locked()).await?;
    until("the Secret is immutable", || async { Ok((secret(&scene).await?.immutable == Some(true)).then_some(())) })
        .await?;
    scene.wait_at_rest("db", "web").await?;
    ensure!(scene.wait_pod("web").await?.uid() == first, "it was restarted");

    policy(&scene, json!({})).await?;
    let said = scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    ensure!(said.contains("spec.immutability is None"), "{said}");
    unlock(&scene, "first").await?;
    let said = scene.wait_policy("db", "Ready=False/Unlocking").await?;
    ensure!(said.contains("not immutable") && said.contains("Deployment web"), "{said}");
    scale(&scene, "web", 0).await?;
    handled(&scene, "first").await?;
    ensure!(secret(&scene).await?.immutable.is_none());
    ensure!(current(&scene, "one").await? == "db");
    scale(&scene, "web", 1).await?;
    ensure!(held(&scene, "web").await? == both("one"));
    scene.wait_at_rest("db", "web").await?;
    ensure!(templates(&scene, "web").await? == 1, "scaling up was enough");
    // From here on it changes in place, and consumers are restarted.
    put(&scene, "two").await?;
    scene.sync("db").await?;
    current(&scene, "two").await?;
    until("web holds the new value", || async {
        Ok((held(&scene, "web").await.ok() == Some(both("two"))).then_some(()))
    })
    .await?;
    scene.wait_at_rest("db", "web").await?;
    ensure!(templates(&scene, "web").await? == 2, "one restart for one value");
    Ok(())
}

/// With a consumer that runs on: it is restarted by no change of the mode.
pub async fn modes_change_under_a_running_consumer(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "modes").await?;
    let _operator = scene.operator()?;
    policy(&scene, locked()).await?;
    current(&scene, "one").await?;
    consumer(&scene, "web").await?;
    let pod = scene.wait_pod("web").await?.uid();
    let shown = || async { status(&scene).await.map(|status| status.secret_name.unwrap_or_default()) };
    // From Locked the first version takes over, and back: the plain Secret still holds the value.
    policy(&scene, versioned(1)).await?;
    until("a version", || async { Ok((shown().await? != "db").then_some(())) }).await?;
    current(&scene, "one").await?;
    policy(&scene, locked()).await?;
    until_equal("the Secret to refer to", "db".to_owned(), shown).await?;
    scene.wait_at_rest("db", "web").await?;
    ensure!(scene.wait_pod("web").await?.uid() == pod && templates(&scene, "web").await? == 1, "it was restarted");
    ensure!(held(&scene, "web").await? == both("one"));
    // With another value in the version, the plain Secret is replaced only when nothing refers to it.
    policy(&scene, versioned(1)).await?;
    until("a version", || async { Ok((shown().await? != "db").then_some(())) }).await?;
    put(&scene, "two").await?;
    scene.sync("db").await?;
    let version = current(&scene, "two").await?;
    policy(&scene, json!({})).await?;
    scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    unlock(&scene, "first").await?;
    scene.wait_policy("db", "Ready=False/Unlocking").await?;
    ensure!(scene.wait_pod("web").await?.uid() == pod, "it was restarted");
    ensure!(scene.data(&version).await?.is_some(), "the version stays until then");
    scale(&scene, "web", 0).await?;
    handled(&scene, "first").await?;
    ensure!(current(&scene, "two").await? == "db" && secret(&scene).await?.immutable.is_none());
    scale(&scene, "web", 1).await?;
    ensure!(held(&scene, "web").await? == both("two"));
    Ok(())
}

/// They are in the Secret alone, so a version has to hold them before it is deleted.
pub async fn generated_values_leave_locked_by_way_of_a_version(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "unlock-made").await?;
    let scene = &rig.scene;
    rig.start_ready().await?;
    let generated = |more: Value| {
        let mut spec = json!({"source": {"generated": {"fields": [{"key": "password", "password": {}}]}}});
        for (name, value) in more.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        scene.policy_of("db", spec)
    };
    generated(locked()).await?;
    scene.wait_synced("db").await?;
    let (before, data) = (secret(scene).await?, scene.data("db").await?);
    generated(json!({})).await?;
    scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    unlock(scene, "first").await?;
    until("it is the only copy", || async {
        let said = scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
        Ok(said.contains("only copy of its value").then_some(()))
    })
    .await?;
    stays("the Secret", before.uid(), LOOK, || async { Ok(secret(scene).await?.uid()) }).await?;
    generated(versioned(0)).await?;
    let version =
        until("a version", || async { Ok(status(scene).await?.secret_name.filter(|name| name != "db")) }).await?;
    handled(scene, "first").await?;
    generated(json!({})).await?;
    scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    kill::quiet(&rig, Duration::from_secs(2)).await?;
    // A status, the deletion, a status, and the creation, which comes to nothing.
    let creation = rig.kubernetes.calls().len() as u64 + 4;
    rig.kubernetes.arm(creation, Fault::Delay(Duration::from_secs(30)));
    unlock(scene, "second").await?;
    until("the creation is on its way", || async {
        Ok((rig.kubernetes.calls().len() as u64 >= creation).then_some(()))
    })
    .await?;
    rig.kill();
    ensure!(scene.data("db").await?.is_none(), "it was not deleted");
    ensure!(scene.data(&version).await? == data, "the value is lost");
    rig.kubernetes.disarm();
    rig.start()?;
    handled(scene, "second").await?;
    ensure!(scene.data("db").await? == data && secret(scene).await?.immutable.is_none());
    until("the version goes", || async { Ok(scene.data(&version).await?.is_none().then_some(())) }).await
}
