//! A release from its start to its end, and again.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
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
use rekey_e2e::wait::until;
use rekey_testkit::{checkout::repository, plane::Plane};
use serde_json::json;
use tokio::process::Command;

const SYSTEM: &str = "rekey-system";

struct Release {
    helm: PathBuf,
    plane: Plane,
    client: Client,
}

impl Release {
    async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.helm)
            .args(arguments)
            .args(["--namespace", SYSTEM, "--kubeconfig"])
            .arg(self.plane.kubeconfig())
            .env("HOME", self.plane.directory())
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {}: {said}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn install(&self, values: &[&str]) -> Result<String> {
        let chart = repository().join("deploy/chart/rekey");
        let chart = chart.to_str().context("the path of the chart")?;
        self.helm(&[&["upgrade", "--install", "rekey", chart, "--create-namespace"], values].concat()).await
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
    let release = Release { helm: helm.to_owned(), plane, client };
    let opened = format!("namespaces[0].name={shop}");
    let said = release.install(&["--set", &opened]).await?;
    ensure!(said.contains("kubectl get secretpolicies"), "the notes say what comes next: {said}");
    ensure!(release.definitions().await? == 4 && release.replicas().await? == Some(2), "what a release makes");
    let bindings: Api<RoleBinding> = Api::namespaced(release.client.clone(), &shop);
    ensure!(bindings.get("rekey").await?.role_ref.name == "rekey-namespace", "the namespace is opened");
    let policy = work(&release, &shop).await?;
    // Another number of replicas, and back.
    release.install(&["--set", &opened, "--set", "replicas=3"]).await?;
    ensure!(release.replicas().await? == Some(3), "upgrade");
    release.helm(&["rollback", "rekey", "1"]).await?;
    ensure!(release.replicas().await? == Some(2), "rollback");
    // What was made with the kinds stays when the release goes, and is there when it comes back.
    release.helm(&["uninstall", "rekey"]).await?;
    until("the Deployment is gone", || async { Ok(release.replicas().await?.is_none().then_some(())) }).await?;
    let roles: Api<ClusterRole> = Api::all(release.client.clone());
    ensure!(roles.get_opt("rekey-namespace").await?.is_none(), "a role stays");
    ensure!(release.definitions().await? == 4, "the kinds went with the release");
    let stays: Api<SecretPolicy> = Api::namespaced(release.client.clone(), &shop);
    ensure!(stays.get("db").await?.metadata.uid == policy.metadata.uid, "the policy went with the release");
    release.install(&["--set", &opened]).await?;
    ensure!(release.replicas().await? == Some(2) && release.definitions().await? == 4, "installed again");
    release.plane.stop()
}

/// A policy of somebody who uses the release.
async fn work(release: &Release, namespace: &str) -> Result<SecretPolicy> {
    let policies: Api<SecretPolicy> = Api::namespaced(release.client.clone(), namespace);
    let policy: SecretPolicy = serde_json::from_value(json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "db"},
        "spec": {"source": {"generated": {"fields": [{"key": "password", "password": {}}]}}},
    }))?;
    until("the API server knows the kind", || async { Ok(policies.create(&PostParams::default(), &policy).await.ok()) })
        .await
}
