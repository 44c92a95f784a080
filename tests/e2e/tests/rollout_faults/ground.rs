//! Consumers of the Secret `db`, and all that must be equal at the end of a rollout.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, ReplicaSet},
    batch::v1::{CronJob, Job},
    core::v1::{Pod, Secret},
};
use kube::{
    ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene,
    kill::{self, Rig},
    versions::{put, status, versions},
    workloads::{Form, is_ready, workload},
};
use rekey_testkit::wait::until;
use serde_json::{Value, json};

/// Longer than the operator gathers changes, and than it waits before a retry.
pub const REST: Duration = Duration::from_secs(4);
/// Several rollouts one after the other take a while, more so when many run at the same time.
pub const LONG: Duration = Duration::from_mins(4);

/// A workload whose pods have the password in their environment.
#[derive(Clone, Copy)]
pub struct Consumer {
    pub kind: &'static str,
    pub name: &'static str,
    pub pods: usize,
}

impl Consumer {
    /// One pod of it.
    pub const fn one(kind: &'static str, name: &'static str) -> Self {
        Self { kind, name, pods: 1 }
    }

    fn manifest(&self, namespace: &str) -> Value {
        let mut manifest = workload(self.kind, namespace, self.name, "db", Form::Env);
        if self.kind != "DaemonSet" {
            manifest["spec"]["replicas"] = json!(self.pods);
        }
        // It ends at once with any other value.
        if let Some(env) = manifest["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut() {
            env.push(json!({"name": "TAKES", "value": "one,two"}));
        }
        manifest
    }

    async fn object(&self, scene: &Scene) -> Result<DynamicObject> {
        use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
        let api = match self.kind {
            "Deployment" => scene.objects::<Deployment>(),
            "StatefulSet" => scene.objects::<StatefulSet>(),
            _ => scene.objects::<DaemonSet>(),
        };
        Ok(api.get(self.name).await?)
    }

    fn label(&self) -> ListParams {
        ListParams::default().labels(&format!("app={}", self.name))
    }

    async fn pods(&self, scene: &Scene) -> Result<Vec<Pod>> {
        Ok(scene.api::<Pod>().list(&self.label()).await?.items)
    }

    /// How many templates it has had.
    async fn templates(&self, scene: &Scene) -> Result<usize> {
        Ok(match self.kind {
            "Deployment" => scene.api::<ReplicaSet>().list(&self.label()).await?.items.len(),
            _ => scene.api::<ControllerRevision>().list(&self.label()).await?.items.len(),
        })
    }

    /// What each of its running containers holds.
    async fn held(&self, scene: &Scene) -> Result<Vec<String>> {
        let mut held = Vec::new();
        for pod in self.pods(scene).await? {
            let mut environment = scene.world.node()?.environment(&scene.namespace, &pod.name_any()).await?;
            held.push(environment.remove("PASSWORD").context("no PASSWORD yet")?);
        }
        Ok(held)
    }

    /// Whether all its pods are there, ready, and hold this value.
    async fn is_on(&self, scene: &Scene, password: &str) -> Result<bool> {
        let pods = self.pods(scene).await?;
        if pods.len() != self.pods || !pods.iter().all(is_ready) {
            return Ok(false);
        }
        // A pod may go, or be the runtime's own process still, in this moment.
        let held = self.held(scene).await.unwrap_or_default();
        Ok(held.len() == self.pods && held.iter().all(|value| value == password))
    }

    /// What a rollout changes of it.
    async fn end(&self, scene: &Scene) -> Result<Value> {
        let object = self.object(scene).await?;
        let template = &object.data["spec"]["template"];
        let marker = template["metadata"]["annotations"][names::CONSUMED].clone();
        let pods = self.pods(scene).await?;
        let of_marker = |pod: &&Pod| pod.annotations().get(names::CONSUMED).map(String::as_str) == marker.as_str();
        let restarting = scene.events(self.name).await?.iter().filter(|event| event.starts_with("Restarting")).count();
        Ok(json!({
            "generation": object.metadata.generation,
            "templates": self.templates(scene).await?,
            "reference": template["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"],
            "pods": pods.len(),
            "pods of the marker": pods.iter().filter(of_marker).count(),
            "marker": marker,
            "held": self.held(scene).await?,
            // An Event may be lost with the operator, but none comes twice.
            "more Events than restarts": i64::try_from(restarting)? > object.metadata.generation.unwrap_or_default() - 1,
        }))
    }
}

/// Makes these consumers, and a `CronJob` that starts no Job for a long time.
pub async fn consumers(scene: &Scene, all: &[Consumer]) -> Result<()> {
    for consumer in all {
        scene.world.apply(consumer.manifest(&scene.namespace)).await?;
    }
    let mut template = workload("Deployment", &scene.namespace, "nightly", "db", Form::Env)["spec"]["template"].take();
    template["spec"]["restartPolicy"] = json!("Never");
    let spec = json!({"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": template}}});
    scene
        .apply(json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": spec}))
        .await
}

/// Writes another value and asks for it.
pub async fn change(rig: &Rig, password: &str) -> Result<()> {
    put(&rig.scene, password).await?;
    rig.scene.ask_sync("db").await.map(drop)
}

/// Waits until all pods hold this value, the policy is done with all its consumers, and the operator rests.
pub async fn settled(rig: &Rig, all: &[Consumer], password: &str) -> Result<()> {
    let scene = &rig.scene;
    for consumer in all {
        until(&format!("{} runs on {password}", consumer.name), LONG, async || {
            Ok(consumer.is_on(scene, password).await?.then_some(()))
        })
        .await
        .with_context(|| format!("{:?}", consumer.kind))?;
    }
    until("the policy knows all consumers, and none is behind", LONG, async || {
        let consumers = status(scene).await?.consumers.unwrap_or_default();
        let behind = consumers.outdated + consumers.failed;
        Ok((consumers.items.len() == all.len() + 1 && behind == 0).then_some(()))
    })
    .await?;
    scene.wait_settled("db").await?;
    kill::quiet(rig, REST).await?;
    scene.wait_settled("db").await.map(drop)
}

/// Everything that must be equal: the policy, its Secrets and its consumers. Names of versions are replaced by what the
/// versions hold.
pub async fn end(scene: &Scene, all: &[Consumer]) -> Result<Value> {
    let mut policy = serde_json::to_value(scene.api::<SecretPolicy>().get("db").await?)?;
    // The token of the requested sync has a resourceVersion.
    policy["metadata"]["annotations"].take();
    policy["status"]["lastHandled"]["sync"].take();
    let mut workloads = BTreeMap::new();
    for consumer in all {
        workloads.insert(consumer.name, consumer.end(scene).await?);
    }
    let nightly = scene.api::<CronJob>().get("nightly").await?;
    let mut secrets = BTreeMap::new();
    for name in versions(scene).await?.into_keys() {
        secrets.insert(name.clone(), scene.api::<Secret>().get(&name).await?);
    }
    let end = json!({
        "policy": policy,
        "secrets": secrets,
        "workloads": workloads,
        "CronJob": {"generation": nightly.metadata.generation, "spec": nightly.spec},
        "Jobs": scene.api::<Job>().list(&ListParams::default()).await?.items.len(),
    });
    named_by_content(scene, &end).await
}

async fn named_by_content(scene: &Scene, end: &Value) -> Result<Value> {
    let mut text = end.to_string();
    for (name, held) in versions(scene).await? {
        if let Some(revision) = name.strip_prefix("db-") {
            text = text.replace(revision, &format!("({held})"));
        }
    }
    Ok(serde_json::from_str(&text)?)
}
