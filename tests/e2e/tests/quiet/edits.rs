//! Edits of the policies.

use std::sync::Arc;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use rekey_e2e::{World, kill::Rig};
use serde_json::{Value, json};

use crate::room::{POLICIES, Room};

pub const CASES: [&str; 16] = [
    "labels and annotations of the policy",
    "another refreshInterval",
    "another rollout.concurrency",
    "another rollout.progressDeadline",
    "another rollout.stableFor",
    "another rollout.readyWhen",
    "windows that are closed",
    "no windows any more",
    "rollout.restart: Never",
    "rollout.restart: Always",
    "rollout.restart: Auto again",
    "another versions.keep",
    "suspended and resumed",
    "the list of data in another order",
    "a template that makes equal bytes",
    "another template that makes equal bytes",
];

pub async fn no_edit_of_a_policy_restarts_anybody(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "edits").await?;
    rig.start_ready().await?;
    let room = Room::new(&rig.scene).await?;
    let rollout = |change: Value| json!({"spec": {"rollout": change}});
    for (name, change) in [
        (CASES[0], json!({"metadata": {"labels": {"team": "shop"}, "annotations": {"example.com/note": "a note"}}})),
        (CASES[1], json!({"spec": {"source": {"remote": {"refreshInterval": "239h"}}}})),
        (CASES[2], rollout(json!({"concurrency": 5}))),
        (CASES[3], rollout(json!({"progressDeadline": "5m"}))),
        (CASES[4], rollout(json!({"stableFor": "2s"}))),
        (CASES[5], rollout(json!({"readyWhen": "ConsumersHealthy"}))),
        (CASES[6], rollout(json!({"windows": closed_for_hours()}))),
        (CASES[7], rollout(json!({"windows": null}))),
        (CASES[8], rollout(json!({"restart": "Never"}))),
        (CASES[9], rollout(json!({"restart": "Always"}))),
        (CASES[10], rollout(json!({"restart": "Auto"}))),
    ] {
        room.case(name, room.edit_both(change)).await?;
    }
    room.case(CASES[11], room.edit("key", json!({"spec": {"versions": {"keep": 0}}}))).await?;
    room.case(CASES[12], suspended(&room)).await?;
    room.case(CASES[13], reordered(&room)).await?;
    for (name, gap) in [(CASES[14], ""), (CASES[15], " ")] {
        let field = |field: &str| format!("{{{{{gap}.{field} }}}}");
        let data = json!({"username": field("username"), "password": field("password")});
        room.case(name, room.edit_both(json!({"spec": {"target": {"template": {"data": data}}}}))).await?;
    }
    rig.alive()?;
    room.done("edits of policies", &CASES)
}

/// A window that opens about half a day from now.
fn closed_for_hours() -> Value {
    let hour = (Timestamp::now().as_second() / 3_600 + 12) % 24;
    json!([{"cron": format!("0 {hour} * * *"), "duration": "1h"}])
}

async fn suspended(room: &Room<'_>) -> Result<()> {
    for policy in POLICIES {
        room.scene.suspend(policy, true).await?;
    }
    for policy in POLICIES {
        room.wait_reason(policy, "Suspended").await?;
        room.scene.suspend(policy, false).await?;
    }
    Ok(())
}

async fn reordered(room: &Room<'_>) -> Result<()> {
    for policy in POLICIES {
        let key = room.scene.key(policy);
        let item = |name: &str| json!({"secretKey": name, "remoteRef": {"key": key, "property": name}});
        let data = json!([item("password"), item("username")]);
        room.edit(policy, json!({"spec": {"source": {"remote": {"data": data}}}})).await?;
    }
    Ok(())
}
