//! The pod template of a workload.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::apps::v1::{DaemonSet, Deployment, StatefulSet},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use rekey_api::names;
use rekey_core::workload::{Kind, Marker, Project, Workload, argo_rollout};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Writer;
use crate::{
    cluster::{Change, workload_name},
    error::{Error, Operation},
};

impl Writer {
    /// Writes the restart marker on a workload's pod template, if the workload is still the one that was decided on.
    /// The change, unless the watch has reported it before.
    ///
    /// # Errors
    /// `Conflict` when it has changed meanwhile.
    pub async fn marker(&self, workload: &Workload, marker: &Marker) -> Result<Option<Change<Workload>>, Error> {
        let written = match workload.id.kind {
            Kind::Deployment => mark::<Deployment>(&self.client, workload, marker).await,
            Kind::StatefulSet => mark::<StatefulSet>(&self.client, workload, marker).await,
            Kind::DaemonSet => mark::<DaemonSet>(&self.client, workload, marker).await,
            Kind::Rollout => mark_argo(&self.client, workload, marker).await,
            // A marker would replace no pod of theirs, and no decision asks for one.
            Kind::CronJob | Kind::Ingress | Kind::Gateway | Kind::ServiceAccount => return Ok(None),
        };
        let written = written.map_err(Error::api(Operation::WriteMarker, &workload.id))?;
        self.metrics.restarted();
        // The watch will bring it too; until then other consumers already see that this one is on its way.
        Ok(self.cluster.workloads.update(&workload_name(&workload.id), written))
    }
}

async fn mark<K>(client: &Client, workload: &Workload, marker: &Marker) -> Result<Workload, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Project + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &workload.id.namespace);
    Ok(write(&api, workload, marker).await?.project())
}

/// The kind has no type here, since not every cluster has it.
async fn mark_argo(client: &Client, workload: &Workload, marker: &Marker) -> Result<Workload, kube::Error> {
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
    let resource = ApiResource::from_gvk_with_plural(&kind, "rollouts");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &workload.id.namespace, &resource);
    let written = write(&api, workload, marker).await?;
    Ok(argo_rollout(&written.metadata, &written.data))
}

async fn write<K: Clone + DeserializeOwned + Debug>(
    api: &Api<K>,
    workload: &Workload,
    marker: &Marker,
) -> Result<K, kube::Error> {
    let body = json!({
        "apiVersion": workload.id.kind.api_version(),
        "kind": workload.id.kind.as_str(),
        "metadata": {"name": workload.id.name, "uid": workload.uid, "resourceVersion": workload.resource_version},
        "spec": {"template": {"metadata": {"annotations": {names::CONSUMED: marker.to_string()}}}},
    });
    let params = PatchParams::apply(names::MANAGER_RESTART).force();
    api.patch(&workload.id.name, &params, &Patch::Apply(&body)).await
}
