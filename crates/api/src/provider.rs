//! The kinds of stores.

pub mod aws;
pub mod vault;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use aws::{AwsAuth, AwsProvider, AwsRole, AwsSecretRef, AwsService};
pub use vault::{AppRoleAuth, JwtAuth, KubernetesAuth, KvVersion, VaultAuth, VaultProvider};

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
