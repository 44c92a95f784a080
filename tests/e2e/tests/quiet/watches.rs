//! Trouble between the operator and the API server.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{ResourceExt as _, api::DeleteParams};
use rekey_api::SecretPolicy;
use rekey_e2e::{World, kill::Rig, wait::until};
use rekey_testkit::proxy::Fault;
use tokio::time::sleep;

use crate::room::Room;

pub const CASES: [&str; 7] = [
    "connections cut",
    "watches that have expired, as an error in the stream (410)",
    "watches that have expired, as an answer (410)",
    "the API server away for a while",
    "etcd compacted while the API server is away, which serves on from its cache",
    "the namespace closed and opened again",
    "kill -9 and a start",
];

pub async fn no_trouble_with_the_api_server_restarts_anybody(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "watches").await?;
    rig.start_ready().await?;
    let room = Room::new(&rig.scene).await?;
    room.case(CASES[0], async {
        rig.kubernetes.cut();
        Ok(())
    })
    .await?;
    room.case(CASES[1], expired(&rig, Fault::WatchError(410))).await?;
    room.case(CASES[2], expired(&rig, Fault::Status(410))).await?;
    room.case(CASES[3], async {
        rig.kubernetes.down();
        sleep(Duration::from_secs(5)).await; // the case is about how long it is away
        rig.kubernetes.up();
        Ok(())
    })
    .await?;
    room.case(CASES[4], compacted(&rig)).await?;
    room.case(CASES[5], closed_and_opened(&rig)).await?;
    room.case(CASES[6], async {
        rig.kill();
        rig.start_ready().await
    })
    .await?;
    rig.alive()?;
    room.done("trouble with the API server", &CASES)
}

/// Answers the next watch of each kind with this, and waits until every kind that matters here has had it.
async fn expired(rig: &Rig, fault: Fault) -> Result<()> {
    rig.kubernetes.arm_watches(fault);
    rig.kubernetes.cut();
    until(&format!("watches are answered with {fault:?}"), || async {
        let broken = rig.kubernetes.broken_watches();
        let had = |kind: &&str| broken.iter().any(|path| path.ends_with(*kind));
        Ok(["/secrets", "/secretpolicies", "/remotestores", "/deployments"].iter().all(had).then_some(()))
    })
    .await?;
    rig.kubernetes.disarm();
    Ok(())
}

/// All revisions that the operator has seen are gone from etcd when it comes back, and things have changed meanwhile.
async fn compacted(rig: &Rig) -> Result<()> {
    let scene = &rig.scene;
    rig.kubernetes.down();
    let seen: u64 = scene.api::<SecretPolicy>().get("db").await?.resource_version().unwrap_or_default().parse()?;
    scene.annotate::<SecretPolicy>("db", "example.com/note", "compacted").await?;
    let oldest = scene.world.plane.compact().await?;
    ensure!(oldest > seen, "revision {seen} is gone: the oldest one is {oldest}");
    rig.kubernetes.up();
    let token = scene.ask_sync("db").await?;
    until("the request is handled", || async {
        let status = scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default();
        let handled = status.last_handled.and_then(|handled| handled.sync);
        Ok((handled.as_ref() == Some(&token)).then_some(()))
    })
    .await
}

/// Closing and opening the namespace makes the operator list everything again.
async fn closed_and_opened(rig: &Rig) -> Result<()> {
    let (scene, lists) = (&rig.scene, rig.kubernetes.others());
    scene.api::<RoleBinding>().delete("rekey", &DeleteParams::default()).await?;
    rig.kubernetes.cut();
    scene.wait_policy("db", "Stalled=True/NamespaceNotOpened").await?;
    scene.open().await?;
    scene.wait_synced("db").await?;
    ensure!(rig.kubernetes.others() > lists + 4, "it has listed again");
    Ok(())
}
