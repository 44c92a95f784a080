//! The plain Secret beside versions between which references move: whom it serves, and what brings it back in order.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use rekey_api::{names, policy::ConsumerState};
use rekey_e2e::{
    Scene, World,
    applier::{Applier, Way},
    versions::{change, current, deployment, policy, scene, status},
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

fn moving(keep: u32) -> Value {
    let rollout = json!({"stableFor": "5s"});
    json!({"immutability": "Versioned", "versions": {"references": "Move", "keep": keep}, "rollout": rollout})
}

async fn start(scene: &Scene) -> Result<()> {
    policy(scene, moving(3)).await?;
    current(scene, "one").await?;
    follows(scene, "one").await
}

async fn held(scene: &Scene) -> Result<Option<String>> {
    Ok(scene.data("db").await?.and_then(|data| data.get("password").cloned()))
}

async fn follows(scene: &Scene, password: &str) -> Result<()> {
    until_equal("the plain Secret", Some(password.to_owned()), || held(scene)).await
}

const LEFT: [&str; 2] = ["a", "b"];

/// Nobody is left on whom a value could show that it works: those that are put back get it by one restart each all the
/// same, and another process knows that they are. When the tool is gone, another spec makes Rekey try again.
pub async fn consumers_that_are_all_put_back_get_each_value_by_a_restart(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "all-put-back").await?;
    let mut operator = scene.operator()?;
    start(&scene).await?;
    let mut tools = Vec::new();
    for name in LEFT {
        let manifest = workload("Deployment", &scene.namespace, name, "db", Form::Env);
        tools.push(Applier::start(&scene, Way::Flux, manifest, None).await?);
    }
    left(&scene).await?;
    for name in LEFT {
        until(&format!("{name} runs on the first value"), || async {
            Ok((scene.variable(name, "PASSWORD").await.ok().as_deref() == Some("one")).then_some(()))
        })
        .await?;
    }
    for tool in &tools {
        tool.wait_rounds(4).await?; // pods that start later read the next value without a restart
    }
    change(&scene, "two").await?;
    follows(&scene, "two").await?;
    left(&scene).await?;
    for name in LEFT {
        until(&format!("{name} holds the value"), || async {
            Ok((scene.variable(name, "PASSWORD").await.ok().as_deref() == Some("two")).then_some(()))
        })
        .await?;
    }
    let [a, b] = [restarted(&scene, "a").await?, restarted(&scene, "b").await?];
    ensure!((a - b).abs() >= 5, "one after the other, each until it runs steadily: {a} and {b}");
    let generations =
        || async { Ok([scene.generation("Deployment", "a").await?, scene.generation("Deployment", "b").await?]) };
    let before = generations().await?;
    operator.stop()?;
    let _second = scene.operator()?;
    scene.sync("db").await?;
    stays("the generations", before, Duration::from_secs(15), generations).await?;
    left(&scene).await?;
    change(&scene, "three").await?;
    follows(&scene, "three").await?;
    let thrice = || async { Ok(generations().await?.map(|at| at - 1)) };
    until_equal("one restart each", before, thrice).await?;
    drop(tools);
    policy(&scene, moving(4)).await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await.map(drop)
}

/// The second in which its restart marker was written.
async fn restarted(scene: &Scene, name: &str) -> Result<i64> {
    let deployment = scene.api::<Deployment>().get(name).await?;
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()).context("a template")?;
    let marker = template.annotations.as_ref().and_then(|all| all.get(names::CONSUMED)).context("a marker")?;
    ensure!(marker.starts_with("db="), "{marker}");
    let entries = deployment.managed_fields().iter();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(names::MANAGER_RESTART));
    ours.filter_map(|entry| Some(entry.time.as_ref()?.0.as_second())).max().context("our field manager")
}

/// Waits until both are held, the tool is named, and the policy says why.
async fn left(scene: &Scene) -> Result<()> {
    until("both are left to the tool", || async {
        let items = status(scene).await?.consumers.unwrap_or_default().items;
        let is_left = |name: &&str| {
            items.iter().any(|item| {
                let text = item.message.as_deref().unwrap_or_default();
                let is_named =
                    text.starts_with("another tool put its references") && text.contains(Way::Flux.manager());
                item.name == **name && item.state == ConsumerState::Held && is_named
            })
        };
        Ok(LEFT.iter().all(is_left).then_some(()))
    })
    .await?;
    scene.wait_policy("db", "Ready=True/MarkerReverted").await?;
    scene.wait_policy("db", "ConsumersCurrent=False/MarkerReverted").await.map(drop)
}

/// Whatever another tool takes off it, or writes there.
pub async fn a_plain_secret_that_lost_its_marks_gets_them_back_and_follows(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "stripped").await?;
    let _operator = scene.operator()?;
    start(&scene).await?;
    deployment(&scene, "web", "db").await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
    let uid = scene.api::<Secret>().get("db").await?.uid();
    for (round, metadata) in [
        json!({"annotations": {names::DIGESTS: null}}),
        json!({"annotations": {names::CHANGES: null}}),
        json!({"annotations": {names::POLICY: null}}),
        json!({"annotations": {names::POLICY: "other"}}),
        json!({"annotations": {names::REVISION: null}, "labels": {names::MANAGED_BY: null}}),
    ]
    .into_iter()
    .enumerate()
    {
        let wanted = marks(&scene).await?.context("it has all of them")?;
        let params = PatchParams { field_manager: Some("editor".to_owned()), ..PatchParams::default() };
        scene.api::<Secret>().patch("db", &params, &Patch::Merge(json!({"metadata": metadata}))).await?;
        until(&format!("{metadata} is repaired"), || async {
            Ok(marks(&scene).await?.filter(|marks| *marks == wanted).map(drop))
        })
        .await?;
        let value = format!("value-{round}");
        change(&scene, &value).await?;
        follows(&scene, &value).await?;
    }
    ensure!(scene.api::<Secret>().get("db").await?.uid() == uid, "it is the same object");
    Ok(())
}

/// What the plain Secret says of itself, if it says all of it.
async fn marks(scene: &Scene) -> Result<Option<Value>> {
    let secret = scene.api::<Secret>().get("db").await?;
    let of = |name: &str| secret.annotations().get(name).cloned();
    let is_labelled = secret.labels().get(names::MANAGED_BY).map(String::as_str) == Some(names::MANAGED_BY_VALUE);
    let all = of(names::POLICY).zip(of(names::REVISION)).zip(of(names::DIGESTS)).filter(|_| is_labelled);
    Ok(all.filter(|_| of(names::CHANGES).is_some()).map(|all| json!(all)))
}

/// A backup tool has made it again, with all that it says of itself.
pub async fn a_plain_secret_that_was_put_back_from_a_backup_follows(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "plain-backup").await?;
    let mut operator = scene.operator()?;
    start(&scene).await?;
    deployment(&scene, "web", "db").await?;
    scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
    change(&scene, "two").await?;
    follows(&scene, "two").await?;
    operator.stop()?;
    for edited in [false, true] {
        let plain = scene.api::<Secret>().get("db").await?;
        scene.api::<Secret>().delete("db", &DeleteParams::default()).await?;
        let metadata = ObjectMeta {
            name: Some("db".to_owned()),
            labels: plain.metadata.labels.clone(),
            annotations: plain.metadata.annotations.clone(),
            ..ObjectMeta::default()
        };
        let mut again = Secret { metadata, ..plain };
        if edited {
            again.data.iter_mut().flatten().for_each(|(_, value)| value.0 = b"theirs".to_vec());
        }
        let params = PostParams { field_manager: Some("backup".to_owned()), ..PostParams::default() };
        let made = scene.api::<Secret>().create(&params, &again).await?;
        operator = scene.operator()?;
        let value = if edited { "four" } else { "three" };
        change(&scene, value).await?;
        if edited {
            // What it holds is not what it says: it is whoever's has made it.
            scene.wait_policy("db", "ConsumersCurrent=True/AllCurrent").await?;
            stays("the plain Secret", made.resource_version(), Duration::from_secs(5), || async {
                Ok(scene.api::<Secret>().get("db").await?.resource_version())
            })
            .await?;
        } else {
            follows(&scene, value).await?;
        }
        operator.stop()?;
    }
    Ok(())
}
