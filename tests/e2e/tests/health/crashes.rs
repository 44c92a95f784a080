//! Consumers that crash on a new value. None of them has a readiness probe, so that each start looks healthy for a
//! moment.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rekey_api::{
    RotationSchedule, names,
    policy::{ConsumerState, ConsumerStatus},
    rotation::RotationOutcome,
};
use rekey_e2e::{
    World,
    wait::{stays, until},
};
use serde_json::{Value, json};

use crate::{
    ground::{ALL_CURRENT, CONTAINER, Ground, REST, STABLE, restarts, started},
    record::Record,
};

const NAMES: [&str; 3] = ["first", "second", "third"];
pub async fn a_value_on_which_consumers_crash_later_stops_at_the_first(world: Arc<World>) -> Result<()> {
    stops_at_the_first(&Ground::new(&world, "later").await?, "2s").await
}

pub async fn a_value_on_which_consumers_crash_at_once_stops_at_the_first(world: Arc<World>) -> Result<()> {
    stops_at_the_first(&Ground::new(&world, "at-once").await?, "0s").await
}

/// A Deployment whose program ends after `patience` unless the password is one of `takes`.
fn picky(ground: &Ground, name: &str, takes: &str, patience: &str) -> Value {
    let mut manifest = ground.reader("Deployment", name);
    if let Some(variables) = manifest["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut() {
        variables.push(json!({"name": "TAKES", "value": takes}));
        variables.push(json!({"name": "PATIENCE", "value": patience}));
    }
    manifest
}

async fn stops_at_the_first(ground: &Ground, patience: &str) -> Result<()> {
    for (name, count) in NAMES.into_iter().zip(1..) {
        ground.run(picky(ground, name, "one,three", patience), count).await?;
    }
    let record = ground.record();
    ground.publish("two").await?;
    let failed = ground
        .wait_long("one consumer has failed", async || {
            at_most_one_restarted(ground).await?;
            in_state(ground, ConsumerState::Failed).await
        })
        .await?;
    only_restarted(ground, &failed.name).await?;
    explained(ground, &failed).await?;
    // The kubelet starts the container again, and it looks healthy once more.
    let before = crashes(ground, &failed.name).await?;
    ground
        .wait_long("it has crashed once more", async || {
            Ok((crashes(ground, &failed.name).await? > before).then_some(()))
        })
        .await?;
    let generations = async || only_restarted(ground, &failed.name).await;
    stays("who was restarted", (), REST, generations).await?;
    let state = ground.state("Deployment", &failed.name).await?.unwrap_or_default();
    ensure!(state.starts_with("Failed"), "it goes on crashing, and is {state}");
    record.never(ALL_CURRENT)?;
    follow_a_good_value(ground, &failed.name, &record).await
}

async fn at_most_one_restarted(ground: &Ground) -> Result<()> {
    let mut restarted = Vec::new();
    for name in NAMES {
        if ground.template_changes("Deployment", name).await? > 0 {
            restarted.push(name);
        }
    }
    ensure!(restarted.len() < 2, "restarted onto a value on which the first of them crashes: {restarted:?}");
    Ok(())
}

/// One Deployment was restarted, once; the others run as before.
async fn only_restarted(ground: &Ground, failed: &str) -> Result<()> {
    for name in NAMES {
        let changes = ground.template_changes("Deployment", name).await?;
        ensure!(changes == usize::from(name == failed), "{changes} restarts of {name}; {failed} was the first");
        if name == failed {
            continue;
        }
        let pods = ground.wait_pods(name, 1).await?;
        ensure!(restarts(&pods[0]) == 0, "{name} has crashed");
        let held = ground.held(&pods[0]).await?;
        ensure!(held.as_deref() == Some("one"), "{name} holds {held:?}, not the good value");
    }
    Ok(())
}

/// The status and an Event say what has failed and why, and who waits for it.
async fn explained(ground: &Ground, failed: &ConsumerStatus) -> Result<()> {
    until("which container of the failed one, and why", async || {
        let said = ground.state("Deployment", &failed.name).await?.unwrap_or_default();
        let why = said.contains("CrashLoopBackOff") || said.contains("code 3");
        Ok((said.contains(CONTAINER) && why).then_some(()))
    })
    .await?;
    for name in NAMES.into_iter().filter(|name| *name != failed.name) {
        let state = ground.state("Deployment", name).await?.unwrap_or_default();
        let names_it = state.starts_with("Outdated: ") && state.contains(&format!("Deployment {}", failed.name));
        ensure!(names_it, "{name} is {state:?}, which should name {}", failed.name);
    }
    ground.scene.wait_policy("db", "ConsumersCurrent=False/ConsumerFailed").await?;
    let told = |event: &String| event.starts_with("ConsumerFailed: ") && event.contains(&failed.name);
    until(&format!("a Warning that names {}", failed.name), async || {
        Ok(ground.scene.warnings("db").await?.iter().any(told).then_some(()))
    })
    .await
}

/// The crashing one gets the good value when its turn comes, not when the kubelet starts it again; and all of them are
/// current once they have been stable.
async fn follow_a_good_value(ground: &Ground, failed: &str, record: &Record) -> Result<()> {
    let known = record.said()?.len();
    let before = crashes(ground, failed).await?;
    ground.publish("three").await?;
    ground
        .wait_long("the crashing one is restarted", async || {
            let now = crashes(ground, failed).await?;
            let is_restarted = ground.template_changes("Deployment", failed).await? == 2;
            ensure!(is_restarted || now == before, "the kubelet started it again, before it had the good value");
            Ok(is_restarted.then_some(()))
        })
        .await?;
    for name in NAMES {
        ground.wait_held(name, "three", 1).await?;
    }
    ground.wait_current("3/3").await?;
    for name in NAMES {
        let is_current = |item: &ConsumerStatus| item.name == name && item.state == ConsumerState::Current;
        // The record comes by a watch, a moment after the status.
        let first = until(&format!("{name} is shown as current"), async || {
            let said = record.said()?;
            let first = said[known..].iter().find(|at| at.consumers.items.iter().any(is_current));
            Ok(first.map(|first| first.at))
        })
        .await?;
        let pods = ground.wait_pods(name, 1).await?;
        let started = started(&pods[0]).context("it runs")?.0;
        let stable = Duration::try_from(first.duration_since(started)).unwrap_or_default();
        ensure!(stable >= STABLE, "{name} was shown as current {stable:?} after its start");
        let changes = ground.template_changes("Deployment", name).await?;
        ensure!(changes == 1 + usize::from(name == failed), "{changes} restarts of {name} in all");
    }
    Ok(())
}

async fn in_state(ground: &Ground, state: ConsumerState) -> Result<Option<ConsumerStatus>> {
    Ok(ground.consumers().await?.items.into_iter().find(|item| item.state == state))
}

/// How often the only pod has started again.
async fn crashes(ground: &Ground, name: &str) -> Result<i32> {
    Ok(ground.pods(name).await?.iter().map(restarts).sum())
}

pub async fn a_rotation_whose_consumer_crashes_is_not_completed(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "rotation").await?;
    ground.run(picky(&ground, "app", "one", "2s"), 1).await?;
    ground.scene.rotate("db", "vault", &ground.scene.key("db")).await?;
    ground.scene.wait_seen("db").await?;
    ground.scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, "token-1").await?;
    ground.scene.wait_step("db", "RollingOut").await?;
    ground
        .wait_long("the consumer has crashed three times", async || {
            let (crashes, status) = (crashes(&ground, "app").await?, ground.scene.schedule("db").await?.status);
            let history = status.unwrap_or_default().history;
            ensure!(history.is_empty(), "the rotation has ended after {crashes} crashes: {history:?}");
            Ok((crashes >= 2).then_some(())) // the third one waits
        })
        .await?;
    // A program that takes every password.
    let takes = json!({"name": CONTAINER, "env": [{"name": "TAKES", "value": ""}]});
    ground.edit("app", json!({"spec": {"template": {"spec": {"containers": [takes]}}}})).await?;
    let outcome = ground
        .wait_long("the rotation has ended", async || {
            let status = ground.scene.schedule("db").await?.status.unwrap_or_default();
            Ok(status.history.first().map(|past| past.outcome))
        })
        .await?;
    ensure!(outcome == RotationOutcome::Completed, "{outcome:?}");
    let data = ground.scene.data("db").await?.unwrap_or_default();
    ground.wait_held("app", data.get("password").context("no password")?, 1).await?;
    let changes = ground.template_changes("Deployment", "app").await?;
    ensure!(changes == 2, "one restart and the repair, not {changes} changes of the template");
    Ok(())
}
