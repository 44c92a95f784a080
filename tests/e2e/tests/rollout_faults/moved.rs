//! Each value has a Secret of its own: references move, the canary's first.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{
    World,
    kill::{self, Rig, Scenario},
    versions::{current, held, policy, put, status},
};
use serde_json::{Value, json};

use crate::{
    ONE_IN,
    ground::{Consumer, change, consumers, end, settled},
};

/// The canary is the last one by name, so that no order of names helps it.
const CONSUMERS: [Consumer; 3] = [
    Consumer::one("Deployment", "zoo"),
    Consumer { kind: "Deployment", name: "web", pods: 2 },
    Consumer::one("StatefulSet", "store"),
];

pub async fn each_consumer_is_moved_once_behind_its_canary_whatever_happens(world: Arc<World>) -> Result<()> {
    kill::prove_all(&world, &Moves, ONE_IN).await
}

/// One change of the value.
struct Moves;

impl Scenario for Moves {
    fn name(&self) -> &'static str {
        "moves"
    }

    /// A call that was given up arrives late, and its repetition is a conflict; which waits are reported depends on timing.
    fn spare(&self) -> usize {
        3
    }

    async fn prepare(&self, rig: &Rig) -> Result<()> {
        put(&rig.scene, "one").await?;
        let canary = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "zoo"});
        policy(
            &rig.scene,
            json!({"immutability": "Versioned", "versions": {"references": "Move", "keep": 1},
                   "rollout": {"canary": canary}}),
        )
        .await?;
        current(&rig.scene, "one").await?;
        consumers(&rig.scene, &CONSUMERS).await?;
        settled(rig, &CONSUMERS, "one").await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        change(rig, "two").await
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        settled(rig, &CONSUMERS, "two").await?;
        let end = end(&rig.scene, &CONSUMERS).await?;
        // What is true of every end, not only equal in all.
        ensure!(status(&rig.scene).await?.secret_name.is_some_and(|name| name.starts_with("db-")), "{end:#}");
        for (name, workload) in end["workloads"].as_object().into_iter().flatten() {
            ensure!(workload["reference"] == end["policy"]["status"]["secretName"], "{name}: {workload:#}");
        }
        ensure!(held(&rig.scene).await? == ["one", "two", "two"], "two versions, and the plain Secret: {end:#}");
        Ok(end)
    }
}
