//! The cluster with Rekey, and its users: an administrator of the cluster, and one of the namespace `shop`.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use rekey_e2e::{
    Scene, World, operator, release::SYSTEM, shell::Shell, shipped, wait::until, workloads::is_ready, world::OPERATOR,
};
use rekey_testkit::{
    helm::{self, Helms},
    network::Network,
    node::IMAGE,
    plane::Mark,
    python,
};
use serde_json::json;

use super::image::{Image, REPOSITORY};

pub const SHOP: &str = "shop";
/// An administrator of the namespace `shop` without other rights.
const OWNER: &str = "owner-of-the-shop";

/// The user who types a command.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    ClusterAdmin,
    NamespaceAdmin,
}

/// See the [module documentation](self).
pub struct Installation {
    pub world: Arc<World>,
    pub helms: Helms,
    /// The digest of the image.
    pub digest: String,
    // Before anything was installed.
    start: Mark,
    owner: PathBuf,
    shell: Shell,
}

impl Installation {
    /// An empty cluster whose node knows the image, and a store that pods reach by TLS.
    pub async fn start(image: Image, network: Network) -> Result<Self> {
        let world = World::start_in(&network).await?;
        let digest = world.node()?.import(&image.archive, REPOSITORY, &image.tag)?;
        let helms = helm::helms()?;
        let home = world.plane.directory().join("people");
        let authority = world.plane.directory().join("vault-ca.crt");
        std::fs::write(&authority, &world.bao.secure().certificate)?;
        let tools = python::tools()?;
        let shell = Shell::new(home, &[("kubectl", &tools.kubectl), ("vault", &tools.bao), ("helm", &helms.three)])?
            .with("OPERATOR_IMAGE", REPOSITORY)
            .with("OPERATOR_TAG", &image.tag)
            .with("WEB_IMAGE", IMAGE)
            .with("VAULT_ADDR", &world.bao.secure().address)
            .with("VAULT_TOKEN", world.bao.token())
            .with("VAULT_CACERT", authority.display().to_string());
        let owner = world.plane.kubeconfig_for("owner", OWNER, &[])?;
        let start = world.plane.audit()?.mark().await?;
        let world = Arc::new(world);
        Ok(Self { world, helms, digest, start, owner, shell })
    }

    /// Runs commands of a document unchanged, and returns what they printed.
    pub async fn run(&self, who: Who, commands: &str) -> Result<String> {
        let kubeconfig = match who {
            Who::ClusterAdmin => self.world.plane.kubeconfig(),
            Who::NamespaceAdmin => &self.owner,
        };
        let said = self.shell.run(kubeconfig, commands).await.with_context(|| format!("{who:?}"))?;
        Ok(said.out)
    }

    /// Makes a user admin of the namespace `shop` by the built-in role, and waits until that covers our kinds.
    pub async fn appoint_owner(&self) -> Result<()> {
        let mut binding = shipped::binding(SHOP, ("owner", "admin"));
        binding["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": OWNER}]);
        self.world.apply(binding).await?;
        let question = format!("kubectl auth can-i create secretpolicies.rekey.dev -n {SHOP}");
        until("our kinds are part of the role admin", || async {
            Ok(self.run(Who::NamespaceAdmin, &question).await.ok())
        })
        .await
        .map(drop)
    }

    /// The namespace `shop` as a scene.
    pub fn shop(&self) -> Scene {
        Scene { world: Arc::clone(&self.world), namespace: SHOP.to_owned(), stable_for: Scene::STABLE_FOR }
    }

    /// The live pods of the operator, once there are two of them and both are ready.
    pub async fn replicas(&self) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.world.client.clone(), SYSTEM);
        let label = ListParams::default().labels("app.kubernetes.io/name=rekey");
        until("two replicas are ready", || async {
            let mut found = pods.list(&label).await?.items;
            found.retain(|pod| pod.metadata.deletion_timestamp.is_none());
            Ok((found.len() == 2 && found.iter().all(is_ready)).then_some(found))
        })
        .await
    }

    /// What one replica serves at a port of its pod.
    pub async fn ask(&self, pod: &Pod, port: u16, path: &str) -> Result<(u16, String)> {
        let address =
            pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).context("a pod without address")?;
        operator::get(address, port, path).await.with_context(|| format!("{path} of {}", pod.name_any()))
    }

    /// The replica that leads, by its own metrics; exactly one does.
    pub async fn leader(&self) -> Result<Pod> {
        until("exactly one replica leads", || async {
            let mut leaders = Vec::new();
            for pod in self.replicas().await? {
                let (_, metrics) = self.ask(&pod, 9464, "/metrics").await?;
                if operator::says_it_leads(&metrics) {
                    leaders.push(pod);
                }
            }
            Ok(if leaders.len() == 1 { leaders.pop() } else { None })
        })
        .await
    }

    /// Fails when the API server has refused anything to the operator because of a missing right.
    pub async fn nothing_was_refused(&self) -> Result<()> {
        let audit = self.world.plane.audit()?;
        let asked = audit.asked_since(&self.start, OPERATOR).await?;
        ensure!(!asked.is_empty(), "the operator has asked for nothing");
        let refused: Vec<_> = asked.iter().filter(|asked| asked.status == 403).collect();
        ensure!(refused.is_empty(), "refused: {refused:?}");
        Ok(())
    }

    pub fn keep_logs(&self) -> Result<PathBuf> {
        self.world.node()?.keep_logs()?;
        self.world.plane.keep_logs()
    }

    pub fn stop(self) -> Result<()> {
        Arc::into_inner(self.world).context("a test still holds the world")?.stop()
    }
}
