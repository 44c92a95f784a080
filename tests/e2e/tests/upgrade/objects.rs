//! The objects of a namespace, to compare: nothing may differ after an upgrade.

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

/// Objects by kind and name, with the compared parts of each.
#[derive(Debug)]
pub struct Objects(BTreeMap<String, Value>);

impl Objects {
    /// Secrets, objects of our kinds with their statuses, pod templates and pods.
    pub async fn of(scene: &Scene) -> Result<Self> {
        let mut all = Self(BTreeMap::new());
        all.add::<Secret>(scene, version).await?;
        all.add::<SecretPolicy>(scene, version).await?;
        all.add::<RotationSchedule>(scene, version).await?;
        all.add::<RemoteStore>(scene, version).await?;
        all.add::<Deployment>(scene, template).await?;
        all.add::<StatefulSet>(scene, template).await?;
        all.add::<DaemonSet>(scene, template).await?;
        all.add::<CronJob>(scene, template).await?;
        all.add::<Pod>(scene, containers).await?;
        let client = &scene.world.client;
        for store in Api::<ClusterRemoteStore>::all(client.clone()).list(&ListParams::default()).await? {
            all.0.insert(format!("ClusterRemoteStore {}", store.name_any()), json!(store.resource_version()));
        }
        let key = Api::<Secret>::namespaced(client.clone(), SYSTEM).get("rekey-digest-key").await?;
        all.0.insert("the digest key".to_owned(), json!(key.resource_version()));
        Ok(all)
    }

    async fn add<K: Resource<DynamicType = ()>>(&mut self, scene: &Scene, part: Part) -> Result<()> {
        for object in scene.objects::<K>().list(&ListParams::default()).await? {
            self.0.insert(format!("{} {}", K::kind(&()), object.name_any()), part(&object));
        }
        Ok(())
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: &str) -> usize {
        self.0.keys().filter(|name| name.split(' ').next() == Some(kind)).count()
    }

    /// Checks that these objects and their compared parts are the same.
    pub fn are(&self, before: &Self) -> Result<()> {
        let names = before.0.keys().chain(self.0.keys());
        let differ: BTreeMap<&String, (Option<&Value>, Option<&Value>)> = names
            .map(|name| (name, (before.0.get(name), self.0.get(name))))
            .filter(|(_, (before, after))| before != after)
            .collect();
        ensure!(differ.is_empty(), "changed, from what to what: {differ:#?}");
        Ok(())
    }
}

/// Each write of the object, also of its status, changes this. The status shows which part of it.
fn version(object: &DynamicObject) -> Value {
    json!([object.resource_version(), object.data["status"]])
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
