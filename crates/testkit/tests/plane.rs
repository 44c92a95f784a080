//! The control plane and the node themselves, on which other tests rely.
//!
//! One pair of planes serves all tests. After them this program itself, and not one of the tests, stops the pair and
//! checks that nothing is left of it.

use std::{fs, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Node as NodeObject, Pod, Secret, ServiceAccount},
};
use kube::{
    Api,
    api::{ListParams, LogParams, PostParams},
};
use libtest_mimic::{Arguments, Trial};
use rekey_testkit::{
    node::{self, IMAGE, Node},
    plane::{ADMIN, Kubernetes, Plane},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::OnceCell};

/// A text that no other process holds.
const PASSWORD: &str = "plane-test-5f0c7be2a1";

/// Two planes, and a node on the first, each started by the first test that needs it.
#[derive(Default)]
struct Cluster {
    planes: OnceCell<(Plane, Plane)>,
    node: OnceCell<Node>,
}

impl Cluster {
    async fn planes(&self) -> Result<(&Plane, &Plane)> {
        let start = async || tokio::try_join!(Plane::start(), Plane::start());
        let (plane, other) = self.planes.get_or_try_init(start).await?;
        Ok((plane, other))
    }

    async fn node(&self) -> Result<&Node> {
        let (plane, _) = self.planes().await?;
        self.node.get_or_try_init(|| Node::start(plane)).await
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let runtime = Arc::new(Runtime::new()?);
    let cluster = Arc::new(Cluster::default());
    let trials = vec![
        trial("a_namespace_gets_its_default_account", &runtime, &cluster, namespace_gets_account),
        trial("planes_side_by_side_are_separate", &runtime, &cluster, planes_are_separate),
        trial("the_audit_log_counts_exactly", &runtime, &cluster, audit_counts),
        trial("a_deployment_holds_its_secret", &runtime, &cluster, deployment_holds_secret),
        trial("server_and_node_are_the_kubernetes_that_was_asked_for", &runtime, &cluster, versions),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The trials are done, and nothing else holds it.
    let cluster = Arc::into_inner(cluster).context("a test still runs")?;
    end(cluster, conclusion.has_failed())?;
    Ok(conclusion.exit_code())
}

fn trial(
    name: &str,
    runtime: &Arc<Runtime>,
    cluster: &Arc<Cluster>,
    test: impl AsyncFn(&Cluster) -> Result<()> + Send + 'static,
) -> Trial {
    let (runtime, cluster) = (Arc::clone(runtime), Arc::clone(cluster));
    Trial::test(name, move || {
        runtime.block_on(async { test(&cluster).await }).map_err(|error| format!("{error:?}").into())
    })
}

/// Stops all, and fails when anything of it is left.
fn end(cluster: Cluster, failed: bool) -> Result<()> {
    let node = cluster.node.into_inner();
    let planes = cluster.planes.into_inner().map_or_else(Vec::new, |(plane, other)| vec![plane, other]);
    let mut directories: Vec<String> = planes.iter().map(|plane| plane.directory().display().to_string()).collect();
    directories.extend(node.iter().map(|node| node.directory().display().to_string()));
    if failed {
        planes.iter().try_for_each(|plane| plane.keep_logs().map(drop))?;
        node.iter().try_for_each(|node| node.keep_logs().map(drop))?;
    }
    ensure!(
        directories.is_empty() || !processes(&directories)?.is_empty(),
        "the search for what is left finds nothing at all"
    );
    node.map_or(Ok(()), Node::stop).context("stop the node")?;
    planes.into_iter().try_for_each(Plane::stop).context("stop the planes")?;
    let left = processes(&directories)?;
    ensure!(left.is_empty(), "processes are left: {left:#?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!directories.iter().any(|directory| mounts.contains(directory)), "mounts are left: {mounts}");
    ensure!(
        !directories.iter().any(|directory| fs::exists(directory).unwrap_or(true)),
        "a directory of {directories:?} is left"
    );
    Ok(())
}

/// The processes that name one of these directories, or hold the password: the servers and the test pods.
fn processes(directories: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // A process may end meanwhile.
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        if directories.iter().any(|directory| command.contains(directory))
            || String::from_utf8_lossy(&environment).contains(PASSWORD)
        {
            found.push(format!("{}: {command}", path.display()));
        }
    }
    Ok(found)
}

async fn namespace_gets_account(cluster: &Cluster) -> Result<()> {
    let (plane, _) = cluster.planes().await?;
    let first = plane.namespace("demo").await?;
    let second = plane.namespace("demo").await?;
    ensure!(first.starts_with("demo-") && first != second, "not unique: {first} and {second}");
    for namespace in [&first, &second] {
        Api::<ServiceAccount>::namespaced(plane.client()?, namespace).get("default").await?;
    }
    Ok(())
}

async fn planes_are_separate(cluster: &Cluster) -> Result<()> {
    let (plane, other) = cluster.planes().await?;
    ensure!(plane.url() != other.url(), "both at {}", plane.url());
    let name = plane.namespace("separate").await?;
    Api::<Namespace>::all(plane.client()?).get(&name).await?;
    let there = Api::<Namespace>::all(other.client()?).get_opt(&name).await?;
    ensure!(there.is_none(), "{name} is on the other plane too");

    let stranger = other.identity(ADMIN, &["system:masters"])?;
    let refused = reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(plane.ca_pem().as_bytes())?)
        .identity(reqwest::Identity::from_pem(format!("{}{}", stranger.certificate_pem, stranger.key_pem).as_bytes())?)
        .build()?
        .get(format!("{}/api/v1/namespaces", plane.url()))
        .send()
        .await?;
    ensure!(refused.status() == 401, "a certificate of the other plane was answered {}", refused.status());
    Ok(())
}

async fn audit_counts(cluster: &Cluster) -> Result<()> {
    let (plane, _) = cluster.planes().await?;
    let namespace = plane.namespace("audit").await?;
    let client = plane.client_for("counted", &["system:masters", "testers"]).await?;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let audit = plane.audit()?;
    maps.create(&PostParams::default(), &object(json!({ "metadata": { "name": "before" } }))?).await?;

    let mark = audit.mark().await?;
    for number in 0..50 {
        let map = object(json!({ "metadata": { "name": format!("map-{number}") } }))?;
        maps.create(&PostParams::default(), &map).await?;
    }
    ensure!(maps.list(&ListParams::default()).await?.items.len() >= 51, "not all were made");
    let counts = audit.counts_since(&mark, "counted").await?;
    ensure!(counts.of("create", "configmaps") == 50, "50 were made:\n{counts}");
    ensure!(counts.of("list", "configmaps") == 1, "one list:\n{counts}");
    ensure!((counts.writes(), counts.total()) == (50, 51), "50 of 51 are writes:\n{counts}");
    let later = audit.mark().await?;
    let nothing = audit.counts_since(&later, "counted").await?;
    ensure!(nothing.total() == 0, "nothing was asked:\n{nothing}");
    Ok(())
}

async fn deployment_holds_secret(cluster: &Cluster) -> Result<()> {
    let (plane, _) = cluster.planes().await?;
    let node = cluster.node().await?;
    let client = plane.client()?;
    let namespace = plane.namespace("pods").await?;
    let secret = object::<Secret>(json!({
        "metadata": { "name": "database" },
        "stringData": { "password": PASSWORD },
    }))?;
    Api::<Secret>::namespaced(client.clone(), &namespace).create(&PostParams::default(), &secret).await?;
    let deployments = Api::<Deployment>::namespaced(client.clone(), &namespace);
    deployments.create(&PostParams::default(), &deployment()?).await?;

    let ready = async || -> Result<bool> {
        let status = deployments.get("shop").await?.status.unwrap_or_default();
        Ok(status.ready_replicas == Some(2))
    };
    let mut tries = 0;
    while !ready().await? {
        tries += 1;
        ensure!(tries < 300, "not ready: {:?}", deployments.get("shop").await?.status);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let pods = Api::<Pod>::namespaced(client, &namespace);
    let listed = pods.list(&ListParams::default()).await?.items;
    ensure!(listed.len() == 2, "{} pods", listed.len());
    for pod in listed {
        let pod = pod.metadata.name.context("the pod has a name")?;
        let environment = node.environment(&namespace, &pod).await?;
        ensure!(environment.get("PASSWORD").map(String::as_str) == Some(PASSWORD), "env: {environment:?}");
        let file = node.file(&namespace, &pod, "/etc/database/password").await?;
        ensure!(file == PASSWORD.as_bytes(), "file: {}", String::from_utf8_lossy(&file));
        let log = pods.logs(&pod, &LogParams::default()).await?;
        ensure!(log.contains("consumer: started"), "log: {log}");
    }
    Ok(())
}

async fn versions(cluster: &Cluster) -> Result<()> {
    let (plane, _) = cluster.planes().await?;
    cluster.node().await?;
    let client = plane.client()?;
    let asked = Kubernetes::asked()?.version()?;
    let server = client.apiserver_version().await?.git_version;
    let node = Api::<NodeObject>::all(client).get(node::NAME).await?;
    let kubelet = node.status.and_then(|status| status.node_info).context("the node says nothing")?.kubelet_version;
    ensure!(
        (&server, &kubelet) == (&asked, &asked),
        "asked for {asked}: the server is {server}, the kubelet {kubelet}"
    );
    Ok(())
}

fn deployment() -> Result<Deployment> {
    object(json!({
        "metadata": { "name": "shop" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "shop" } },
            "template": {
                "metadata": { "labels": { "app": "shop" } },
                "spec": {
                    "containers": [{
                        "name": "shop",
                        "image": IMAGE,
                        "imagePullPolicy": "Never",
                        "env": [
                            { "name": "PORT", "value": "8080" },
                            { "name": "PASSWORD", "valueFrom": {
                                "secretKeyRef": { "name": "database", "key": "password" },
                            }},
                        ],
                        "readinessProbe": { "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 1 },
                        "securityContext": { "runAsNonRoot": true, "readOnlyRootFilesystem": true },
                        "volumeMounts": [{ "name": "database", "mountPath": "/etc/database" }],
                    }],
                    "volumes": [{ "name": "database", "secret": { "secretName": "database" } }],
                },
            },
        },
    }))
}

fn object<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).context("read the object of the test")
}
