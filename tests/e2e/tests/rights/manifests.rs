//! The Deployment and its pods, before an API server that enforces the restricted standard
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use http::Request;
use kube::client::Body;
use rekey_e2e::{World, shipped};
use serde_json::{Value, json};

/// The API server's answer to a dry run: the status, and its warnings.
async fn tried(world: &World, path: &str, object: &Value) -> Result<(u16, Vec<String>)> {
    let request = Request::post(format!("{path}/namespaces/rekey-system/{}?dryRun=All", plural(object)))
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(object)?))?;
    let answer = world.client.send(request).await?;
    let warnings = answer.headers().get_all("warning").iter();
    let warnings = warnings.map(|warning| String::from_utf8_lossy(warning.as_bytes()).into_owned()).collect();
    Ok((answer.status().as_u16(), warnings))
}

fn plural(object: &Value) -> String {
    format!("{}s", object["kind"].as_str().unwrap_or_default().to_lowercase())
}

pub async fn the_shipped_pod_keeps_the_restricted_standard(world: Arc<World>) -> Result<()> {
    let objects = shipped::with_image()?;
    let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).with_context(|| kind.to_owned());
    let (deployment, budget) = (of("Deployment")?, of("PodDisruptionBudget")?);
    let clean = |answer: (u16, Vec<String>)| answer == (201, Vec::new());
    for (path, object) in [("/apis/apps/v1", deployment), ("/apis/policy/v1", budget)] {
        let answer = tried(&world, path, object).await?;
        ensure!(clean(answer.clone()), "{}: {answer:?}", object["kind"]);
    }
    // A Deployment only gets a warning; its pods would be refused.
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("rekey");
    let answer = tried(&world, "/api/v1", &pod).await?;
    ensure!(clean(answer.clone()), "its pod: {answer:?}");
    ensure!(budget["spec"]["selector"] == deployment["spec"]["selector"], "the budget is for other pods");
    ensure!(deployment["spec"]["replicas"] == 2, "one waits while the other leads");
    // This API server does enforce it.
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let answer = tried(&world, "/api/v1", &pod).await?;
    ensure!(answer.0 == 403, "a pod that may escalate: {answer:?}");
    probes(&world, deployment).await
}

/// The probes use the paths that the operator serves, at its default ports.
async fn probes(world: &World, deployment: &Value) -> Result<()> {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().context("no ports")?;
    let port = |name: &str| ports.iter().find(|port| port["name"] == name).map(|port| port["containerPort"].clone());
    ensure!(port("health") == Some(json!(8081)) && port("metrics") == Some(json!(9464)), "{ports:?}");
    let operator = world.operator("probed", &["--leader-elect=false", "--namespaces=nobody"])?;
    for probe in ["livenessProbe", "readinessProbe"] {
        let asked = &container[probe]["httpGet"];
        let path = asked["path"].as_str().context("no path")?;
        ensure!(asked["port"] == "health", "{probe}: {asked}");
        rekey_e2e::wait::until(&format!("{path} says ok"), || async {
            Ok(operator.get(path).await.is_ok_and(|(status, _)| status == 200).then_some(()))
        })
        .await?;
    }
    Ok(())
}
