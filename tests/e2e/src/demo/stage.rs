//! Where the demo happens: a cluster (our own, or the user's), the stores, and the operator beside them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use http::Method;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use rekey_testkit::{bao::OpenBao, moto::Moto, node::IMAGE, python};
use serde_json::json;
use tokio::process::Command;

use super::{current_cluster::CurrentCluster, walkthrough::Seen};
use crate::{Operator, World, shipped, workloads::is_ready};

/// The namespace of the demo, which is also the first part of its keys in the stores.
pub const NAMESPACE: &str = "rekey-demo";
/// The field manager of what the demo applies.
pub const MANAGER: &str = "rekey-demo";

/// See the [module documentation](self).
pub struct Stage {
    /// The cluster and the stores.
    pub ground: Ground,
    /// The operator, once it has started.
    pub operator: OnceLock<Operator>,
    /// The token for the part of `OpenBao` that the demo uses, once it was made.
    token: OnceLock<String>,
    /// Whether the operator has been ready.
    ready: AtomicBool,
}

/// Whose cluster it is.
pub enum Ground {
    /// Made for this run.
    Own(Box<World>),
    /// That of the current kubeconfig.
    Current(Box<CurrentCluster>),
}

impl Stage {
    /// Without an operator yet.
    #[must_use]
    pub fn new(ground: Ground) -> Self {
        Self { ground, operator: OnceLock::new(), token: OnceLock::new(), ready: AtomicBool::new(false) }
    }

    /// A client with all rights.
    #[must_use]
    pub fn client(&self) -> &Client {
        match &self.ground {
            Ground::Own(world) => &world.client,
            Ground::Current(current) => &current.cluster.client,
        }
    }

    /// `OpenBao`.
    #[must_use]
    pub fn bao(&self) -> &OpenBao {
        match &self.ground {
            Ground::Own(world) => &world.bao,
            Ground::Current(current) => &current.bao,
        }
    }

    /// The AWS emulator.
    #[must_use]
    pub fn moto(&self) -> &Moto {
        match &self.ground {
            Ground::Own(world) => &world.moto,
            Ground::Current(current) => &current.moto,
        }
    }

    /// What the consumer runs.
    #[must_use]
    pub fn image(&self) -> &str {
        match &self.ground {
            Ground::Own(_) => IMAGE,
            Ground::Current(current) => &current.image,
        }
    }

    /// Where the logs stay, also after the end.
    #[must_use]
    pub fn logs(&self) -> Option<PathBuf> {
        match &self.ground {
            Ground::Own(world) => {
                world.node().and_then(rekey_testkit::node::Node::keep_logs).ok();
                world.plane.keep_logs().ok()
            }
            Ground::Current(current) => Some(current.keep_logs()),
        }
    }

    /// The token for the demo's own keys in `OpenBao`.
    ///
    /// # Errors
    /// When it was not made.
    pub fn token(&self) -> Result<&str> {
        self.token.get().map(String::as_str).context("OpenBao has made no token")
    }

    /// Makes the token for the demo's own keys in `OpenBao`; it is good for more than a day of looking around.
    ///
    /// # Errors
    /// When `OpenBao` refuses.
    pub async fn make_token(&self) -> Result<&str> {
        let bao = self.bao();
        let rules =
            format!("path \"secret/data/{NAMESPACE}/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}");
        bao.policy(NAMESPACE, &rules).await?;
        let asked = json!({"policies": [NAMESPACE], "display_name": NAMESPACE, "ttl": "48h"});
        let answer = bao.request(Method::POST, "auth/token/create", Some(&asked)).await?;
        let token = answer["auth"]["client_token"].as_str().context("no token in OpenBao's answer")?;
        Ok(self.token.get_or_init(|| token.to_owned()))
    }

    /// Applies the documents of a YAML text in the namespace of the demo.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn apply(&self, manifest: &str) -> Result<()> {
        for mut object in shipped::every_document(manifest)? {
            object["metadata"]["namespace"] = json!(NAMESPACE);
            shipped::apply(self.client(), MANAGER, object).await?;
        }
        Ok(())
    }

    /// The API of a kind in the namespace of the demo.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client().clone(), NAMESPACE)
    }

    /// From now on an operator that is not responding has ended.
    pub fn operator_is_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Returns when the operator has ended, so that no check waits in vain.
    pub async fn operator_gone(&self) -> Error {
        let mut silent = 0;
        while silent < 3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let Some(operator) = self.operator.get().filter(|_| self.ready.load(Ordering::Relaxed)) else { continue };
            silent = if operator.get("/livez").await.is_ok() { 0 } else { silent + 1 };
        }
        anyhow!("the operator has ended; see operator.log among the logs")
    }

    /// Runs kubectl in the namespace of the demo and returns what it prints.
    ///
    /// # Errors
    /// When it fails; the message holds its own.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(python::tools()?.kubectl);
        match &self.ground {
            // Each cluster has a cache of its own for kubectl.
            Ground::Own(world) => command
                .arg(format!("--kubeconfig={}", world.plane.kubeconfig().display()))
                .arg(format!("--cache-dir={}", world.plane.directory().join("kubectl").display())),
            Ground::Current(current) => command
                .arg(format!("--context={}", current.cluster.context))
                .arg(format!("--cache-dir={}", current.directory().join("kubectl").display())),
        };
        command.arg(format!("--namespace={NAMESPACE}")).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.context("run kubectl")?;
        ensure!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A Secret as it is: the object, and its keys with their values as text.
    ///
    /// # Errors
    /// When there is none.
    pub async fn secret(&self, name: &str) -> Result<(Secret, BTreeMap<String, String>)> {
        let secret = self.api::<Secret>().get(name).await.with_context(|| format!("get the Secret {name}"))?;
        let data = secret.data.iter().flatten();
        let text = data.map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned())).collect();
        Ok((secret, text))
    }

    /// The only pod of the consumer, if it is ready; else what is seen.
    ///
    /// # Errors
    /// When the pods cannot be listed.
    pub async fn pod(&self, app: &str) -> Result<Seen<Pod>> {
        let pods = self.api::<Pod>().list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
        if let [pod] = pods.as_slice()
            && is_ready(pod)
        {
            return Ok(Seen::Wanted(pod.clone()));
        }
        let seen: Vec<String> = pods.iter().map(described).collect();
        Ok(Seen::Other(format!("pods of {app}: {}", if seen.is_empty() { "none".to_owned() } else { seen.join(", ") })))
    }

    /// The environment that the pod's container really got at its start, read from its process; `None` in a cluster
    /// that is not ours, into whose containers the demo cannot look.
    ///
    /// # Errors
    /// When the process cannot be read.
    pub async fn environment(&self, pod: &Pod) -> Result<Option<BTreeMap<String, String>>> {
        match &self.ground {
            Ground::Own(world) => Ok(Some(world.node()?.environment(NAMESPACE, &pod.name_any()).await?)),
            Ground::Current(_) => Ok(None),
        }
    }

    /// The Deployment.
    ///
    /// # Errors
    /// When there is none.
    pub async fn deployment(&self, name: &str) -> Result<Deployment> {
        self.api::<Deployment>().get(name).await.with_context(|| format!("get the Deployment {name}"))
    }
}

fn described(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("no phase");
    let containers = status.into_iter().flat_map(|status| status.container_statuses.iter().flatten());
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let why: Vec<String> = waiting.collect();
    let going = if pod.metadata.deletion_timestamp.is_some() { ", ending" } else { "" };
    format!("{} ({phase}{going}{}{})", pod.name_any(), if why.is_empty() { "" } else { ", " }, why.join(", "))
}
