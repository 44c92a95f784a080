//! The operator runs as a process where pods of its Deployment would: it starts when there is one, and ends in order
//! when the last one should go.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use rekey_e2e::{Operator, World, operator::Options, release::SYSTEM, wait::until};
use tokio::task::JoinHandle;

/// See the [module documentation](self).
pub struct StandIn {
    task: JoinHandle<()>,
    state: Arc<Mutex<State>>,
}

struct State {
    client: Client,
    directory: PathBuf,
    options: Options,
    running: Option<Operator>,
    starts: usize,
    /// Its node is lost: no pod of it runs, whatever the API server says.
    is_lost: bool,
    complaints: Vec<String>,
}

impl StandIn {
    /// From now on, with this access to the cluster.
    pub fn begin(world: &World, kubeconfig: PathBuf) -> Self {
        let state = Arc::new(Mutex::new(State {
            client: world.client.clone(),
            directory: world.plane.directory().to_owned(),
            options: Options { kubeconfig, arguments: Vec::new() },
            running: None,
            starts: 0,
            is_lost: false,
            complaints: Vec::new(),
        }));
        let followed = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                follow(&followed).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { task, state }
    }

    /// Takes the node of the operator away, at once.
    pub fn loss(&self) -> impl Fn() + Send + Sync + use<> {
        let state = Arc::clone(&self.state);
        move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_lost = true;
            if let Some(mut operator) = state.running.take() {
                operator.kill().ok();
            }
        }
    }

    /// The node is back.
    pub fn found(&self) {
        self.state().is_lost = false;
    }

    /// Waits until the operator runs, or does not run any more.
    pub async fn wait(&self, runs: bool) -> Result<()> {
        until(if runs { "the operator runs" } else { "the operator is gone" }, || async {
            self.healthy()?;
            Ok((self.state().running.is_some() == runs).then_some(()))
        })
        .await
    }

    /// Whether it never ended by itself while it should run.
    pub fn healthy(&self) -> Result<()> {
        let complaints = self.state().complaints.join("\n");
        ensure!(complaints.is_empty(), "{complaints}");
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(state: &Arc<Mutex<State>>) {
    let client = state.lock().unwrap_or_else(PoisonError::into_inner).client.clone();
    let pods: Api<Pod> = Api::namespaced(client, SYSTEM);
    let Ok(found) = pods.list(&ListParams::default().labels("app.kubernetes.io/name=rekey")).await else {
        return;
    };
    let runs = found.items.iter().any(|pod| pod.metadata.deletion_timestamp.is_none());
    let state = Arc::clone(state);
    // A start builds the operator if needed, and a stop waits for its end.
    tokio::task::spawn_blocking(move || {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = state.keep(runs) {
            state.complaints.push(format!("{error:#}"));
        }
    })
    .await
    .ok();
}

impl State {
    fn keep(&mut self, runs: bool) -> Result<()> {
        let wanted = runs && !self.is_lost;
        match &mut self.running {
            None if wanted && self.complaints.is_empty() => {
                self.starts += 1;
                let name = format!("operator-{}", self.starts);
                self.running = Some(Operator::start(&name, &self.directory, &self.options)?);
            }
            Some(operator) if wanted => {
                let ended = operator.alive();
                if ended.is_err() {
                    self.running = None;
                }
                ended?;
            }
            Some(operator) => {
                let ended = operator.stop();
                self.running = None;
                ended.context("it did not end in order")?;
            }
            None => {}
        }
        Ok(())
    }
}
