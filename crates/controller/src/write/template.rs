//! The pod template of a workload, and the references to Secrets of what has none.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        batch::v1::CronJob,
        core::v1::ServiceAccount,
        networking::v1::Ingress,
    },
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use rekey_api::names;
use rekey_core::{
    rollout::{Listing, TemplateChange, json_patch},
    workload::{Kind, Marker, Project, Workload, WorkloadId, argo_rollout, gateway},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Basis, Writer};
use crate::{
    cluster::{Change, workload_name},
    error::{Error, Operation},
};

impl Writer {
    /// Changes a workload's pod template, if the workload is still the one that was decided on: the restart marker by
    /// server-side apply, references by JSON patch. The change, unless the watch has reported it before.
    ///
    /// # Errors
    /// `Conflict` when it has changed meanwhile.
    pub async fn template(
        &self,
        workload: &Workload,
        change: &TemplateChange,
    ) -> Result<Option<Change<Workload>>, Error> {
        // A marker would replace no pod of theirs, and no decision asks for one.
        if !workload.id.kind.rolls() && change.moves.is_empty() {
            return Ok(None);
        }
        let to = Target { client: &self.client, workload, change };
        let write = async { to.send().await.map_err(Error::api(Operation::WriteTemplate, &workload.id)) };
        let written = self.over(Some(basis(workload)), write).await?;
        if workload.id.kind.rolls() {
            self.metrics.restarted();
        }
        // The watch will bring it too; until then other consumers already see that this one is on its way.
        Ok(self.cluster.workloads.update(&workload_name(&workload.id), written))
    }

    /// Changes the list of Secrets that pods of an account may refer to, if the account is still the one that was decided on.
    /// The change, unless the watch has reported it before.
    ///
    /// # Errors
    /// `Conflict` when it has changed meanwhile.
    pub async fn listing(&self, account: &Workload, listing: &Listing) -> Result<Option<Change<Workload>>, Error> {
        let WorkloadId { namespace, name, .. } = &account.id;
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let manager = Some(names::MANAGER_RESTART.to_owned());
        let params = PatchParams { field_manager: manager, ..PatchParams::default() };
        let write = async {
            let patch = serde_json::from_value(listing.json_patch(account)).map_err(kube::Error::SerdeError)?;
            api.patch(name, &params, &Patch::Json::<()>(patch)).await
        };
        let write = async { write.await.map_err(Error::api(Operation::WriteList, &account.id)) };
        let written = self.over(Some(basis(account)), write).await?;
        Ok(self.cluster.workloads.update(&workload_name(&account.id), written.project()))
    }
}

/// What is written where.
struct Target<'a> {
    client: &'a Client,
    workload: &'a Workload,
    change: &'a TemplateChange,
}

fn basis(workload: &Workload) -> Basis<'_> {
    Basis { object: workload.id.to_string(), version: &workload.resource_version }
}

impl Target<'_> {
    async fn send(&self) -> Result<Workload, kube::Error> {
        match self.workload.id.kind {
            Kind::Deployment => self.write::<Deployment>().await,
            Kind::StatefulSet => self.write::<StatefulSet>().await,
            Kind::DaemonSet => self.write::<DaemonSet>().await,
            Kind::Rollout => self.write_untyped("rollouts").await.map(|at| argo_rollout(&at.metadata, &at.data)),
            Kind::CronJob => self.write::<CronJob>().await,
            Kind::Ingress => self.write::<Ingress>().await,
            Kind::ServiceAccount => self.write::<ServiceAccount>().await,
            Kind::Gateway => self.write_untyped("gateways").await.map(|at| gateway(&at.metadata, &at.data["spec"])),
        }
    }

    async fn write<K>(&self) -> Result<Workload, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Project + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.workload.id.namespace);
        Ok(self.patch(&api).await?.project())
    }

    /// Of a kind that has no type here, since not every cluster has it.
    async fn write_untyped(&self, plural: &str) -> Result<DynamicObject, kube::Error> {
        let id = &self.workload.id;
        let (group, version) = id.kind.api_version().split_once('/').unwrap_or_default();
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, id.kind.as_str()), plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &id.namespace, &resource);
        self.patch(&api).await
    }

    async fn patch<K: Clone + DeserializeOwned + Debug>(&self, api: &Api<K>) -> Result<K, kube::Error> {
        let name = &self.workload.id.name;
        match &self.change.marker {
            Some(marker) if self.change.moves.is_empty() => {
                let params = PatchParams::apply(names::MANAGER_RESTART).force();
                api.patch(name, &params, &Patch::Apply(&self.marked(marker))).await
            }
            Some(_) | None => {
                let patch =
                    serde_json::from_value(json_patch(self.workload, self.change)).map_err(kube::Error::SerdeError)?;
                let manager = Some(names::MANAGER_RESTART.to_owned());
                let params = PatchParams { field_manager: manager, ..PatchParams::default() };
                api.patch(name, &params, &Patch::Json::<()>(patch)).await
            }
        }
    }

    fn marked(&self, marker: &Marker) -> serde_json::Value {
        let Workload { id, uid, resource_version, .. } = self.workload;
        json!({
            "apiVersion": id.kind.api_version(),
            "kind": id.kind.as_str(),
            "metadata": {"name": id.name, "uid": uid, "resourceVersion": resource_version},
            "spec": {"template": {"metadata": {"annotations": {names::CONSUMED: marker.to_string()}}}},
        })
    }
}
