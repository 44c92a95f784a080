//! The objects of a namespace, to compare: nothing may differ after an upgrade but the words of a status.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::CronJob,
    core::v1::{Pod, Secret},
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy};
use rekey_e2e::{Scene, release::SYSTEM};
use serde_json::{Value, json};

/// The compared parts of an object.
type Part = fn(&DynamicObject) -> Value;

/// Objects by kind and name, with the compared parts of each, and the statuses of our kinds as they are.
#[derive(Debug)]
pub struct Objects {
    parts: BTreeMap<String, Value>,
    statuses: BTreeMap<String, Value>,
}

impl Objects {
    /// Secrets, objects of our kinds with their statuses, pod templates and pods.
    pub async fn of(scene: &Scene) -> Result<Self> {
        let mut all = Self { parts: BTreeMap::new(), statuses: BTreeMap::new() };
        all.add::<Secret>(scene, version).await?;
        all.add::<SecretPolicy>(scene, meaning).await?;
        all.add::<RotationSchedule>(scene, meaning).await?;
        all.add::<RemoteStore>(scene, meaning).await?;
        all.add::<Deployment>(scene, template).await?;
        all.add::<StatefulSet>(scene, template).await?;
        all.add::<DaemonSet>(scene, template).await?;
        all.add::<CronJob>(scene, template).await?;
        all.add::<Pod>(scene, containers).await?;
        let client = &scene.world.client;
        for store in Api::<ClusterRemoteStore>::all(client.clone()).list(&ListParams::default()).await? {
            all.parts.insert(format!("ClusterRemoteStore {}", store.name_any()), json!(store.resource_version()));
        }
        let key = Api::<Secret>::namespaced(client.clone(), SYSTEM).get("rekey-digest-key").await?;
        all.parts.insert("the digest key".to_owned(), json!(key.resource_version()));
        Ok(all)
    }

    async fn add<K: Resource<DynamicType = ()>>(&mut self, scene: &Scene, part: Part) -> Result<()> {
        for object in scene.objects::<K>().list(&ListParams::default()).await? {
            let name = format!("{} {}", K::kind(&()), object.name_any());
            self.parts.insert(name.clone(), part(&object));
            if let Some(status) = object.data.get("status") {
                self.statuses.insert(name, status.clone());
            }
        }
        Ok(())
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: &str) -> usize {
        self.parts.keys().filter(|name| name.split(' ').next() == Some(kind)).count()
    }

    /// Checks that these objects and their compared parts are the same.
    pub fn are(&self, before: &Self) -> Result<()> {
        let names = before.parts.keys().chain(self.parts.keys());
        let differ: BTreeMap<&String, (Option<&Value>, Option<&Value>)> = names
            .map(|name| (name, (before.parts.get(name), self.parts.get(name))))
            .filter(|(_, (before, after))| before != after)
            .collect();
        ensure!(differ.is_empty(), "changed, from what to what: {differ:#?}");
        Ok(())
    }

    /// The objects of this kind whose status says the same as before in other words.
    pub fn reworded(&self, before: &Self, kind: &str) -> Vec<String> {
        let is_other = |(name, status): &(&String, &Value)| before.statuses.get(*name) != Some(*status);
        let reworded = self.statuses.iter().filter(is_other);
        reworded.filter_map(|(name, _)| Some(name.strip_prefix(kind)?.trim_start().to_owned())).collect()
    }
}

/// Each write of the object changes this.
fn version(object: &DynamicObject) -> Value {
    json!(object.resource_version())
}

/// What an object of our kinds asks for and what its status says, but for what one of two versions cannot know: how the other
/// one words it, and the numbers of pods, which are younger than the version before this one.
fn meaning(object: &DynamicObject) -> Value {
    let mut status = object.data["status"].clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["message"] = Value::Null;
    }
    for consumer in status["consumers"]["items"].as_array_mut().into_iter().flatten() {
        if let Some(consumer) = consumer.as_object_mut() {
            consumer.remove("pods");
        }
    }
    json!([object.metadata.generation, object.metadata.annotations, object.metadata.finalizers, status])
}

/// The status of a workload belongs to its own controller.
fn template(object: &DynamicObject) -> Value {
    json!([object.metadata.generation, object.data["spec"]["template"], object.data["spec"]["jobTemplate"]])
}

/// A restarted container counts as another one, and so does a pod.
fn containers(object: &DynamicObject) -> Value {
    let statuses = object.data["status"]["containerStatuses"].as_array().into_iter().flatten();
    let ids: Vec<&Value> = statuses.map(|status| &status["containerID"]).collect();
    json!([object.metadata.uid, ids])
}
