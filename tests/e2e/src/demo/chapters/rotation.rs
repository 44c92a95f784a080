//! Chapter: a schedule replaces the password, from the store to the running pod.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::ListParams};
use rekey_api::{
    RotationSchedule, names,
    rotation::{RotationHistory, RotationOutcome},
};

use super::{
    consumer_restart::{Before, restarted},
    stores::key,
};
use crate::{
    conditions,
    demo::{
        stage::Stage,
        walkthrough::{Seen, Walkthrough, eventually},
    },
};

const LENGTH: usize = 24;
const SCHEDULE: &str = r#"apiVersion: rekey.dev/v1alpha1
kind: RotationSchedule
metadata: {name: db}
spec:
  policyRef: {name: db}
  schedule: {cron: "0 2 * * 0", timeZone: Europe/Berlin}
  writeTo: {storeRef: {name: bao}, key: rekey-demo/db}
  rotator:
    generate:
      fields:
      - property: password
        password: {length: 24, classes: [Lowercase, Uppercase, Digits]}"#;

/// Runs the chapter. Returns the consumer's state then.
pub async fn tell(walk: &mut Walkthrough<'_>, before: Before) -> Option<Before> {
    let stage = walk.stage;
    walk.out.chapter("A schedule rotates it");
    walk.apply("Applied: a new password each Sunday at 02:00 in Berlin.", SCHEDULE).await?;
    walk.check("The schedule is Ready, and says when", scheduled(stage)).await?;
    let old = password(stage).await;
    walk.out.say(
        "A rotation keeps the new password safe first, writes it to OpenBao, publishes it, restarts the consumers, and \
         is done when no pod runs with the old one. We do not wait until Sunday and request one now:",
    );
    let request = format!("{}=first", names::ROTATE_REQUESTED);
    walk.kubectl(&["annotate", "rotationschedule", "db", &request]).await?;
    let done = walk.check("The rotation is completed", completed(stage)).await;
    let url = walk
        .check("OpenBao has the new password", async {
            let new = password(stage).await?;
            ensure!(new != old?, "the password is still the old one");
            ensure!(new.chars().count() == LENGTH, "it has {} characters, not {LENGTH}", new.chars().count());
            let stored = stage.bao().get(&key("db")).await?.unwrap_or_default();
            ensure!(stored["username"] == "orders", "the username, which is not rotated, has changed");
            let version = stage.bao().versions(&key("db")).await?.last().copied().unwrap_or_default();
            let text = format!("version {version}, {LENGTH} characters, not the old one; the username stayed");
            Ok((text, (format!("postgres://orders:{new}@db/orders"), new)))
        })
        .await;
    let (url, new) = url?;
    walk.check("Secret db holds the same, and the url made of it", async {
        let (_, data) = stage.secret("db").await?;
        ensure!(data.get("password") == Some(&new), "its password is not the one in OpenBao");
        ensure!(data.get("url") == Some(&url), "its url is not made of the password in OpenBao");
        Ok((String::new(), ()))
    })
    .await;
    let now = restarted(walk, before, &url, false).await;
    if done.is_some() {
        walk.check("Nothing is left behind: no pending Secret, no finalizer", cleaned(stage)).await;
    }
    now
}

async fn password(stage: &Stage) -> Result<String> {
    let stored = stage.bao().get(&key("db")).await?.context("OpenBao has no rekey-demo/db")?;
    Ok(stored["password"].as_str().context("OpenBao has no password in rekey-demo/db")?.to_owned())
}

async fn scheduled(stage: &Stage) -> Result<(String, ())> {
    eventually(async || {
        let status = stage.api::<RotationSchedule>().get("db").await?.status.unwrap_or_default();
        let shown = conditions::shown(&status.conditions);
        Ok(match status.next_rotation_time {
            Some(next) if shown.iter().any(|at| at.starts_with("Ready=True")) => Seen::Wanted((next, ())),
            _ => Seen::Other(format!("{shown:?} {}", conditions::message(&status.conditions, "Ready"))),
        })
    })
    .await
}

async fn completed(stage: &Stage) -> Result<(String, ())> {
    let entry = eventually(async || {
        let status = stage.api::<RotationSchedule>().get("db").await?.status.unwrap_or_default();
        Ok(match (status.history.first(), &status.rotation) {
            (Some(entry), None) => Seen::Wanted(entry.clone()),
            (_, Some(open)) => {
                Seen::Other(format!("step {}: {}", open.step.as_str(), open.message.clone().unwrap_or_default()))
            }
            (None, None) => Seen::Other(format!("no rotation: {:?}", conditions::shown(&status.conditions))),
        })
    })
    .await?;
    ensure!(entry.outcome == RotationOutcome::Completed, "it ended as {:?}: {:?}", entry.outcome, entry.message);
    Ok((steps(&entry), ()))
}

fn steps(entry: &RotationHistory) -> String {
    let names: Vec<&str> = entry.steps.iter().map(|at| at.step.as_str()).collect();
    format!("{}, done", names.join(", "))
}

async fn cleaned(stage: &Stage) -> Result<(String, ())> {
    let found = tokio::time::timeout(
        Duration::from_secs(10),
        eventually(async || {
            let secrets = stage.api::<Secret>().list(&ListParams::default()).await?.items;
            let pending: Vec<String> = secrets
                .iter()
                .filter(|at| at.annotations().contains_key(names::ROTATION))
                .map(kube::ResourceExt::name_any)
                .collect();
            let schedule = stage.api::<RotationSchedule>().get("db").await?;
            let held = schedule.finalizers().iter().any(|at| at == names::FINALIZER);
            Ok(if pending.is_empty() && !held {
                Seen::Wanted(())
            } else {
                Seen::Other(format!("pending Secrets {pending:?}, finalizer {held}"))
            })
        }),
    );
    found.await.context("still there after 10 s")??;
    Ok((String::new(), ()))
}
