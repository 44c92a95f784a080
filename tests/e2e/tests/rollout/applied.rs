//! Tools that apply their manifest again and again: it has no restart marker, and the marker stays.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{
    World,
    applier::{Applier, Way},
    wait::{until, until_equal},
    workloads::{Form, workload},
};
use tokio::time::sleep;

use crate::ground::{Ground, REST};

const TOOLS: [(&str, Way); 3] =
    [("three-way", Way::ArgoThreeWay), ("server-side", Way::ArgoServerSide), ("flux", Way::Flux)];

pub async fn the_marker_stays_under_argo_cd_and_flux_and_a_change_restarts_once(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "applied").await?;
    ground.published().await?;
    let scene = &ground.scene;
    let mut tools = Vec::new();
    for (name, way) in TOOLS {
        let manifest = workload("Deployment", &scene.namespace, name, "db", Form::Env);
        tools.push(Applier::start(scene, way, manifest, None).await?);
    }
    for (name, _) in TOOLS {
        scene.wait_pod(name).await?;
    }
    ground.wait_current(3).await?;
    rounds(&tools).await?;
    for (round, password) in [(1, "two"), (2, "three")] {
        ground.change(password).await?;
        for (name, _) in TOOLS {
            let consumer = ground.deployment(name);
            until_equal(&format!("the templates of {name}"), round + 1, || consumer.templates()).await?;
            until(&format!("{name} holds {password}"), || async {
                Ok((scene.variable(name, "PASSWORD").await.ok().as_deref() == Some(password)).then_some(()))
            })
            .await?;
        }
        ground.wait_current(3).await?;
        rounds(&tools).await?;
        sleep(REST).await;
        for (name, way) in TOOLS {
            let (consumer, generation) = (ground.deployment(name), i64::try_from(round)? + 1);
            ensure!(consumer.templates().await? == round + 1, "{way:?}: one restart for {password}");
            consumer.marked(generation).await?;
            let warnings = scene.warnings(name).await?;
            ensure!(warnings.iter().all(|event| !event.starts_with("MarkerReverted")), "{way:?}: {warnings:?}");
            ensure!(ground.state("db", name).await? == "Current", "{way:?}");
        }
    }
    Ok(())
}

async fn rounds(tools: &[Applier]) -> Result<()> {
    for tool in tools {
        tool.wait_rounds(2).await?;
    }
    Ok(())
}
