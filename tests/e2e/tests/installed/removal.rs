//! Another Helm, the image by its digest, and the end of the release: what users made with it stays as it is.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{Api, ResourceExt as _};
use rekey_api::SecretPolicy;
use rekey_e2e::release::SYSTEM;

use super::installation::{Installation, Who};

pub async fn helm_4_upgrades_and_uninstalls_what_helm_3_has_installed(on: &Installation) -> Result<()> {
    let shop = on.shop();
    let helm = on.helms.four.display();
    let secret = shop.api::<Secret>().get("web-session").await?;
    let generation = shop.generation("Deployment", "web").await?;
    let values = format!("--reuse-values --set image.digest={}", on.digest);
    on.run(Who::ClusterAdmin, &format!("{helm} upgrade rekey deploy/chart/rekey -n {SYSTEM} --wait {values}")).await?;
    for pod in on.replicas().await? {
        let image = pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone()).unwrap_or_default();
        ensure!(image.ends_with(&on.digest), "{} runs {image}", pod.name_any());
    }
    on.leader().await?;
    on.nothing_was_refused().await?;
    on.run(Who::ClusterAdmin, &format!("{helm} rollback rekey -n {SYSTEM} --wait")).await?;
    on.replicas().await?;
    let values = on.run(Who::ClusterAdmin, &format!("{helm} get values rekey -n {SYSTEM} -o yaml")).await?;
    ensure!(!values.contains("digest"), "rolled back to {values}");
    on.run(Who::ClusterAdmin, &format!("{helm} uninstall rekey -n {SYSTEM} --wait")).await?;
    let deployments: Api<Deployment> = Api::namespaced(on.world.client.clone(), SYSTEM);
    ensure!(deployments.get_opt("rekey").await?.is_none(), "the Deployment stays");
    ensure!(
        shop.api::<Secret>().get("web-session").await?.resource_version() == secret.resource_version(),
        "the Secret"
    );
    ensure!(shop.api::<SecretPolicy>().get_opt("web-session").await?.is_some(), "the policy went with the release");
    // Installed again, it finds all as it was.
    std::fs::write(on.world.plane.directory().join("values.yaml"), values)?;
    let values = on.world.plane.directory().join("values.yaml");
    let install = format!("{helm} install rekey deploy/chart/rekey -n {SYSTEM} --wait -f {}", values.display());
    on.run(Who::ClusterAdmin, &install).await?;
    shop.sync("web-session").await?;
    shop.wait_settled("web-session").await?;
    let after = shop.api::<Secret>().get_opt("web-session").await?.context("the Secret is gone")?;
    ensure!(after.resource_version() == secret.resource_version(), "the Secret was written");
    ensure!(shop.generation("Deployment", "web").await? == generation, "a consumer was restarted");
    Ok(())
}
