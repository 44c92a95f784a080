//! A node that only reports what a node would report: every pod that is bound to it is started and ready at once, and
//! gone as soon as it should end. No container runs. Everything else is real: the API server, the controllers that
//! replace pods, the scheduler.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::shipped;

const NODE: &str = "pretended";
const MANAGER: &str = "pretended-kubelet";
/// The node controller treats a node as lost that is silent for four times this long.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How many pods it reports at the same time.
const AT_ONCE: usize = 8;

/// See the [module documentation](self). It ends when it is dropped.
pub struct Kubelet {
    tasks: Vec<JoinHandle<()>>,
}

impl Kubelet {
    /// Registers the node and starts.
    ///
    /// # Errors
    /// When the node is refused.
    pub async fn start(client: &Client) -> Result<Self> {
        shipped::apply(client, MANAGER, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}))
            .await?;
        heartbeat(client).await?;
        let (beats, follows) = (client.clone(), client.clone());
        let beat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                heartbeat(&beats).await.ok(); // the next one comes soon
            }
        });
        Ok(Self { tasks: vec![beat, tokio::spawn(follow(follows))] })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The node's Lease and its condition, as a kubelet renews them.
async fn heartbeat(client: &Client) -> Result<()> {
    let now = Timestamp::now();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NODE, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": MicroTime(now)},
    });
    shipped::apply(client, MANAGER, lease).await?;
    let room: BTreeMap<&str, &str> = [("cpu", "1000"), ("memory", "1Ti"), ("pods", "5000")].into();
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "Pretended", "message": "",
            "lastHeartbeatTime": Time(now), "lastTransitionTime": Time(now),
        })
    };
    let status = json!({"status": {
        "capacity": room,
        "allocatable": room,
        "conditions": [condition("Ready", "True"), condition("MemoryPressure", "False"), condition("DiskPressure", "False")],
    }});
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(&status)).await.context("report the node")?;
    Ok(())
}

async fn follow(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    let of_node = watcher::Config::default().fields(&format!("spec.nodeName={NODE}"));
    let changes = watcher(pods, of_node).default_backoff().applied_objects().filter_map(|pod| async { pod.ok() });
    let told = changes.map(|pod| tell(client.clone(), pod)).buffer_unordered(AT_ONCE);
    // A pod that went away in between, or a conflict: the pod comes again if there is still something to report.
    told.for_each(|_| async {}).await;
}

async fn tell(client: Client, pod: Pod) -> Result<()> {
    let name = pod.name_any();
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    if pod.metadata.deletion_timestamp.is_some() {
        pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
    } else if pod.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Running") {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        pods.patch_status(&name, &params, &Patch::Merge(&running(&pod))).await?;
    }
    Ok(())
}

fn running(pod: &Pod) -> Value {
    let now = Time(Timestamp::now());
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container.name, "image": container.image, "imageID": "pretended", "ready": true,
                "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}},
            })
        })
        .collect();
    let conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}))
        .into();
    json!({
        "metadata": {"uid": pod.uid()},
        "status": {"phase": "Running", "startTime": now, "containerStatuses": containers, "conditions": conditions},
    })
}
