//! Engines beside the key-value store of the tests.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::OpenBao;
use crate::postgres::{PASSWORD, Postgres, SUPERUSER};

impl OpenBao {
    /// Mounts an engine; what `options` it takes depends on its kind.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn mount(&self, path: &str, kind: &str, options: &Value) -> Result<()> {
        let engine = json!({ "type": kind, "options": options });
        self.request(Method::POST, &format!("sys/mounts/{path}"), Some(&engine)).await.map(drop)
    }

    /// Writes a value of KV version 1; `path` with the mount.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn put_plain(&self, path: &str, data: &Value) -> Result<()> {
        self.request(Method::POST, path, Some(data)).await.map(drop)
    }

    /// The value of KV version 1; `path` with the mount.
    ///
    /// # Errors
    /// When there is none, or the server refuses.
    pub async fn get_plain(&self, path: &str) -> Result<Value> {
        Ok(self.request(Method::GET, path, None).await?["data"].clone())
    }

    /// Mounts PKI with a root of its own, and a role for any name.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enable_pki(&self, path: &str, role: &str) -> Result<()> {
        self.mount(path, "pki", &json!({})).await?;
        let root = json!({ "common_name": "test root", "key_type": "ec", "ttl": "24h" });
        self.request(Method::POST, &format!("{path}/root/generate/internal"), Some(&root)).await?;
        let role_of = json!({ "allow_any_name": true, "key_type": "ec", "max_ttl": "12h" });
        self.request(Method::POST, &format!("{path}/roles/{role}"), Some(&role_of)).await.map(drop)
    }

    /// Mounts the database engine for a server, with the static role `role` of `user`, whose password the engine takes
    /// over, and the dynamic role `<role>-made`.
    ///
    /// # Errors
    /// When the server refuses, or the database.
    pub async fn enable_database(&self, path: &str, postgres: &Postgres, role: &str, user: &str) -> Result<()> {
        self.mount(path, "database", &json!({})).await?;
        let url =
            format!("postgresql://{{{{username}}}}:{{{{password}}}}@{}/postgres?sslmode=disable", postgres.address());
        let connection = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url,
            "username": SUPERUSER, "password": PASSWORD,
        });
        self.request(Method::POST, &format!("{path}/config/postgres"), Some(&connection)).await?;
        postgres.sql(&format!("create role {user} login"))?;
        let fixed = json!({ "db_name": "postgres", "username": user, "rotation_period": "1h" });
        self.request(Method::POST, &format!("{path}/static-roles/{role}"), Some(&fixed)).await?;
        let create = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
        let made = json!({ "db_name": "postgres", "creation_statements": [create], "default_ttl": "1h" });
        self.request(Method::POST, &format!("{path}/roles/{role}-made"), Some(&made)).await.map(drop)
    }
}
