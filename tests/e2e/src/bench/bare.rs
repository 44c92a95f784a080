//! The yardstick: a client that writes what the operator writes and does nothing else. The bodies are those of the
//! operator, read back and given other names.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, core::v1::Secret, events::v1::Event};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use rekey_api::{RemoteStore, SecretPolicy, names};
use serde_json::{Value, json};

use super::{
    crowd,
    ground::{Ground, Space},
};
use crate::wait::until;

/// What the operator has written for one policy.
pub struct Bodies {
    secret: Value,
    status: Value,
    event: Value,
}

impl Bodies {
    /// Reads them off a policy that is synced.
    ///
    /// # Errors
    /// When something is not there within a minute.
    pub async fn read(space: &Space, policy: &str) -> Result<Self> {
        let event = until("the Event of the first sync", || async {
            let events = space.api::<Event>().list(&ListParams::default()).await?;
            let about =
                |event: &Event| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(policy);
            Ok(events.items.into_iter().find(about))
        })
        .await?;
        let secret = space.api::<Secret>().get(policy).await?;
        let object = space.api::<SecretPolicy>().get(policy).await?;
        let mut event = serde_json::to_value(event)?;
        for served in ["deprecatedSource", "deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount"] {
            event.as_object_mut().context("an Event is an object")?.remove(served);
        }
        Ok(Self {
            secret: json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "labels": secret.metadata.labels,
                    "annotations": secret.metadata.annotations,
                    "ownerReferences": secret.metadata.owner_references,
                },
                "type": secret.type_,
                "data": secret.data,
            }),
            status: serde_json::to_value(object.status.context("the policy has no status")?)?,
            event,
        })
    }

    /// Writes a Secret, a status and an Event for each of the policies `p<number>` of the space, which exist and belong
    /// to no operator, and returns how long that took.
    ///
    /// # Errors
    /// When a write is refused.
    pub async fn sync(&self, ground: &Ground, space: &Space, count: usize) -> Result<Duration> {
        let uids = uids(space).await?;
        let secrets: Api<Secret> = Api::namespaced(ground.bare.clone(), &space.name);
        let began = Instant::now();
        crowd::each(count, |number| {
            let name = format!("p{number}");
            let uid = uids.get(&name).cloned().unwrap_or_default();
            let mut secret = self.secret.clone();
            secret["metadata"]["name"] = json!(name);
            secret["metadata"]["ownerReferences"][0]["name"] = json!(name);
            secret["metadata"]["ownerReferences"][0]["uid"] = json!(uid);
            let secrets = &secrets;
            async move {
                secrets.patch(&name, &PatchParams::apply(names::MANAGER), &Patch::Apply(&secret)).await?;
                self.tell(ground, space, &name, &uid).await
            }
        })
        .await?;
        Ok(began.elapsed())
    }

    /// Writes the status of the space's store, which belongs to no operator.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn store(&self, ground: &Ground, space: &Space) -> Result<()> {
        let stores: Api<RemoteStore> = Api::namespaced(ground.bare.clone(), &space.name);
        let conditions = &self.status["conditions"];
        let body = json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "RemoteStore",
            "metadata": {"name": "vault"},
            "status": {"conditions": conditions},
        });
        let params = PatchParams::apply(names::MANAGER_STATUS).force();
        stores.patch_status("vault", &params, &Patch::Apply(&body)).await?;
        Ok(())
    }

    /// For each of the Deployments `p<number>`: lists its pods, marks its pod template, and reports it in the policy's
    /// status and an Event.
    ///
    /// # Errors
    /// When a request is refused.
    pub async fn restart(&self, ground: &Ground, space: &Space, count: usize) -> Result<Duration> {
        let uids = uids(space).await?;
        let pods: Api<Pod> = Api::namespaced(ground.bare.clone(), &space.name);
        let deployments: Api<Deployment> = Api::namespaced(ground.bare.clone(), &space.name);
        let began = Instant::now();
        crowd::each(count, |number| {
            let name = format!("p{number}");
            let uid = uids.get(&name).cloned().unwrap_or_default();
            let (pods, deployments) = (&pods, &deployments);
            async move {
                pods.list(&ListParams::default().labels(&format!("app={name}"))).await?;
                let body = json!({
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": name},
                    "spec": {"template": {"metadata": {"annotations": {names::CONSUMED: format!("{name}=0123456789abcdef")}}}},
                });
                let params = PatchParams::apply(names::MANAGER_RESTART).force();
                deployments.patch(&name, &params, &Patch::Apply(&body)).await?;
                self.tell(ground, space, &name, &uid).await
            }
        })
        .await?;
        Ok(began.elapsed())
    }

    async fn tell(&self, ground: &Ground, space: &Space, name: &str, uid: &str) -> Result<()> {
        let policies: Api<SecretPolicy> = Api::namespaced(ground.bare.clone(), &space.name);
        let events: Api<Event> = Api::namespaced(ground.bare.clone(), &space.name);
        let body = json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": name, "uid": uid},
            "status": self.status,
        });
        let params = PatchParams::apply(names::MANAGER_STATUS).force();
        policies.patch_status(name, &params, &Patch::Apply(&body)).await?;
        let mut event = self.event.clone();
        event["metadata"] = json!({"generateName": format!("{name}-"), "namespace": space.name});
        event["regarding"]["name"] = json!(name);
        event["regarding"]["namespace"] = json!(space.name);
        event["regarding"]["uid"] = json!(uid);
        events.create(&PostParams::default(), &serde_json::from_value(event)?).await?;
        Ok(())
    }
}

async fn uids(space: &Space) -> Result<HashMap<String, String>> {
    let policies = space.api::<SecretPolicy>().list(&ListParams::default()).await?;
    Ok(policies.into_iter().map(|policy| (policy.name_any(), policy.uid().unwrap_or_default())).collect())
}
