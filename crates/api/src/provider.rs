//! The kinds of stores.

pub mod aws;
pub mod vault;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use aws::{AwsAuth, AwsLogin, AwsProvider, AwsRole, AwsSecretRef, AwsService};
pub use vault::{AppRoleAuth, JwtAuth, KubernetesAuth, KvVersion, VaultAuth, VaultLogin, VaultProvider};

/// One kind of store and how to reach it. Exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.vault), has(self.aws)].exists_one(set, set)")
    .message("provider: set exactly one of vault, aws"))]
pub struct Provider {
    /// `HashiCorp` Vault or `OpenBao`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultProvider>,
    /// AWS Secrets Manager or Systems Manager Parameter Store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsProvider>,
}

/// The member of a [`Provider`] that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// `HashiCorp` Vault or `OpenBao`.
    Vault(&'a VaultProvider),
    /// AWS Secrets Manager or Systems Manager Parameter Store.
    Aws(&'a AwsProvider),
}

impl Provider {
    /// The one member that is set. `None` when there are none or several, as the rule says and an object that is older than
    /// the rule may have it.
    #[must_use]
    pub fn chosen(&self) -> Option<Chosen<'_>> {
        only([self.vault.as_ref().map(Chosen::Vault), self.aws.as_ref().map(Chosen::Aws)])
    }
}

/// The one that is there, if exactly one is.
fn only<T, const N: usize>(all: [Option<T>; N]) -> Option<T> {
    let mut all = all.into_iter().flatten();
    all.next().filter(|_| all.next().is_none())
}
