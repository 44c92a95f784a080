//! Kills, deletions, edits and forgeries.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use rekey_api::names;
use rekey_e2e::{
    Scene, World,
    kill::{self, Rig, Scenario},
    versions::{change, current, held, policy, put, scene, status, versioned, versions},
    wait::{stays, until},
};
use serde_json::{Value, json};

/// How long a repair may take.
const SECONDS: Duration = Duration::from_secs(5);

pub async fn kill_9_at_any_write_of_a_new_version_ends_the_same(world: Arc<World>) -> Result<()> {
    kill::prove(&world, &Change).await
}

/// A first version and a second one.
struct Change;

impl Scenario for Change {
    fn name(&self) -> &'static str {
        "versions"
    }

    async fn prepare(&self, rig: &Rig) -> Result<()> {
        put(&rig.scene, "one").await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        policy(&rig.scene, versioned(3)).await?;
        current(&rig.scene, "one").await?;
        put(&rig.scene, "two").await?;
        rig.scene.ask_sync("db").await.map(drop)
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        let name = current(&rig.scene, "two").await?;
        kill::quiet(rig, Duration::from_secs(4)).await?;
        let status = status(&rig.scene).await?;
        let secret = rig.scene.api::<Secret>().get(&name).await?;
        let changes: Value = serde_json::from_str(&secret.annotations()[names::CHANGES])?;
        Ok(json!({
            "held": held(&rig.scene).await?,
            "publication": changes["publication"],
            "history": status.history.len(),
            "is of the revision": Some(&secret.annotations()[names::REVISION]) == status.revision.as_ref(),
        }))
    }
}

pub async fn a_deleted_version_comes_back_under_its_name(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "deleted").await?;
    let _operator = scene.operator()?;
    policy(&scene, versioned(3)).await?;
    let first = current(&scene, "one").await?;
    let second = change(&scene, "two").await?;
    for _ in 0..2 {
        let before = (scene.api::<Secret>().get(&second).await?, status(&scene).await?);
        scene.api::<Secret>().delete(&second, &DeleteParams::default()).await?;
        let after = until("it is there again", || async {
            let found = scene.api::<Secret>().get_opt(&second).await?;
            Ok(found.filter(|found| found.uid() != before.0.uid()))
        })
        .await?;
        ensure!(after.annotations() == before.0.annotations(), "{:?}", after.annotations());
        ensure!(after.data == before.0.data && after.immutable == Some(true));
        scene.wait_synced("db").await?;
        let now = status(&scene).await?;
        ensure!(now.revision == before.1.revision && now.history == before.1.history, "{now:?}");
    }
    ensure!(versions(&scene).await?.into_keys().collect::<Vec<_>>().contains(&first));
    ensure!(held(&scene).await? == ["one", "two"]);
    Ok(())
}

async fn edit(scene: &Scene, name: &str, metadata: Value) -> Result<()> {
    let params = PatchParams { field_manager: Some("editor".to_owned()), ..PatchParams::default() };
    scene.api::<Secret>().patch(name, &params, &Patch::Merge(json!({"metadata": metadata}))).await?;
    Ok(())
}

pub async fn marks_that_are_taken_off_are_put_back(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "marks").await?;
    let _operator = scene.operator()?;
    policy(&scene, versioned(3)).await?;
    current(&scene, "one").await?;
    change(&scene, "zero").await?;
    let name = change(&scene, "two").await?;
    let before = scene.api::<Secret>().get(&name).await?;
    for metadata in [
        json!({"labels": {names::MANAGED_BY: null}}),
        json!({"labels": {names::MANAGED_BY: "somebody"}}),
        json!({"annotations": {names::ON_POLICY_DELETE: null}}),
        json!({"annotations": {names::POLICY: null}}),
        json!({"annotations": {names::POLICY: "other"}}),
        json!({"annotations": {names::REVISION: "bbbbbbbbbb"}}),
        json!({"annotations": {names::CHANGES: null, names::DIGESTS: null}}),
        json!({"labels": {"team": "theirs", names::MANAGED_BY: null}}),
    ] {
        let start = std::time::Instant::now();
        edit(&scene, &name, metadata.clone()).await?;
        until(&format!("{metadata} is repaired"), || async {
            let now = scene.api::<Secret>().get(&name).await?;
            let label = now.labels().get(names::MANAGED_BY).map(String::as_str) == Some(names::MANAGED_BY_VALUE);
            Ok((label && now.annotations() == before.annotations()).then_some(()))
        })
        .await?;
        ensure!(start.elapsed() < SECONDS, "{metadata} took {:?}", start.elapsed());
    }
    let after = scene.api::<Secret>().get(&name).await?;
    ensure!(after.uid() == before.uid() && after.labels().get("team").map(String::as_str) == Some("theirs"));
    let wanted = format!("Drifted: repaired the labels, annotations or owner of Secret {name}");
    until("an Event", || async { Ok(scene.events("db").await?.contains(&wanted).then_some(())) }).await?;
    ensure!(held(&scene).await? == ["one", "two", "zero"], "{:?}", versions(&scene).await?);
    ensure!(current(&scene, "two").await? == name);
    Ok(())
}

pub async fn a_forged_version_is_nobodys(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "forged").await?;
    let mut operator = scene.operator()?;
    policy(&scene, versioned(0)).await?;
    let name = current(&scene, "one").await?;
    let real = scene.api::<Secret>().get(&name).await?;
    let mut annotations = real.annotations().clone();
    let mut changes: Value = serde_json::from_str(&annotations[names::CHANGES])?;
    changes["publication"] = json!(99);
    annotations.insert(names::CHANGES.to_owned(), changes.to_string());
    annotations.insert(names::REVISION.to_owned(), "bbbbbbbbbb".to_owned());
    let forged = Secret {
        metadata: ObjectMeta {
            name: Some("db-bbbbbbbbbb".to_owned()),
            labels: Some(real.labels().clone()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        ..real.clone()
    };
    let params = PostParams { field_manager: Some("forger".to_owned()), ..PostParams::default() };
    let made = scene.api::<Secret>().create(&params, &forged).await?;
    let shown = || async { Ok(status(&scene).await?.secret_name) };
    stays("the name in the status", Some(name.clone()), Duration::from_secs(3), shown).await?;
    let second = change(&scene, "two").await?;
    ensure!(second != "db-bbbbbbbbbb");
    // Not even after a restart, when nothing is remembered; and it is never touched.
    operator.stop()?;
    let _second = scene.operator()?;
    let third = change(&scene, "three").await?;
    ensure!(third != "db-bbbbbbbbbb");
    until("what is not kept is gone, and the forgery is there", || async {
        let names: Vec<String> = versions(&scene).await?.into_keys().collect();
        let mut wanted = vec!["db-bbbbbbbbbb".to_owned(), third.clone()];
        wanted.sort();
        Ok((names == wanted).then_some(()))
    })
    .await?;
    let now = scene.api::<Secret>().get("db-bbbbbbbbbb").await?;
    ensure!(now.resource_version() == made.resource_version(), "it was written");
    let changes = scene.api::<Secret>().get(&third).await?;
    let changes: Value = serde_json::from_str(changes.annotations().get(names::CHANGES).context("changes")?)?;
    ensure!(changes["publication"] == 3, "{changes}");
    Ok(())
}

/// Put back by a backup tool, version by version: what Rekey's field manager has not made is known by its digests.
pub async fn versions_that_were_put_back_from_a_backup_are_the_policys_as_before(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "restored").await?;
    let mut operator = scene.operator()?;
    policy(&scene, versioned(3)).await?;
    current(&scene, "one").await?;
    let name = change(&scene, "two").await?;
    let before = (status(&scene).await?, scene.api::<Secret>().get(&name).await?);
    operator.stop()?;
    for old in versions(&scene).await?.into_keys() {
        let secret = scene.api::<Secret>().get(&old).await?;
        scene.api::<Secret>().delete(&old, &DeleteParams::default()).await?;
        let metadata = ObjectMeta {
            name: Some(old),
            labels: secret.metadata.labels.clone(),
            annotations: secret.metadata.annotations.clone(),
            ..ObjectMeta::default()
        };
        let params = PostParams { field_manager: Some("backup".to_owned()), ..PostParams::default() };
        scene.api::<Secret>().create(&params, &Secret { metadata, ..secret }).await?;
    }
    let _second = scene.operator()?;
    scene.sync("db").await?;
    ensure!(current(&scene, "two").await? == name);
    let (now, secret) = (status(&scene).await?, scene.api::<Secret>().get(&name).await?);
    ensure!(now.revision == before.0.revision && now.history == before.0.history, "{now:?}");
    ensure!(secret.annotations() == before.1.annotations(), "{:?}", secret.annotations());
    let is_ours =
        |secret: &Secret| secret.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some(names::MANAGER));
    ensure!(is_ours(&secret), "it is written once, so that it counts as ours from here on");
    ensure!(held(&scene).await? == ["one", "two"]);
    let next = change(&scene, "three").await?;
    let secret = scene.api::<Secret>().get(&next).await?;
    let changes: Value = serde_json::from_str(&secret.annotations()[names::CHANGES])?;
    ensure!(changes["publication"] == 3, "{changes}");
    Ok(())
}

pub async fn a_name_that_somebody_has_taken_is_left_alone(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "taken").await?;
    let mut operator = scene.operator()?;
    policy(&scene, versioned(3)).await?;
    let name = current(&scene, "one").await?;
    // While nobody looks, another tool has put a Secret of its own in the place of the version.
    operator.stop()?;
    scene.api::<Secret>().delete(&name, &DeleteParams::default()).await?;
    scene.secret(&name, &[("password", "theirs")]).await?;
    let theirs = scene.api::<Secret>().get(&name).await?;
    let _second = scene.operator()?;
    scene.sync("db").await?;
    let anew = current(&scene, "one").await?;
    ensure!(anew != name);
    let now = scene.api::<Secret>().get(&name).await?;
    ensure!(now.resource_version() == theirs.resource_version(), "it was written");
    scene.wait_synced("db").await.map(drop)
}
