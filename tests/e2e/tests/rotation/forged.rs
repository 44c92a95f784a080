//! Pending Secrets that another client made, and objects that are deleted and stay.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    ByteString,
    api::{apps::v1::Deployment, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use rekey_api::{RotationSchedule, names, rotation::RotationOutcome};
use rekey_e2e::{
    Account, Scene, World,
    wait::{stays, until},
};
use rekey_testkit::proxy::{Fault, Proxy};
use serde_json::json;

use crate::{
    disturbed::held_up,
    stage::{Stage, fresh},
};

const THEIRS: &str = "the attacker's password";
const GUARD: &str = "example.com/guard";

/// A Secret with this metadata and these values, made by a user who may create Secrets.
async fn make(stage: &Stage, metadata: &ObjectMeta, data: &[(&str, &str)]) -> Result<()> {
    let data: BTreeMap<String, ByteString> =
        data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect();
    let metadata = ObjectMeta {
        name: metadata.name.clone(),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        ..ObjectMeta::default()
    };
    let secret = Secret { metadata, data: Some(data), immutable: Some(true), ..Secret::default() };
    stage.scene.api::<Secret>().create(&PostParams::default(), &secret).await?;
    Ok(())
}

/// The pending Secret of the open rotation.
async fn pending(stage: &Stage) -> Result<Secret> {
    let name = stage.pending().await?.pop().context("no pending Secret")?;
    Ok(stage.scene.api::<Secret>().get(&name).await?)
}

/// The rotation has ended with a value of ours; its schedule is released.
async fn completed(stage: &Stage) -> Result<String> {
    let id = until("the rotation has ended", || async {
        let schedule = stage.scene.schedule("db").await?;
        let released = schedule.finalizers().is_empty();
        let status = schedule.status.unwrap_or_default();
        let last = status.history.first().filter(|_| status.rotation.is_none() && released);
        Ok(last.map(|past| (past.id.clone(), past.outcome)))
    })
    .await?;
    ensure!(id.1 == RotationOutcome::Completed, "{id:?}");
    let (value, versions) = stage.stored().await?;
    ensure!(versions == [1, 2], "versions {versions:?}");
    ensure!(value.as_object().is_some_and(|value| value.len() == 2), "another property was written");
    let password = fresh(&value)?;
    stage.scene.wait_data("db", &[("username", "orders"), ("password", &password)]).await?;
    Ok(id.0)
}

/// The consumer that holds the rotation open is restarted by hand. Nobody can tell what a pod holds that starts within
/// seconds of the publication.
async fn let_go(stage: &Stage) -> Result<()> {
    let step = || async {
        let open = stage.scene.schedule("db").await?.status.unwrap_or_default().rotation;
        Ok(open.map(|open| open.step.as_str()))
    };
    stays("the step", Some("RollingOut"), Duration::from_secs(4), step).await?;
    stage.restart("web").await
}

/// A Secret with our labels and an id of its own, made while a rotation is open, so that it is found when that ends.
pub async fn a_labelled_secret_of_others_is_not_adopted(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "labelled").await?;
    stage.held_in_rolling_out().await?;
    let mut metadata = pending(&stage).await?.metadata;
    let id = "ffffffff-ffff-7fff-bfff-ffffffffffff";
    metadata.name = Some(format!("rekey-pending-{id}"));
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(names::ROTATION.to_owned(), id.to_owned());
    annotations.insert(names::BASE_VERSION.to_owned(), "2".to_owned());
    make(&stage, &metadata, &[("host", "attacker.example.com"), ("password", THEIRS)]).await?;
    let_go(&stage).await?;
    completed(&stage).await?;
    let untouched = || async {
        let there = stage.scene.data(&format!("rekey-pending-{id}")).await?.is_some();
        let history = stage.scene.schedule("db").await?.status.unwrap_or_default().history.len();
        Ok((stage.stored().await?.1, history, there))
    };
    stays("versions, rotations, and whether it is there", (vec![1, 2], 1, true), Duration::from_secs(3), untouched)
        .await
}

/// The operator is idle while another client replaces the pending Secret.
async fn replaced(world: Arc<World>, name: &str, forge: impl AsyncFn(&Stage, ObjectMeta) -> Result<()>) -> Result<()> {
    let (mut stage, proxy) = held_up(&world, name, Fault::Drop).await?;
    stage.operator.kill()?;
    let real = pending(&stage).await?;
    let api = stage.scene.api::<Secret>();
    api.delete(&real.name_any(), &DeleteParams::default()).await?;
    forge(&stage, real.metadata.clone()).await?;
    let forged = api.get(&real.name_any()).await?;
    proxy.disarm();
    stage.operator = stage.scene.operator()?;
    let id = completed(&stage).await?;
    ensure!(!real.name_any().ends_with(&id), "the value was made again, under an id of its own");
    let now = api.get(&real.name_any()).await?;
    ensure!(now == forged, "what is not ours is neither changed nor deleted");
    let events = stage.scene.events("db").await?;
    ensure!(events.iter().any(|event| event.starts_with("PendingNotProven: ")), "{events:?}");
    Ok(())
}

/// The right proof, and other values.
pub async fn a_pending_secret_with_other_values_is_not_used(world: Arc<World>) -> Result<()> {
    replaced(world, "changed", async |stage, metadata| make(stage, &metadata, &[("password", THEIRS)]).await).await
}

/// Nothing of ours but the name.
pub async fn a_pending_secret_without_a_proof_is_not_used(world: Arc<World>) -> Result<()> {
    replaced(world, "bare", async |stage, mut metadata| {
        metadata.labels = None;
        metadata.annotations = None;
        make(stage, &metadata, &[("password", THEIRS), ("host", "attacker.example.com")]).await
    })
    .await
}

/// The proof and the values of another schedule's rotation, of another namespace.
pub async fn the_proof_of_another_schedule_proves_nothing(world: Arc<World>) -> Result<()> {
    let (other, proxy) = held_up(&world, "copied-from", Fault::Drop).await?;
    let source = pending(&other).await?;
    let values = other.scene.data(&source.name_any()).await?.unwrap_or_default();
    let password = values.get("password").context("no password")?.clone();
    let result = replaced(world, "copied", async |stage, mut metadata| {
        let mine = metadata.annotations.take().unwrap_or_default();
        let mut theirs = source.metadata.annotations.clone().unwrap_or_default();
        for name in [names::ROTATION, names::WRITES_TO] {
            theirs.insert(name.to_owned(), mine.get(name).cloned().unwrap_or_default());
        }
        metadata.annotations = Some(theirs);
        make(stage, &metadata, &[("password", &password)]).await?;
        Ok(())
    })
    .await;
    drop(proxy);
    result
}

/// An operator whose requests are counted, for a scene that has one rotation behind it.
async fn counted(world: &Arc<World>, name: &str) -> Result<(Stage, Account)> {
    let scene = Scene::new(world, name).await?;
    let account = Account::new(&scene).await?;
    let operator = account.operator("first")?;
    let stage = Stage { scene, operator };
    stage.published().await?;
    Ok((stage, account))
}

/// Few requests in some seconds: a look a second, and what belongs to it.
async fn is_calm(account: &Account) -> Result<()> {
    const SPAN: u64 = 5;
    let mark = account.mark().await?;
    tokio::time::sleep(Duration::from_secs(SPAN)).await; // there is no condition to wait for when something must not happen
    let counts = account.since(&mark).await?;
    ensure!(counts.total() <= 4 * SPAN, "in {SPAN} s:\n{counts}");
    ensure!(counts.writes() == 0, "in {SPAN} s:\n{counts}");
    Ok(())
}

async fn guard<K>(stage: &Stage, name: &str, finalizers: serde_json::Value) -> Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let body = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    stage.scene.api::<K>().patch(name, &PatchParams::default(), &body).await?;
    Ok(())
}

/// A pending Secret that stays when it is deleted.
pub async fn a_pending_secret_that_stays_is_not_asked_for_without_end(world: Arc<World>) -> Result<()> {
    let (stage, account) = counted(&world, "guarded").await?;
    stage.consumer("web", "password").await?;
    stage.scene.annotate::<Deployment>("web", names::RESTART, "Never").await?;
    stage.schedule("vault", &json!({})).await?;
    stage.ask("token-1").await?;
    stage.step("RollingOut").await?;
    let name = pending(&stage).await?.name_any();
    guard::<Secret>(&stage, &name, json!([GUARD])).await?;
    let_go(&stage).await?;
    until("the rotation has ended", || async {
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        Ok((status.rotation.is_none() && status.history.len() == 1).then_some(()))
    })
    .await?;
    until("its Secret is being deleted", || async {
        Ok(stage.scene.api::<Secret>().get(&name).await?.metadata.deletion_timestamp)
    })
    .await?;
    says_who_keeps(&stage, &name).await?;
    is_calm(&account).await?;
    stage.ask("token-2").await?;
    until("the next rotation is not hindered", || async {
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        Ok(status.rotation.filter(|open| open.step.as_str() == "RollingOut"))
    })
    .await?;
    let_go(&stage).await?;
    until("it ends", || async {
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        Ok((status.rotation.is_none() && status.history.len() == 2).then_some(()))
    })
    .await?;
    // The Secret of the second rotation goes first: it has no finalizer.
    says_who_keeps(&stage, &name).await?;
    is_calm(&account).await?;
    guard::<Secret>(&stage, &name, json!(null)).await?;
    stage.ended(2).await.map(drop)
}

/// Waits until only the owner of the finalizer has something left to do.
async fn says_who_keeps(stage: &Stage, name: &str) -> Result<()> {
    let text = until("the schedule says which finalizer keeps the Secret", || async {
        let text = stage.shows("db", "Ready=True/Synced").await?;
        Ok(text.contains(GUARD).then_some(text))
    })
    .await?;
    ensure!(text.contains(name), "{text}");
    Ok(())
}

/// A schedule that stays when it is deleted.
pub async fn a_deleted_schedule_that_stays_is_left_alone(world: Arc<World>) -> Result<()> {
    let (stage, account) = counted(&world, "guarded-schedule").await?;
    stage.consumer("web", "password").await?;
    stage.scene.annotate::<Deployment>("web", names::RESTART, "Never").await?;
    stage.schedule("vault", &json!({})).await?;
    guard::<RotationSchedule>(&stage, "db", json!([GUARD])).await?;
    stage.ask("token-1").await?;
    stage.step("RollingOut").await?;
    let name = pending(&stage).await?.name_any();
    guard::<Secret>(&stage, &name, json!([GUARD])).await?;
    stage.scene.api::<RotationSchedule>().delete("db", &DeleteParams::default()).await?;
    until("our finalizer is gone, and that of others stays", || async {
        Ok((stage.scene.schedule("db").await?.finalizers() == [GUARD]).then_some(()))
    })
    .await?;
    // The pods of the consumer that is held are looked at some seconds after the change.
    until("nothing is asked or written any more", || async { Ok(is_calm(&account).await.ok()) }).await?;
    guard::<Secret>(&stage, &name, json!(null)).await?;
    guard::<RotationSchedule>(&stage, "db", json!(null)).await?;
    until("both are gone", || async {
        let schedule = stage.scene.api::<RotationSchedule>().get_opt("db").await?;
        Ok((schedule.is_none() && stage.pending().await?.is_empty()).then_some(()))
    })
    .await
}

/// A deleted schedule does not wait without end for a store that refuses.
pub async fn a_deleted_schedule_gives_up_on_a_store_that_refuses(world: Arc<World>) -> Result<()> {
    let (stage, proxy): (Stage, Proxy) = held_up(&world, "refused", Fault::Status(503)).await?;
    stage.scene.api::<RotationSchedule>().delete("db", &DeleteParams::default()).await?;
    until("the schedule and its pending Secret are gone", || async {
        let schedule = stage.scene.api::<RotationSchedule>().get_opt("db").await?;
        Ok((schedule.is_none() && stage.pending().await?.is_empty()).then_some(()))
    })
    .await?;
    let (value, versions) = stage.stored().await?;
    ensure!(versions == [1] && value["password"] == crate::stage::OLD, "versions {versions:?}");
    let key = stage.key();
    let told = |events: &[String]| {
        events.iter().any(|at| at.starts_with("Failed: ") && at.contains(&key) && at.contains("RemoteStore/vault"))
    };
    let events = stage.scene.events("db").await?;
    ensure!(told(&events), "{events:?}");
    drop(proxy);
    Ok(())
}
