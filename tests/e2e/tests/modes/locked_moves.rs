//! `immutability: Locked` whose consumers move: a token publishes the value under another name, nobody is scaled down, and
//! the Secret with the plain name is made anew when nothing refers to it any more. And what was replaced under its name
//! stays as a copy.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Secret},
};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use rekey_e2e::{
    Scene, World,
    versions::{current, policy, put, scene, status, versions},
    wait::{stays, until, until_equal},
};
use serde_json::{Value, json};

use super::unlocked::{LOOK, both, consumer, handled, held, locked, scale, secret, templates, unlock};

fn moving() -> Value {
    json!({"immutability": "Locked", "versions": {"references": "Move", "keep": 1}, "rollout": {"stableFor": "2s"}})
}

/// What pods said of a Secret that they did not find.
async fn missed(scene: &Scene) -> Result<Vec<String>> {
    let events = scene.api::<Event>().list(&ListParams::default()).await?;
    let said = events.into_iter().filter_map(|event| event.message);
    Ok(said.filter(|text| text.contains("secret") && text.contains("not found")).collect())
}

pub async fn a_token_moves_consumers_of_a_locked_value_to_another_name(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "lockmove").await?;
    let _operator = scene.operator()?;
    policy(&scene, locked()).await?;
    current(&scene, "one").await?;
    consumer(&scene, "web").await?;
    let (pod, before) = (scene.wait_pod("web").await?.uid(), secret(&scene).await?);

    // Another mode with the same value restarts nobody.
    policy(&scene, moving()).await?;
    let first =
        until("a version", || async { Ok(status(&scene).await?.secret_name.filter(|name| name != "db")) }).await?;
    scene.wait_at_rest("db", "web").await?;
    ensure!(scene.wait_pod("web").await?.uid() == pod && templates(&scene, "web").await? == 1, "it was restarted");
    put(&scene, "two").await?;
    scene.ask_sync("db").await?;
    let said = scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    ensure!(said.contains("rekey.dev/unlock=") && said.contains("moves consumers there"), "{said}");
    stays("what is published", Some(first), LOOK, || async { Ok(status(&scene).await?.secret_name) }).await?;
    ensure!(templates(&scene, "web").await? == 1 && held(&scene, "web").await? == both("one"));

    unlock(&scene, "a").await?;
    handled(&scene, "a").await?;
    let second = current(&scene, "two").await?;
    scene.wait_at_rest("db", "web").await?;
    until_equal("what web holds", both("two"), || held(&scene, "web")).await?;
    ensure!(templates(&scene, "web").await? == 2, "one rollout");

    // The Secret with the plain name is another object then, with the new value, and immutable again.
    let anew = until("the plain Secret holds the new value", || async {
        let found = scene.api::<Secret>().get_opt("db").await?;
        Ok(found.filter(|found| found.uid() != before.uid()))
    })
    .await?;
    ensure!(anew.immutable == Some(true), "{:?}", anew.metadata);
    scene.wait_data("db", &[("password", "two")]).await?;
    let events = scene.events("db").await?;
    ensure!(events.iter().any(|text| text.contains("to which nothing refers any more")), "{events:?}");
    let missed = missed(&scene).await?;
    ensure!(missed.is_empty(), "{missed:?}");

    // A manifest with the plain name gets it from there, on this node, too.
    let name = json!([{"op": "replace", "value": "db",
        "path": "/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef/name"}]);
    let patch = Patch::<()>::Json(serde_json::from_value(name)?);
    scene.api::<Deployment>().patch("web", &PatchParams::default(), &patch).await?;
    scene.wait_at_rest("db", "web").await?;
    ensure!(held(&scene, "web").await? == both("two"));
    // The token was for one value.
    put(&scene, "three").await?;
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
    ensure!(status(&scene).await?.secret_name == Some(second));
    Ok(())
}

pub async fn what_a_locked_secret_held_stays_as_a_copy(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "lockkeep").await?;
    let _operator = scene.operator()?;
    let keeping = json!({"immutability": "Locked", "versions": {"keep": 1}});
    policy(&scene, keeping).await?;
    current(&scene, "one").await?;
    consumer(&scene, "web").await?;
    scene.wait_pod("web").await?;
    scene.wait_at_rest("db", "web").await?;
    scale(&scene, "web", 0).await?;
    for (value, token, kept) in [("two", "a", "one"), ("three", "b", "two")] {
        put(&scene, value).await?;
        scene.ask_sync("db").await?;
        scene.wait_policy("db", "Stalled=True/LockedAndChanged").await?;
        unlock(&scene, token).await?;
        handled(&scene, token).await?;
        ensure!(current(&scene, value).await? == "db" && secret(&scene).await?.immutable == Some(true));
        let wanted = vec![kept.to_owned(), value.to_owned()];
        until_equal("the values that are there", wanted, || async {
            let mut held: Vec<String> = versions(&scene).await?.into_values().collect();
            held.sort_by_key(|held| *held == value);
            Ok(held)
        })
        .await?;
    }
    let all = versions(&scene).await?;
    for name in all.keys().filter(|name| *name != "db") {
        ensure!(scene.api::<Secret>().get(name).await?.immutable == Some(true), "{name}");
    }
    stays("the copy", all, Duration::from_secs(3), || versions(&scene)).await
}
