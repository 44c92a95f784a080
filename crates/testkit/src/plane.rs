//! A real Kubernetes control plane on free loopback ports: etcd, API server (RBAC and Node authorization, audit log),
//! controller manager and scheduler. Several can run side by side.
//!
//! The programs are built on first use (about five minutes on two cores) and kept in the [cache](crate::cache).
//! `$REKEY_KUBERNETES` chooses the version of Kubernetes: see [`Kubernetes`].
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use rekey_testkit::plane::Plane;
//!
//! let plane = Plane::start().await?;
//! let namespace = plane.namespace("demo").await?;
//! let audit = plane.audit()?;
//! let mark = audit.mark().await?;
//! // ... let the operator work on `namespace` ...
//! println!("{}", audit.counts_since(&mark, "rekey").await?);
//! plane.stop()?;
//! # Ok(())
//! # }
//! ```

mod audit;
mod certificates;
mod compaction;
mod kubeconfig;
mod kubernetes;
pub(crate) mod programs;
pub(crate) mod scratch;
pub(crate) mod servers;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};

pub use self::{
    audit::{Asked, Audit, Counts, Mark},
    certificates::Identity,
    kubernetes::Kubernetes,
};
use self::{
    programs::Group,
    servers::{Place, Servers},
};
use crate::{network::Network, wait};

/// The user of [`Plane::client`] and [`Plane::kubeconfig`], a member of `system:masters`.
pub const ADMIN: &str = "rekey-test-admin";

const READY_WITHIN: Duration = Duration::from_mins(2);

/// A running control plane. It stops when it is dropped; a [`Node`](crate::node::Node) on it keeps it until it has
/// stopped itself.
pub struct Plane {
    servers: Arc<Servers>,
    kubeconfig: PathBuf,
    config: Config,
    kubernetes: Kubernetes,
}

impl Plane {
    /// Starts a control plane and waits until it serves requests and its controllers work.
    ///
    /// # Errors
    /// When the programs cannot be built, one of them ends or is not ready in time (the error holds the end of the
    /// log), or the API server is not of the requested Kubernetes.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with further flags for the API server, such as `--encryption-provider-config=...`.
    ///
    /// # Errors
    /// As [`Plane::start`].
    pub async fn start_with(arguments: &[&str]) -> Result<Self> {
        Self::start_at(Place::Loopback, arguments).await
    }

    /// Starts a control plane that pods can reach.
    ///
    /// # Errors
    /// As [`Plane::start`].
    pub async fn start_in(network: &Network) -> Result<Self> {
        Self::start_at(Place::Network(network), &[]).await
    }

    async fn start_at(place: Place<'_>, arguments: &[&str]) -> Result<Self> {
        let kubernetes = Kubernetes::asked()?;
        let programs = programs::directory(Group::Plane, kubernetes).await?;
        for _ in 0..2 {
            match Self::attempt(programs.clone(), kubernetes, place, arguments).await {
                // Another process took a port between its choice and its use.
                Err(error) if format!("{error:#}").contains("address already in use") => {}
                outcome => return outcome,
            }
        }
        Self::attempt(programs, kubernetes, place, arguments).await
    }

    async fn attempt(programs: PathBuf, kubernetes: Kubernetes, place: Place<'_>, arguments: &[&str]) -> Result<Self> {
        let mut servers = Servers::start(programs, place, arguments).await?;
        let kubeconfig = servers.kubeconfig("admin", ADMIN, &["system:masters"])?;
        let config = read_config(&kubeconfig).await?;
        let client = Client::try_from(config.clone()).context("make the client of the administrator")?;
        wait::until("the API server is ready", READY_WITHIN, async || {
            servers.alive()?;
            Ok(client.request_text(Request::get("/readyz").body(Vec::new())?).await.ok().map(drop))
        })
        .await?;
        let served = client.apiserver_version().await.context("ask the API server for its version")?.git_version;
        kubernetes.check("API server", &served)?;
        servers.start_controllers()?;
        wait::until("the controllers make a ServiceAccount", READY_WITHIN, async || {
            servers.alive()?;
            default_account(&client, "default").await
        })
        .await?;
        servers.scratch.started();
        // So that a log names its Kubernetes.
        eprintln!("testkit: a plane of Kubernetes {served}");
        Ok(Self { servers: Arc::new(servers), kubeconfig, config, kubernetes })
    }

    /// Which Kubernetes this is; a node on it is the same.
    #[must_use]
    pub fn kubernetes(&self) -> Kubernetes {
        self.kubernetes
    }

    /// Where the API server is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.servers.url
    }

    /// The certificate of the authority that signed the API server's own, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.servers.authority.pem()
    }

    /// The directory of this plane; it goes with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.servers.directory()
    }

    /// The kubeconfig of the administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of the administrator. It lives as long as its runtime, so each test makes its own. It does not retry.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn client(&self) -> Result<Client> {
        Client::try_from(self.config.clone()).context("make the client of the administrator")
    }

    /// A client of another user; it does not retry.
    ///
    /// # Errors
    /// When the certificate or the client cannot be made.
    pub async fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        // A user name holds colons and may hold slashes.
        let name: String = user.chars().map(|sign| if sign.is_alphanumeric() { sign } else { '-' }).collect();
        let path = self.kubeconfig_for(&format!("client-of-{name}"), user, groups)?;
        Client::try_from(read_config(&path).await?).with_context(|| format!("make the client of {user}"))
    }

    /// A client certificate for a user in up to two groups.
    ///
    /// # Errors
    /// When there are more groups or the certificate cannot be made.
    pub fn identity(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        self.servers.authority.client(user, groups)
    }

    /// Writes the kubeconfig `<directory>/<name>.kubeconfig` for a user in up to two groups.
    ///
    /// # Errors
    /// When the certificate cannot be made or the file cannot be written.
    pub fn kubeconfig_for(&self, name: &str, user: &str, groups: &[&str]) -> Result<PathBuf> {
        self.servers.kubeconfig(name, user, groups)
    }

    /// The same for a server at another address, such as a proxy that ends TLS: it shows a certificate of the authority
    /// `ca_pem`, and needs an [identity](Plane::identity) of its own towards the API server.
    ///
    /// # Errors
    /// As [`Plane::kubeconfig_for`].
    pub fn kubeconfig_via(&self, name: &str, user: &str, groups: &[&str], url: &str, ca_pem: &str) -> Result<PathBuf> {
        let path = self.directory().join(format!("{name}.kubeconfig"));
        kubeconfig::write(&path, url, ca_pem, &self.identity(user, groups)?)?;
        Ok(path)
    }

    /// Makes a namespace with a new name that starts with `prefix`, and waits until pods can be made in it.
    ///
    /// # Errors
    /// When the API server refuses it or no `ServiceAccount` appears in it.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let client = self.client()?;
        let mut namespace = Namespace::default();
        namespace.metadata.generate_name = Some(format!("{prefix}-"));
        let made = Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("make a namespace {prefix}-"))?;
        let name = made.metadata.name.context("the new namespace has no name")?;
        wait::until("the new namespace has a ServiceAccount", READY_WITHIN, async || {
            default_account(&client, &name).await
        })
        .await?;
        Ok(name)
    }

    /// The audit log of the API server: every request, without bodies.
    ///
    /// # Errors
    /// When the client that it uses cannot be made.
    pub fn audit(&self) -> Result<Audit> {
        Ok(Audit { log: self.servers.audit_log(), client: self.client()? })
    }

    /// Compacts etcd: nobody can go on from a revision before the one that is returned, neither with a watch nor with the rest
    /// of a list in pages, but for what the API server has cached itself.
    ///
    /// # Errors
    /// When etcd refuses.
    pub async fn compact(&self) -> Result<u64> {
        compaction::compact(&self.servers.etcd_url).await
    }

    /// Copies the logs to `target/e2e-logs/<test program>-<process>/`, now and again at the end; for a test that failed.
    /// A plane that is dropped by a panic keeps them by itself.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn keep_logs(&self) -> Result<PathBuf> {
        self.servers.scratch.keep_logs()
    }

    /// Stops all its processes and removes its directory.
    ///
    /// # Errors
    /// When a node still runs on it (it stops with that node), or a process does not end.
    pub fn stop(self) -> Result<()> {
        match Arc::into_inner(self.servers) {
            Some(mut servers) => servers.stop(),
            None => bail!("a node still runs on this plane: stop it first"),
        }
    }

    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    pub(crate) fn servers(&self) -> Arc<Servers> {
        Arc::clone(&self.servers)
    }
}

async fn read_config(path: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use {}", path.display()))?;
    // A test counts requests and looks at the server's own answers.
    config.default_retry = false;
    Ok(config)
}

/// Whether the `ServiceAccount` that pods use exists; a failed request counts as not yet.
async fn default_account(client: &Client, namespace: &str) -> Result<Option<()>> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    Ok(accounts.get_opt("default").await.ok().flatten().map(drop))
}
