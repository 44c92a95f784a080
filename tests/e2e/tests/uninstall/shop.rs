//! A namespace with policies of every kind, consumers, and rotations that are open.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rekey_api::{RotationSchedule, names};
use rekey_e2e::{
    Scene, World,
    wait::{stays, until, until_equal},
    workloads::{Form, workload},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Its policies.
pub const POLICIES: [&str; 8] = ["governed", "held", "kept", "locked", "made", "merged", "read", "rests"];
/// Policies whose Secrets go with them.
pub const OWNED: [&str; 5] = ["held", "locked", "made", "read", "rests"];
/// Policies whose Secrets have a consumer of the same name.
const CONSUMED: [&str; 5] = ["governed", "held", "kept", "made", "read"];
/// Longer than the operator gathers changes before it restarts something.
const REST: Duration = Duration::from_secs(5);

/// See the [module documentation](self).
pub struct Shop {
    pub scene: Scene,
    /// The address of `OpenBao`.
    bao: String,
}

/// What must not change: Secrets with their uid, type and bytes; pod templates; both as digests. And pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub secrets: BTreeMap<String, String>,
    pub consumers: BTreeMap<String, String>,
    pub pods: BTreeSet<String>,
}

impl Shop {
    /// In a new namespace, opened.
    pub async fn open(world: &Arc<World>, name: &str, bao: &str) -> Result<Self> {
        let scene = Scene::closed(world, name).await?;
        scene.open().await?;
        Ok(Self { scene, bao: bao.to_owned() })
    }

    /// All of it, with a rotation of `held` that rolls out as long as its consumer is paused.
    pub async fn stock(&self) -> Result<()> {
        self.others().await?;
        self.apply().await?;
        for name in CONSUMED {
            self.consumer(name).await?;
        }
        for name in POLICIES {
            self.scene.wait_synced(name).await?;
        }
        for name in CONSUMED {
            self.scene.wait_at_rest(name, name).await?;
        }
        self.scene.suspend("rests", true).await?;
        self.rotate("held").await?;
        self.pause("held").await?;
        self.ask("held").await?;
        self.scene.wait_step("held", "RollingOut").await.map(drop)
    }

    /// Objects of others: values in the store, and two Secrets.
    async fn others(&self) -> Result<()> {
        for name in ["held", "read"] {
            let value = json!({"username": name, "password": format!("the old password of {name}")});
            self.scene.world.bao.put(&self.scene.key(name), &value).await?;
        }
        self.scene.secret("governed", &[("password", "from another tool")]).await?;
        self.scene.secret("merged", &[("password", "another tool's own")]).await?;
        self.scene.annotate::<Secret>("merged", names::ADOPT_BY, "merged").await
    }

    /// Store and policies, as they are applied at first and after a new installation.
    pub async fn apply(&self) -> Result<()> {
        self.scene.vault_store_at(&self.bao, "ReadWrite").await?;
        let generated = |target: Value| {
            json!({
                "source": {"generated": {"fields": [{"key": "password", "password": {}}]}}, "target": target,
            })
        };
        for name in ["made", "rests"] {
            self.scene.policy_of(name, generated(json!({}))).await?;
        }
        let mut locked = generated(json!({}));
        locked["immutability"] = json!("Locked");
        self.scene.policy_of("locked", locked).await?;
        self.scene.policy_of("kept", generated(json!({"onPolicyDelete": "Retain"}))).await?;
        let mut merged = generated(json!({"ownership": "Merge"}));
        merged["source"]["generated"]["fields"][0]["key"] = json!("token");
        self.scene.policy_of("merged", merged).await?;
        self.scene.policy_of("governed", json!({"source": {"existing": {}}})).await?;
        // The salt of the hash is made once: another one would be other bytes.
        let template = json!({"target": {"template": {"data": {
            "password": "{{ .password }}",
            "htpasswd": "{{ htpasswd .username .password }}",
        }}}});
        self.read("read", template).await?;
        self.read("held", json!({})).await
    }

    /// A policy that reads the store.
    pub async fn read(&self, name: &str, more: Value) -> Result<()> {
        let key = self.scene.key(name);
        let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
        self.scene.policy(name, "vault", &items, more).await
    }

    /// A Deployment that has the password as a variable, once its pod runs.
    async fn consumer(&self, secret: &str) -> Result<()> {
        self.scene.world.apply(workload("Deployment", &self.scene.namespace, secret, secret, Form::Env)).await?;
        self.scene.wait_pod(secret).await.map(drop)
    }

    /// A rotation of `read` that has its pending Secret; the store, which takes no writes by now, does not get its value.
    pub async fn publishing(&self) -> Result<()> {
        self.rotate("read").await?;
        self.ask("read").await?;
        self.scene.wait_step("read", "Publishing").await?;
        ensure!(self.pending().await?.len() == 2, "one for each rotation");
        Ok(())
    }

    async fn pause(&self, consumer: &str) -> Result<()> {
        let body = Patch::Merge(json!({"spec": {"paused": true}}));
        self.scene.api::<Deployment>().patch(consumer, &PatchParams::default(), &body).await?;
        Ok(())
    }

    /// A schedule of the policy of that name, seen by the operator.
    pub async fn rotate(&self, name: &str) -> Result<()> {
        self.scene.rotate(name, "vault", &self.scene.key(name)).await?;
        self.scene.wait_seen(name).await
    }

    /// Asks for a rotation.
    pub async fn ask(&self, name: &str) -> Result<()> {
        self.scene.annotate::<RotationSchedule>(name, names::ROTATE_REQUESTED, "token-1").await
    }

    /// Deletes a schedule and waits until it is gone, which is soon.
    pub async fn gone(&self, schedule: &str) -> Result<()> {
        let start = Instant::now();
        let schedules: Api<RotationSchedule> = self.scene.api();
        schedules.delete(schedule, &DeleteParams::default()).await?;
        let what = format!("the schedule {schedule} of {} is gone", self.scene.namespace);
        until(&what, || async { Ok(schedules.get_opt(schedule).await?.is_none().then_some(())) }).await?;
        println!("{what} after {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Names of the pending Secrets.
    pub async fn pending(&self) -> Result<Vec<String>> {
        let params = ListParams::default().labels(names::SCHEDULE_UID);
        Ok(self.scene.api::<Secret>().list(&params).await?.iter().map(kube::ResourceExt::name_any).collect())
    }

    /// The current state.
    pub async fn picture(&self) -> Result<Picture> {
        let secrets = self.scene.api::<Secret>().list(&ListParams::default()).await?;
        let secrets = secrets.into_iter().filter(|secret| !secret.name_any().starts_with(names::PENDING_PREFIX));
        let secret = |secret: Secret| {
            let content = json!([secret.uid(), secret.type_, secret.immutable, secret.data]);
            (secret.name_any(), digest(&content))
        };
        let deployments = self.scene.api::<Deployment>().list(&ListParams::default()).await?;
        let consumer = |deployment: Deployment| {
            let template = json!(deployment.spec.as_ref().map(|spec| &spec.template));
            (deployment.name_any(), digest(&template))
        };
        let pods = self.scene.api::<Pod>().list(&ListParams::default()).await?;
        Ok(Picture {
            secrets: secrets.map(secret).collect(),
            consumers: deployments.into_iter().map(consumer).collect(),
            pods: pods.iter().filter_map(kube::ResourceExt::uid).collect(),
        })
    }

    /// Everything is as it was; no operator runs that could change it.
    pub async fn is(&self, before: &Picture) -> Result<()> {
        let now = self.picture().await?;
        ensure!(now == *before, "wanted {before:?}, saw {now:?}");
        Ok(())
    }

    /// Everything is as it was, and stays so while a restart would come.
    pub async fn unchanged(&self, before: &Picture) -> Result<()> {
        stays("Secrets and consumers", before.clone(), REST, || self.picture()).await
    }

    /// Waits until the Secrets of this list are gone. The others are as they were, and nobody is restarted.
    pub async fn lost(&self, before: &Picture, gone: &[&str]) -> Result<()> {
        let mut wanted = before.clone();
        for name in gone {
            wanted.secrets.remove(*name).with_context(|| format!("there was no Secret {name}"))?;
        }
        until_equal("Secrets and consumers", wanted.clone(), || self.picture()).await?;
        self.unchanged(&wanted).await
    }

    /// The same policies are applied again: they take up what they had, bytes stay and nobody is restarted. A value that
    /// changes after that restarts its consumer, so this test would see it.
    pub async fn comes_back(&self, before: &Picture) -> Result<()> {
        self.apply().await?;
        self.scene.suspend("rests", false).await?;
        for name in POLICIES {
            self.scene.wait_settled(name).await?;
        }
        // That of `held` is paused, with an older value.
        for name in CONSUMED.into_iter().filter(|name| *name != "held") {
            self.scene.wait_at_rest(name, name).await?;
        }
        self.unchanged(before).await?;
        for name in OWNED {
            let owners = self.scene.api::<Secret>().get(name).await?.owner_references().len();
            ensure!(owners == 1, "the policy {name} owns its Secret again: {owners}");
        }
        let value = json!({"username": "read", "password": "the new password"});
        self.scene.world.bao.put(&self.scene.key("read"), &value).await?;
        self.scene.sync("read").await?;
        until("the consumer of a new value is restarted", || async {
            let now = self.picture().await?;
            Ok((now.consumers.get("read") != before.consumers.get("read")).then_some(()))
        })
        .await
    }
}

fn digest(value: &Value) -> String {
    Sha256::digest(value.to_string()).iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
