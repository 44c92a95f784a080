//! A scene with a store and an operator of its own, and observations of pods.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment, ReplicaSet},
        core::v1::{ContainerStatus, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use rekey_api::{
    SecretPolicy,
    policy::{ConsumerState, ConsumerStatus, ConsumersStatus, SecretPolicyStatus},
};
use rekey_e2e::{
    Operator, Scene, World, conditions,
    wait::{until, until_equal},
    workloads::{Form, is_ready, workload},
};
use serde_json::{Value, json};

use crate::record::Record;

/// Longer than the operator gathers changes: a due restart has happened by then.
pub const REST: Duration = Duration::from_secs(5);
/// A pod that starts sooner after a change counts as one that may have read the old value.
pub const EDGE: Duration = Duration::from_secs(4);
/// How long a consumer must be healthy until it is current.
pub const STABLE: Duration = Duration::from_secs(5);
/// How long a restarted consumer may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// How long a test waits for what takes several starts of a container, or is looked at now and then only.
pub const LONG: Duration = Duration::from_secs(100);
/// The condition of a policy whose consumers all hold the current value.
pub const ALL_CURRENT: &str = "ConsumersCurrent=True/AllCurrent";
/// The container of every consumer that reads the Secret.
pub const CONTAINER: &str = "server";

pub struct Ground {
    pub scene: Scene,
    operator: Option<Operator>,
}

impl Ground {
    /// A namespace with stores, an operator that has seen it, and the policy `db`, which has published the password
    /// `one` and is read hourly or when asked.
    pub async fn new(world: &Arc<World>, prefix: &str) -> Result<Self> {
        let scene = Scene::new(world, prefix).await?;
        let mut ground = Self { scene, operator: None };
        ground.start()?;
        ground.put("one").await?;
        let key = ground.scene.key("db");
        let spec = json!({
            "source": {"remote": {"refreshInterval": "1h"}},
            "rollout": {
                "concurrency": 1,
                "stableFor": format!("{}s", STABLE.as_secs()),
                "progressDeadline": format!("{}s", DEADLINE.as_secs()),
            },
        });
        ground.scene.policy("db", "vault", &[("password", &key, "password")], spec).await?;
        ground.scene.wait_synced("db").await?;
        Ok(ground)
    }

    pub fn start(&mut self) -> Result<()> {
        self.operator = Some(self.scene.operator()?);
        Ok(())
    }

    /// Ends the operator as the kernel would.
    pub fn kill(&mut self) -> Result<()> {
        self.operator.take().context("it runs")?.kill()
    }

    async fn put(&self, password: &str) -> Result<()> {
        self.scene.world.bao.put(&self.scene.key("db"), &json!({"password": password})).await.map(drop)
    }

    /// Changes the password in the store, and waits until it is published.
    pub async fn publish(&self, password: &str) -> Result<()> {
        self.put(password).await?;
        self.scene.sync("db").await
    }

    /// The manifest of a workload whose one container has the password in its environment.
    pub fn reader(&self, kind: &str, name: &str) -> Value {
        let mut manifest = workload(kind, &self.scene.namespace, name, "db", Form::Env);
        let container = &mut manifest["spec"]["template"]["spec"]["containers"][0];
        container["name"] = json!(CONTAINER);
        if let Some(variables) = container["env"].as_array_mut() {
            variables.push(json!({"name": "NAME", "value": name}));
        }
        manifest
    }

    /// Runs a workload, and waits until its pods are ready and its policy counts it as one of `consumers`.
    pub async fn run(&self, manifest: Value, consumers: u32) -> Result<()> {
        let name = manifest["metadata"]["name"].as_str().context("a manifest without a name")?.to_owned();
        let pods = manifest["spec"]["replicas"].as_u64().unwrap_or(1);
        self.scene.world.apply(manifest).await?;
        self.wait_pods(&name, usize::try_from(pods)?).await?;
        self.wait_at_rest(consumers).await
    }

    /// Waits until the policy has so many consumers, and knows of none that is behind.
    pub async fn wait_at_rest(&self, count: u32) -> Result<()> {
        until(&format!("none of {count} consumers is behind"), async || {
            let found = self.scene.wait_settled("db").await?.status.unwrap_or_default().consumers.unwrap_or_default();
            let is_done = |item: &ConsumerStatus| matches!(item.state, ConsumerState::Current | ConsumerState::Assumed);
            Ok((found.items.iter().all(is_done) && found.total == count).then_some(()))
        })
        .await
    }

    /// Waits until the policy counts its consumers like this, all of them current.
    pub async fn wait_current(&self, summary: &str) -> Result<()> {
        self.wait_long(&format!("{summary} and {ALL_CURRENT}"), async || {
            let status = self.status().await?;
            let current = conditions::shown(&status.conditions).iter().any(|at| at == ALL_CURRENT);
            Ok((current && status.consumers.unwrap_or_default().summary == summary).then_some(()))
        })
        .await
    }

    /// As [`until`], for longer; the error shows the consumers as the policy sees them.
    pub async fn wait_long<T>(&self, what: &str, look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
        match rekey_testkit::wait::until(what, LONG, look).await {
            Ok(found) => Ok(found),
            Err(error) => {
                let status = self.status().await?;
                let shown = conditions::shown(&status.conditions);
                bail!("{error:#}; the policy shows {shown:?}, {:?}", status.consumers.unwrap_or_default())
            }
        }
    }

    async fn status(&self) -> Result<SecretPolicyStatus> {
        Ok(self.scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default())
    }

    pub async fn consumers(&self) -> Result<ConsumersStatus> {
        Ok(self.status().await?.consumers.unwrap_or_default())
    }

    /// A consumer in the policy's status, as `State: message`; `None` when it is not listed.
    pub async fn state(&self, kind: &str, name: &str) -> Result<Option<String>> {
        let items = self.consumers().await?.items;
        let item = items.into_iter().find(|item| item.kind == kind && item.name == name);
        Ok(item.map(|item| format!("{:?}: {}", item.state, item.message.unwrap_or_default())))
    }

    /// Everything that the policy's status says from now on.
    pub fn record(&self) -> Record {
        Record::of(self.scene.api::<SecretPolicy>(), "db")
    }

    /// How often the template of a workload was changed since it was made. Its generation does not say that: edits of
    /// the annotations of a Deployment count there too.
    pub async fn template_changes(&self, kind: &str, name: &str) -> Result<usize> {
        let params = ListParams::default().labels(&format!("app={name}"));
        let templates = match kind {
            "Deployment" => self.scene.api::<ReplicaSet>().list(&params).await?.items.len(),
            _ => self.scene.api::<ControllerRevision>().list(&params).await?.items.len(),
        };
        templates.checked_sub(1).with_context(|| format!("{kind} {name} has no template yet"))
    }

    /// The live pods that the controllers of a workload have made.
    pub async fn pods(&self, name: &str) -> Result<Vec<Pod>> {
        let params = ListParams::default().labels(&format!("app={name}"));
        let mut pods = self.scene.api::<Pod>().list(&params).await?.items;
        let is_made = |pod: &Pod| {
            let mut owners = pod.owner_references().iter();
            owners.any(|owner| {
                owner.controller == Some(true) && matches!(owner.kind.as_str(), "ReplicaSet" | "DaemonSet")
            })
        };
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none() && is_made(pod));
        Ok(pods)
    }

    /// Waits until a workload has so many pods, all ready, and returns them.
    pub async fn wait_pods(&self, name: &str, count: usize) -> Result<Vec<Pod>> {
        until(&format!("{count} ready pods of {name}"), async || {
            let pods = self.pods(name).await?;
            Ok((pods.len() == count && pods.iter().all(is_ready)).then_some(pods))
        })
        .await
    }

    /// The password in the environment of the first container of a pod; `None` when it has none.
    pub async fn held(&self, pod: &Pod) -> Result<Option<String>> {
        let (node, name) = (self.scene.world.node()?, pod.name_any());
        // A process that is just starting still has the environment of its starter.
        until(&format!("{name} has started"), async || {
            let mut variables = node.environment(&self.scene.namespace, &name).await?;
            Ok(variables.contains_key("NAME").then(|| variables.remove("PASSWORD")))
        })
        .await
    }

    /// The passwords that the pods of a workload hold.
    pub async fn all_held(&self, name: &str) -> Result<Vec<Option<String>>> {
        let mut held = Vec::new();
        for pod in self.pods(name).await? {
            held.push(self.held(&pod).await.unwrap_or_default()); // it may be replaced in this moment
        }
        Ok(held)
    }

    /// Waits until a workload has so many pods, and all of them hold this password.
    pub async fn wait_held(&self, name: &str, password: &str, count: usize) -> Result<()> {
        let wanted = vec![Some(password.to_owned()); count];
        until_equal(&format!("what the pods of {name} hold"), wanted, || self.all_held(name)).await
    }

    /// Changes something of a Deployment, as its owner does.
    pub async fn edit(&self, deployment: &str, change: Value) -> Result<()> {
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        self.scene.api::<Deployment>().patch(deployment, &params, &Patch::Strategic(change)).await?;
        Ok(())
    }

    /// Ends the process of the first container of the only pod, and waits until the kubelet has started it again in the
    /// same pod.
    pub async fn crash(&self, name: &str) -> Result<()> {
        let pods = self.wait_pods(name, 1).await?;
        let (before, namespace) = (restarts(&pods[0]), &self.scene.namespace);
        self.scene.world.node()?.kill(namespace, &pods[0].name_any()).await?;
        until(&format!("the container of {name} runs again"), async || {
            let again = self.pods(name).await?;
            let is_same = again.iter().map(Pod::uid).eq(pods.iter().map(Pod::uid));
            Ok((is_same && again.iter().all(|pod| is_ready(pod) && restarts(pod) > before)).then_some(()))
        })
        .await
    }
}

/// How often the containers of a pod have started again.
pub fn restarts(pod: &Pod) -> i32 {
    containers(pod).map(|container| container.restart_count).sum()
}

/// When the youngest container of a pod started.
pub fn started(pod: &Pod) -> Option<Time> {
    containers(pod).filter_map(|container| container.state.clone()?.running?.started_at).max()
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}
