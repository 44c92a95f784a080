//! What a rotator needs beside the store.

use async_trait::async_trait;
use rekey_api::rotator::SshEndpoint;

use super::database::{Login, Server};
use crate::{SecretBytes, store::StoreError};

/// What proves a new credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A login at each of these servers with this private key, in `OpenSSH` format.
    SshLogin {
        /// The key.
        private_key: SecretBytes,
        /// The servers, in order.
        endpoints: Vec<SshEndpoint>,
    },
    /// A login at each of these servers, which acts as a role from its start.
    DatabaseLogin {
        /// The servers: the primary first.
        servers: Vec<Server>,
        /// The login.
        login: Login,
        /// Whom its sessions act as.
        acts_as: String,
    },
}

/// Proves credentials.
#[async_trait]
pub trait Prove: Send + Sync + 'static {
    /// Does what the proof says, once, and changes nothing.
    ///
    /// # Errors
    /// `Denied` when a server does not accept the credential, which may not have reached it yet; `Unavailable` when one
    /// is not responding; `Invalid` for a refused address.
    async fn prove(&self, proof: &Proof) -> Result<(), StoreError>;
}
