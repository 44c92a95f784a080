//! Consumers that are shown and never restarted.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rekey_api::policy::{ConsumeForm, ConsumerState};
use rekey_e2e::{
    World, foreign,
    wait::stays,
    workloads::{Form, workload},
};
use serde_json::{Value, json};

use crate::ground::{Ground, REST};

const CURRENT: &str = "ConsumersCurrent=True/AllCurrent";

/// A `CronJob` that starts a Job at the next full minute, and no other one while that runs.
fn nightly(ground: &Ground) -> Value {
    let mut template =
        workload("Deployment", &ground.scene.namespace, "nightly", "db", Form::Env)["spec"]["template"].take();
    template["spec"]["restartPolicy"] = json!("Never");
    json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"template": template}},
        },
    })
}

pub async fn a_cron_job_is_held_while_an_older_job_runs_and_never_started(world: Arc<World>) -> Result<()> {
    let mut ground = Ground::new(&world, "cron").await?;
    ground.published().await?;
    ground.scene.apply(nightly(&ground)).await?;
    // Nobody knows what it held before the first publication: it is not counted as current.
    ground.wait_consumers("db", "0/1 (1 assumed)", "ConsumersCurrent=Unknown/Assumed").await?;
    ensure!(ground.state("db", "nightly").await? == "Assumed");
    // It may take a minute and a little more.
    if ground.scene.wait_pod("nightly").await.is_err() {
        ground.scene.wait_pod("nightly").await?;
    }
    let jobs = || async {
        let jobs = ground.scene.api::<Job>().list(&ListParams::default()).await?;
        Ok(jobs.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>())
    };
    let first = jobs().await?;
    ensure!(first.len() == 1, "{first:?}");
    ground.change("two").await?;
    ground.wait_consumers("db", "0/1", "ConsumersCurrent=False/Held").await?;
    let state = ground.state("db", "nightly").await?;
    let expected =
        format!("Held a Job still runs on an older value, among {}; the next one reads the current value", first[0]);
    ensure!(state == expected, "{state}");
    stays("the Jobs after a change", first.clone(), REST, jobs).await?;
    ground.stop()?;
    ground.start()?;
    ground.wait_consumers("db", "0/1", "ConsumersCurrent=False/Held").await?;
    // No other Job may start while this one ends.
    let suspended = Patch::Merge(json!({"spec": {"suspend": true}}));
    ground.scene.api::<CronJob>().patch("nightly", &PatchParams::default(), &suspended).await?;
    ground.scene.api::<Job>().delete(&first[0], &DeleteParams::background()).await?;
    ground.wait_consumers("db", "1/1", CURRENT).await?;
    ensure!(ground.state("db", "nightly").await? == "Current");
    let cron_job = ground.scene.api::<CronJob>().get("nightly").await?;
    let template = cron_job.spec.map(|spec| spec.job_template.spec.unwrap_or_default().template).unwrap_or_default();
    let annotations = template.metadata.and_then(|metadata| metadata.annotations);
    ensure!(annotations.is_none(), "its template was left alone: {annotations:?}");
    Ok(())
}

pub async fn certificates_and_pull_secrets_are_shown_and_restart_nobody(world: Arc<World>) -> Result<()> {
    let probe = world.plane.namespace("gateway").await?;
    let gateway = |namespace: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": namespace},
            "spec": {"listeners": [{"name": "a", "tls": {"certificateRefs": [{"name": "db"}]}}]},
        })
    };
    world.serve(foreign::gateways(), gateway(&probe)).await?;
    let ground = Ground::new(&world, "shown").await?;
    ground.published().await?;
    let namespace = ground.scene.namespace.clone();
    world.apply(gateway(&namespace)).await?;
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    ground
        .scene
        .apply(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "web"},
            "spec": {"tls": [{"hosts": ["shop.example"], "secretName": "db"}], "defaultBackend": backend},
        }))
        .await?;
    ground
        .scene
        .apply(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "puller"},
            "imagePullSecrets": [{"name": "db"}],
        }))
        .await?;
    for value in ["two", "three"] {
        let found = ground.wait_consumers("db", "3/3", CURRENT).await?;
        let shown: Vec<_> = found
            .items
            .iter()
            .map(|item| {
                (item.api_version.as_str(), item.kind.as_str(), item.name.as_str(), item.state, item.how.as_slice())
            })
            .collect();
        let expected = [
            ("gateway.networking.k8s.io/v1", "Gateway", "edge", ConsumerState::Current, [ConsumeForm::Tls].as_slice()),
            ("networking.k8s.io/v1", "Ingress", "web", ConsumerState::Current, [ConsumeForm::Tls].as_slice()),
            ("v1", "ServiceAccount", "puller", ConsumerState::Current, [ConsumeForm::ImagePull].as_slice()),
        ];
        ensure!(shown == expected, "{shown:?}");
        ground.change(value).await?;
    }
    ground.wait_consumers("db", "3/3", CURRENT).await.map(drop)
}
