//! A consumer of each form and kind: one change, one restart of each that consumes the key.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use rekey_e2e::{
    Account, Scene, World,
    readers::{OF_ANOTHER_KEY, READERS},
    wait::until_equal,
    workloads::{Form, workload},
};
use serde_json::json;
use tokio::time::sleep;

use crate::ground::{Ground, REST};

pub async fn each_form_and_kind_is_restarted_once_and_nobody_else(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "forms").await?;
    let account = Account::new(&scene).await?;
    scene.vault_store("ReadOnly").await?;
    let _operator = account.operator("forms")?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    let ground = Ground::without_operator(scene);
    let scene = &ground.scene;
    ground.put("db", "orders", "one").await?;
    ground.policy("db", json!({"rollout": {"concurrency": 20}})).await?;
    scene.wait_synced("db").await?;
    for reader in READERS.iter().chain(&OF_ANOTHER_KEY) {
        world.apply(reader.manifest(&scene.namespace)).await?;
    }
    beside(scene).await?;
    for reader in READERS {
        until_equal(reader.name, "one".to_owned(), || async { Ok(reader.held(scene).await.unwrap_or_default()) })
            .await?;
    }
    // The Deployment with the pull secret, the ServiceAccount and the CronJob are consumers that nobody restarts.
    let all = u32::try_from(READERS.len() + OF_ANOTHER_KEY.len() + 3)?;
    ground.wait_current(all).await?;
    let mark = account.mark().await?;
    ground.change("two").await?;
    try_join_all(READERS.map(|reader| async move {
        until_equal(reader.name, "two".to_owned(), || async { Ok(reader.held(scene).await.unwrap_or_default()) }).await
    }))
    .await?;
    ground.wait_current(all).await?;
    sleep(REST).await;
    for reader in READERS {
        let generation = scene.generation(reader.kind, reader.name).await?;
        ensure!(generation == 2, "{} {}: {} restarts", reader.kind, reader.name, generation - 1);
        ensure!(reader.held(scene).await? == "two", "{} {}", reader.kind, reader.name);
    }
    for reader in OF_ANOTHER_KEY {
        ensure!(scene.generation(reader.kind, reader.name).await? == 1, "{} {}", reader.kind, reader.name);
        ensure!(reader.held(scene).await? == "orders", "{}", reader.name);
    }
    ensure!(scene.generation("Deployment", "pulls").await? == 1, "a pull secret is used once");
    let counts = account.since(&mark).await?;
    let mut patches = 0;
    for kind in ["deployments", "statefulsets", "daemonsets"] {
        patches += account.patched(kind, &mark).await?;
    }
    ensure!(patches == READERS.len(), "one patch of each changed workload:\n{counts}");
    for kind in ["cronjobs", "serviceaccounts"] {
        ensure!(counts.of("patch", kind) == 0, "{kind}:\n{counts}");
    }
    println!(
        "{} readers, each restarted once by one patch; {} others left alone",
        READERS.len(),
        OF_ANOTHER_KEY.len() + 3
    );
    Ok(())
}

/// What refers to the Secret and has nothing to restart.
async fn beside(scene: &Scene) -> Result<()> {
    let pull = json!([{"name": "db"}]);
    let mut pulls = workload("Deployment", &scene.namespace, "pulls", "db", Form::Env);
    let pod = &mut pulls["spec"]["template"]["spec"];
    pod["containers"][0]["env"] = json!([]);
    pod["imagePullSecrets"] = pull.clone();
    scene.world.apply(pulls).await?;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"}, "imagePullSecrets": pull});
    scene.apply(account).await?;
    let mut job = workload("Deployment", &scene.namespace, "nightly", "db", Form::Env);
    let mut template = job["spec"]["template"].take();
    template["spec"]["restartPolicy"] = json!("Never");
    let spec = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}});
    scene
        .apply(json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": spec}))
        .await
}
