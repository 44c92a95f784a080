//! A real node on a [`Plane`]: kubelet, containerd and runc. Pods are processes of this machine, so a test can read what
//! a container really holds.
//!
//! It needs root (mounts, network namespaces, cgroups; version 1 or 2), the Debian packages `runc` and
//! `containernetworking-plugins`, and a default route, from which the kubelet takes its address. All of it lives in
//! process and mount namespaces of its own: no process and no mount is left behind, even when the test is killed. Pods and
//! the machine reach each other. Pods do not reach other pods unless the machine forwards, Services have no addresses
//! that work, for there is no proxy, and there is no DNS.

mod enclosure;
mod image;
mod kubelet;
mod runtime;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{ContainerStatus, Node as NodeObject, Pod};
use kube::{Api, Client};

pub use self::image::IMAGE;
use self::{enclosure::Enclosure, runtime::Runtime};
use crate::{
    plane::{
        Plane,
        programs::{self, Group},
        scratch::Scratch,
        servers::Servers,
    },
    process::Process,
    wait,
};

/// The name of the node object.
pub const NAME: &str = "localhost";

const READY_WITHIN: Duration = Duration::from_mins(2);

/// A running node. It stops when it is dropped; a plane has room for one.
pub struct Node {
    kubelet: Option<Process>,
    runtime: Runtime,
    enclosure: Option<Enclosure>,
    scratch: Scratch,
    config: kube::Config,
    // The API server must be there until the kubelet has ended.
    _servers: Arc<Servers>,
}

impl Node {
    /// Starts a node and waits until pods can run on it. A plane has room for one.
    ///
    /// # Errors
    /// When this is not root, a package is missing, a program cannot be built, the node is not ready in time (the error
    /// holds the end of the log), or its kubelet is not of the requested Kubernetes.
    pub async fn start(plane: &Plane) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!(
                "a node needs root: it mounts volumes and image layers, and makes network namespaces and cgroups; run \
                 this test as root, or in a container with --privileged"
            );
        }
        runtime::check_installed()?;
        let programs = programs::directory(Group::Node, plane.kubernetes()).await?;
        let scratch = Scratch::new("rekey-node-")?;
        let enclosure = Enclosure::start(&programs, scratch.path()).await?;
        let runtime = Runtime::start(&enclosure, &programs, &scratch).await?;
        let servers = plane.servers();
        let kubelet = kubelet::start(&enclosure, &servers, &runtime, &scratch)?;
        let mut node = Self {
            kubelet: Some(kubelet),
            runtime,
            enclosure: Some(enclosure),
            scratch,
            config: plane.config(),
            _servers: servers,
        };
        let nodes = Api::<NodeObject>::all(node.client()?);
        let ready = wait::until("the node is ready", READY_WITHIN, async || {
            node.alive()?;
            Ok(nodes.get_opt(NAME).await.ok().flatten().filter(takes_pods))
        })
        .await?;
        let about = ready.status.and_then(|status| status.node_info).context("a ready node says what it is")?;
        plane.kubernetes().check("kubelet", &about.kubelet_version)?;
        node.scratch.started();
        Ok(node)
    }

    /// The environment of the first container of a pod at its start.
    ///
    /// # Errors
    /// When the pod has no running container, or its process cannot be read.
    pub async fn environment(&self, namespace: &str, pod: &str) -> Result<BTreeMap<String, String>> {
        environment(&self.process(namespace, pod).await?)
    }

    /// The same of the container with this name, a sidecar for example.
    ///
    /// # Errors
    /// When the container does not run, or its process cannot be read.
    pub async fn environment_of(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<BTreeMap<String, String>> {
        let id = self.container(namespace, pod, Some(container)).await?;
        let enclosure = self.enclosure.as_ref().context("the node has stopped")?;
        environment(&enclosure.proc(self.runtime.process_of(&id)?))
    }

    /// The content of a file as the first container of a pod sees it.
    ///
    /// # Errors
    /// When the pod has no running container, or it cannot see such a file.
    pub async fn file(&self, namespace: &str, pod: &str, path: &str) -> Result<Vec<u8>> {
        file(&self.process(namespace, pod).await?, path)
    }

    /// A file of `/proc/<id>/` for the process of the first container of a pod, such as `status`.
    ///
    /// # Errors
    /// When the pod has no running container, or there is no such file.
    pub async fn kernel(&self, namespace: &str, pod: &str, name: &str) -> Result<String> {
        let path = self.process(namespace, pod).await?.join(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Makes an image of a docker-archive known to the node, by its tag and by its digest, so that pods can name it in both
    /// ways.
    ///
    /// # Errors
    /// When containerd does not accept it, or it holds no such image.
    pub fn import(&self, archive: &Path, repository: &str, tag: &str) -> Result<String> {
        let enclosure = self.enclosure.as_ref().context("the node has stopped")?;
        self.runtime.control(enclosure, &["images", "import", &archive.to_string_lossy()])?;
        let name = format!("{repository}:{tag}");
        let listed = self.runtime.control(enclosure, &["images", "ls", &format!("name=={name}")])?;
        let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:"));
        let digest = digest.with_context(|| format!("{} holds no {name}", archive.display()))?;
        self.runtime.control(enclosure, &["images", "tag", &name, &format!("{repository}@{digest}")])?;
        Ok(digest.to_owned())
    }

    /// Ends the first container of a pod as the kernel would (SIGKILL).
    ///
    /// # Errors
    /// When the pod has no running container.
    pub async fn kill(&self, namespace: &str, pod: &str) -> Result<()> {
        let container = self.container(namespace, pod, None).await?;
        let enclosure = self.enclosure.as_ref().context("the node has stopped")?;
        self.runtime.control(enclosure, &["tasks", "kill", "--signal", "SIGKILL", &container]).map(drop)
    }

    /// The directory of this node; it goes with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Copies the logs, those of pods too, to `target/e2e-logs/<test program>-<process>/`, now and again at the end. A
    /// node that is dropped by a panic keeps them by itself.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn keep_logs(&self) -> Result<PathBuf> {
        self.scratch.keep_logs()
    }

    /// Stops the kubelet, all containers and containerd.
    ///
    /// # Errors
    /// When one of them does not end.
    pub fn stop(mut self) -> Result<()> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<()> {
        // The kubelet goes first, or it would start the containers again.
        let kubelet = self.kubelet.take().map_or(Ok(()), enclosure::stop);
        let Some(mut enclosure) = self.enclosure.take() else {
            return kubelet;
        };
        let tasks = self.remove_tasks(&enclosure);
        let runtime = self.runtime.process.take().map_or(Ok(()), enclosure::stop);
        enclosure.stop()?;
        kubelet.and(tasks).and(runtime)
    }

    /// Ends the containers one by one, which also removes their cgroups. containerd also removes a task when it sees it
    /// end, and then refuses ours: what counts is that none is left.
    fn remove_tasks(&self, enclosure: &Enclosure) -> Result<()> {
        let mut refused = None;
        for _ in 0..5 {
            let tasks = self.runtime.control(enclosure, &["tasks", "ls", "--quiet"])?;
            if tasks.trim().is_empty() {
                return Ok(());
            }
            let mut arguments = vec!["tasks", "rm", "--force"];
            arguments.extend(tasks.lines());
            refused = self.runtime.control(enclosure, &arguments).err();
        }
        refused.map_or_else(|| bail!("containers are left"), |error| Err(error.context("end the containers")))
    }

    fn client(&self) -> Result<Client> {
        Client::try_from(self.config.clone()).context("make the client of the node")
    }

    fn alive(&mut self) -> Result<()> {
        for process in [&mut self.kubelet, &mut self.runtime.process].into_iter().flatten() {
            process.alive()?;
        }
        Ok(())
    }

    async fn process(&self, namespace: &str, pod: &str) -> Result<PathBuf> {
        let id = self.container(namespace, pod, None).await?;
        let enclosure = self.enclosure.as_ref().context("the node has stopped")?;
        Ok(enclosure.proc(self.runtime.process_of(&id)?))
    }

    /// The id of a container; `None`: of the first one.
    async fn container(&self, namespace: &str, pod: &str, container: Option<&str>) -> Result<String> {
        let pods = Api::<Pod>::namespaced(self.client()?, namespace);
        let found = pods.get(pod).await.with_context(|| format!("get the pod {namespace}/{pod}"))?;
        container_id(&found, container).with_context(|| {
            format!("the pod {namespace}/{pod} has no running container {}", container.unwrap_or_default())
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            eprintln!("testkit: the node did not stop properly: {error:#}");
        }
    }
}

fn takes_pods(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let tainted = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| !taints.is_empty());
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") && !tainted
}

/// The id of the container of this name, or of the first one, if it runs.
fn container_id(pod: &Pod, name: Option<&str>) -> Option<String> {
    let name = name.or(Some(pod.spec.as_ref()?.containers.first()?.name.as_str()))?;
    let status = pod.status.as_ref()?;
    let mut containers = [&status.container_statuses, &status.init_container_statuses].into_iter().flatten().flatten();
    let container: &ContainerStatus = containers.find(|container| container.name == name)?;
    container.state.as_ref()?.running.as_ref()?;
    Some(container.container_id.as_ref()?.strip_prefix("containerd://")?.to_owned())
}

fn environment(process: &Path) -> Result<BTreeMap<String, String>> {
    let content = fs::read(process.join("environ")).context("read the environment of the container")?;
    let entries = content.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let pairs = entries.map(|entry| {
        let entry = String::from_utf8_lossy(entry);
        let (name, value) = entry.split_once('=').unwrap_or((entry.as_ref(), ""));
        (name.to_owned(), value.to_owned())
    });
    Ok(pairs.collect())
}

fn file(process: &Path, path: &str) -> Result<Vec<u8>> {
    let path = process.join("root").join(path.trim_start_matches('/'));
    fs::read(&path).with_context(|| format!("read {}", path.display()))
}
