//! What a rotation waits for before it starts, and why it is refused.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::{core::v1::Pod, rbac::v1::RoleBinding};
use kube::api::DeleteParams;
use rekey_api::{RotationSchedule, rotation::RotationOutcome};
use rekey_e2e::{
    World,
    conditions::message,
    kubectl::kubectl,
    wait::until,
    workloads::{Form, workload},
};
use serde_json::json;

use crate::stage::{Stage, fresh};

/// Nothing has started: one version in the store, and no pending Secret.
async fn untouched(stage: &Stage) -> Result<()> {
    let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
    ensure!(status.rotation.is_none() && status.history.is_empty(), "{status:?}");
    ensure!(stage.stored().await?.1 == [1] && stage.pending().await?.is_empty());
    Ok(())
}

/// The rotation that waited has taken place.
async fn proceeds(stage: &Stage) -> Result<()> {
    ensure!(stage.ended(1).await?[0].outcome == RotationOutcome::Completed);
    let (value, versions) = stage.stored().await?;
    ensure!(versions == [1, 2], "versions {versions:?}");
    fresh(&value).map(drop)
}

pub async fn a_suspended_schedule_waits(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "suspended").await?;
    stage.published().await?;
    stage.schedule("vault", &json!({"suspend": true})).await?;
    stage.ask("token-1").await?;
    let text = stage.shows("db", "Rotated=False/Suspended").await?;
    ensure!(text.contains("spec.suspend"), "{text}");
    untouched(&stage).await?;
    stage.change(json!({"suspend": false})).await?;
    proceeds(&stage).await
}

/// The pod of a Rollout in a namespace that is opened without the right to Rollouts: Rekey does not restart it, so the
/// rotation stays open, and names the missing right.
pub async fn a_pod_of_a_rollout_that_is_not_shown_holds_the_rotation_open(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "unseen").await?;
    let bindings = stage.scene.api::<RoleBinding>();
    bindings.delete("rekey-rollouts", &DeleteParams::default()).await?;
    stage.published().await?;
    let consumer = workload("Deployment", &stage.scene.namespace, "argo", "db", Form::Env);
    let mut pod = consumer["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("argo-1");
    pod["metadata"]["labels"]["rollouts-pod-template-hash"] = json!("1");
    stage.scene.apply(pod).await?;
    stage.scene.wait_pod("argo").await?;
    stage.schedule("vault", &json!({})).await?;
    stage.ask("token-1").await?;
    let text = until("it waits for the pod", || async {
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        let text = message(&status.conditions, "Rotated");
        Ok(text.contains("still running with the old value: argo-1").then_some(text))
    })
    .await?;
    ensure!(text.contains("check that the ClusterRole rekey-namespace-argo-rollouts is bound"), "{text}");
    stage.scene.api::<Pod>().delete("argo-1", &DeleteParams::default().grace_period(0)).await?;
    ensure!(stage.ended(1).await?[0].outcome == RotationOutcome::Completed);
    Ok(())
}

pub async fn a_read_only_store_is_named_and_waited_for(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "read-only").await?;
    stage.scene.vault_store("ReadOnly").await?;
    stage.published().await?;
    stage.schedule("vault", &json!({})).await?;
    let text = stage.shows("db", "Stalled=True/StoreNotAllowed").await?;
    ensure!(text.contains("RemoteStore/vault: it is read-only; set spec.access to ReadWrite"), "{text}");
    stage.ask("token-1").await?;
    stage.shows("db", "Rotated=False/StoreNotAllowed").await?;
    untouched(&stage).await?;
    stage.scene.vault_store("ReadWrite").await?;
    proceeds(&stage).await?;
    stage.shows("db", "Ready=True/Synced").await.map(drop)
}

/// What can never rotate as things are says so before a rotation is due, and no longer once it can.
pub async fn what_can_never_rotate_says_so_at_once(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "never").await?;
    let daily = json!({"schedule": {"every": "24h"}});
    stage.schedule("vault", &daily).await?;
    let text = stage.shows("db", "Stalled=True/PolicyNotReady").await?;
    ensure!(text.contains("the SecretPolicy of spec.policyRef does not exist"), "{text}");
    stage.shows("db", "Ready=False/PolicyNotReady").await?;
    stage.published().await?;
    stage.shows("db", "Ready=True/Synced").await?;
    stage.change(json!({"writeTo": {"storeRef": {"name": "vault"}, "key": stage.scene.key("other")}})).await?;
    let text = stage.shows("db", "Stalled=True/PolicyNotReady").await?;
    ensure!(text.contains("does not read key"), "{text}");
    stage.change(json!({"writeTo": {"storeRef": {"name": "vault"}, "key": stage.key()}})).await?;
    stage.shows("db", "Ready=True/Synced").await?;
    untouched(&stage).await
}

pub async fn a_rotation_waits_for_its_approval_then_for_its_window(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "approval").await?;
    stage.published().await?;
    let new_year = json!([{"cron": "0 0 1 1 *", "duration": "1s"}]);
    stage.schedule("vault", &json!({"approval": "Manual", "windows": new_year})).await?;
    stage.ask("token-1").await?;
    let text = stage.shows("db", "Rotated=False/AwaitingApproval").await?;
    let command = text.split_once("kubectl ").map(|(_, command)| command).unwrap_or_default();
    let arguments: Vec<&str> = command.split(' ').collect();
    kubectl(&world, &arguments).await?;
    let text = stage.shows("db", "Ready=True/AwaitingWindow").await?;
    ensure!(text.ends_with("-01-01T00:00:00Z"), "{text}");
    let id = stage.scene.schedule("db").await?.status.and_then(|status| status.rotation).map(|open| open.id);
    ensure!(id.as_deref().is_some_and(|id| command.ends_with(id)), "{id:?} {command}");
    ensure!(stage.stored().await?.1 == [1] && stage.pending().await?.is_empty(), "it has started");
    stage.change(json!({"windows": null})).await?;
    proceeds(&stage).await
}

pub async fn a_locked_policy_is_waited_for(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "locked").await?;
    stage.put(&json!({"username": "orders", "password": "old"})).await?;
    let key = stage.key();
    stage.scene.policy("db", "vault", &[("password", &key, "password")], json!({"immutability": "Locked"})).await?;
    stage.scene.wait_synced("db").await?;
    stage.schedule("vault", &json!({})).await?;
    stage.ask("token-1").await?;
    stage.shows("db", "Rotated=False/PolicyNotReady").await?;
    let text = stage.shows("db", "Stalled=True/PolicyNotReady").await?;
    ensure!(text.contains("SecretPolicy db is Locked"), "{text}");
    untouched(&stage).await
}

pub async fn a_rotator_that_is_not_built_is_refused(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "not-built").await?;
    stage.published().await?;
    let job = json!({"rotator": {"job": {"cronJobRef": {"name": "rotate"}}}});
    stage.schedule("vault", &job).await?;
    let text = stage.shows("db", "Stalled=True/NotSupportedYet").await?;
    ensure!(text.contains("spec.rotator.job is not supported yet"), "{text}");
    stage.ask("token-1").await?;
    untouched(&stage).await?;
    let mended = json!({"generate": {"fields": [{"property": "password", "password": {"length": 40, "exclude": "\"@/\\"}}]}, "job": null});
    stage.change(json!({"rotator": mended})).await?;
    proceeds(&stage).await
}

pub async fn a_second_schedule_waits_for_its_turn(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "second").await?;
    stage.published().await?;
    // The first by name, in case both are made in the same second.
    stage.apply("first", "vault", &json!({"policyRef": {"name": "db"}})).await?;
    stage.shows("first", "Ready=True/Synced").await?;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await; // creation times are whole seconds
    stage.schedule("vault", &json!({})).await?;
    let text = stage.shows("db", "Stalled=True/DuplicateSchedule").await?;
    ensure!(text.contains("\"first\""), "{text}");
    stage.ask("token-1").await?;
    untouched(&stage).await?;
    stage.scene.api::<RotationSchedule>().delete("first", &DeleteParams::default()).await?;
    proceeds(&stage).await
}

/// Two schedules of two policies that read the same key would undo each other's work.
pub async fn a_second_schedule_of_a_key_waits_for_its_turn(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "same-key").await?;
    stage.published().await?;
    let key = stage.key();
    stage.scene.policy("also", "vault", &[("password", &key, "password")], json!({})).await?;
    stage.scene.wait_synced("also").await?;
    stage.apply("first", "vault", &json!({"policyRef": {"name": "also"}})).await?;
    stage.shows("first", "Ready=True/Synced").await?;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await; // creation times are whole seconds
    stage.schedule("vault", &json!({})).await?;
    let text = stage.shows("db", "Stalled=True/DuplicateSchedule").await?;
    ensure!(text.contains("\"first\"") && text.contains(&key), "{text}");
    stage.ask("token-1").await?;
    untouched(&stage).await?;
    stage.scene.api::<RotationSchedule>().delete("first", &DeleteParams::default()).await?;
    proceeds(&stage).await
}
