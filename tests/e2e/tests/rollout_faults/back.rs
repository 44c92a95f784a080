//! `onFailure: RollBack` of a Secret that keeps its name: a value on which the first consumer crashes is taken back.

use std::sync::Arc;

use anyhow::{Result, bail};
use rekey_e2e::{
    World,
    kill::{self, Rig, Scenario},
    versions::{current, policy, put},
};
use serde_json::{Value, json};

use crate::{
    ONE_IN,
    ground::{Consumer, LONG, change, consumers, end, settled},
};

const CONSUMERS: [Consumer; 2] = [Consumer::one("Deployment", "first-one"), Consumer::one("Deployment", "other-one")];

pub async fn one_consumer_goes_there_and_back_whatever_happens(world: Arc<World>) -> Result<()> {
    kill::prove_all(&world, &Back, ONE_IN).await
}

/// One bad value.
struct Back;

impl Scenario for Back {
    fn name(&self) -> &'static str {
        "back"
    }

    /// A call that was given up arrives late, and its repetition is a conflict; which waits are reported depends on timing.
    fn spare(&self) -> usize {
        3
    }

    /// The deadline is between the times at which kubelet starts a container again by itself, 30 s and 70 s after its first
    /// end, with room for a partition: one that has read the good value by then needs no restart.
    async fn prepare(&self, rig: &Rig) -> Result<()> {
        put(&rig.scene, "one").await?;
        policy(&rig.scene, json!({"rollout": {"onFailure": "RollBack", "progressDeadline": "38s"}})).await?;
        current(&rig.scene, "one").await?;
        consumers(&rig.scene, &CONSUMERS).await?;
        settled(rig, &CONSUMERS, "one").await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        change(rig, "bad").await
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        rekey_testkit::wait::until("the policy has gone back", LONG, async || {
            let conditions = rig.scene.policy_conditions("db").await?;
            Ok(conditions.iter().any(|at| at.type_ == "Ready" && at.reason == "RolledBack").then_some(()))
        })
        .await?;
        settled(rig, &CONSUMERS, "one").await?;
        let end = end(&rig.scene, &CONSUMERS).await?;
        let generation = |name: &str| end["workloads"][name]["generation"].as_i64();
        let [went, stayed] = match CONSUMERS.map(|consumer| generation(consumer.name)) {
            [Some(3), Some(1)] => CONSUMERS,
            [Some(1), Some(3)] => [CONSUMERS[1], CONSUMERS[0]],
            others => bail!("not that one went there and back, and the other never left: {others:?}"),
        };
        // Nothing says which of them is the first.
        let text = end.to_string().replace(went.name, "who went").replace(stayed.name, "who stayed");
        let mut end: Value = serde_json::from_str(&text)?;
        if let Some(items) = end["policy"]["status"]["consumers"]["items"].as_array_mut() {
            items.sort_by_key(|item| item["name"].to_string());
        }
        Ok(end)
    }
}
