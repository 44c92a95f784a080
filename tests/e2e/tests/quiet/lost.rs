//! What is lost, and comes back with equal bytes.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{World, kill::Rig, wait::until};
use serde_json::{Value, json};

use crate::room::{CURRENT, Own, POLICIES, Room, apply, moving};

pub const CASES: [&str; 10] = [
    "the Secret deleted",
    "the plain Secret beside the versions deleted",
    "both deleted while no operator runs",
    "the statuses lost while no operator runs",
    "the policies deleted with Retain, and made again",
    "a Secret of another tool with equal bytes adopted",
    "a backup of the Secret and its policy restored while no operator runs",
    "a backup of all restored while the operator runs",
    "the record taken off the Secret",
    "the record taken off the Secret while no operator runs",
];

pub async fn nothing_that_is_lost_and_comes_back_restarts_anybody(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "lost").await?;
    rig.start_ready().await?;
    let room = Room::new(&rig.scene).await?;
    room.case(CASES[0], deleted(&room, "db")).await?;
    room.case(CASES[1], deleted(&room, "key")).await?;
    room.case_with(CASES[2], Own::NewRecord, deleted_while_down(&rig, &room)).await?;
    room.case(CASES[3], statuses_lost(&rig)).await?;
    room.case(CASES[4], made_again(&room)).await?;
    room.case_with(CASES[5], Own::NewRecord, adopted(&room)).await?;
    for policy in POLICIES {
        room.edit(policy, json!({"spec": {"target": {"onPolicyDelete": "Delete"}}})).await?;
        rig.scene.wait_synced(policy).await?;
    }
    room.case(CASES[6], restored(&rig, &room, &["db"], false)).await?;
    room.case(CASES[7], restored(&rig, &room, &POLICIES, true)).await?;
    room.case(CASES[8], stripped(&rig, &room, true)).await?;
    room.case(CASES[9], stripped(&rig, &room, false)).await?;
    rig.alive()?;
    room.done("what is lost and comes back", &CASES)
}

async fn deleted(room: &Room<'_>, name: &str) -> Result<()> {
    let api = room.scene.api::<Secret>();
    let before = api.get(name).await?.uid();
    api.delete(name, &DeleteParams::default()).await?;
    until(&format!("{name} is there again"), || async {
        Ok(api.get_opt(name).await?.filter(|found| found.uid() != before).map(drop))
    })
    .await
}

/// The plain Secret of each policy.
async fn deleted_while_down(rig: &Rig, room: &Room<'_>) -> Result<()> {
    rig.kill();
    let api = room.scene.api::<Secret>();
    for name in POLICIES {
        api.delete(name, &DeleteParams::default()).await?;
    }
    rig.start_ready().await?;
    for name in POLICIES {
        until(&format!("{name} is there again"), || async { Ok(api.get_opt(name).await?.map(drop)) }).await?;
    }
    Ok(())
}

async fn statuses_lost(rig: &Rig) -> Result<()> {
    rig.kill();
    for policy in POLICIES {
        let gone = Patch::Merge(json!({"status": null}));
        rig.scene.api::<SecretPolicy>().patch_status(policy, &PatchParams::default(), &gone).await?;
    }
    rig.start_ready().await?;
    for policy in POLICIES {
        rig.scene.wait_synced(policy).await?;
    }
    Ok(())
}

fn retained(policy: &str) -> Value {
    let mut spec = if policy == "key" { moving() } else { json!({}) };
    spec["target"] = json!({"onPolicyDelete": "Retain"});
    spec
}

async fn delete_policy(room: &Room<'_>, policy: &str) -> Result<()> {
    let api = room.scene.api::<SecretPolicy>();
    api.delete(policy, &DeleteParams::default()).await?;
    until("the policy is gone", || async { Ok(api.get_opt(policy).await?.is_none().then_some(())) }).await
}

async fn made_again(room: &Room<'_>) -> Result<()> {
    for policy in POLICIES {
        apply(room.scene, policy, retained(policy)).await?;
        room.scene.wait_synced(policy).await?;
        delete_policy(room, policy).await?;
        apply(room.scene, policy, retained(policy)).await?;
        room.taken(policy).await?;
    }
    Ok(())
}

/// The Secret of another tool, which has none of our marks, in the place of ours.
async fn adopted(room: &Room<'_>) -> Result<()> {
    let (scene, api) = (room.scene, room.scene.api::<Secret>());
    delete_policy(room, "db").await?;
    api.delete("db", &DeleteParams::default()).await?;
    scene.secret("db", &[("username", "orders"), ("password", CURRENT)]).await?;
    scene.annotate::<Secret>("db", names::ADOPT_BY, "db").await?;
    apply(scene, "db", retained("db")).await?;
    room.taken("db").await
}

/// What a backup tool does: it keeps names, labels and annotations, and makes Secrets before custom resources.
async fn restored(rig: &Rig, room: &Room<'_>, of: &[&str], runs: bool) -> Result<()> {
    let (policies, api) = (rig.scene.api::<SecretPolicy>(), rig.scene.api::<Secret>());
    let params = PostParams { field_manager: Some("backup".to_owned()), ..PostParams::default() };
    let (mut kept, mut specs) = (Vec::new(), Vec::new());
    for secret in api.list(&ListParams::default()).await? {
        if secret.annotations().get(names::POLICY).is_some_and(|policy| of.contains(&policy.as_str())) {
            kept.push(secret);
        }
    }
    for policy in of {
        specs.push(policies.get(policy).await?);
    }
    if !runs {
        rig.kill();
    }
    for policy in of {
        delete_policy(room, policy).await?;
    }
    for secret in &kept {
        api.delete(&secret.name_any(), &DeleteParams::default()).await.ok(); // it may have gone with its policy
    }
    for secret in kept {
        let name = secret.name_any();
        until(&format!("{name} is gone"), || async { Ok(api.get_opt(&name).await?.is_none().then_some(())) }).await?;
        let metadata = of_backup(&secret.metadata);
        api.create(&params, &Secret { metadata, ..secret }).await.context(name)?;
    }
    for policy in specs {
        let metadata = of_backup(&policy.metadata);
        policies.create(&params, &SecretPolicy { metadata, status: None, ..policy }).await?;
    }
    if !runs {
        rig.start_ready().await?;
    }
    for policy in of {
        room.taken(policy).await?;
    }
    Ok(())
}

async fn stripped(rig: &Rig, room: &Room<'_>, runs: bool) -> Result<()> {
    if !runs {
        rig.kill();
    }
    let api = rig.scene.api::<Secret>();
    let record = json!({names::DIGESTS: null, names::CHANGES: null, names::REVISION: null});
    let body = Patch::Merge(json!({"metadata": {"annotations": record}}));
    api.patch("db", &PatchParams::default(), &body).await?;
    if !runs {
        rig.start_ready().await?;
    }
    until("db has its record again", || async {
        Ok(api.get("db").await?.annotations().contains_key(names::DIGESTS).then_some(()))
    })
    .await?;
    room.taken("db").await
}

fn of_backup(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name.clone(),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        ..ObjectMeta::default()
    }
}
