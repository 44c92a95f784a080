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
use crate::{cluster::Cluster, locks::Locks, memory::Memory, metrics::Metrics};

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

fn bytes(data: &BTreeMap<String, SecretBytes>) -> BTreeMap<String, ByteString> {
    data.iter().map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec()))).collect()
}
