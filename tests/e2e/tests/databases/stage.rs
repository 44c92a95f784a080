//! What the tests of databases have in common.

use std::sync::Arc;

use anyhow::Result;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_api::{RotationSchedule, names, rotation::RotationHistory};
use rekey_e2e::{
    Operator, Scene, World,
    conditions::{message, shown},
    database,
    wait::until,
    workloads::{Form, workload},
};
use rekey_testkit::postgres::Postgres;
use serde_json::{Value, json};

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
        stage.roles()?;
        database::first_login(&stage.postgres)?;
        stage.published("orders_a").await?;
        Ok(stage)
    }

    /// Nothing but who may alter users.
    pub async fn bare(world: &Arc<World>, name: &str) -> Result<Self> {
        let scene = Scene::new(world, name).await?;
        let postgres = database::start().await?;
        scene.database_admin().await?;
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
        database::make_roles(&self.postgres)
    }

    /// A policy publishes the login of this user, with the first password.
    pub async fn published(&self, user: &str) -> Result<()> {
        self.scene.publish_login(user).await
    }

    /// The schedule `db`; `users` are merged over the two that take turns.
    pub async fn schedule(&self, name: &str, users: Value) -> Result<()> {
        self.scene.take_turns(name, self.postgres.port(), &users).await?;
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
        self.scene.stored_login().await
    }

    /// Whether a user can log in with this password.
    pub async fn logs_in(&self, user: &str, password: &str) -> Result<bool> {
        database::logs_in(&self.postgres, user, password).await
    }

    /// Changes members of the spec of the schedule.
    pub async fn change(&self, spec: Value) -> Result<()> {
        let body = Patch::Merge(json!({ "spec": spec }));
        self.scene.api::<RotationSchedule>().patch("db", &PatchParams::default(), &body).await?;
        Ok(())
    }
}
