//! What a restart costs the API server.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{Account, Scene, World, workloads::Form};

use crate::ground::{Ground, REST};

pub async fn a_restart_costs_what_it_should(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "costs").await?;
    let account = Account::new(&scene).await?;
    scene.vault_store("ReadOnly").await?;
    let _operator = account.operator("costs")?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    let ground = Ground::without_operator(scene);
    ground.published().await?;
    let consumer = ground.consumer("Deployment", "app", Form::Env).await?;
    ground.wait_current(1).await?;
    for (password, templates) in [("two", 2), ("three", 3)] {
        let mark = account.mark().await?;
        ground.change(password).await?;
        consumer.settles_on(password, templates).await?;
        ground.wait_current(1).await?;
        let counts = account.since(&mark).await?;
        println!("a change and the restart of one consumer, to {password:?}:\n{counts}");
        ensure!(counts.of("patch", "deployments") == 1, "one patch of the workload:\n{counts}");
        ensure!(counts.of("patch", "secrets") == 1, "one of the Secret:\n{counts}");
        ensure!(counts.of("patch", "secretpolicies/status") == 2, "the status at the start and at the end:\n{counts}");
        let events = counts.of("create", "events") + counts.of("patch", "events");
        ensure!(events <= 2, "an Event of the policy and one of the workload:\n{counts}");
        // What its pods hold and whether they run on; and whether there are others in the namespace.
        ensure!(counts.of("list", "pods") <= 3, "pods are listed at the decision:\n{counts}");
        ensure!(counts.writes() <= 6, "no other write:\n{counts}");
    }
    let mark = account.mark().await?;
    consumer.left_alone("nothing", REST).await?;
    let counts = account.since(&mark).await?;
    ensure!(counts.writes() == 0 && counts.of("get", "secrets") == 0, "rest costs nothing:\n{counts}");
    ensure!(counts.of("list", "pods") == 0, "nor looks:\n{counts}");
    Ok(())
}

/// Rekey looks at those that wait for their turn when the value has changed and when their turn comes.
pub async fn waiting_for_others_costs_nothing(world: Arc<World>) -> Result<()> {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    const COUNT: u64 = NAMES.len() as u64;
    let scene = Scene::closed(&world, "line").await?;
    let account = Account::new(&scene).await?;
    scene.vault_store("ReadOnly").await?;
    let _operator = account.operator("line")?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    let ground = Ground::without_operator(scene);
    ground.published().await?;
    for name in NAMES {
        ground.consumer("Deployment", name, Form::Env).await?;
    }
    ground.wait_current(6).await?;
    let mark = account.mark().await?;
    ground.change("two").await?;
    ground.wait_current(6).await?;
    let counts = account.since(&mark).await?;
    println!("a change and the restart of six consumers, one after the other:\n{counts}");
    ensure!(counts.of("patch", "deployments") == COUNT, "one patch of each:\n{counts}");
    // What it holds, that again when it is its turn, and whether it runs on.
    ensure!(counts.of("list", "pods") <= 3 * COUNT, "three looks at each:\n{counts}");
    Ok(())
}
