//! Tools that apply a manifest from Git again and again, as Argo CD and Flux do.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::{Scene, World, kubectl::kubectl, wait::until};

/// How often such a tool looks, here.
const ROUND: Duration = Duration::from_secs(2);

/// How the tool applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Argo CD by default: what `kubectl apply` does, with what was applied last in an annotation.
    ArgoThreeWay,
    /// Argo CD with `ServerSideApply=true`.
    ArgoServerSide,
    /// Flux: server-side, with force.
    Flux,
}

impl Way {
    /// Its field manager.
    #[must_use]
    pub fn manager(self) -> &'static str {
        match self {
            Self::ArgoThreeWay | Self::ArgoServerSide => "argocd-controller",
            Self::Flux => "kustomize-controller",
        }
    }
}

/// A running tool, for one Deployment. It ends when it is dropped.
pub struct Applier {
    manifest: Arc<Mutex<Value>>,
    rounds: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Applier {
    /// Starts it, and waits until it has applied. `ignored`: with `RespectIgnoreDifferences` and
    /// `ignoreDifferences.managedFieldsManagers` of this manager.
    ///
    /// # Errors
    /// When the first apply is refused.
    pub async fn start(scene: &Scene, way: Way, manifest: Value, ignored: Option<&'static str>) -> Result<Self> {
        let (manifest, rounds) = (Arc::new(Mutex::new(manifest)), Arc::new(AtomicUsize::new(0)));
        let tool = Tool { world: Arc::clone(&scene.world), namespace: scene.namespace.clone(), way, ignored };
        tool.round(of(&manifest)).await?;
        let (source, count) = (Arc::clone(&manifest), Arc::clone(&rounds));
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(ROUND).await;
                match tool.round(of(&source)).await {
                    Ok(()) => drop(count.fetch_add(1, Ordering::SeqCst)),
                    Err(error) => eprintln!("{:?}, which tries again: {error:#}", tool.way), // such as a conflict
                }
            }
        });
        Ok(Self { manifest, rounds, task })
    }

    /// Changes the manifest in Git.
    pub fn commit(&self, manifest: Value) {
        *self.manifest.lock().unwrap_or_else(PoisonError::into_inner) = manifest;
    }

    /// Waits until it has applied so many times more.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_rounds(&self, more: usize) -> Result<()> {
        let wanted = self.rounds.load(Ordering::SeqCst) + more;
        let done = || async { Ok((self.rounds.load(Ordering::SeqCst) >= wanted).then_some(())) };
        until(&format!("{more} more rounds of the tool"), done).await
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn of(manifest: &Mutex<Value>) -> Value {
    manifest.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Tool {
    world: Arc<World>,
    namespace: String,
    way: Way,
    ignored: Option<&'static str>,
}

impl Tool {
    async fn round(&self, mut manifest: Value) -> Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.world.client.clone(), &self.namespace);
        let name = manifest["metadata"]["name"].as_str().context("a name")?.to_owned();
        if let Some(manager) = self.ignored
            && let Some(live) = api.get_opt(&name).await?
        {
            let live = serde_json::to_value(live)?;
            take_live(&mut manifest, &live, manager);
            if is_part(&manifest["spec"], &live["spec"]) {
                return Ok(()); // in sync
            }
        }
        match self.way {
            Way::ArgoThreeWay => self.kubectl_apply(&name, &manifest).await,
            Way::ArgoServerSide | Way::Flux => {
                let params = PatchParams::apply(self.way.manager()).force();
                api.patch(&name, &params, &Patch::Apply(manifest)).await?;
                Ok(())
            }
        }
    }

    async fn kubectl_apply(&self, name: &str, manifest: &Value) -> Result<()> {
        let file = self.world.plane.directory().join(format!("applied-{}-{name}.json", self.namespace));
        std::fs::write(&file, manifest.to_string())?;
        let (file, manager) = (file.to_str().context("a path")?, format!("--field-manager={}", self.way.manager()));
        kubectl(&self.world, &["apply", "-n", &self.namespace, "-f", file, &manager]).await.map(drop)
    }
}

/// Gives the manifest the live values of all fields that `manager` owns, as Argo CD does before it applies.
fn take_live(manifest: &mut Value, live: &Value, manager: &str) {
    for entry in live["metadata"]["managedFields"].as_array().into_iter().flatten() {
        if entry["manager"] == manager
            && let Some(fields) = entry["fieldsV1"].as_object()
        {
            take_fields(manifest, live, fields);
        }
    }
}

fn take_fields(manifest: &mut Value, live: &Value, fields: &Map<String, Value>) {
    for (field, inner) in fields {
        let inner = inner.as_object().filter(|inner| !inner.is_empty());
        if let Some(name) = field.strip_prefix("f:") {
            let Some(value) = live.get(name) else { continue };
            match inner {
                None => manifest[name] = value.clone(),
                Some(inner) => {
                    if manifest[name].is_null() {
                        manifest[name] = if value.is_array() { json!([]) } else { json!({}) };
                    }
                    take_fields(&mut manifest[name], value, inner);
                }
            }
        } else if let Some(key) = field.strip_prefix("k:")
            && let Ok(key) = serde_json::from_str::<Value>(key)
            && let Some(value) = live.as_array().and_then(|items| items.iter().find(|item| is_part(&key, item)))
            && let Some(items) = manifest.as_array_mut()
            && let Some(item) = items.iter_mut().find(|item| is_part(&key, item))
            && let Some(inner) = inner
        {
            take_fields(item, value, inner);
        }
    }
}

/// Whether all of `part` stands in `whole`; lists are compared item by item.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| is_part(value, whole.get(name).unwrap_or(&Value::Null)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part(part, whole))
        }
        // The API server leaves out what is empty.
        (Value::Array(part), Value::Null) => part.is_empty(),
        (part, whole) => part == whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manager_owns_is_taken_from_the_live_object_and_nothing_else() {
        let reference = |name: &str| json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": name}}});
        let containers = |name: &str, image: &str| json!([{"name": "app", "image": image, "env": [reference(name)]}]);
        let owned = json!({"f:containers": {"k:{\"name\":\"app\"}": {"f:env": {"k:{\"name\":\"PASSWORD\"}": {
            "f:valueFrom": {"f:secretKeyRef": {}}}}}}, "f:note": {}});
        let live = json!({
            "metadata": {"managedFields": [{"manager": "mover", "fieldsV1": owned}]},
            "containers": containers("db-1", "old"), "note": "live", "other": "live",
        });
        let mut manifest = json!({"containers": containers("db", "new"), "other": "git"});
        take_live(&mut manifest, &live, "nobody");
        assert_eq!(manifest, json!({"containers": containers("db", "new"), "other": "git"}));
        take_live(&mut manifest, &live, "mover");
        assert_eq!(manifest, json!({"containers": containers("db-1", "new"), "note": "live", "other": "git"}));
        assert!(!is_part(&manifest, &live));
        assert!(is_part(&json!({"containers": containers("db-1", "old"), "empty": []}), &live));
    }
}
