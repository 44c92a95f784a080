//! A login of a database in a scene: two users take turns.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Scene;
use crate::database::{ADMIN, FIRST};

impl Scene {
    /// The Secret `pg-admin` with the login of who may alter users.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn database_admin(&self) -> Result<()> {
        self.secret("pg-admin", &[("username", "rekey_admin"), ("password", ADMIN)]).await
    }

    /// The policy `db` publishes the login of this user, with the first password, from the store `vault`.
    ///
    /// # Errors
    /// When it does not.
    pub async fn publish_login(&self, user: &str) -> Result<()> {
        let key = self.key("db");
        self.world.bao.put(&key, &json!({"username": user, "password": FIRST, "host": "db"})).await?;
        let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
        self.policy("db", "vault", &items, json!({})).await?;
        self.wait_synced("db").await.map(drop)
    }

    /// User and password that the store has.
    ///
    /// # Errors
    /// When there is none, or something beside them was changed.
    pub async fn stored_login(&self) -> Result<(String, String)> {
        let value = self.world.bao.get(&self.key("db")).await?.context("no value")?;
        ensure!(value["host"] == "db", "other properties were changed");
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Ok((text("username"), text("password")))
    }

    /// A schedule of the policy `db` for the database at this port; `users` are merged over the two that take turns.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn take_turns(&self, name: &str, port: u16, users: &Value) -> Result<()> {
        let mut turns = json!({"first": "orders_a", "second": "orders_b", "owner": "orders"});
        for (member, value) in users.as_object().into_iter().flatten() {
            turns[member] = value.clone();
        }
        let postgres = json!({
            "host": "127.0.0.1", "port": port, "database": "postgres",
            "adminSecretRef": {"name": "pg-admin"}, "tls": {"mode": "Disable"}, "users": {"alternating": turns},
        });
        self.apply(json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "RotationSchedule",
            "metadata": {"name": name},
            "spec": {"policyRef": {"name": "db"}, "rotator": {"postgres": postgres}, "retireAfter": "1s"},
        }))
        .await
    }
}
