//! A scene with a store and an operator of its own, and observations of restarts.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
    core::v1::{Pod, PodTemplateSpec},
};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use rekey_api::{
    SecretPolicy, names,
    policy::{ConsumerState, ConsumersStatus},
};
use rekey_e2e::{
    Operator, Scene, World, conditions,
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};

/// Longer than the operator gathers changes: a due restart has happened by then.
pub const REST: Duration = Duration::from_secs(5);

pub struct Ground {
    pub scene: Scene,
    operator: Option<Operator>,
}

/// A consumer of the Secret `db`, whose pod holds the key `password`.
pub struct Consumer<'a> {
    pub ground: &'a Ground,
    pub kind: &'static str,
    pub name: &'static str,
    pub form: Form,
}

/// What a restart of a consumer changes.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    templates: usize,
    generation: i64,
    pod: String,
}

impl Ground {
    /// A namespace with the store `vault`, and an operator that has seen it.
    pub async fn new(world: &Arc<World>, prefix: &str) -> Result<Self> {
        Self::with(world, prefix, &[]).await
    }

    /// The same, with these flags of the operator.
    pub async fn with(world: &Arc<World>, prefix: &str, arguments: &[&str]) -> Result<Self> {
        let scene = Scene::closed(world, prefix).await?;
        scene.open().await?;
        scene.vault_store("ReadOnly").await?;
        let operator = scene.operator_with(arguments)?;
        let ground = Self { scene, operator: Some(operator) };
        ground.scene.wait_store("vault", "Ready=True/Synced").await?;
        Ok(ground)
    }

    /// A scene whose operator the caller has started.
    pub fn without_operator(scene: Scene) -> Self {
        Self { scene, operator: None }
    }

    pub fn start(&mut self) -> Result<()> {
        self.operator = Some(self.scene.operator()?);
        Ok(())
    }

    /// The operator, which runs.
    pub fn operator(&self) -> Result<&Operator> {
        self.operator.as_ref().context("it runs")
    }

    pub fn stop(&mut self) -> Result<()> {
        self.operator.take().context("it runs")?.stop()
    }

    /// Writes a new version of the key `name` in the store.
    pub async fn put(&self, name: &str, username: &str, password: &str) -> Result<()> {
        let value = json!({"username": username, "password": password});
        self.scene.world.bao.put(&self.scene.key(name), &value).await.map(drop)
    }

    /// A policy that publishes both properties, read hourly or when asked.
    pub async fn policy(&self, name: &str, more: Value) -> Result<()> {
        let key = self.scene.key(name);
        let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
        let mut spec = json!({"source": {"remote": {"refreshInterval": "1h"}}});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        self.scene.policy(name, "vault", &items, spec).await
    }

    /// The first value and the policy `db`, synced.
    pub async fn published(&self) -> Result<()> {
        self.put("db", "orders", "one").await?;
        self.policy("db", json!({})).await?;
        self.scene.wait_synced("db").await.map(drop)
    }

    /// Changes the password of `db`, and waits until it is published.
    pub async fn change(&self, password: &str) -> Result<()> {
        self.put("db", "orders", password).await?;
        self.scene.sync("db").await
    }

    /// Makes a consumer of `db` and waits until it runs.
    pub async fn consumer(&self, kind: &'static str, name: &'static str, form: Form) -> Result<Consumer<'_>> {
        let namespace = &self.scene.namespace;
        self.scene.world.apply(workload(kind, namespace, name, "db", form)).await?;
        self.scene.wait_pod(name).await?;
        Ok(Consumer { ground: self, kind, name, form })
    }

    /// A Deployment that is there already and consumes one key of `db` by env.
    pub fn deployment(&self, name: &'static str) -> Consumer<'_> {
        Consumer { ground: self, kind: "Deployment", name, form: Form::Env }
    }

    /// Changes something of a Deployment.
    pub async fn edit(&self, deployment: &str, change: Value) -> Result<()> {
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        self.scene.api::<Deployment>().patch(deployment, &params, &Patch::Strategic(change)).await?;
        Ok(())
    }

    /// Waits until the policy counts its consumers like this, and is done.
    pub async fn wait_consumers(&self, policy: &str, summary: &str, condition: &str) -> Result<ConsumersStatus> {
        let what = format!("SecretPolicy {policy} shows {summary} and {condition}");
        until(&what, || async {
            let status = self.scene.wait_settled(policy).await?.status.unwrap_or_default();
            let shown = conditions::shown(&status.conditions);
            let found = status.consumers.unwrap_or_default();
            Ok((found.summary == summary && shown.iter().any(|at| at == condition)).then_some(found))
        })
        .await
    }

    /// Waits until the policy `db` has so many consumers, and knows of none that is behind.
    pub async fn wait_current(&self, count: u32) -> Result<()> {
        until(&format!("none of {count} consumers is behind"), || async {
            let found = self.scene.wait_synced("db").await?.status.unwrap_or_default().consumers.unwrap_or_default();
            let mut states = found.items.iter().map(|item| item.state);
            let is_done = states.all(|state| matches!(state, ConsumerState::Current | ConsumerState::Assumed));
            Ok((is_done && found.total == count).then_some(()))
        })
        .await
    }

    /// Waits until the one pod of a Deployment is available.
    pub async fn wait_available(&self, deployment: &str) -> Result<()> {
        until("it is available", || async {
            let status = self.scene.api::<Deployment>().get(deployment).await?.status.unwrap_or_default();
            Ok((status.available_replicas == Some(1)).then_some(()))
        })
        .await
    }

    /// The state of one consumer in the policy's status, with its message.
    pub async fn state(&self, policy: &str, name: &str) -> Result<String> {
        let status = self.scene.api::<SecretPolicy>().get(policy).await?.status.unwrap_or_default();
        let items = status.consumers.unwrap_or_default().items;
        let item = items.iter().find(|item| item.name == name).with_context(|| format!("{name} in {items:?}"))?;
        Ok(format!("{:?} {}", item.state, item.message.as_deref().unwrap_or_default()).trim().to_owned())
    }
}

impl Consumer<'_> {
    /// How many templates it has had.
    pub async fn templates(&self) -> Result<usize> {
        let scene = &self.ground.scene;
        let params = ListParams::default().labels(&format!("app={}", self.name));
        Ok(match self.kind {
            "Deployment" => scene.api::<ReplicaSet>().list(&params).await?.items.len(),
            _ => scene.api::<ControllerRevision>().list(&params).await?.items.len(),
        })
    }

    pub async fn template(&self) -> Result<PodTemplateSpec> {
        let scene = &self.ground.scene;
        let template = match self.kind {
            "Deployment" => scene.api::<Deployment>().get(self.name).await?.spec.map(|spec| spec.template),
            "StatefulSet" => scene.api::<StatefulSet>().get(self.name).await?.spec.map(|spec| spec.template),
            _ => scene.api::<DaemonSet>().get(self.name).await?.spec.map(|spec| spec.template),
        };
        template.context("no template")
    }

    /// The marker on its template.
    pub async fn marker(&self) -> Result<Option<String>> {
        let metadata = self.template().await?.metadata.unwrap_or_default();
        Ok(metadata.annotations.unwrap_or_default().get(names::CONSUMED).cloned())
    }

    /// The password that its only pod holds.
    pub async fn password(&self, pod: &Pod) -> Result<String> {
        let (node, namespace) = (self.ground.scene.world.node()?, &self.ground.scene.namespace);
        let pod = pod.name_any();
        let variable = match self.form {
            Form::Volume => {
                let content = node.file(namespace, &pod, "/secret/password").await?;
                return Ok(String::from_utf8_lossy(&content).into_owned());
            }
            Form::Env => "PASSWORD",
            Form::EnvFrom => "password",
        };
        // A process that is just starting still has the environment of its starter.
        until(&format!("{pod} has {variable}"), || async {
            Ok(node.environment(namespace, &pod).await?.remove(variable))
        })
        .await
    }

    /// Waits until it runs on `password` from its `templates`th template, which all see, and stays so.
    pub async fn settles_on(&self, password: &str, templates: usize) -> Result<()> {
        let what = format!("{} {} is on {templates} templates", self.kind, self.name);
        until_equal(&what, templates, || self.templates()).await?;
        until_equal(&format!("{} runs on the new value", self.name), password.to_owned(), || async {
            let pod = self.ground.scene.wait_pod(self.name).await?;
            Ok(self.password(&pod).await.unwrap_or_default()) // it may be replaced in this moment
        })
        .await?;
        until(&format!("the rollout of {} is complete", self.name), || self.is_complete()).await?;
        let standing = Standing { templates, ..self.standing().await? };
        stays(&what, standing, REST, || self.standing()).await
    }

    /// A new template may be there before the pods of the old one are seen to go.
    async fn is_complete(&self) -> Result<Option<()>> {
        if self.kind != "Deployment" {
            return Ok(Some(()));
        }
        let found = self.ground.scene.api::<Deployment>().get(self.name).await?;
        let (generation, spec, status) =
            (found.metadata.generation, found.spec.unwrap_or_default(), found.status.unwrap_or_default());
        let is_all = |count: Option<i32>| count == spec.replicas;
        let is_done = status.observed_generation == generation && is_all(status.replicas);
        Ok((is_done && is_all(status.updated_replicas)).then_some(()))
    }

    async fn standing(&self) -> Result<Standing> {
        let pod = self.ground.scene.wait_pod(self.name).await?.name_any();
        let generation = self.ground.scene.generation(self.kind, self.name).await?;
        Ok(Standing { templates: self.templates().await?, generation, pod })
    }

    /// It was restarted by us just now: the marker on the template is that of its pod, and its only change.
    pub async fn marked(&self, generation: i64) -> Result<()> {
        let marker = self.marker().await?;
        let pod = self.ground.scene.wait_pod(self.name).await?;
        ensure!(marker.as_ref().is_some_and(|marker| marker.starts_with("db=")), "marker {marker:?}");
        ensure!(pod.annotations().get(names::CONSUMED) == marker.as_ref(), "{:?}, {marker:?}", pod.annotations());
        let seen = self.ground.scene.generation(self.kind, self.name).await?;
        ensure!(seen == generation, "generation {seen}, not {generation}");
        Ok(())
    }

    /// Stays on the template and pod that it has.
    pub async fn left_alone(&self, why: &str, span: Duration) -> Result<()> {
        stays(&format!("{} after {why}", self.name), self.standing().await?, span, || self.standing()).await
    }
}
