//! What other tools write into Secrets, statuses and workloads.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{World, kill::Rig, kubectl::kubectl, wait::until};
use serde_json::{Value, json};

use crate::room::{Own, POLICIES, Room, WORKLOADS};

pub const CASES: [&str; 17] = [
    "kubectl annotate and label on the Secrets",
    "our label taken off",
    "our label with another text",
    "our digests taken off a version",
    "our digests on a version with another text",
    "the metadata of the Secrets force-applied by another manager",
    "the Secrets replaced by kubectl with equal bytes",
    "equal bytes force-applied by another manager",
    "the status of the policies taken off",
    "the status of the policies with another text",
    "labels of the Deployments",
    "annotations of the Deployments",
    "the Deployments scaled up",
    "the Deployments scaled down",
    "another sync asked for",
    "the name of our policy taken off a Secret",
    "our record taken off a version",
];

pub async fn no_edit_of_a_secret_or_workload_restarts_anybody(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "marks").await?;
    rig.start_ready().await?;
    let room = Room::new(&rig.scene).await?;
    room.case(CASES[0], annotated(&room)).await?;
    let version = || async { anyhow::Ok(vec![room.version().await?]) };
    for (name, secrets, change) in [
        (CASES[1], secrets(&room).await?, json!({"labels": {names::MANAGED_BY: null}})),
        (CASES[2], secrets(&room).await?, json!({"labels": {names::MANAGED_BY: "another"}})),
        (CASES[3], version().await?, json!({"annotations": {names::DIGESTS: null}})),
        (CASES[4], version().await?, json!({"annotations": {names::DIGESTS: "another"}})),
    ] {
        room.case(name, stomped(&room, secrets, change)).await?;
    }
    room.case(CASES[5], force_applied(&room, false)).await?;
    room.case(CASES[6], replaced(&room)).await?;
    room.case(CASES[7], force_applied(&room, true)).await?;
    room.case(CASES[8], of_status(&room, json!(null))).await?;
    let forged = json!({"revision": "aaaaaaaaaa", "history": [], "consumers": null});
    room.case(CASES[9], of_status(&room, forged)).await?;
    let metadata = |field: &str| json!({"metadata": {field: {"example.com/note": "theirs"}}});
    // Labels are no part of what the API server counts.
    room.case(CASES[10], of_workloads(&room, metadata("labels"))).await?;
    room.case_with(CASES[11], Own::Edit, of_workloads(&room, metadata("annotations"))).await?;
    room.case_with(CASES[12], Own::MorePods, scaled(&room, 2)).await?;
    room.case_with(CASES[13], Own::FewerPods, scaled(&room, 1)).await?;
    room.case(CASES[14], room.scene.sync("db")).await?;
    room.case(CASES[15], disowned(&room)).await?;
    let off = json!({"annotations": {names::REVISION: null, names::CHANGES: null, names::POLICY: null}});
    room.case(CASES[16], stomped(&room, version().await?, off)).await?;
    rig.alive()?;
    room.done("what other tools write", &CASES)
}

/// The Secrets of both policies.
async fn secrets(room: &Room<'_>) -> Result<Vec<String>> {
    Ok(vec!["db".to_owned(), "key".to_owned(), room.version().await?])
}

async fn annotated(room: &Room<'_>) -> Result<()> {
    for name in secrets(room).await? {
        for (command, entry) in [("annotate", "example.com/note=theirs"), ("label", "example.com/team=theirs")] {
            kubectl(&room.scene.world, &[command, "secret", &name, entry, "-n", &room.scene.namespace]).await?;
        }
    }
    Ok(())
}

/// Changes the metadata of Secrets, and waits until ours is there again.
async fn stomped(room: &Room<'_>, secrets: Vec<String>, change: Value) -> Result<()> {
    let api = room.scene.api::<Secret>();
    for name in secrets {
        let before = ours(&api.get(&name).await?);
        let params = PatchParams { field_manager: Some("stomper".to_owned()), ..PatchParams::default() };
        api.patch(&name, &params, &Patch::Merge(json!({"metadata": change}))).await?;
        until(&format!("{name} has our marks again"), || async {
            Ok((ours(&api.get(&name).await?) == before).then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn disowned(room: &Room<'_>) -> Result<()> {
    stomped(room, vec!["db".to_owned()], json!({"annotations": {names::POLICY: null}})).await?;
    room.taken("db").await
}

/// Our marks on a Secret, but for the number of its publication, which a repair may count on.
fn ours(secret: &Secret) -> BTreeMap<String, Option<String>> {
    let marks = [names::POLICY, names::REVISION].map(|name| (name.to_owned(), secret.annotations().get(name).cloned()));
    let there = [names::DIGESTS, names::CHANGES]
        .map(|name| (name.to_owned(), secret.annotations().get(name).map(|_| "there".to_owned())));
    let label = (names::MANAGED_BY.to_owned(), secret.labels().get(names::MANAGED_BY).cloned());
    marks.into_iter().chain(there).chain([label]).collect()
}

/// Takes over metadata (and data) as a tool does that was told to.
async fn force_applied(room: &Room<'_>, data: bool) -> Result<()> {
    let api = room.scene.api::<Secret>();
    for name in secrets(room).await? {
        let secret = api.get(&name).await?;
        let mut object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "labels": secret.labels(), "annotations": secret.annotations()},
        });
        if data {
            object["data"] = serde_json::to_value(&secret.data)?;
        }
        let applied = api.patch(&name, &PatchParams::apply("other-tool").force(), &Patch::Apply(object)).await?;
        ensure!(applied.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some("other-tool")));
    }
    Ok(())
}

async fn replaced(room: &Room<'_>) -> Result<()> {
    let (world, namespace) = (&room.scene.world, room.scene.namespace.as_str());
    for name in secrets(room).await? {
        let text = kubectl(world, &["get", "secret", &name, "-n", namespace, "-o", "json"]).await?;
        let mut object: Value = serde_json::from_str(&text)?;
        object["metadata"]["resourceVersion"].take();
        let file = world.plane.directory().join(format!("{namespace}-{name}.json"));
        std::fs::write(&file, object.to_string())?;
        let file = file.to_str().context("a path")?;
        kubectl(world, &["replace", "-n", namespace, "-f", file]).await?;
    }
    Ok(())
}

async fn of_status(room: &Room<'_>, status: Value) -> Result<()> {
    for policy in POLICIES {
        let params = PatchParams { field_manager: Some("kubectl-patch".to_owned()), ..PatchParams::default() };
        let change = Patch::Merge(json!({"status": status}));
        room.scene.api::<SecretPolicy>().patch_status(policy, &params, &change).await?;
        until("the status is there again", || async {
            let found = room.scene.api::<SecretPolicy>().get(policy).await?.status.unwrap_or_default();
            let is_right = found.revision.is_some_and(|revision| revision != "aaaaaaaaaa");
            Ok((is_right && found.consumers.is_some()).then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn of_workloads(room: &Room<'_>, change: Value) -> Result<()> {
    for (name, ..) in WORKLOADS {
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        room.scene.api::<Deployment>().patch(name, &params, &Patch::Merge(&change)).await?;
    }
    Ok(())
}

async fn scaled(room: &Room<'_>, replicas: u32) -> Result<()> {
    for (name, ..) in WORKLOADS {
        room.scale(name, replicas).await?;
    }
    Ok(())
}
