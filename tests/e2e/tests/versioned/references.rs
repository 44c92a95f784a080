//! `references: Move`: the references of workloads move to each new version, which is their rollout.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    batch::v1::CronJob,
    core::v1::{Secret, ServiceAccount},
    networking::v1::Ingress,
};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_api::policy::ConsumerState;
use rekey_e2e::{
    Scene, World,
    versions::{change, current, policy, scene, versions},
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

fn moving() -> Value {
    json!({"immutability": "Versioned", "versions": {"references": "Move", "keep": 1}})
}

/// A workload that names the plain Secret, as it is in Git.
pub fn manifest(scene: &Scene, kind: &str, name: &str, form: Form) -> Value {
    workload(kind, &scene.namespace, name, "db", form)
}

pub async fn apply(scene: &Scene, kind: &str, name: &str, form: Form) -> Result<()> {
    scene.world.apply(manifest(scene, kind, name, form)).await.map(drop)
}

/// What the status says of each consumer.
pub async fn states(scene: &Scene) -> Result<BTreeMap<String, (ConsumerState, Option<String>)>> {
    let items =
        rekey_e2e::versions::status(scene).await?.consumers.map(|consumers| consumers.items).unwrap_or_default();
    Ok(items.into_iter().map(|item| (item.name, (item.state, item.message))).collect())
}

pub async fn wait_current(scene: &Scene, names: &[&str]) -> Result<()> {
    let wanted: BTreeMap<String, (ConsumerState, Option<String>)> =
        names.iter().map(|name| ((*name).to_owned(), (ConsumerState::Current, None))).collect();
    until_equal("the state of all consumers", wanted, || states(scene)).await
}

async fn plain(scene: &Scene) -> Result<Option<String>> {
    Ok(scene.data("db").await?.and_then(|data| data.get("password").cloned()))
}

const KINDS: [(&str, &str, Form); 3] =
    [("Deployment", "web", Form::Env), ("StatefulSet", "store", Form::EnvFrom), ("DaemonSet", "agent", Form::Volume)];

/// What a container of the workload holds.
async fn holds(scene: &Scene, name: &str, form: Form) -> Result<String> {
    match form {
        Form::Env => scene.held(name, "PASSWORD").await,
        Form::EnvFrom => scene.held(name, "password").await,
        Form::Volume => {
            let pod = scene.wait_pod(name).await?.name_any();
            let content = scene.world.node()?.file(&scene.namespace, &pod, "/secret/password").await?;
            Ok(String::from_utf8(content)?)
        }
    }
}

pub async fn references_move_and_that_is_the_rollout(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "move").await?;
    let _operator = scene.operator()?;
    policy(&scene, moving()).await?;
    let first = current(&scene, "one").await?;
    until_equal("the plain Secret", Some("one".to_owned()), || plain(&scene)).await?;
    for (kind, name, form) in KINDS {
        apply(&scene, kind, name, form).await?;
    }
    wait_current(&scene, &["agent", "store", "web"]).await?;
    for (kind, name, form) in KINDS {
        ensure!(scene.generation(kind, name).await? == 2, "{kind}: one move");
        ensure!(holds(&scene, name, form).await? == "one", "{kind}");
    }
    let second = change(&scene, "two").await?;
    wait_current(&scene, &["agent", "store", "web"]).await?;
    for (kind, name, form) in KINDS {
        ensure!(scene.generation(kind, name).await? == 3, "{kind}: one move for one value");
        ensure!(holds(&scene, name, form).await? == "two", "{kind}");
    }
    until_equal("the plain Secret follows", Some("two".to_owned()), || plain(&scene)).await?;
    let secret = scene.api::<Secret>().get("db").await?;
    ensure!(secret.immutable != Some(true) && first != second, "{:?}", secret.metadata);
    stays("the generation of web", 3, Duration::from_secs(5), || scene.generation("Deployment", "web")).await
}

/// What has no pods of its own is moved at once, and the next Job, pod or connection has the new value.
pub async fn references_of_what_does_not_roll_move_too(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "others").await?;
    let _operator = scene.operator()?;
    policy(&scene, moving()).await?;
    current(&scene, "one").await?;
    let mut job = manifest(&scene, "Deployment", "nightly", Form::Env);
    let mut template = job["spec"]["template"].take();
    template["spec"]["restartPolicy"] = json!("Never");
    let spec = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}});
    scene
        .apply(json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": spec}))
        .await?;
    let pull = json!([{"name": "other"}, {"name": "db"}]);
    scene
        .apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"}, "imagePullSecrets": pull}))
        .await?;
    let tls = json!([{"hosts": ["a.example"], "secretName": "other"}, {"hosts": ["b.example"], "secretName": "db"}]);
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "edge"},
                         "spec": {"defaultBackend": backend, "tls": tls}});
    scene.apply(ingress).await?;
    for password in ["one", "two"] {
        let name = change(&scene, password).await?;
        let found = || async {
            let job = serde_json::to_value(scene.api::<CronJob>().get("nightly").await?)?;
            let account = serde_json::to_value(scene.api::<ServiceAccount>().get("puller").await?)?;
            let ingress = serde_json::to_value(scene.api::<Ingress>().get("edge").await?)?;
            let env = "/spec/jobTemplate/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef/name";
            Ok([
                job.pointer(env).cloned(),
                account.pointer("/imagePullSecrets/0/name").cloned(),
                account.pointer("/imagePullSecrets/1/name").cloned(),
                ingress.pointer("/spec/tls/0/secretName").cloned(),
                ingress.pointer("/spec/tls/1/secretName").cloned(),
            ])
        };
        let wanted = [&name, "other", &name, "other", &name].map(|name| Some(json!(name)));
        until_equal("the references", wanted, found).await?;
    }
    Ok(())
}

/// The next value is bad for the first of two: the other one, and the plain Secret, stay on the good one.
pub async fn a_bad_value_reaches_one_consumer(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "bad").await?;
    let _operator = scene.operator()?;
    let mut spec = moving();
    spec["rollout"] = json!({"progressDeadline": "15s"});
    policy(&scene, spec).await?;
    current(&scene, "one").await?;
    for name in ["a", "b"] {
        let mut object = manifest(&scene, "Deployment", name, Form::Env);
        let env = &mut object["spec"]["template"]["spec"]["containers"][0]["env"];
        env.as_array_mut().context("no list")?.push(json!({"name": "TAKES", "value": "one,three"}));
        scene.world.apply(object).await?;
    }
    wait_current(&scene, &["a", "b"]).await?;
    change(&scene, "bad").await?;
    until("one has failed", || async {
        Ok(states(&scene).await?.values().any(|(state, _)| *state == ConsumerState::Failed).then_some(()))
    })
    .await?;
    let states = states(&scene).await?;
    let of =
        |wanted: ConsumerState| states.iter().find(|(_, (state, _))| *state == wanted).map(|(name, _)| name.clone());
    let waiting = of(ConsumerState::Outdated).with_context(|| format!("{states:?}"))?;
    ensure!(scene.held(&waiting, "PASSWORD").await? == "one", "{states:?}");
    ensure!(plain(&scene).await?.as_deref() == Some("one"), "the plain Secret holds what was rolled out last");
    change(&scene, "three").await?;
    wait_current(&scene, &["a", "b"]).await?;
    for name in ["a", "b"] {
        ensure!(scene.held(name, "PASSWORD").await? == "three");
    }
    until_equal("the plain Secret", Some("three".to_owned()), || plain(&scene)).await
}

/// A tool that writes its manifest again and again.
pub async fn a_reference_that_is_put_back_is_moved_once_more_and_then_left(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "hostile").await?;
    let _operator = scene.operator()?;
    policy(&scene, moving()).await?;
    current(&scene, "one").await?;
    apply(&scene, "Deployment", "web", Form::Env).await?;
    wait_current(&scene, &["web"]).await?;
    change(&scene, "two").await?;
    let put_back = || async {
        let params = PatchParams::apply("hostile").force();
        let object = manifest(&scene, "Deployment", "web", Form::Env);
        let api = scene.api::<k8s_openapi::api::apps::v1::Deployment>();
        api.patch("web", &params, &Patch::Apply(object)).await.map(drop)
    };
    until("it is held", || async {
        put_back().await?;
        tokio::time::sleep(Duration::from_secs(1)).await; // the tool's own rhythm
        let state = states(&scene).await?.remove("web");
        Ok(state.filter(|(state, _)| *state == ConsumerState::Held))
    })
    .await?;
    put_back().await?;
    until("its pod holds the value of the plain Secret", || async {
        let plain = plain(&scene).await?;
        Ok((plain.as_deref() == Some("two") && scene.held("web", "PASSWORD").await? == "two").then_some(()))
    })
    .await?;
    // A pod that started in the edge of the change holds the value, and is restarted once more: nobody can know.
    let generation = || scene.generation("Deployment", "web");
    let (before, mut rests) = (generation().await?, (0, Instant::now()));
    let last = until("it is left alone", async || {
        let seen = generation().await?;
        if rests.0 != seen {
            rests = (seen, Instant::now());
        }
        Ok((rests.1.elapsed() > Duration::from_secs(6)).then_some(seen))
    })
    .await?;
    ensure!(last - before < 2, "restarted for one value: {before} {last}");
    stays("the generation of web", last, Duration::from_secs(10), generation).await
}

/// Versions that nothing refers to go, and those of a rollout that went back stay.
pub async fn many_changes_leave_what_is_kept(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "many").await?;
    let _operator = scene.operator()?;
    policy(&scene, moving()).await?;
    current(&scene, "one").await?;
    apply(&scene, "Deployment", "web", Form::Env).await?;
    wait_current(&scene, &["web"]).await?;
    for round in 0..5 {
        change(&scene, &format!("value-{round}")).await?;
    }
    wait_current(&scene, &["web"]).await?;
    ensure!(scene.held("web", "PASSWORD").await? == "value-4");
    let last = change(&scene, "last").await?;
    until_equal("the plain Secret", Some("last".to_owned()), || plain(&scene)).await?;
    // A ReplicaSet that a rollout may go back to has no pods, and so keeps no version.
    let wanted: BTreeMap<String, String> = [("db".to_owned(), "last".to_owned()), (last, "last".to_owned())].into();
    until("the plain Secret, the current version and one more are left", || async {
        let all = versions(&scene).await?;
        Ok((all.len() == 3 && wanted.iter().all(|(name, value)| all.get(name) == Some(value))).then_some(()))
    })
    .await
}
