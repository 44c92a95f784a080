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
    /// Settings.
    pub settings: Arc<Settings>,
    /// What they tell is kept here.
    pub cluster: Arc<Cluster>,
    /// The queues.
    pub queues: Arc<Queues>,
    /// Who is told of changes.
    pub notify: Arc<Notify>,
    /// Open stores.
    pub stores: Arc<Stores>,
    /// Lists take turns.
    pub pages: Arc<Pages>,
    /// Signs of life.
    pub pulse: Arc<Pulse>,
}
