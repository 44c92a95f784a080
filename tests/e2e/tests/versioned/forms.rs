//! A consumer of each form and kind: one change, one move of each that consumes the key.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use rekey_api::policy::ConsumerState;
use rekey_e2e::{
    Account, Scene, World,
    readers::{OF_ANOTHER_KEY, READERS, Reader},
    versions::{current, status},
    wait::{until, until_equal},
    workloads::{Form, workload},
};
use serde_json::json;

async fn put(scene: &Scene, password: &str) -> Result<()> {
    let value = json!({"username": "orders", "password": password});
    scene.world.bao.put(&scene.key("db"), &value).await.map(drop)
}

/// Waits until all consumers are current.
async fn at_rest(scene: &Scene, count: usize) -> Result<()> {
    until(&format!("{count} consumers are current"), || async {
        let items = status(scene).await?.consumers.unwrap_or_default().items;
        Ok((items.len() == count && items.iter().all(|item| item.state == ConsumerState::Current)).then_some(()))
    })
    .await
}

async fn generations(scene: &Scene, readers: &[Reader], wanted: i64) -> Result<()> {
    for reader in readers {
        let generation = scene.generation(reader.kind, reader.name).await?;
        ensure!(generation == wanted, "{} {}: generation {generation}, not {wanted}", reader.kind, reader.name);
    }
    Ok(())
}

pub async fn each_form_and_kind_moves_once_and_nobody_else(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "forms").await?;
    let account = Account::new(&scene).await?;
    scene.vault_store("ReadOnly").await?;
    let _operator = account.operator("forms")?;
    put(&scene, "one").await?;
    let key = scene.key("db");
    let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
    let spec = json!({
        "source": {"remote": {"refreshInterval": "240h"}}, "rollout": {"concurrency": 20},
        "immutability": "Versioned", "versions": {"references": "Move", "keep": 1},
    });
    scene.policy("db", "vault", &items, spec).await?;
    current(&scene, "one").await?;
    until("the plain Secret", || async { Ok(scene.data("db").await?.map(drop)) }).await?;
    for reader in READERS.iter().chain(&OF_ANOTHER_KEY) {
        world.apply(reader.manifest(&scene.namespace)).await?;
    }
    beside(&scene).await?;
    let all = READERS.len() + OF_ANOTHER_KEY.len() + 2;
    at_rest(&scene, all).await?;
    generations(&scene, &READERS, 2).await?;
    generations(&scene, &OF_ANOTHER_KEY, 2).await?;

    let mark = account.mark().await?;
    put(&scene, "two").await?;
    scene.sync("db").await?;
    current(&scene, "two").await?;
    let scene = &scene;
    try_join_all(READERS.map(|reader| async move {
        until_equal(reader.name, "two".to_owned(), || async { Ok(reader.held(scene).await.unwrap_or_default()) }).await
    }))
    .await?;
    at_rest(scene, all).await?;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await; // longer than the operator gathers changes
    generations(scene, &READERS, 3).await?;
    generations(scene, &OF_ANOTHER_KEY, 2).await?;
    for reader in READERS {
        ensure!(reader.held(scene).await? == "two", "{} {}", reader.kind, reader.name);
    }
    for reader in OF_ANOTHER_KEY {
        ensure!(reader.held(scene).await? == "orders", "{}", reader.name);
    }
    let counts = account.since(&mark).await?;
    let mut patches = 0;
    for kind in ["deployments", "statefulsets", "daemonsets"] {
        patches += account.patched(kind, &mark).await?;
    }
    let changed = READERS.len() + 1; // and the Deployment with the pull secret
    ensure!(patches == changed, "one patch of each changed workload:\n{counts}");
    ensure!(counts.of("patch", "serviceaccounts") == 1, "the pull secret of the account:\n{counts}");
    println!("{changed} workloads, each moved once by one patch; {} others left alone", OF_ANOTHER_KEY.len());
    Ok(())
}

/// Those that refer to the Secret for the pull of an image.
async fn beside(scene: &Scene) -> Result<()> {
    let pull = json!([{"name": "db"}]);
    let mut pulls = workload("Deployment", &scene.namespace, "pulls", "db", Form::Env);
    let pod = &mut pulls["spec"]["template"]["spec"];
    pod["containers"][0]["env"] = json!([]);
    pod["imagePullSecrets"] = pull.clone();
    scene.world.apply(pulls).await?;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"}, "imagePullSecrets": pull});
    scene.apply(account).await
}
