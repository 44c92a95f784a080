//! How many rollouts are under way at the same time, over all policies.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use anyhow::{Result, ensure};
use rekey_e2e::{
    World,
    wait::{until, until_equal},
    workloads::{Form, workload},
};
use serde_json::json;

use crate::{
    ground::{Consumer, Ground},
    together::{rolls, watch},
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Each has a policy of its own, with a Secret of the same name.
pub async fn policies_of_a_namespace_share_its_rollouts(world: Arc<World>) -> Result<()> {
    let ground = Ground::with(&world, "budget", &["--rollouts-per-namespace=1"]).await?;
    for name in NAMES {
        ground.put(name, "orders", "one").await?;
        ground.policy(name, json!({})).await?;
        ground.scene.wait_synced(name).await?;
        let mut manifest = workload("Deployment", &ground.scene.namespace, name, name, Form::Env);
        manifest["spec"]["minReadySeconds"] = json!(3);
        world.apply(manifest).await?;
    }
    for name in NAMES {
        until_equal(&format!("{name} is available"), false, || rolls(&ground, name)).await?;
        ground.wait_consumers(name, "0/1 (1 assumed)", "ConsumersCurrent=Unknown/Assumed").await?;
        ground.put(name, "orders", "two").await?;
    }
    let (rolling, seen) = (RefCell::new(BTreeMap::new()), RefCell::new(Vec::new()));
    let restarted = async {
        futures::future::try_join_all(NAMES.map(|name| ground.scene.ask_sync(name))).await?;
        until("somebody says what it waits for", || says_why(&ground)).await?;
        for name in NAMES {
            let consumer = Consumer { ground: &ground, kind: "Deployment", name, form: Form::Env };
            consumer.settles_on("two", 2).await?;
            ground.wait_consumers(name, "1/1", "ConsumersCurrent=True/AllCurrent").await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = restarted => done?,
        watched = watch(&ground, &rolling, &seen) => watched?,
    }
    let seen = seen.into_inner();
    let rolled = NAMES.iter().all(|name| seen.iter().any(|at| at == &vec![(*name).to_owned()]));
    ensure!(rolled, "each was seen rolling alone: {seen:?}");
    ensure!(seen.iter().all(|at| at.len() < 2), "two at the same time: {seen:?}");
    let (_, metrics) = ground.operator()?.get("/metrics").await?;
    for gauge in ["rekey_rollouts_under_way 0", "rekey_rollouts_waiting 0"] {
        ensure!(metrics.lines().any(|line| line == gauge), "{gauge}: {metrics}");
    }
    Ok(())
}

async fn says_why(ground: &Ground) -> Result<Option<()>> {
    let namespace = &ground.scene.namespace;
    let text = format!(
        "Progressing waits for its turn: 1 of 1 rollouts of namespace {namespace} are under way \
         (--rollouts-per-namespace)"
    );
    for name in NAMES {
        if ground.state(name, name).await? == text {
            return Ok(Some(()));
        }
    }
    Ok(None)
}
