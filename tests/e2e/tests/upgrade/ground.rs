//! A plane with the release of one version, and the operators of both.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use rekey_api::{RotationSchedule, names};
use rekey_e2e::{
    Operator, Release, Scene, World,
    operator::Options,
    release::SYSTEM,
    wait::{until, until_equal},
    workloads::{Form, workload},
};
use serde_json::json;

use crate::version::{Version, current, previous};

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the old version to the new one, by `helm upgrade`.
    Upgrade,
    /// From the new version to the old one, by `helm rollback`.
    Back,
}

/// See the [module documentation](self).
pub struct Ground {
    pub scene: Scene,
    pub from: Version,
    pub to: Version,
    way: Way,
    release: Release,
}

impl Ground {
    /// The release of the version to leave, with one namespace that it opens; nothing runs yet.
    pub async fn new(world: &Arc<World>, helm: &Path, way: Way) -> Result<Self> {
        let mut scene = Scene::closed(world, "upgrade").await?;
        scene.stable_for = "10s"; // any other is news to the version before this one
        let (old, new) = (previous()?, current()?);
        ensure!(old.program != new.program);
        let release = Release::new(helm, &world.plane);
        let (from, to) = match way {
            Way::Upgrade => (old, new),
            Way::Back => (new, old),
        };
        let ground = Self { scene, from, to, way, release };
        if way == Way::Back {
            ground.install(&ground.to).await?;
        }
        ground.install(&ground.from).await?;
        Ok(ground)
    }

    /// Moves the release to the other version.
    pub async fn move_release(&self) -> Result<()> {
        match self.way {
            Way::Upgrade => self.install(&self.to).await,
            Way::Back => self.release.helm(&["rollback", "rekey", "1"]).await.map(drop),
        }
    }

    /// With the defaults of the chart. Its pods find no node: their image is nowhere, and the operators run as processes.
    async fn install(&self, version: &Version) -> Result<()> {
        let opened = format!("namespaces[0].name={}", self.scene.namespace);
        let secret = "clusterStoreCredentials.secrets[0]=vault-token";
        let values = ["--set", &opened, "--set", secret, "--set-string", "nodeSelector.nowhere=here"];
        self.release.install(&version.chart, &values).await.map(drop)
    }

    /// Starts an operator of this version as the release does: as its `ServiceAccount`, with its flags.
    pub async fn start(&self, version: &Version) -> Result<Operator> {
        let world = &self.scene.world;
        let deployment = Api::<Deployment>::namespaced(world.client.clone(), SYSTEM).get("rekey").await?;
        let pod = deployment.spec.context("a Deployment")?.template.spec.context("a pod")?;
        let arguments = pod.containers.into_iter().next().and_then(|container| container.args);
        let mut arguments = arguments.context("the container has flags")?;
        ensure!(arguments.remove(0) == "run", "the Deployment runs something else");
        let options = Options { kubeconfig: world.kubeconfig()?, arguments };
        let name = format!("operator-{}", version.name);
        Operator::start_shipped(&version.program, &name, world.plane.directory(), &options)
    }

    /// The policy `db` of a user and a password at the store `vault`, and the schedule that rotates the password: on request,
    /// and in the night of each leap day.
    pub async fn rotated(&self) -> Result<()> {
        let (scene, key) = (&self.scene, self.scene.key("db"));
        scene.world.bao.put(&key, &json!({"username": "orders", "password": "the first"})).await?;
        let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
        scene.policy("db", "vault", &items, json!({})).await?;
        scene.wait_synced("db").await?;
        scene.rotate("db", "vault", &key).await?;
        let nightly = json!({"cron": "0 2 29 2 *", "timeZone": "Europe/Berlin", "jitter": "10m"});
        let schedule = Patch::Merge(json!({"spec": {"schedule": nightly}}));
        scene.api::<RotationSchedule>().patch("db", &PatchParams::default(), &schedule).await?;
        until("the next rotation is planned", || async {
            let status = scene.schedule("db").await?.status.unwrap_or_default();
            Ok(status.next_rotation_time.map(drop))
        })
        .await
    }

    /// A workload whose pod holds the password of the policy `db`, which knows of it.
    pub async fn consumer(&self, kind: &str, name: &str) -> Result<()> {
        let scene = &self.scene;
        scene.world.apply(workload(kind, &scene.namespace, name, "db", Form::Env)).await?;
        scene.wait_pod(name).await?;
        scene.wait_at_rest("db", name).await?;
        scene.wait_synced("db").await.map(drop)
    }

    /// Asks for a rotation.
    pub async fn rotate(&self, token: &str) -> Result<()> {
        self.scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, token).await
    }

    /// Waits until so many rotations have ended and nothing is left of them, and all `consumers` hold the current value
    /// of the store.
    pub async fn rotated_times(&self, count: usize, consumers: &[&str]) -> Result<()> {
        let scene = &self.scene;
        let ended = json!({"ended": count, "open": null, "finalizers": [], "pending": []});
        until_equal("rotations, and what is left of them", ended, || async {
            let schedule = scene.schedule("db").await?;
            let pending = ListParams::default().labels(names::SCHEDULE_UID);
            let pending = scene.api::<Secret>().list(&pending).await?.items;
            let (finalizers, status) = (schedule.finalizers().to_vec(), schedule.status.unwrap_or_default());
            let pending: Vec<String> = pending.iter().map(ResourceExt::name_any).collect();
            let (ended, open) = (status.history.len(), status.rotation);
            Ok(json!({"ended": ended, "open": open, "finalizers": finalizers, "pending": pending}))
        })
        .await?;
        let stored = scene.world.bao.get(&scene.key("db")).await?.context("the store holds nothing")?;
        let password = stored["password"].as_str().context("no password")?;
        ensure!(password.len() == 40 && stored["username"] == "orders", "the store holds another value");
        for consumer in consumers {
            ensure!(scene.held(consumer, "PASSWORD").await? == password, "{consumer} holds another password");
        }
        scene.wait_synced("db").await.map(drop)
    }
}
