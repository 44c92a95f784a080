//! What the tests of databases have in common.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_api::{RotationSchedule, names, rotation::RotationHistory};
use rekey_e2e::{
    Operator, Scene, World,
    conditions::{message, shown},
    wait::until,
    workloads::{Form, workload},
};
use rekey_testkit::postgres::Postgres;
use serde_json::{Value, json};

/// The password of `orders_a`, or of `app`, before the first rotation.
pub const FIRST: &str = "the first password";
/// That of who may alter users.
const ADMIN: &str = "what the admin knows";

/// The roles that docs/reference/rotator-postgres.md asks for.
const ROLES: &str = "CREATE ROLE orders NOLOGIN; CREATE ROLE orders_a NOLOGIN; CREATE ROLE orders_b NOLOGIN; \
                     GRANT orders TO orders_a, orders_b";
const RIGHTS: &str = "GRANT orders TO rekey_admin; GRANT orders_a, orders_b TO rekey_admin WITH ADMIN OPTION; \
                      GRANT pg_read_all_stats, pg_signal_backend TO rekey_admin";

/// A scene with an operator, a database, and a policy that publishes a login.
pub struct Stage {
    pub scene: Scene,
    pub operator: Operator,
    pub postgres: Arc<Postgres>,
}

impl Stage {
    /// `orders_a` is in use.
    pub async fn new(world: &Arc<World>, name: &str) -> Result<Self> {
        let stage = Self::bare(world, name).await?;
        stage.postgres.sql(&format!("{ROLES}; {RIGHTS}; ALTER ROLE orders_a LOGIN PASSWORD '{FIRST}'"))?;
        stage.published("orders_a").await?;
        Ok(stage)
    }

    /// Nothing but who may alter users.
    pub async fn bare(world: &Arc<World>, name: &str) -> Result<Self> {
        let scene = Scene::new(world, name).await?;
        let postgres = Arc::new(tokio::task::spawn_blocking(Postgres::start).await??);
        postgres.sql(&format!("CREATE ROLE rekey_admin LOGIN CREATEROLE PASSWORD '{ADMIN}'"))?;
        scene.secret("pg-admin", &[("username", "rekey_admin"), ("password", ADMIN)]).await?;
        let arguments = [
            format!("--namespaces={}", scene.namespace),
            "--leader-elect=false".to_owned(),
            "--allow-alpha".to_owned(),
        ];
        let operator = world.operator(&scene.namespace, &arguments.each_ref().map(String::as_str))?;
        Ok(Self { scene, operator, postgres })
    }

    /// The roles, and what the admin needs.
    pub fn roles(&self) -> Result<()> {
        self.postgres.sql(&format!("{ROLES}; {RIGHTS}")).map(drop)
    }

    /// A policy publishes the login of this user, with the first password.
    pub async fn published(&self, user: &str) -> Result<()> {
        let key = self.scene.key("db");
        self.scene.world.bao.put(&key, &json!({"username": user, "password": FIRST, "host": "db"})).await?;
        let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
        self.scene.policy("db", "vault", &items, json!({})).await?;
        self.scene.wait_synced("db").await.map(drop)
    }

    /// The schedule `db`; `users` are merged over the two that take turns.
    pub async fn schedule(&self, name: &str, users: Value) -> Result<()> {
        let mut turns = json!({"first": "orders_a", "second": "orders_b", "owner": "orders"});
        for (member, value) in users.as_object().into_iter().flatten() {
            turns[member] = value.clone();
        }
        let postgres = json!({
            "host": "127.0.0.1", "port": self.postgres.port(), "database": "postgres",
            "adminSecretRef": {"name": "pg-admin"}, "tls": {"mode": "Disable"}, "users": {"alternating": turns},
        });
        self.scene
            .apply(json!({
                "apiVersion": "rekey.dev/v1alpha1",
                "kind": "RotationSchedule",
                "metadata": {"name": name},
                "spec": {"policyRef": {"name": "db"}, "rotator": {"postgres": postgres}, "retireAfter": "1s"},
            }))
            .await?;
        until("the schedule was seen", || async {
            let schedule = self.scene.schedule(name).await?;
            let seen = schedule.status.and_then(|status| status.observed_generation);
            Ok((seen.is_some() && seen == schedule.metadata.generation).then_some(()))
        })
        .await
    }

    /// Asks for a rotation.
    pub async fn ask(&self, token: &str) -> Result<()> {
        self.scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, token).await
    }

    /// Waits until so many rotations have ended, and nothing is left of them.
    pub async fn ended(&self, count: usize) -> Result<Vec<RotationHistory>> {
        until(&format!("{count} rotations have ended"), || async {
            let schedule = self.scene.schedule("db").await?;
            let is_at_rest = schedule.finalizers().is_empty();
            let status = schedule.status.unwrap_or_default();
            Ok((status.history.len() == count && status.rotation.is_none() && is_at_rest).then_some(status.history))
        })
        .await
    }

    /// Waits until the schedule shows this condition, and returns the message.
    pub async fn shows(&self, wanted: &str) -> Result<String> {
        until(&format!("the schedule shows {wanted}"), || async {
            let conditions = self.scene.schedule("db").await?.status.unwrap_or_default().conditions;
            let kind = wanted.split('=').next().unwrap_or_default();
            Ok(shown(&conditions).iter().any(|at| at == wanted).then(|| message(&conditions, kind)))
        })
        .await
    }

    /// A Deployment whose pods have the login in their environment.
    pub async fn consumer(&self, replicas: u32) -> Result<()> {
        let mut manifest = workload("Deployment", &self.scene.namespace, "web", "db", Form::EnvFrom);
        manifest["spec"]["replicas"] = json!(replicas);
        self.scene.world.apply(manifest).await?;
        self.scene.wait_at_rest("db", "web").await
    }

    /// User and password that the store has.
    pub async fn stored(&self) -> Result<(String, String)> {
        let value = self.scene.world.bao.get(&self.scene.key("db")).await?.context("no value")?;
        ensure!(value["host"] == "db", "other properties were changed");
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Ok((text("username"), text("password")))
    }

    /// Whether a user can log in with this password.
    pub async fn logs_in(&self, user: &str, password: &str) -> Result<bool> {
        let (postgres, user, password) = (Arc::clone(&self.postgres), user.to_owned(), password.to_owned());
        tokio::task::spawn_blocking(move || postgres.login(&user, &password)).await?
    }

    /// Changes members of the spec of the schedule.
    pub async fn change(&self, spec: Value) -> Result<()> {
        let body = Patch::Merge(json!({ "spec": spec }));
        self.scene.api::<RotationSchedule>().patch("db", &PatchParams::default(), &body).await?;
        Ok(())
    }
}
