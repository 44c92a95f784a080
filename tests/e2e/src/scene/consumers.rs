//! The workloads of a scene, and what their pods really hold.

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    core::v1::{Event, Pod},
};
use kube::{ResourceExt as _, api::ListParams};

use rekey_api::SecretPolicy;

use super::Scene;
use crate::{
    conditions::{self, check},
    wait::until,
    workloads::is_ready,
};

impl Scene {
    /// Waits until a policy is Ready, whatever it has to say beside, and not on its way any more, with its spec acted on.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn wait_settled(&self, name: &str) -> Result<SecretPolicy> {
        until(&format!("SecretPolicy {name} is Ready and at rest"), || async {
            let policy = self.api::<SecretPolicy>().get(name).await?;
            let status = policy.status.clone().unwrap_or_default();
            check(name, &status.conditions)?;
            let shown = conditions::shown(&status.conditions);
            let done = shown.iter().any(|at| at.starts_with("Ready=True/"))
                && !shown.iter().any(|at| at.starts_with("Reconciling"))
                && status.observed_generation == policy.metadata.generation;
            Ok(done.then_some(policy))
        })
        .await
    }

    /// The Events of type `Warning` about an object: reasons and notes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn warnings(&self, name: &str) -> Result<Vec<String>> {
        let params = ListParams::default().fields(&format!("involvedObject.name={name},type=Warning"));
        let events = self.api::<Event>().list(&params).await?;
        let said =
            |event: Event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        Ok(events.into_iter().map(said).collect())
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

    /// As [`Scene::variable`], once it is there: right after a start the process may still be the runtime's own, which
    /// has not yet become the container's.
    ///
    /// # Errors
    /// When the pod does not get such a variable.
    pub async fn held(&self, app: &str, name: &str) -> Result<String> {
        until(&format!("variable {name} in {app}"), || async { Ok(self.variable(app, name).await.ok()) }).await
    }
}
