//! The parts of Rekey that belong to the cluster.

use anyhow::{Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PropagationPolicy},
};
use rekey_api::SecretPolicy;
use rekey_e2e::{
    Release, World,
    release::chart,
    shipped,
    wait::{until, until_equal},
};
use rekey_testkit::checkout::repository;
use serde_json::json;

use crate::runbook::Admin;

/// Installs the chart of this checkout.
pub async fn install_by(release: &Release) -> Result<()> {
    release.install(&chart(&repository()), &[]).await.map(drop)
}

/// Installs without Helm, as docs/operations.md says.
pub async fn install(admin: &Admin, client: &Client) -> Result<()> {
    admin.bash("kubectl apply --server-side -f deploy/install.yaml").await?;
    shipped::served(client).await
}

/// Deletes the definitions.
pub const DELETE_DEFINITIONS: &str = "kubectl delete crd --timeout=2m \
    secretpolicies.rekey.dev rotationschedules.rekey.dev remotestores.rekey.dev clusterremotestores.rekey.dev";

/// Waits until the garbage collector knows the kinds, as it does wherever they have been for long: it looks for new ones every 30 s,
/// and never misses an owner of a kind that it does not know. Nothing else takes the finalizer `orphan` off.
pub async fn is_collected(world: &World) -> Result<()> {
    let canary = json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {"name": "canary", "namespace": "default"},
        "spec": {"source": {"existing": {}}},
    });
    world.apply(canary).await?;
    let policies: Api<SecretPolicy> = Api::namespaced(world.client.clone(), "default");
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    policies.delete("canary", &orphan).await?;
    until("the collector lets a policy go", || async { Ok(policies.get_opt("canary").await?.is_none().then_some(())) })
        .await
}

/// Checks that nothing of Rekey is left in the cluster's scope and in the namespace `default`.
pub async fn is_clean(admin: &Admin) -> Result<()> {
    let kinds = "crd,clusterroles,clusterrolebindings,roles,rolebindings";
    let found = admin.bash(&format!("kubectl get {kinds} -n default -o name")).await?.out;
    let left: Vec<&str> = found.lines().filter(|line| line.contains("rekey")).collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// Waits until there are no definitions of ours.
pub async fn definitions_gone(client: &Client) -> Result<()> {
    let all: Api<CustomResourceDefinition> = Api::all(client.clone());
    until_equal("definitions", Vec::<String>::new(), || async {
        let found = all.list(&ListParams::default()).await?;
        Ok(found.iter().filter(|found| found.spec.group == "rekey.dev").map(kube::ResourceExt::name_any).collect())
    })
    .await
}
