//! The pods of the operator: what they may do, and what they serve.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use rekey_e2e::{release::SYSTEM, wait::until_equal};
use serde_json::{Value, json};

use super::{image::REPOSITORY, installation::Installation};

/// Not root, without capabilities, on a file system that is read-only and has no shell; from the image that was packed.
pub async fn two_replicas_keep_the_restricted_standard(on: &Installation) -> Result<()> {
    is_enforced(on).await?;
    let node = on.world.node()?;
    for pod in on.replicas().await? {
        let name = pod.name_any();
        let containers = pod.status.and_then(|status| status.container_statuses).context("no container")?;
        let [container] = containers.as_slice() else { anyhow::bail!("{name}: {} containers", containers.len()) };
        ensure!(container.image_id.ends_with(&on.digest), "{name} runs {}, not {}", container.image_id, on.digest);
        let status = node.kernel(SYSTEM, &name, "status").await?;
        for line in ["Uid:\t65532\t65532", "Gid:\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
            ensure!(status.lines().any(|at| at.starts_with(line)), "{name}: no {line:?} in {status}");
        }
        let mounts = node.kernel(SYSTEM, &name, "mounts").await?;
        let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).context("no root")?;
        let options = root.split(' ').nth(3).unwrap_or_default();
        ensure!(options.split(',').any(|option| option == "ro"), "{name}: the root can be written to: {root}");
        // The check finds a file that exists, so it would find a shell.
        node.file(SYSTEM, &name, "/etc/ssl/certs/ca-certificates.crt").await.context("the authorities")?;
        ensure!(node.file(SYSTEM, &name, "/bin/sh").await.is_err(), "{name} has a shell");
        let token = node.file(SYSTEM, &name, "/var/run/secrets/kubernetes.io/serviceaccount/token").await?;
        ensure!(lives(&token)? == 3600, "{name}: its token lives {} s", lives(&token)?);
    }
    as_any_user(on).await
}

/// How long a token (RFC 7519) is good for from its making, in seconds.
fn lives(token: &[u8]) -> Result<u64> {
    let claims = token.split(|byte| *byte == b'.').nth(1).context("not a token")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    let time = |name: &str| claims[name].as_u64().with_context(|| format!("no {name} in {claims}"));
    Ok(time("exp")? - time("iat")?)
}

/// Clusters that give each namespace user ids of its own (`OpenShift`) run the image as one of these.
async fn as_any_user(on: &Installation) -> Result<()> {
    let mut pod = json!({
        "metadata": {"name": "any-user"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1_000_680_000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "rekey",
                "args": ["--version"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    pod["spec"]["containers"][0]["image"] = json!(format!("{REPOSITORY}@{}", on.digest));
    let pods: Api<Pod> = Api::namespaced(on.world.client.clone(), SYSTEM);
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    until_equal("what became of it", "Succeeded".to_owned(), async || {
        Ok(pods.get("any-user").await?.status.and_then(|status| status.phase).unwrap_or_default())
    })
    .await?;
    pods.delete("any-user", &DeleteParams::default()).await?;
    Ok(())
}

/// A pod that the standard forbids is refused in the operator's namespace.
async fn is_enforced(on: &Installation) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(on.world.client.clone(), SYSTEM);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "root", "image": "root", "securityContext": {"privileged": true}}]},
    }))?;
    let answer = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await;
    let refusal = answer.err().context("a privileged pod was taken")?.to_string();
    ensure!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
    Ok(())
}

/// Health and metrics at the addresses of the pods, the metrics also by the Service, and the Lease of the one that leads.
pub async fn probes_and_metrics_are_served_to_the_cluster(on: &Installation) -> Result<()> {
    let replicas = on.replicas().await?;
    for pod in &replicas {
        for path in ["/livez", "/readyz"] {
            let (status, text) = on.ask(pod, 8081, path).await?;
            ensure!(status == 200, "{} {path}: {status} {text}", pod.name_any());
        }
        let restarts = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        ensure!(
            restarts.map(|container| container.restart_count).sum::<i32>() == 0,
            "{} was restarted",
            pod.name_any()
        );
    }
    let leader = on.leader().await?.name_any();
    let holder = on.world.lease().await?.holder_identity.context("no replica leads")?;
    ensure!(holder.starts_with(&leader), "{leader} says that it leads, the Lease names {holder}");
    let slices: Api<EndpointSlice> = Api::namespaced(on.world.client.clone(), SYSTEM);
    let of_metrics = ListParams::default().labels("kubernetes.io/service-name=rekey-metrics");
    let addresses: BTreeSet<String> =
        replicas.into_iter().filter_map(|pod| pod.status.and_then(|status| status.pod_ip)).collect();
    until_equal("the addresses of the Service for metrics", addresses, async || {
        let found = slices.list(&of_metrics).await?.items;
        Ok(found.into_iter().flat_map(|slice| slice.endpoints).flat_map(|endpoint| endpoint.addresses).collect())
    })
    .await
}
