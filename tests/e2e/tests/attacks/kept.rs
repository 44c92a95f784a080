//! Objects that stay when they are deleted.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use rekey_e2e::{Scene, World, bench::usage, vigil::Vigil};
use serde_json::json;
use tokio::time::sleep;

/// More than the operator has workers.
const POLICIES: usize = 20;
/// Longer than `refreshInterval`.
const LASTING: Duration = Duration::from_secs(15);
/// Processor time that the operator may take meanwhile, in seconds: a busy loop would take all of it.
const TAKEN: f64 = 6.0;

/// Published Secrets with a finalizer of another tool are deleted, and their policies come to their next round.
pub async fn secrets_that_are_deleted_and_stay_stop_nobody(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "kept").await?;
    world.bao.put(&scene.key("db"), &json!({"password": "one"})).await?;
    let mut vigil = Vigil::start(&world, "kept", &[&scene], &[]).await?;
    let (secrets, process) = (scene.api::<Secret>(), vigil.operator.id());
    let guard = |finalizers: serde_json::Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let attack = async {
        for number in 0..POLICIES {
            let (name, often) = (format!("p{number}"), json!({"source": {"remote": {"refreshInterval": "10s"}}}));
            scene.policy(&name, "vault", &[("password", &scene.key("db"), "password")], often).await?;
            scene.wait_synced(&name).await?;
            secrets.patch(&name, &PatchParams::default(), &guard(json!(["example.com/guard"]))).await?;
            secrets.delete(&name, &DeleteParams::default()).await?;
        }
        let before = usage::cpu(process)?;
        sleep(LASTING).await; // the test is about how long they are kept
        let taken = usage::cpu(process)? - before;
        println!("the operator took {taken:.1} s of processor time in {LASTING:?}");
        ensure!(taken < TAKEN, "{taken:.1} s of processor time in {LASTING:?}");
        for number in 0..POLICIES {
            secrets.patch(&format!("p{number}"), &PatchParams::default(), &guard(json!(null))).await?;
        }
        for number in 0..POLICIES {
            scene.wait_data(&format!("p{number}"), &[("password", "one")]).await?;
        }
        Ok(())
    };
    vigil.during(attack).await
}
