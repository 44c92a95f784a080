//! Static roles of Vault's database and directory engines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FollowMode;
use crate::field;

/// Vault or `OpenBao` rotates the password of a static role. The policy's source is `vaultEngine`, whose store is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultStaticRoleRotator {
    /// Path where the engine is mounted. Default `database`.
    #[serde(default = "database")]
    #[schemars(schema_with = "field::vault_path")]
    pub mount: String,
    /// Name of the static role.
    #[schemars(schema_with = "field::property")]
    pub role: String,
    /// `Request`: the schedule asks Vault to rotate. `Follow`: Vault decides when; set no schedule.
    pub mode: FollowMode,
}

fn database() -> String {
    "database".to_owned()
}
