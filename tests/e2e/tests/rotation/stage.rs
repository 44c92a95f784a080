//! What the tests of rotations have in common.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Secret,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use rekey_api::{RotationSchedule, SecretPolicy, names, rotation::RotationHistory};
use rekey_e2e::{
    Operator, Scene, World,
    conditions::{message, shown},
    wait::until,
    workloads::{Form, workload},
};
use serde_json::{Value, json};

/// What a new password must not contain.
pub const EXCLUDED: &str = "\"@/\\";
/// The password before.
pub const OLD: &str = "the old password";

/// A scene with an operator.
pub struct Stage {
    pub scene: Scene,
    pub operator: Operator,
}

impl Stage {
    /// With the stores `vault` and `aws`.
    pub async fn new(world: &Arc<World>, name: &str) -> Result<Self> {
        Self::with(Scene::new(world, name).await?)
    }

    /// In a scene whose stores were made otherwise.
    pub fn with(scene: Scene) -> Result<Self> {
        let arguments = [format!("--namespaces={}", scene.namespace), "--leader-elect=false".to_owned()];
        let operator = scene.world.operator(&scene.namespace, &arguments.each_ref().map(String::as_str))?;
        Ok(Self { scene, operator })
    }

    /// The key that is rotated.
    pub fn key(&self) -> String {
        self.scene.key("db")
    }

    /// User and password in `OpenBao`, and a policy that publishes them.
    pub async fn published(&self) -> Result<()> {
        self.put(&json!({"username": "orders", "password": OLD})).await?;
        self.policy("vault").await?;
        self.scene.wait_synced("db").await.map(drop)
    }

    pub async fn put(&self, value: &Value) -> Result<()> {
        self.scene.world.bao.put(&self.key(), value).await.map(drop)
    }

    /// The value in `OpenBao` and its versions.
    pub async fn stored(&self) -> Result<(Value, Vec<u64>)> {
        let bao = &self.scene.world.bao;
        Ok((bao.get(&self.key()).await?.unwrap_or_default(), bao.versions(&self.key()).await?))
    }

    pub async fn policy(&self, store: &str) -> Result<()> {
        let key = self.key();
        let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
        self.scene.policy("db", store, &items, json!({})).await
    }

    /// A Deployment that has one key of the Secret as its variable `PASSWORD`, once its policy knows of it.
    pub async fn consumer(&self, name: &str, key: &str) -> Result<()> {
        let mut manifest = workload("Deployment", &self.scene.namespace, name, "db", Form::Env);
        manifest["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["key"] =
            json!(key);
        self.scene.world.apply(manifest).await?;
        self.scene.wait_pod(name).await?;
        self.scene.wait_at_rest("db", name).await?;
        self.scene.wait_synced("db").await.map(drop)
    }

    /// The schedule `db`, seen by the operator. `more` is merged over its spec, by its members.
    pub async fn schedule(&self, store: &str, more: &Value) -> Result<()> {
        self.apply("db", store, more).await?;
        until("the schedule was seen", || async {
            let schedule = self.scene.schedule("db").await?;
            let seen = schedule.status.and_then(|status| status.observed_generation);
            Ok((seen.is_some() && seen == schedule.metadata.generation).then_some(()))
        })
        .await
    }

    pub async fn apply(&self, name: &str, store: &str, more: &Value) -> Result<()> {
        let password = json!({"length": 40, "exclude": EXCLUDED});
        let mut spec = json!({
            "policyRef": {"name": "db"},
            "writeTo": {"storeRef": {"name": store}, "key": self.key()},
            "rotator": {"generate": {"fields": [{"property": "password", "password": password}]}},
        });
        for (member, value) in more.as_object().into_iter().flatten() {
            spec[member] = value.clone();
        }
        self.scene
            .apply(json!({
                "apiVersion": "rekey.dev/v1alpha1",
                "kind": "RotationSchedule",
                "metadata": {"name": name},
                "spec": spec,
            }))
            .await
    }

    /// Changes members of the spec of the schedule `db`.
    pub async fn change(&self, spec: Value) -> Result<()> {
        let body = Patch::Merge(json!({"spec": spec}));
        self.scene.api::<RotationSchedule>().patch("db", &PatchParams::default(), &body).await?;
        Ok(())
    }

    /// Asks for a rotation, as the field manager `somebody`.
    pub async fn ask(&self, token: &str) -> Result<()> {
        self.scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, token).await
    }

    /// Waits until the schedule has so many past rotations, and nothing is left of them. Returns them.
    pub async fn ended(&self, count: usize) -> Result<Vec<RotationHistory>> {
        until(&format!("{count} rotations have ended"), || async {
            let schedule = self.scene.schedule("db").await?;
            let finalizers = !schedule.finalizers().is_empty();
            let status = schedule.status.unwrap_or_default();
            let open = status.rotation.is_some() || finalizers || !self.pending().await?.is_empty();
            Ok((status.history.len() == count && !open).then_some(status.history))
        })
        .await
    }

    /// A rotation that rolls out until the owner of the consumer `web` restarts it.
    pub async fn held_in_rolling_out(&self) -> Result<()> {
        self.published().await?;
        self.consumer("web", "password").await?;
        self.scene.annotate::<Deployment>("web", names::RESTART, "Never").await?;
        self.schedule("vault", &json!({})).await?;
        self.ask("token-1").await?;
        self.step("RollingOut").await.map(drop)
    }

    /// Waits until the open rotation is in this step, and returns what it waits for.
    pub async fn step(&self, wanted: &str) -> Result<String> {
        self.scene.wait_step("db", wanted).await
    }

    /// Waits until the schedule shows this condition, and returns the message.
    pub async fn shows(&self, name: &str, wanted: &str) -> Result<String> {
        until(&format!("RotationSchedule {name} shows {wanted}"), || async {
            let conditions = self.scene.schedule(name).await?.status.unwrap_or_default().conditions;
            let kind = wanted.split('=').next().unwrap_or_default();
            Ok(shown(&conditions).iter().any(|at| at == wanted).then(|| message(&conditions, kind)))
        })
        .await
    }

    /// Names of the pending Secrets in the namespace.
    pub async fn pending(&self) -> Result<Vec<String>> {
        let params = ListParams::default().labels(names::SCHEDULE_UID);
        let list = self.scene.api::<Secret>().list(&params).await?;
        Ok(list.items.iter().map(kube::ResourceExt::name_any).collect())
    }

    /// What `kubectl rollout restart` does.
    pub async fn restart(&self, app: &str) -> Result<()> {
        let body = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": Self::token()}}}}});
        self.scene.api::<Deployment>().patch(app, &PatchParams::default(), &Patch::Merge(body)).await?;
        Ok(())
    }

    /// Another one each time.
    fn token() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        COUNT.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// How often the pods of a Deployment were replaced.
    pub async fn restarts(&self, app: &str) -> Result<usize> {
        let api: Api<ReplicaSet> = self.scene.api();
        let sets = api.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
        ensure!(!sets.is_empty(), "{app} has no ReplicaSet");
        Ok(sets.len() - 1)
    }

    /// The policy has reported this rotation with the version that holds it, and the Secret has the value.
    pub async fn reported(&self, id: &str, version: &str, password: &str) -> Result<()> {
        let policy: SecretPolicy = self.scene.wait_synced("db").await?;
        let echo = policy.status.and_then(|status| status.rotation);
        let seen = echo.map(|echo| (echo.id, echo.version.unwrap_or_default()));
        ensure!(seen == Some((id.to_owned(), version.to_owned())), "{seen:?}");
        let data = self.scene.data("db").await?.unwrap_or_default();
        ensure!(data.get("password").map(String::as_str) == Some(password), "the Secret holds another password");
        Ok(())
    }

    /// The value is in no status, no Event and no log.
    pub async fn told_nobody(&self, password: &str) -> Result<()> {
        let schedule = serde_json::to_string(&self.scene.schedule("db").await?)?;
        let policy = serde_json::to_string(&self.scene.api::<SecretPolicy>().get("db").await?)?;
        let escaped = serde_json::to_string(password)?;
        let events = self.scene.events("db").await?.join("\n");
        for (place, text) in
            [("schedule", schedule), ("policy", policy), ("events", events), ("log", self.operator.log()?)]
        {
            ensure!(!text.contains(password) && !text.contains(escaped.trim_matches('"')), "it is in the {place}");
        }
        Ok(())
    }
}

/// A new password in a stored value: of the requested length, without excluded characters.
pub fn fresh(value: &Value) -> Result<String> {
    let password = value["password"].as_str().unwrap_or_default().to_owned();
    ensure!(password.len() == 40 && password != OLD, "{} characters", password.len());
    ensure!(!password.chars().any(|sign| EXCLUDED.contains(sign)), "it contains what was excluded");
    ensure!(value["username"] == "orders", "other properties were changed");
    Ok(password)
}
