//! Where scenarios run: an operator in a scene, and proxies around it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::{DeleteParams, ListParams};
use rekey_testkit::{
    postgres::Postgres,
    proxy::{Call, Fault, Gate, PostgresProxy, Proxy, filter},
};

use crate::{
    Operator, Scene, World, database,
    operator::Options,
    world::{GROUPS, OPERATOR},
};

/// A scene whose operator reaches everything through proxies, and can die at any call.
pub struct Rig {
    /// The namespace; its stores `vault` and `aws` are reached through the proxies too.
    pub scene: Scene,
    /// In front of the API server.
    pub kubernetes: Proxy,
    /// In front of `OpenBao`.
    pub bao: Proxy,
    /// In front of the AWS emulator.
    pub aws: Proxy,
    /// The database, if the scenario has one.
    pub database: Option<Database>,
    kubeconfig: PathBuf,
    operator: Arc<Mutex<Option<Operator>>>,
}

/// A database that the operator reaches through a proxy.
pub struct Database {
    /// The server itself.
    pub server: Arc<Postgres>,
    /// In front of it.
    pub proxy: PostgresProxy,
}

impl Rig {
    /// A new namespace with stores; the operator does not run yet.
    ///
    /// # Errors
    /// When something cannot be made.
    pub async fn new(world: &Arc<World>, prefix: &str) -> Result<Self> {
        let identity = world.plane.identity(OPERATOR, &GROUPS)?;
        let (certificate, key) = (&identity.certificate_pem, &identity.key_pem);
        let kubernetes = Proxy::kubernetes(world.plane.url(), &world.plane.ca_pem(), certificate, key)?;
        let bao = Proxy::http(world.bao.address())?;
        bao.count(filter::vault);
        let aws = Proxy::http(world.moto.endpoint())?;
        aws.count(filter::aws);
        let scene = Scene::closed(world, prefix).await?;
        scene.open().await?;
        scene.vault_store_at(bao.address(), "ReadWrite").await?;
        scene.aws_store_at(aws.address(), "ReadWrite").await?;
        let authority = kubernetes.ca_pem().context("the proxy speaks TLS")?;
        let kubeconfig =
            world.plane.kubeconfig_via(&scene.namespace, OPERATOR, &GROUPS, kubernetes.address(), authority)?;
        Ok(Self { scene, kubernetes, bao, aws, database: None, kubeconfig, operator: Arc::default() })
    }

    /// The same with a database of its own, whose rotator the operator allows.
    ///
    /// # Errors
    /// When something cannot be made.
    pub async fn with_database(world: &Arc<World>, prefix: &str) -> Result<Self> {
        let server = database::start().await?;
        let proxy = PostgresProxy::start(&server.address())?;
        let rig = Self::new(world, prefix).await?;
        Ok(Self { database: Some(Database { server, proxy }), ..rig })
    }

    /// Starts the operator, for this namespace only.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> Result<()> {
        let namespace = &self.scene.namespace;
        let mut arguments = vec![format!("--namespaces={namespace}"), "--leader-elect=false".to_owned()];
        arguments.extend(self.database.as_ref().map(|_| "--allow-alpha".to_owned()));
        let options = Options { kubeconfig: self.kubeconfig.clone(), arguments };
        let operator = Operator::start(namespace, self.scene.world.plane.directory(), &options)?;
        *self.operator.lock().unwrap_or_else(PoisonError::into_inner) = Some(operator);
        Ok(())
    }

    /// Starts the operator and waits until both stores are ready, so that later writes belong to the scenario.
    ///
    /// # Errors
    /// When it cannot be started, or a store does not become ready.
    pub async fn start_ready(&self) -> Result<()> {
        self.start()?;
        for store in ["vault", "aws"] {
            self.scene.wait_store(store, "Ready=True/Synced").await?;
        }
        Ok(())
    }

    /// Ends the operator at once.
    pub fn kill(&self) {
        kill(&self.operator);
    }

    /// Checks that the latest operator still runs; the error has the end of its log.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub fn alive(&self) -> Result<()> {
        match self.operator.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(operator) => operator.alive(),
            None => Ok(()),
        }
    }

    /// Removes all workloads: a node has room for 200 pods.
    pub(super) async fn clear(&self) -> Result<()> {
        let (params, all) = (DeleteParams::background().grace_period(0), ListParams::default());
        self.scene.api::<Deployment>().delete_collection(&params, &all).await?;
        self.scene.api::<StatefulSet>().delete_collection(&params, &all).await?;
        self.scene.api::<DaemonSet>().delete_collection(&params, &all).await?;
        Ok(())
    }

    /// How many calls that change something there were, at all servers.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.lengths().values().sum()
    }

    /// Kills the operator at the call of this number.
    pub(super) fn arm(&self, server: Server, number: usize, fault: Fault) {
        let Some(gate) = self.gate(server) else { return };
        let operator = Arc::clone(&self.operator);
        gate.on_kill(Box::new(move || kill(&operator)));
        gate.arm(number as u64, fault);
    }

    /// How many calls that change something there were, at each of the servers that there are.
    pub(super) fn lengths(&self) -> BTreeMap<Server, usize> {
        self.gates().map(|(server, gate)| (server, gate.numbered())).collect()
    }

    /// The texts of the calls at a server, without the names of this run.
    pub(super) fn calls(&self, server: Server) -> Vec<String> {
        let http = |proxy: &Proxy| proxy.calls().iter().map(|call| self.describe(server, call)).collect();
        match server {
            Server::Kubernetes => http(&self.kubernetes),
            Server::Bao => http(&self.bao),
            Server::Aws => http(&self.aws),
            Server::Postgres => {
                let statements = self.database.iter().flat_map(|database| database.proxy.calls());
                statements.map(|statement| told(server, &statement.text, statement.answer.as_deref())).collect()
            }
        }
    }

    /// Starts the operator again after each kill. Ends only when it cannot.
    pub(super) async fn revive(&self) -> Result<()> {
        let mut revived = 0;
        loop {
            let kills: u64 = self.gates().map(|(_, gate)| gate.kills()).sum();
            if kills > revived {
                revived = kills;
                self.start()?;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn gates(&self) -> impl Iterator<Item = (Server, &Gate)> {
        Server::ALL.into_iter().filter_map(|server| Some((server, self.gate(server)?)))
    }

    fn gate(&self, server: Server) -> Option<&Gate> {
        match server {
            Server::Kubernetes => Some(self.kubernetes.gate()),
            Server::Bao => Some(self.bao.gate()),
            Server::Aws => Some(self.aws.gate()),
            Server::Postgres => self.database.as_ref().map(|database| database.proxy.gate()),
        }
    }

    fn describe(&self, server: Server, call: &Call) -> String {
        let path = call.path.replace(&self.scene.namespace, "…");
        let short = path.rsplit("/…/").next().unwrap_or(&path).to_owned();
        let what = call.operation.clone().unwrap_or(short);
        told(server, &format!("{} {what}", call.method), call.status.map(|status| status.to_string()).as_deref())
    }
}

fn told(server: Server, what: &str, answer: Option<&str>) -> String {
    format!("{server:?} {what} ({})", answer.unwrap_or("no answer"))
}

fn kill(operator: &Mutex<Option<Operator>>) {
    if let Some(mut operator) = operator.lock().unwrap_or_else(PoisonError::into_inner).take() {
        operator.kill().ok();
    }
}

/// What the operator writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The API server.
    Kubernetes,
    /// `OpenBao`.
    Bao,
    /// The AWS emulator.
    Aws,
    /// The database.
    Postgres,
}

impl Server {
    /// All that there can be.
    pub const ALL: [Self; 4] = [Self::Kubernetes, Self::Bao, Self::Aws, Self::Postgres];
}
