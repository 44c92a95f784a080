//! A release from its start to its end, and again.

use std::path::Path;

use anyhow::{Result, ensure};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        rbac::v1::{ClusterRole, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use rekey_api::SecretPolicy;
use rekey_e2e::{
    Release,
    release::{SYSTEM, chart},
    wait::until,
};
use rekey_testkit::{checkout::repository, plane::Plane};
use serde_json::json;

struct Life {
    release: Release,
    plane: Plane,
    client: Client,
}

impl Life {
    async fn install(&self, values: &[&str]) -> Result<String> {
        self.release.install(&chart(&repository()), values).await
    }

    fn system<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), SYSTEM)
    }

    async fn replicas(&self) -> Result<Option<i32>> {
        let found = self.system::<Deployment>().get_opt("rekey").await?;
        Ok(found.and_then(|found| found.spec?.replicas))
    }

    async fn definitions(&self) -> Result<usize> {
        let all: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let found = all.list(&ListParams::default()).await?;
        Ok(found.items.iter().filter(|found| found.spec.group == "rekey.dev").count())
    }
}

pub async fn whole(helm: &Path) -> Result<()> {
    let plane = Plane::start().await?;
    let client = plane.client()?;
    let shop = plane.namespace("shop").await?;
    let life = Life { release: Release::new(helm, &plane), plane, client };
    let opened = format!("namespaces[0].name={shop}");
    let said = life.install(&["--set", &opened]).await?;
    ensure!(said.contains("kubectl get secretpolicies"), "the notes say what comes next: {said}");
    ensure!(life.definitions().await? == 4 && life.replicas().await? == Some(2), "what a release makes");
    let bindings: Api<RoleBinding> = Api::namespaced(life.client.clone(), &shop);
    ensure!(bindings.get("rekey").await?.role_ref.name == "rekey-namespace", "the namespace is opened");
    let policy = work(&life, &shop).await?;
    // Another number of replicas, and back.
    life.install(&["--set", &opened, "--set", "replicas=3"]).await?;
    ensure!(life.replicas().await? == Some(3), "upgrade");
    life.release.helm(&["rollback", "rekey", "1"]).await?;
    ensure!(life.replicas().await? == Some(2), "rollback");
    // Objects of our kinds stay when the release goes, and are there when it comes back.
    life.release.helm(&["uninstall", "rekey"]).await?;
    until("the Deployment is gone", || async { Ok(life.replicas().await?.is_none().then_some(())) }).await?;
    let roles: Api<ClusterRole> = Api::all(life.client.clone());
    ensure!(roles.get_opt("rekey-namespace").await?.is_none(), "a role stays");
    ensure!(life.definitions().await? == 4, "the kinds went with the release");
    let stays: Api<SecretPolicy> = Api::namespaced(life.client.clone(), &shop);
    ensure!(stays.get("db").await?.metadata.uid == policy.metadata.uid, "the policy went with the release");
    life.install(&["--set", &opened]).await?;
    ensure!(life.replicas().await? == Some(2) && life.definitions().await? == 4, "installed again");
    life.plane.stop()
}

/// A policy of a user of the release.
async fn work(life: &Life, namespace: &str) -> Result<SecretPolicy> {
    let policies: Api<SecretPolicy> = Api::namespaced(life.client.clone(), namespace);
    let policy: SecretPolicy = serde_json::from_value(json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "db"},
        "spec": {"source": {"generated": {"fields": [{"key": "password", "password": {}}]}}},
    }))?;
    until("the API server knows the kind", || async { Ok(policies.create(&PostParams::default(), &policy).await.ok()) })
        .await
}
