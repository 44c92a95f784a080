//! A world of real parts: a control plane with the CRDs and the shipped roles, stores, and (if asked for) a node.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use rekey_testkit::{bao::OpenBao, moto::Moto, node::Node, plane::Plane};
use serde::Deserialize as _;

use crate::{
    operator::{Operator, Options, repository},
    wait::until,
};

/// The user that the operator is: the `ServiceAccount` of the shipped manifests.
pub const OPERATOR: &str = "system:serviceaccount:rekey-system:rekey";
const GROUPS: [&str; 2] = ["system:serviceaccounts", "system:serviceaccounts:rekey-system"];

/// See the [module documentation](self).
pub struct World {
    /// OpenBao.
    pub bao: OpenBao,
    /// The AWS emulator.
    pub moto: Moto,
    node: Option<Node>,
    /// The control plane.
    pub plane: Plane,
    /// A client with all rights.
    pub client: Client,
}

impl World {
    /// Starts everything; `node`: with a node, so that pods really run.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(node: bool) -> Result<Self> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        }
        let (plane, bao, moto) = tokio::try_join!(Plane::start(), OpenBao::start(), Moto::start())?;
        let node = if node { Some(Node::start(&plane).await?) } else { None };
        let client = plane.client()?;
        let world = Self { bao, moto, node, plane, client };
        world.install().await?;
        Ok(world)
    }

    /// The node.
    ///
    /// # Errors
    /// When the world was started without one.
    pub fn node(&self) -> Result<&Node> {
        self.node.as_ref().context("this world has no node")
    }

    /// The operator's access to the cluster, with the rights of the shipped manifests.
    ///
    /// # Errors
    /// When the kubeconfig cannot be written.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        self.plane.kubeconfig_for("operator", OPERATOR, &GROUPS)
    }

    /// Starts the operator.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn operator(&self, name: &str, arguments: &[&str]) -> Result<Operator> {
        let options = Options {
            kubeconfig: self.kubeconfig()?,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        };
        Operator::start(name, self.plane.directory(), &options)
    }

    /// Applies the CRDs and every shipped object but those that need an image.
    async fn install(&self) -> Result<()> {
        self.apply_all(&rekey_api::crds::yaml()).await?;
        for kind in ["secretpolicies", "rotationschedules", "remotestores", "clusterremotestores"] {
            until(&format!("{kind} are served"), || async {
                let resource = ApiResource {
                    group: "rekey.dev".to_owned(),
                    version: "v1alpha1".to_owned(),
                    api_version: "rekey.dev/v1alpha1".to_owned(),
                    kind: String::new(),
                    plural: kind.to_owned(),
                };
                let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
                Ok(api.list(&ListParams::default()).await.ok())
            })
            .await?;
        }
        let directory = repository().join("deploy/manifests");
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "yaml")) {
            let text = std::fs::read_to_string(file)?;
            self.apply_all(&text).await.with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    /// Applies every document of a YAML text with all rights.
    ///
    /// # Errors
    /// When a document cannot be read or is refused.
    pub async fn apply_all(&self, text: &str) -> Result<()> {
        for document in serde_norway::Deserializer::from_str(text) {
            let value = serde_json::Value::deserialize(document)?;
            let kind = value["kind"].as_str().unwrap_or_default();
            if value.is_null() || ["Deployment", "PodDisruptionBudget", "Kustomization"].contains(&kind) {
                continue;
            }
            self.apply(value).await?;
        }
        Ok(())
    }

    /// Applies one object with all rights, in the namespace it names.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn apply(&self, value: serde_json::Value) -> Result<DynamicObject> {
        let api_version = value["apiVersion"].as_str().context("apiVersion")?.to_owned();
        let kind = value["kind"].as_str().context("kind")?.to_owned();
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &kind), &plural(&kind));
        let object: DynamicObject = serde_json::from_value(value)?;
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let params = PatchParams::apply("test").force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("apply {kind} {}", object.name_any()))
    }
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if lower.ends_with('s') => format!("{lower}es"),
        None => format!("{lower}s"),
    }
}
