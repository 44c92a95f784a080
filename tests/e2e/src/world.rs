//! A world of real parts: a control plane with the CRDs and the shipped roles, stores, and (if asked for) a node.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, api::DynamicObject};
use rekey_testkit::{bao::OpenBao, moto::Moto, network::Network, node::Node, plane::Plane};

use crate::{
    operator::{Operator, Options, Setting},
    release::SYSTEM,
    shipped,
};

/// The user that the operator is: the `ServiceAccount` of the shipped manifests.
pub const OPERATOR: &str = "system:serviceaccount:rekey-system:rekey";
/// The field manager of what the tests apply.
const MANAGER: &str = "test";
/// Its groups.
pub const GROUPS: [&str; 2] = ["system:serviceaccounts", "system:serviceaccounts:rekey-system"];

/// See the [module documentation](self).
pub struct World {
    /// `OpenBao`.
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
        Self::start_with(node, &[]).await
    }

    /// The same with further flags for the API server.
    ///
    /// # Errors
    /// As [`World::start`].
    pub async fn start_with(node: bool, api_server: &[&str]) -> Result<Self> {
        let world = Self::bare(node, api_server).await?;
        shipped::install(&world.client, MANAGER).await?;
        Ok(world)
    }

    /// The same without Rekey installed.
    ///
    /// # Errors
    /// As [`World::start`].
    pub async fn bare(node: bool, api_server: &[&str]) -> Result<Self> {
        choose_cryptography();
        let (plane, bao, moto) = tokio::try_join!(Plane::start_with(api_server), OpenBao::start(), Moto::start())?;
        let node = if node { Some(Node::start(&plane).await?) } else { None };
        let client = plane.client()?;
        Ok(Self { bao, moto, node, plane, client })
    }

    /// Starts everything where pods reach the API server and `OpenBao`, with a node, and without Rekey installed.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start_in(network: &Network) -> Result<Self> {
        choose_cryptography();
        let bao = OpenBao::start_at(network.servers());
        let (plane, bao, moto) = tokio::try_join!(Plane::start_in(network), bao, Moto::start())?;
        let node = Some(Node::start(&plane).await?);
        let client = plane.client()?;
        Ok(Self { bao, moto, node, plane, client })
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

    /// Starts the operator with other settings than the usual ones.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn operator_in(&self, setting: &Setting<'_>, name: &str, arguments: &[&str]) -> Result<Operator> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let options = Options { kubeconfig: self.kubeconfig()?, arguments };
        Operator::start_in(setting, name, self.plane.directory(), &options)
    }

    /// The leader's Lease; empty when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn lease(&self) -> Result<LeaseSpec> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), SYSTEM);
        Ok(leases.get_opt("rekey-leader").await?.and_then(|lease| lease.spec).unwrap_or_default())
    }

    /// Applies every document of a YAML text with all rights.
    ///
    /// # Errors
    /// When a document cannot be read or is refused.
    pub async fn apply_all(&self, text: &str) -> Result<()> {
        for object in shipped::documents(text)? {
            self.apply(object).await?;
        }
        Ok(())
    }

    /// Applies one object with all rights, in the namespace that it names.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn apply(&self, value: serde_json::Value) -> Result<DynamicObject> {
        shipped::apply(&self.client, MANAGER, value).await
    }

    /// Stops everything and removes its files. Dropping it does the same and reports no errors.
    ///
    /// # Errors
    /// When a part does not end.
    pub fn stop(self) -> Result<()> {
        let stopped = self.node.map_or(Ok(()), Node::stop);
        self.plane.stop()?;
        stopped
    }
}

fn choose_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    }
}
