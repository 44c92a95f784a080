//! What watches work with.

use std::sync::Arc;

use kube::Client;

use crate::{
    cluster::Cluster, notify::Notify, pages::Pages, pulse::Pulse, queue::Queues, settings::Settings, stores::Stores,
};

/// See the [module documentation](self).
pub struct Watches {
    /// For calls, with a deadline each.
    pub client: Client,
    /// For watches, without a deadline.
    pub watch_client: Client,
    pub settings: Arc<Settings>,
    /// What they report is kept here.
    pub cluster: Arc<Cluster>,
    pub queues: Arc<Queues>,
    /// Queues what a change concerns.
    pub notify: Arc<Notify>,
    pub stores: Arc<Stores>,
    /// Lists take turns.
    pub pages: Arc<Pages>,
    /// Signs of life.
    pub pulse: Arc<Pulse>,
}
