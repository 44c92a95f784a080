//! Many values, one after the other, some faster than their rollouts end: no pod ever misses its Secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ContainerState, Event, Pod, Secret},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use rekey_api::{SecretPolicy, policy::ConsumerState};
use rekey_e2e::{
    Scene, World,
    kubectl::kubectl,
    versions::{current, policy, put, scene, status, versions},
    wait::{until, until_equal},
    workloads::{Form, is_ready, workload},
};
use rekey_testkit::node::IMAGE;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

/// How many earlier versions stay.
const KEEP: usize = 3;
/// Sooner than any rollout of these ends.
const SOON: Duration = Duration::from_millis(1_500);

/// Everything that the pods of a namespace say about a Secret that is not there.
struct Watched {
    missed: Arc<Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl Watched {
    fn pods(scene: &Scene) -> Self {
        let (missed, pods) = (Arc::<Mutex<BTreeSet<String>>>::default(), scene.api::<Pod>());
        let seen = Arc::clone(&missed);
        let stream = watcher(pods, watcher::Config::default()).default_backoff().applied_objects();
        let task = tokio::spawn(stream.for_each(move |pod| {
            if let Ok(pod) = pod {
                seen.lock().unwrap_or_else(PoisonError::into_inner).extend(misses(&pod));
            }
            futures::future::ready(())
        }));
        Self { missed, task }
    }

    /// Fails if a pod has missed a Secret, or the kubelet has reported one.
    async fn none(self, scene: &Scene) -> Result<()> {
        self.task.abort();
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(missed.is_empty(), "{missed:#?}");
        let events = scene.api::<Event>().list(&ListParams::default()).await?;
        let told = events.iter().filter(|event| matches!(event.reason.as_deref(), Some("Failed" | "FailedMount")));
        let told: Vec<&String> =
            told.filter_map(|event| event.message.as_ref()).filter(|said| said.contains("secret \"db")).collect();
        ensure!(told.is_empty(), "{told:#?}");
        Ok(())
    }
}

/// The containers of a pod that cannot be made, since what they refer to is not there.
fn misses(pod: &Pod) -> Vec<String> {
    let status = pod.status.iter();
    let containers = status.flat_map(|status| [&status.init_container_statuses, &status.container_statuses]);
    let waiting = containers.flatten().flatten().filter_map(|container| match &container.state {
        Some(ContainerState { waiting: Some(waiting), .. }) => Some(waiting),
        Some(_) | None => None,
    });
    let failed = waiting.filter(|waiting| waiting.reason.as_deref() == Some("CreateContainerConfigError"));
    failed.map(|waiting| format!("{}: {}", pod.name_any(), waiting.message.as_deref().unwrap_or_default())).collect()
}

/// A Deployment of three and a `StatefulSet` of two.
async fn workloads(scene: &Scene) -> Result<()> {
    for (kind, name, form, replicas) in [("Deployment", "web", Form::Env, 3), ("StatefulSet", "store", Form::Volume, 2)]
    {
        let mut manifest = workload(kind, &scene.namespace, name, "db", form);
        manifest["spec"]["replicas"] = json!(replicas);
        scene.world.apply(manifest).await?;
    }
    Ok(())
}

fn moving() -> Value {
    json!({
        "immutability": "Versioned", "versions": {"references": "Move", "keep": KEEP}, "rollout": {"concurrency": 2},
    })
}

async fn start(scene: &Scene) -> Result<()> {
    policy(scene, moving()).await?;
    current(scene, "one").await?;
    until("the plain Secret", || async { Ok(scene.data("db").await?.map(drop)) }).await?;
    workloads(scene).await?;
    at_rest(scene).await
}

/// Waits until both are current, and all of their pods are of one template.
async fn at_rest(scene: &Scene) -> Result<()> {
    let looks = async || {
        let items = status(scene).await?.consumers.unwrap_or_default().items;
        let current = items.iter().filter(|item| item.state == ConsumerState::Current).count();
        let pods = scene.api::<Pod>().list(&ListParams::default().labels("app")).await?.items;
        let wanted = template(scene, "web").await?.0 + template(scene, "store").await?.0;
        let is_done = current == 2 && items.len() >= 2 && pods.len() == wanted && pods.iter().all(is_ready);
        Ok(is_done.then_some(()))
    };
    rekey_testkit::wait::until("both are current", Duration::from_mins(2), looks).await
}

/// How many pods a workload wants, and the Secret that its template refers to.
async fn template(scene: &Scene, name: &str) -> Result<(usize, String)> {
    let (object, path) = if name == "web" {
        let found = serde_json::to_value(scene.api::<Deployment>().get(name).await?)?;
        (found, "/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef/name")
    } else {
        let found = serde_json::to_value(scene.api::<StatefulSet>().get(name).await?)?;
        (found, "/spec/template/spec/volumes/0/secret/secretName")
    };
    let replicas = usize::try_from(object["spec"]["replicas"].as_u64().context("replicas")?)?;
    let secret = object.pointer(path).and_then(Value::as_str).context("a reference")?;
    Ok((replicas, secret.to_owned()))
}

async fn scale(scene: &Scene, name: &str, replicas: usize) -> Result<()> {
    let body = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    if name == "web" {
        scene.api::<Deployment>().patch(name, &PatchParams::default(), &body).await?;
    } else {
        scene.api::<StatefulSet>().patch(name, &PatchParams::default(), &body).await?;
    }
    Ok(())
}

/// Publishes the values of this range, without waiting for rollouts, and changes the number of pods in between.
async fn publish(scene: &Scene, numbers: std::ops::Range<usize>, names: &mut Vec<String>) -> Result<()> {
    for number in numbers {
        let password = format!("n{number}");
        put(scene, &password).await?;
        scene.ask_sync("db").await?;
        let name = until(&format!("{password} is published"), || async {
            let Some(name) = status(scene).await?.secret_name else { return Ok(None) };
            let data = scene.data(&name).await?.unwrap_or_default();
            Ok((data.get("password") == Some(&password)).then_some(name))
        })
        .await?;
        names.push(name);
        match number % 5 {
            1 => scale(scene, "web", 5).await?,
            2 => scale(scene, "store", 3).await?,
            3 => scale(scene, "web", 3).await?,
            4 => scale(scene, "store", 2).await?,
            _ => {}
        }
        sleep(SOON).await;
    }
    Ok(())
}

async fn held_by_all(scene: &Scene, password: &str) -> Result<()> {
    let node = scene.world.node()?;
    for pod in scene.api::<Pod>().list(&ListParams::default().labels("app=web")).await? {
        let (name, wanted) = (pod.name_any(), Some(password.to_owned()));
        until_equal(&name, wanted, || async {
            Ok(node.environment(&scene.namespace, &name).await?.remove("PASSWORD"))
        })
        .await?;
    }
    for pod in scene.api::<Pod>().list(&ListParams::default().labels("app=store")).await? {
        let content = node.file(&scene.namespace, &pod.name_any(), "/secret/password").await?;
        ensure!(content == password.as_bytes(), "{}", pod.name_any());
    }
    Ok(())
}

/// Twenty values; in the middle the Deployment is taken back by hand, to a version that is still kept.
pub async fn twenty_values_in_a_row_leave_no_pod_without_its_secret(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "twenty").await?;
    let _operator = scene.operator()?;
    let watched = Watched::pods(&scene);
    start(&scene).await?;
    let (mut names, mut first) = (Vec::new(), Vec::new());
    publish(&scene, 1..2, &mut first).await?;
    let pinned = first.remove(0);
    let pod = json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": IMAGE,
        "imagePullPolicy": "Never", "envFrom": [{"secretRef": {"name": pinned}}]}]});
    scene.apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pinned"}, "spec": pod})).await?;
    publish(&scene, 2..9, &mut names).await?;
    at_rest(&scene).await?;
    held_by_all(&scene, "n8").await?;
    publish(&scene, 9..10, &mut names).await?;
    at_rest(&scene).await?;
    let undo = ["rollout", "undo", "deployment/web", "-n", scene.namespace.as_str()];
    println!("{}", kubectl(&world, &undo).await?.trim());
    publish(&scene, 10..20, &mut names).await?;
    at_rest(&scene).await?;
    held_by_all(&scene, "n19").await?;
    publish(&scene, 20..21, &mut names).await?;
    at_rest(&scene).await?;
    held_by_all(&scene, "n20").await?;
    until_equal("the plain Secret", Some("n20".to_owned()), || async {
        Ok(scene.data("db").await?.and_then(|mut data| data.remove("password")))
    })
    .await?;
    // Until here the version that the plain Secret held at the last publication has stayed, too.
    let mut spec = moving();
    spec["rollout"]["concurrency"] = json!(1);
    policy(&scene, spec).await?;
    let kept = names.iter().rev().take(KEEP + 1).chain([&pinned]);
    let wanted: BTreeSet<String> = kept.cloned().chain(["db".to_owned()]).collect();
    until_equal("what is left", wanted, || async { Ok(versions(&scene).await?.into_keys().collect()) }).await?;
    watched.none(&scene).await?;
    let (web, store) = (scene.generation("Deployment", "web").await?, scene.generation("StatefulSet", "store").await?);
    println!("21 values, {} versions left; generations: Deployment {web}, StatefulSet {store}", KEEP + 2);
    Ok(())
}

/// The policy goes while pods of several versions run.
pub async fn a_policy_deleted_during_a_rollout_leaves_no_pod_without_its_secret(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "orphaned").await?;
    let _operator = scene.operator()?;
    let watched = Watched::pods(&scene);
    start(&scene).await?;
    let mut names = Vec::new();
    publish(&scene, 1..5, &mut names).await?;
    until("pods of two versions run", || async {
        let referred = referred(&scene).await?;
        Ok((referred.len() > 1).then_some(()))
    })
    .await?;
    scene.api::<SecretPolicy>().delete("db", &DeleteParams::default()).await?;
    until("the policy is gone", || async {
        Ok(scene.api::<SecretPolicy>().get_opt("db").await?.is_none().then_some(()))
    })
    .await?;
    // Pods start anew, by a larger number and in the place of others.
    scale(&scene, "web", 5).await?;
    scale(&scene, "store", 4).await?;
    let pods: Api<Pod> = scene.api();
    pods.delete("store-0", &DeleteParams::default().grace_period(0)).await?;
    until("all pods run, and refer to what their templates do", || async {
        let all = pods.list(&ListParams::default().labels("app")).await?.items;
        let templates: BTreeSet<String> = [template(&scene, "web").await?.1, template(&scene, "store").await?.1].into();
        Ok((all.len() == 9 && all.iter().all(is_ready) && referred(&scene).await? == templates).then_some(()))
    })
    .await?;
    sleep(Duration::from_secs(3)).await; // what would go late
    for name in referred(&scene).await? {
        ensure!(scene.api::<Secret>().get_opt(&name).await?.is_some(), "{name} is gone");
    }
    watched.none(&scene).await?;
    let left: BTreeMap<String, String> = versions(&scene).await?;
    println!("left after the policy: {left:?}");
    Ok(())
}

/// The Secrets that live pods refer to.
async fn referred(scene: &Scene) -> Result<BTreeSet<String>> {
    let pods = scene.api::<Pod>().list(&ListParams::default().labels("app")).await?.items;
    let values = pods.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    let of = |pod: &Value| {
        let env = pod.pointer("/spec/containers/0/env/0/valueFrom/secretKeyRef/name");
        let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let volume = volumes.find_map(|volume| volume.pointer("/secret/secretName"));
        env.or(volume).and_then(Value::as_str).map(str::to_owned)
    };
    Ok(values.iter().filter_map(of).collect())
}
