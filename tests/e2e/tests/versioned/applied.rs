//! Tools that apply their manifest, with the plain name of the Secret, again and again.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use rekey_api::{names, policy::ConsumerState};
use rekey_e2e::{
    Account, Scene, World,
    applier::{Applier, Way},
    versions::{change, current, policy, put, status},
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

async fn scene_of(world: &Arc<World>, prefix: &str) -> Result<(Scene, Account)> {
    let scene = Scene::closed(world, prefix).await?;
    let account = Account::new(&scene).await?;
    scene.vault_store("ReadOnly").await?;
    put(&scene, "one").await?;
    Ok((scene, account))
}

async fn moving(scene: &Scene) -> Result<()> {
    let more = json!({
        "immutability": "Versioned", "versions": {"references": "Move", "keep": 1}, "rollout": {"concurrency": 5},
    });
    policy(scene, more).await?;
    current(scene, "one").await?;
    until("the plain Secret", || async { Ok(scene.data("db").await?.map(drop)) }).await
}

fn manifest(scene: &Scene, name: &str) -> Value {
    workload("Deployment", &scene.namespace, name, "db", Form::Env)
}

/// The state of a consumer, with its message.
async fn state(scene: &Scene, name: &str) -> Result<Option<(ConsumerState, String)>> {
    let items = status(scene).await?.consumers.unwrap_or_default().items;
    Ok(items.into_iter().find(|item| item.name == name).map(|item| (item.state, item.message.unwrap_or_default())))
}

/// The Secret that its template refers to.
async fn reference(scene: &Scene, name: &str) -> Result<Value> {
    let deployment = serde_json::to_value(scene.api::<Deployment>().get(name).await?)?;
    let path = "/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef/name";
    Ok(deployment.pointer(path).cloned().unwrap_or_default())
}

async fn wait_holds(scene: &Scene, name: &str, password: &str) -> Result<()> {
    until(&format!("{name} holds {password}"), || async {
        Ok((scene.variable(name, "PASSWORD").await.ok().as_deref() == Some(password)).then_some(()))
    })
    .await
}

const IGNORING: [(&str, Way); 2] = [("three-way", Way::ArgoThreeWay), ("server-side", Way::ArgoServerSide)];

/// As docs/immutability.md describes it. A change in Git is applied, too, and leaves the reference where it is.
pub async fn argo_cd_that_ignores_our_fields_does_not_fight(world: Arc<World>) -> Result<()> {
    let (scene, account) = scene_of(&world, "ignoring").await?;
    let _operator = account.operator("ignoring")?;
    moving(&scene).await?;
    let mut tools = Vec::new();
    for (name, way) in IGNORING {
        tools.push(Applier::start(&scene, way, manifest(&scene, name), Some(names::MANAGER_RESTART)).await?);
    }
    let mut version = current(&scene, "one").await?;
    settled(&scene, &tools, &version).await?;
    let mark = account.mark().await?;
    let mut before = generations(&scene).await?;
    for (round, password) in ["two", "three"].into_iter().enumerate() {
        version = change(&scene, password).await?;
        settled(&scene, &tools, &version).await?;
        for (name, _) in IGNORING {
            wait_holds(&scene, name, password).await?;
        }
        before = before.map(|generation| generation + 1);
        ensure!(generations(&scene).await? == before, "one move for {password}: {before:?}");
        // A commit: one rollout, by the tool alone.
        for ((name, _), tool) in IGNORING.iter().zip(&tools) {
            let mut changed = manifest(&scene, name);
            let env = &mut changed["spec"]["template"]["spec"]["containers"][0]["env"];
            *env = json!([env[0], {"name": "COMMIT", "value": round.to_string()}]);
            tool.commit(changed);
            until_equal(&format!("the commit in {name}"), round.to_string(), || async {
                Ok(scene.variable(name, "COMMIT").await.unwrap_or_default())
            })
            .await?;
        }
        settled(&scene, &tools, &version).await?;
        before = before.map(|generation| generation + 1);
        ensure!(generations(&scene).await? == before, "the commit is one rollout: {before:?}");
    }
    let moves = account.patched("deployments", &mark).await?;
    ensure!(moves == 4, "{moves} moves of two workloads for two values");
    for (name, _) in IGNORING {
        let warnings = scene.warnings(name).await?;
        ensure!(warnings.iter().all(|event| !event.starts_with("MarkerReverted")), "{name}: {warnings:?}");
    }
    Ok(())
}

async fn generations(scene: &Scene) -> Result<[i64; 2]> {
    Ok([scene.generation("Deployment", IGNORING[0].0).await?, scene.generation("Deployment", IGNORING[1].0).await?])
}

/// Waits until both refer to this version, are current, and stay so while the tools go on.
async fn settled(scene: &Scene, tools: &[Applier], version: &str) -> Result<()> {
    for (name, _) in IGNORING {
        until_equal(&format!("the reference of {name}"), json!(version), || reference(scene, name)).await?;
        let wanted = Some((ConsumerState::Current, String::new()));
        until_equal(&format!("the state of {name}"), wanted, || state(scene, name)).await?;
    }
    for tool in tools {
        tool.wait_rounds(2).await?;
    }
    for (name, way) in IGNORING {
        ensure!(reference(scene, name).await? == json!(version), "{way:?} has put the reference back");
    }
    Ok(())
}

const FIGHTING: [(&str, Way); 3] =
    [("three-way", Way::ArgoThreeWay), ("server-side", Way::ArgoServerSide), ("flux", Way::Flux)];

/// Each is moved, put back, moved once more, put back, and left. Another consumer, which no tool fights about, shows that
/// a value works: the plain Secret takes it, and those that were left are restarted onto it.
pub async fn a_tool_that_puts_references_back_is_named_and_not_fought(world: Arc<World>) -> Result<()> {
    let (scene, account) = scene_of(&world, "fighting").await?;
    let _operator = account.operator("fighting")?;
    moving(&scene).await?;
    let calm = manifest(&scene, "calm");
    world.apply(calm).await?;
    wait_holds(&scene, "calm", "one").await?;
    let current = Some((ConsumerState::Current, String::new()));
    until_equal("the state of calm", current, || state(&scene, "calm")).await?;
    let mark = account.mark().await?;
    let mut tools = Vec::new();
    for (name, way) in FIGHTING {
        tools.push(Applier::start(&scene, way, manifest(&scene, name), None).await?);
    }
    for (name, way) in FIGHTING {
        let event = until(&format!("{name} is left"), || async {
            Ok(scene.warnings(name).await?.into_iter().find(|event| event.starts_with("MarkerReverted: ")))
        })
        .await?;
        ensure!(event.contains(way.manager()), "{way:?}: {event}");
    }
    left(&scene, &tools, "one").await?;
    let moves = account.patched("deployments", &mark).await?;
    ensure!(moves == 2 * FIGHTING.len(), "{moves} moves of three workloads");
    let mark = account.mark().await?;
    change(&scene, "two").await?;
    left(&scene, &tools, "two").await?;
    wait_holds(&scene, "calm", "two").await?;
    let patches = account.patched("deployments", &mark).await?;
    ensure!(patches == FIGHTING.len() + 1, "a restart of each, and a move of calm: {patches}");
    Ok(())
}

/// All refer to the plain Secret, which holds this, and nobody writes them while the tools go on.
async fn left(scene: &Scene, tools: &[Applier], password: &str) -> Result<()> {
    for (name, way) in FIGHTING {
        let (found, said) = until(&format!("{name} is held"), || async {
            Ok(state(scene, name).await?.filter(|(found, _)| *found == ConsumerState::Held))
        })
        .await?;
        ensure!(said.starts_with("another tool put its references"), "{way:?}: {found:?} {said}");
        until_equal(&format!("the reference of {name}"), json!("db"), || reference(scene, name)).await?;
        wait_holds(scene, name, password).await?;
    }
    let all = || async {
        let mut all = Vec::new();
        for (name, _) in FIGHTING {
            all.push(scene.generation("Deployment", name).await?);
        }
        Ok(all)
    };
    for tool in tools {
        tool.wait_rounds(1).await?;
    }
    stays("the generations of all three", all().await?, Duration::from_secs(6), all).await
}
