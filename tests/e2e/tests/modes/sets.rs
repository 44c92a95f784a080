//! Secrets of several policies that change together in one workload: none of its pods has some old and some new values.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::ListParams;
use rekey_e2e::{
    Scene, World,
    kill::Rig,
    wait::{stays, until},
    workloads::{Form, workload},
};
use rekey_testkit::proxy::Fault;
use serde_json::{Value, json};

const POLICIES: [&str; 2] = ["db", "mail"];

async fn put(scene: &Scene, name: &str, password: &str) -> Result<()> {
    scene.world.bao.put(&scene.key(name), &json!({"password": password})).await.map(drop)
}

async fn policy(scene: &Scene, name: &str, on_failure: &str) -> Result<()> {
    put(scene, name, "one").await?;
    let key = scene.key(name);
    let spec = json!({
        "source": {"remote": {"refreshInterval": "240h"}}, "immutability": "Versioned", "versions": {"references": "Move"},
        "rollout": {"onFailure": on_failure, "progressDeadline": "30s", "stableFor": "5s"},
    });
    scene.policy(name, "vault", &[("password", key.as_str(), "password")], spec).await
}

/// It runs only with a password that it takes, and reads one of each policy.
async fn consumer(scene: &Scene) -> Result<()> {
    let mut object = workload("Deployment", &scene.namespace, "web", "db", Form::Env);
    let env = &mut object["spec"]["template"]["spec"]["containers"][0]["env"];
    let env = env.as_array_mut().context("no list")?;
    env.push(json!({"name": "TAKES", "value": "one,three"}));
    env.push(json!({"name": "MAIL", "valueFrom": {"secretKeyRef": {"name": "mail", "key": "password"}}}));
    scene.world.apply(object).await.map(drop)
}

/// The pairs of values of which there are or were pods; `plain` stands for a name that is none of a version.
async fn pairs(scene: &Scene) -> Result<BTreeSet<(String, String)>> {
    let mut found = BTreeSet::new();
    for set in scene.api::<ReplicaSet>().list(&ListParams::default()).await? {
        let set = serde_json::to_value(set)?;
        let env = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        let named: BTreeMap<&str, &Value> = env
            .iter()
            .filter_map(|at| Some((at["name"].as_str()?, &at["valueFrom"]["secretKeyRef"]["name"])))
            .collect();
        let mut values = Vec::new();
        for (variable, plain) in [("PASSWORD", "db"), ("MAIL", "mail")] {
            let name = named.get(variable).and_then(|name| name.as_str()).context("no name")?;
            let data = scene.data(name).await?.unwrap_or_default();
            let value = data.get("password").cloned().unwrap_or_default();
            values.push(if name == plain { "plain".to_owned() } else { value });
        }
        let [password, mail] = values.try_into().ok().context("two values")?;
        found.insert((password, mail));
    }
    Ok(found)
}

async fn both_change(scene: &Scene, on_failure: [&str; 2]) -> Result<()> {
    for (name, on_failure) in POLICIES.into_iter().zip(on_failure) {
        policy(scene, name, on_failure).await?;
        scene.wait_synced(name).await?;
    }
    consumer(scene).await?;
    for name in POLICIES {
        scene.wait_policy(name, "ConsumersCurrent=True/AllCurrent").await?;
    }
    put(scene, "db", "bad").await?;
    put(scene, "mail", "two").await?;
    for name in POLICIES {
        scene.ask_sync(name).await?;
    }
    Ok(())
}

pub async fn a_set_that_fails_goes_back_whole(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "set").await?;
    let _operator = scene.operator()?;
    both_change(&scene, ["RollBack", "RollBack"]).await?;
    is_back_whole(&scene).await
}

/// The workload is seen again and again meanwhile, with one value that has gone back and one that has not.
pub async fn a_member_of_a_set_that_goes_back_late_is_waited_for(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "late").await?;
    rig.kubernetes.count(|call| call.method == Method::PATCH && call.uri.path().contains("/secrets/mail-"));
    rig.start_ready().await?;
    both_change(&rig.scene, ["RollBack", "RollBack"]).await?;
    until("it gets both", || async {
        let both = ("bad".to_owned(), "two".to_owned());
        Ok(pairs(&rig.scene).await?.contains(&both).then_some(()))
    })
    .await?;
    let marks = rig.kubernetes.calls().len();
    rig.kubernetes.arm_from(marks as u64 + 1, Fault::Delay(Duration::from_secs(6)));
    is_back_whole(&rig.scene).await?;
    ensure!(rig.kubernetes.calls().len() > marks, "a mark was late");
    rig.alive()
}

async fn is_back_whole(scene: &Scene) -> Result<()> {
    for name in POLICIES {
        scene.wait_policy(name, "Ready=True/RolledBack").await?;
    }
    until("it runs on both values from before", || async {
        let is_back = scene.variable("web", "PASSWORD").await.ok().as_deref() == Some("one");
        Ok((is_back && scene.variable("web", "MAIL").await.ok().as_deref() == Some("one")).then_some(()))
    })
    .await?;
    let of = |pairs: &[(&str, &str)]| -> BTreeSet<(String, String)> {
        pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
    };
    let allowed = of(&[("plain", "plain"), ("one", "one"), ("bad", "two")]);
    let found = pairs(scene).await?;
    ensure!(found.is_subset(&allowed) && found.contains(&("bad".to_owned(), "two".to_owned())), "{found:?}");
    Ok(())
}

pub async fn a_set_stays_where_one_member_may_not_go_back(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "stays").await?;
    let _operator = scene.operator()?;
    both_change(&scene, ["RollBack", "Hold"]).await?;
    for name in POLICIES {
        scene.wait_policy(name, "Ready=True/ConsumerFailed").await?;
    }
    let before = scene.generation("Deployment", "web").await?;
    stays("the generation", before, Duration::from_secs(6), || scene.generation("Deployment", "web")).await?;
    let text = scene.wait_policy("db", "Ready=True/ConsumerFailed").await?;
    ensure!(text.contains("SecretPolicy mail"), "it says who holds the set: {text}");
    Ok(())
}
