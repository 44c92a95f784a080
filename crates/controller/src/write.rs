//! The only room that writes to the API server. Every write can be done twice, and is refused by the API server when
//! what it was decided on has changed meanwhile. What the answer of a write says is in the tables before it returns; a
//! [`Change`](crate::cluster::Change) that concerns others is returned.

mod event;
mod finalizer;
mod key;
mod pending;
mod secret;
mod status;
mod template;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::ByteString;
use kube::{Client, runtime::events::Reporter};
use rekey_core::SecretBytes;

pub use self::{finalizer::Finalizer, key::wait as digest_key, status::Over};
use crate::{
    cluster::Cluster,
    error::{Error, status},
    locks::Locks,
    memory::Memory,
    metrics::Metrics,
};

/// See the [module documentation](self).
pub struct Writer {
    client: Client,
    cluster: Arc<Cluster>,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    reporter: Reporter,
    /// Secrets that are being made.
    making: Locks,
}

impl Writer {
    /// `instance`: name of this process, for Events.
    #[must_use]
    pub fn new(
        client: Client,
        cluster: Arc<Cluster>,
        memory: Arc<Memory>,
        metrics: Arc<Metrics>,
        instance: &str,
    ) -> Self {
        let reporter = event::reporter(instance);
        Self { client, cluster, memory, metrics, reporter, making: Locks::default() }
    }
}

/// What a change is decided on: it is refused when the object has another version by now.
struct Basis<'a> {
    /// Kind, namespace and name.
    object: String,
    version: &'a str,
}

impl Writer {
    /// Makes a change, unless the API server has said just now that its basis is old: it would say so again.
    async fn over<T>(
        &self,
        basis: Option<Basis<'_>>,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(Basis { object, version }) = basis else { return change.await };
        if self.memory.conflicts.pause(&object, version).is_some() {
            return Err(Error::Stale { object });
        }
        let made = change.await;
        if let Err(Error::Api { source, .. }) = &made
            && status(source) == Some(409)
        {
            self.memory.conflicts.set(&object, version);
        }
        made
    }
}

fn bytes(data: &BTreeMap<String, SecretBytes>) -> BTreeMap<String, ByteString> {
    data.iter().map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec()))).collect()
}
