//! `ClusterRemoteStore`s: where their credentials are, and who logs in.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kube::{Api, api::DeleteParams};
use rekey_api::{ClusterRemoteStore, SecretPolicy, store::Capability};
use rekey_e2e::{
    Scene, World,
    conditions::{check, message, shown},
    kubectl::kubectl,
    wait::until,
};
use serde_json::{Value, json};

const SYSTEM: &str = "rekey-system";
const READS: &str = r#"path "secret/data/*" { capabilities = ["read"] }"#;

/// A store of the cluster that is named after its scene and goes with it.
pub struct ClusterStore<'s> {
    pub scene: &'s Scene,
    pub name: String,
    access: &'static str,
    provider: Value,
}

impl<'s> ClusterStore<'s> {
    /// With a root token from a Secret in the operator's namespace, which the operator may read.
    pub async fn new(scene: &'s Scene, access: &'static str) -> Result<Self> {
        let store = Self::locked(scene, access).await?;
        for command in role_commands(&store.name) {
            kubectl(&scene.world, &command.split(' ').collect::<Vec<_>>()).await?;
        }
        Ok(store)
    }

    /// The same, with a Secret that the operator may not read.
    pub async fn locked(scene: &'s Scene, access: &'static str) -> Result<Self> {
        let name = scene.namespace.clone();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM},
            "stringData": {"token": scene.world.bao.token()},
        });
        scene.world.apply(secret).await?;
        let auth = json!({"token": {"secretRef": {"name": name, "key": "token"}}});
        let provider = json!({"vault": {"server": scene.world.bao.address(), "mount": "secret", "auth": auth}});
        Ok(Self { scene, name, access, provider })
    }

    /// Applies it with these grants.
    pub async fn grant(&self, grants: Value) -> Result<()> {
        let object = json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "ClusterRemoteStore", "metadata": {"name": self.name},
            "spec": {"access": self.access, "provider": self.provider, "grants": grants},
        });
        self.scene.world.apply(object).await.map(drop)
    }

    pub fn reference(&self) -> Value {
        json!({"kind": "ClusterRemoteStore", "name": self.name})
    }

    /// A policy of the scene that reads the password of a key through it.
    pub async fn policy(&self, scene: &Scene, name: &str, key: &str) -> Result<()> {
        let more = json!({"source": {"remote": {"storeRef": self.reference(), "refreshInterval": "240h"}}});
        scene.policy(name, &self.name, &[("password", key, "password")], more).await
    }

    /// Waits until it shows this condition.
    pub async fn wait(&self, wanted: &str) -> Result<ClusterRemoteStore> {
        until(&format!("ClusterRemoteStore {} {wanted}", self.name), || async {
            let store = self.api().get(&self.name).await?;
            let found = store.status.clone().unwrap_or_default().conditions;
            check(&self.name, &found)?;
            Ok(shown(&found).iter().any(|at| at == wanted).then_some(store))
        })
        .await
    }

    /// What its `Ready` says.
    async fn said(&self) -> Result<String> {
        let status = self.api().get(&self.name).await?.status.unwrap_or_default();
        Ok(message(&status.conditions, "Ready"))
    }

    /// Waits until its `Ready` says this.
    async fn wait_said(&self, text: &str) -> Result<String> {
        until(&format!("ClusterRemoteStore {} says {text}", self.name), || async {
            Ok(Some(self.said().await?).filter(|said| said.contains(text)))
        })
        .await
    }

    pub async fn delete(&self) -> Result<()> {
        self.api().delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    fn api(&self) -> Api<ClusterRemoteStore> {
        Api::all(self.scene.world.client.clone())
    }
}

fn role_commands(name: &str) -> [String; 2] {
    let role = format!("rekey-read-{name}");
    [
        format!("create role {role} -n {SYSTEM} --verb=get --resource=secrets --resource-name={name}"),
        format!("create rolebinding {role} -n {SYSTEM} --role={role} --serviceaccount={SYSTEM}:rekey"),
    ]
}

pub async fn credentials_of_a_cluster_store_are_allowed_by_name(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "cluster").await?;
    scene.open().await?;
    let store = ClusterStore::locked(&scene, "ReadWrite").await?;
    // A Secret of the same name where the consumer is says nothing.
    scene.secret(&store.name, &[("token", "wrong")]).await?;
    store.grant(json!([])).await?;
    let _operator = scene.operator()?;
    store.wait("Ready=False/AccessDenied").await?;
    let said = store.said().await?;
    let commands: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    let expected = role_commands(&store.name).map(|command| format!("kubectl {command}"));
    ensure!(commands == expected, "{said}");
    // The commands of the message are enough.
    for command in commands {
        kubectl(&world, &command.split(' ').skip(1).collect::<Vec<_>>()).await?;
    }
    store.grant(json!([{"namespaces": {"names": ["x"]}, "keys": ["*"], "operations": ["Read"]}])).await?; // not in 30 s
    let status = store.wait("Ready=True/Synced").await?.status.context("no status")?;
    let place = world.bao.address().trim_start_matches("http://");
    ensure!(status.identity.as_deref() == Some(format!("token root at {place}").as_str()), "{status:?}");
    ensure!(status.capabilities.starts_with(&[Capability::Read, Capability::Write]), "{status:?}");
    store.delete().await
}

/// When the last policy of a namespace is gone, so is its login: the next one logs in again.
async fn released(store: &ClusterStore<'_>) -> Result<()> {
    let (scene, mark) = (store.scene, store.scene.world.bao.mark()?);
    let policies = scene.api::<SecretPolicy>();
    until("a login of its own for the next policy", || async {
        policies.delete("db", &DeleteParams::default()).await?;
        until("the Secret goes with its policy", || async { Ok(scene.data("db").await?.is_none().then_some(())) })
            .await?;
        store.policy(scene, "db", &scene.key("db")).await?;
        scene.wait_data("db", &[("password", &scene.namespace)]).await?;
        let asked = scene.world.bao.requests_since(mark)?;
        Ok(asked.iter().any(|request| request.path == "auth/kubernetes/login").then_some(()))
    })
    .await
}

pub async fn each_namespace_logs_in_as_its_own_account(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "own").await?;
    let other = Scene::closed(&world, "other").await?;
    let (role, policy) = (format!("role-{}", scene.namespace), format!("reader-{}", scene.namespace));
    world.bao.policy(&policy, READS).await?;
    scene.kubernetes_login().await?;
    for at in [&scene, &other] {
        at.open().await?;
        at.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}})).await?;
        world.bao.put(&at.key("db"), &json!({"password": at.namespace})).await?;
    }
    // The store's role is for the account of one of the two namespaces.
    world.bao.kubernetes_role(&role, &scene.namespace, "reader", &policy, "vault").await?;
    let mut store = ClusterStore::locked(&scene, "ReadOnly").await?;
    let account = json!({"name": "reader", "audiences": ["vault"], "namespaceFrom": "Consumer"});
    store.provider["vault"]["auth"] = json!({"kubernetes": {"role": role, "serviceAccountRef": account}});
    let names = [&scene.namespace, &other.namespace];
    store.grant(json!([{"namespaces": {"names": names}, "keys": ["*"], "operations": ["Read"]}])).await?;
    let only = format!("--namespaces={},{}", scene.namespace, other.namespace);
    let _operator = world.operator(&scene.namespace, &[&only, "--leader-elect=false"])?;
    store.wait("Ready=True/Synced").await?;
    store.wait_said("each namespace").await?;
    for at in [&scene, &other] {
        store.policy(at, "db", &at.key("db")).await?;
        let said = at.wait_policy("db", "Ready=False/AccessDenied").await?;
        let command = format!("kubectl create role rekey-token-reader -n {}", at.namespace);
        ensure!(said.contains(&command), "{said}");
        for command in said.split('`').skip(1).step_by(2) {
            kubectl(&world, &command.split(' ').skip(1).collect::<Vec<_>>()).await?;
        }
    }
    scene.wait_data("db", &[("password", &scene.namespace)]).await?;
    let said = until("the other namespace is refused", || async {
        let said = other.wait_policy("db", "Ready=False/AccessDenied").await?;
        Ok(Some(said).filter(|said| said.contains(&format!("role {role}")) || said.contains("refused")))
    })
    .await?;
    ensure!(!said.contains("create role"), "{said}");
    released(&store).await?;
    ensure!(other.data("db").await?.is_none(), "it read with the login of another namespace");
    store.delete().await
}
