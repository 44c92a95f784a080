//! What the status of a policy has said over time. A look now and then would miss what it says for a moment.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use rekey_api::{SecretPolicy, policy::ConsumersStatus};
use rekey_e2e::conditions;
use tokio::task::JoinHandle;

/// One state of the status.
#[derive(Clone, Debug)]
pub struct Said {
    /// When the test saw it.
    pub at: Timestamp,
    /// `ConsumersCurrent=True/AllCurrent` and so on.
    pub conditions: Vec<String>,
    pub consumers: ConsumersStatus,
}

/// See the [module documentation](self). It ends when it is dropped.
pub struct Record {
    said: Arc<Mutex<Vec<Said>>>,
    task: JoinHandle<()>,
}

impl Record {
    pub fn of(policies: Api<SecretPolicy>, name: &str) -> Self {
        let said: Arc<Mutex<Vec<Said>>> = Arc::default();
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let into = Arc::clone(&said);
        let task = tokio::spawn(async move {
            let changes = watcher(policies, config).default_backoff().applied_objects();
            pin_mut!(changes);
            while let Some(change) = changes.next().await {
                let Ok(policy) = change else { continue }; // it lists again, and so misses nothing that lasts
                let status = policy.status.unwrap_or_default();
                into.lock().unwrap_or_else(PoisonError::into_inner).push(Said {
                    at: Timestamp::now(),
                    conditions: conditions::shown(&status.conditions),
                    consumers: status.consumers.unwrap_or_default(),
                });
            }
        });
        Self { said, task }
    }

    /// All of it so far.
    pub fn said(&self) -> Result<Vec<Said>> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(!said.is_empty() && !self.task.is_finished(), "the watch on the policy has ended, or never came");
        Ok(said)
    }

    /// The status has not shown this condition since the record was started.
    pub fn never(&self, condition: &str) -> Result<()> {
        let said = self.said()?;
        let first = said.iter().find(|at| at.conditions.iter().any(|shown| shown == condition));
        ensure!(first.is_none(), "the status said {condition} too early: {first:?}");
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.task.abort();
    }
}
