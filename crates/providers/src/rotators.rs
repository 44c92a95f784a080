//! The wire side of the rotators: it tries a new credential, and asks and alters what is not a store.

pub mod postgres;
pub mod ssh;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use rekey_core::{
    rotator::{
        database::Databases,
        port::{Proof, Prove},
    },
    store::{Network, StoreError},
};

/// Proves new credentials, within what the operator's settings allow.
pub struct Proofs {
    network: Network,
    databases: Arc<dyn Databases>,
}

impl Proofs {
    /// With these settings.
    #[must_use]
    pub fn new(network: Network, databases: Arc<dyn Databases>) -> Self {
        Self { network, databases }
    }
}

#[async_trait]
impl Prove for Proofs {
    async fn prove(&self, proof: &Proof) -> Result<(), StoreError> {
        match proof {
            Proof::SshLogin { private_key, endpoints } => {
                // At once, so that many slow servers take no longer than one.
                let logins = endpoints.iter().map(|endpoint| ssh::login(private_key, endpoint, &self.network));
                join_all(logins).await.into_iter().collect()
            }
            Proof::DatabaseLogin { servers, login, acts_as } => {
                let logins = servers.iter().map(|server| self.databases.login(server, login, Some(acts_as)));
                join_all(logins).await.into_iter().collect()
            }
        }
    }
}
