//! A Secret that keeps its name: consumers of each kind are restarted, one after the other.

use std::sync::Arc;

use anyhow::Result;
use rekey_e2e::{
    World,
    kill::{self, Rig, Scenario},
    versions::{current, policy, put},
};
use serde_json::{Value, json};

use crate::{
    ONE_IN,
    ground::{Consumer, change, consumers, end, settled},
};

const CONSUMERS: [Consumer; 3] = [
    Consumer { kind: "Deployment", name: "web", pods: 2 },
    Consumer::one("StatefulSet", "store"),
    Consumer::one("DaemonSet", "agent"),
];

pub async fn each_consumer_is_restarted_once_whatever_happens(world: Arc<World>) -> Result<()> {
    kill::prove_all(&world, &Restarts, ONE_IN).await
}

/// One change of the value.
struct Restarts;

impl Scenario for Restarts {
    fn name(&self) -> &'static str {
        "restarts"
    }

    /// A call that was given up arrives late, and its repetition is a conflict; which waits are reported depends on timing.
    fn spare(&self) -> usize {
        3
    }

    async fn prepare(&self, rig: &Rig) -> Result<()> {
        put(&rig.scene, "one").await?;
        policy(&rig.scene, json!({})).await?;
        current(&rig.scene, "one").await?;
        consumers(&rig.scene, &CONSUMERS).await?;
        settled(rig, &CONSUMERS, "one").await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        change(rig, "two").await
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        settled(rig, &CONSUMERS, "two").await?;
        end(&rig.scene, &CONSUMERS).await
    }
}
