//! Users of a `PostgreSQL` server.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Endpoint, LoginProperties};
use crate::field;
use crate::reference::{LocalRef, Tls};

/// Rotates users of a `PostgreSQL` server. Rekey takes the address and everything else about the connection from here, never from a stored value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresRotator {
    /// DNS name or IP address of the primary.
    #[schemars(schema_with = "field::host")]
    pub host: String,
    /// Port. Default 5432.
    #[serde(default = "port")]
    #[schemars(schema_with = "field::port")]
    pub port: u16,
    /// Database to connect to: lower-case letters, digits and `_`.
    #[schemars(schema_with = "field::sql_name")]
    pub database: String,
    /// Secret with the keys `username` and `password` of a user who may alter the users below.
    pub admin_secret_ref: LocalRef,
    /// How the connection is protected. Default `VerifyFull` with the system's certificates.
    #[serde(default)]
    pub tls: Tls,
    /// The users to rotate. Exactly one of `alternating`, `single`.
    pub users: PostgresUsers,
    /// Other addresses where a new login must work: replicas, poolers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::ENDPOINTS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".to_owned(), "port".to_owned()]))]
    pub endpoints: Vec<Endpoint>,
    /// Properties of the stored value that hold user name and password. Default `username` and `password`.
    #[serde(default)]
    pub properties: LoginProperties,
}

fn port() -> u16 {
    5432
}

/// Users of a `PostgreSQL` server. Exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.alternating), has(self.single)].exists_one(set, set)")
    .message("postgres.users: set exactly one of alternating, single"))]
pub struct PostgresUsers {
    /// Two users take turns: both logins work while consumers move, so there is no gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternating: Option<PostgresAlternatingUsers>,
    /// One user whose password Rekey replaces: between the change and its restart a consumer cannot log in. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub single: Option<PostgresSingleUser>,
}

/// Two users that take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.first != self.second && self.owner != self.first && self.owner != self.second")
    .message("postgres.users.alternating: first, second and owner must be three different roles"))]
pub struct PostgresAlternatingUsers {
    /// The one user.
    #[schemars(schema_with = "field::sql_name")]
    pub first: String,
    /// The other user.
    #[schemars(schema_with = "field::sql_name")]
    pub second: String,
    /// The role that owns the objects. It has no login; both users are members of it and act as it.
    #[schemars(schema_with = "field::sql_name")]
    pub owner: String,
    /// The user that is in use today, if it is neither `first` nor `second`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::sql_name")]
    pub from: Option<String>,
}

/// One user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresSingleUser {
    /// Name of the user.
    #[schemars(schema_with = "field::sql_name")]
    pub name: String,
}
