//! A `ServiceAccount` whose pods may refer to listed Secrets only: its list follows the versions.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams};
use rekey_e2e::{
    Scene, World,
    versions::{change, current, policy, scene},
    wait::{stays, until, until_equal},
    workloads::Form,
};
use serde_json::{Value, json};

use super::references::{manifest, wait_current};

const ENFORCED: &str = "kubernetes.io/enforce-mountable-secrets";

async fn account(scene: &Scene, name: &str, enforced: &str, secrets: &[&str]) -> Result<()> {
    let secrets: Vec<Value> = secrets.iter().map(|secret| json!({"name": secret})).collect();
    let metadata = json!({"name": name, "annotations": {ENFORCED: enforced}});
    scene.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "secrets": secrets})).await
}

async fn listed(scene: &Scene, name: &str) -> Result<BTreeSet<String>> {
    let account = scene.api::<ServiceAccount>().get(name).await?;
    Ok(account.secrets.into_iter().flatten().filter_map(|entry| entry.name).collect())
}

/// The Deployment `web`, whose pods run as this account.
fn web(scene: &Scene, account: &str) -> Value {
    let mut object = manifest(scene, "Deployment", "web", Form::Env);
    object["spec"]["template"]["spec"]["serviceAccountName"] = json!(account);
    object
}

/// Whether the API server takes a pod of the account that refers to this Secret; it is not made.
async fn is_admitted(scene: &Scene, account: &str, secret: &str) -> Result<bool> {
    let mut spec = web(scene, account)["spec"]["template"]["spec"].take();
    spec["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"] = json!(secret);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "try"}, "spec": spec});
    let params = kube::api::PostParams { dry_run: true, ..kube::api::PostParams::default() };
    match scene.api::<Pod>().create(&params, &serde_json::from_value(pod)?).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(refused)) if refused.message.contains("does not reference that secret") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub async fn the_list_of_an_account_follows_the_versions(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "account").await?;
    let _operator = scene.operator()?;
    let versions = json!({"references": "Move", "keep": 0});
    policy(&scene, json!({"immutability": "Versioned", "versions": versions})).await?;
    let mut name = current(&scene, "one").await?;
    account(&scene, "strict", "true", &["token", "db"]).await?;
    account(&scene, "lenient", "false", &["db"]).await?;
    account(&scene, "other", "true", &["token"]).await?;
    world.apply(web(&scene, "strict")).await?;
    for (password, generation) in [("one", 2), ("two", 3), ("three", 4)] {
        if password != "one" {
            name = change(&scene, password).await?;
        }
        wait_current(&scene, &["web"]).await?;
        ensure!(scene.held("web", "PASSWORD").await? == password);
        ensure!(scene.generation("Deployment", "web").await? == generation, "one move for one value");
        ensure!(!is_admitted(&scene, "strict", "not-listed").await?, "the API server does not look at the list");
        for secret in ["db", name.as_str()] {
            ensure!(is_admitted(&scene, "strict", secret).await?, "{secret}: {:?}", listed(&scene, "strict").await?);
        }
    }
    let wanted: BTreeSet<String> = ["token", "db", name.as_str()].map(str::to_owned).into();
    until_equal("the list without what was collected", wanted.clone(), || listed(&scene, "strict")).await?;
    ensure!(listed(&scene, "lenient").await? == ["db".to_owned()].into(), "it lets pods refer to anything");
    ensure!(listed(&scene, "other").await? == ["token".to_owned()].into(), "it lists nothing of the policy");
    let object = scene.api::<ServiceAccount>().get("strict").await?;
    ensure!(object.image_pull_secrets.is_none() && object.metadata.annotations.is_some_and(|all| all.len() == 1));

    // Pods that come later are let in as well: an entry that another tool takes off comes back.
    let take_off = || async {
        let patch = Patch::Merge(json!({"secrets": [{"name": "token"}, {"name": "db"}]}));
        scene.api::<ServiceAccount>().patch("strict", &PatchParams::default(), &patch).await.map(drop)
    };
    take_off().await?;
    until_equal("the list", wanted.clone(), || listed(&scene, "strict")).await?;
    scene.api::<Pod>().delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await?;
    until("a new pod", || async { Ok((scene.held("web", "PASSWORD").await? == "three").then_some(())) }).await?;
    // Not for ever.
    let without: BTreeSet<String> = ["token", "db"].map(str::to_owned).into();
    until("it stays off, and an Event says so", || async {
        if listed(&scene, "strict").await? != without {
            take_off().await?;
        }
        let events = scene.events("strict").await?;
        Ok(events.iter().any(|event| event.contains("off the list of mountable Secrets twice")).then_some(()))
    })
    .await?;
    stays("the list", without, Duration::from_secs(3), || listed(&scene, "strict")).await?;
    // The next value counts anew.
    let next = change(&scene, "four").await?;
    wait_current(&scene, &["web"]).await?;
    ensure!(scene.held("web", "PASSWORD").await? == "four");
    listed(&scene, "strict").await?.contains(&next).then_some(()).context("the new version is not listed")
}
