//! Pods that no restart of ours reaches: they carry the labels of a workload, and are none of its own.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::api::{DeleteParams, ListParams};
use regex::Regex;
use rekey_api::policy::{ConsumerState, ConsumerStatus};
use rekey_e2e::{World, kubectl::kubectl, wait::stays, wait::until, workloads::is_ready};
use serde_json::{Value, json};

use crate::ground::{ALL_CURRENT, Ground, REST};

const APP: (&str, &str, &str) = ("apps/v1", "Deployment", "app");
const BARE: (&str, &str, &str) = ("v1", "Pod", "by-hand");
const JOB: (&str, &str, &str) = ("batch/v1", "Job", "once");

pub async fn pods_that_only_carry_the_labels_are_consumers_of_their_own(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "labels").await?;
    ground.run(ground.reader("Deployment", "app"), 1).await?;
    beside(&ground).await?;
    ground.publish("two").await?;
    ground.wait_held("app", "two", 1).await?;
    shows(&ground, "1/3", &[(APP, ConsumerState::Current), (BARE, ConsumerState::Held), (JOB, ConsumerState::Held)])
        .await?;
    stays("the restarts of the Deployment", 1, REST, || ground.template_changes("Deployment", "app")).await?;
    // Its owner says that the pod has the value, as its message tells him to; those that have it are not listed.
    kubectl(&world, &words(&confirmation(&ground).await?, &ground.scene.namespace)).await?;
    shows(&ground, "1/2", &[(APP, ConsumerState::Current), (JOB, ConsumerState::Held)]).await?;
    ground.scene.api::<Job>().delete(JOB.2, &DeleteParams::background().grace_period(0)).await?;
    shows(&ground, "1/1", &[(APP, ConsumerState::Current)]).await?;
    ground.scene.wait_policy("db", ALL_CURRENT).await?;
    ensure!(ground.template_changes("Deployment", "app").await? == 1, "a second restart");
    let pod = ground.scene.api::<Pod>().get(BARE.2).await?;
    ensure!(is_ready(&pod) && pod.metadata.generation.unwrap_or(1) == 1, "the pod by hand was changed");
    Ok(())
}

/// A pod without an owner and one of a Job, with the labels of the Deployment and its reference to the Secret.
async fn beside(ground: &Ground) -> Result<()> {
    let mut template: Value = ground.reader("Deployment", "app")["spec"]["template"].take();
    let mut pod = template.clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(BARE.2);
    ground.scene.apply(pod).await?;
    template["spec"]["restartPolicy"] = json!("Never");
    let metadata = json!({"name": JOB.2});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}});
    ground.scene.apply(job).await?;
    until("both pods run", async || {
        let pods = ground.scene.api::<Pod>().list(&ListParams::default()).await?.items;
        Ok((pods.len() == 3 && pods.iter().all(is_ready)).then_some(()))
    })
    .await
}

type Item = ((&'static str, &'static str, &'static str), ConsumerState);

/// Waits until the policy counts and lists its consumers like this.
async fn shows(ground: &Ground, summary: &str, wanted: &[Item]) -> Result<()> {
    ground
        .wait_long(&format!("{summary}, {wanted:?}"), async || {
            let found = ground.consumers().await?;
            let listed = |((version, kind, name), state): &Item| {
                let is = |item: &&_| is_item(item, version, kind, name);
                found.items.iter().find(is).is_some_and(|item| item.state == *state)
            };
            let is_so = found.summary == summary && found.items.len() == wanted.len() && wanted.iter().all(listed);
            Ok(is_so.then_some(()))
        })
        .await
}

fn is_item(item: &ConsumerStatus, version: &str, kind: &str, name: &str) -> bool {
    item.api_version == version && item.kind == kind && item.name == name
}

/// The command in the message of the pod by hand.
async fn confirmation(ground: &Ground) -> Result<String> {
    let said = ground.state(BARE.1, BARE.2).await?.unwrap_or_default();
    let command = Regex::new(r"kubectl (annotate pod by-hand[^`;]*rekey\.dev/consumed=[^`;,\s]+[^`;,]*)")?;
    let found = command.captures(&said).with_context(|| format!("no command to confirm it: {said:?}"))?;
    Ok(found[1].to_owned())
}

/// The arguments of a command, in this namespace if it names none.
fn words<'a>(command: &'a str, namespace: &'a str) -> Vec<&'a str> {
    let mut words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
    if !words.iter().any(|word| *word == "-n" || word.starts_with("--namespace")) {
        words.extend(["-n", namespace]);
    }
    words
}
