//! The workloads of a scene, and what their pods really hold.

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    core::v1::Pod,
};
use kube::{ResourceExt as _, api::ListParams};

use super::Scene;
use crate::{wait::until, workloads::is_ready};

impl Scene {
    /// Waits until a policy is settled and knows this consumer, and none of its consumers is behind.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn wait_at_rest(&self, policy: &str, consumer: &str) -> Result<()> {
        until(&format!("SecretPolicy {policy} knows {consumer}, and its consumers are at rest"), || async {
            let status = self.wait_settled(policy).await?.status.unwrap_or_default();
            let consumers = status.consumers.unwrap_or_default();
            let known = consumers.items.iter().any(|item| item.name == consumer);
            Ok((known && consumers.outdated + consumers.failed == 0).then_some(()))
        })
        .await
    }

    /// How often the pod template of a workload has been changed since it was made, and whether its rollout is done.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn generation(&self, kind: &str, name: &str) -> Result<i64> {
        let metadata = match kind {
            "Deployment" => self.api::<Deployment>().get(name).await?.metadata,
            "StatefulSet" => self.api::<StatefulSet>().get(name).await?.metadata,
            _ => self.api::<DaemonSet>().get(name).await?.metadata,
        };
        metadata.generation.context("no generation")
    }

    /// The only live pod of a workload, once it is ready and alone.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn wait_pod(&self, app: &str) -> Result<Pod> {
        until(&format!("one ready pod of {app}"), || async {
            let params = ListParams::default().labels(&format!("app={app}"));
            let pods = self.api::<Pod>().list(&params).await?.items;
            Ok(match pods.as_slice() {
                [pod] if is_ready(pod) => Some(pod.clone()),
                _ => None,
            })
        })
        .await
    }

    /// What a container of the only pod of a workload holds in this environment variable.
    ///
    /// # Errors
    /// When there is no such pod or variable.
    pub async fn variable(&self, app: &str, name: &str) -> Result<String> {
        let pod = self.wait_pod(app).await?;
        let all = self.world.node()?.environment(&self.namespace, &pod.name_any()).await?;
        all.get(name).cloned().with_context(|| format!("no variable {name} in {app}"))
    }

    /// As [`Scene::variable`], once it is there: right after a start the process may still be the runtime's own, before
    /// it becomes the container's.
    ///
    /// # Errors
    /// When the pod does not get such a variable.
    pub async fn held(&self, app: &str, name: &str) -> Result<String> {
        until(&format!("variable {name} in {app}"), || async { Ok(self.variable(app, name).await.ok()) }).await
    }
}
