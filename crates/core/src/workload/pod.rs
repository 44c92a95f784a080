//! What a pod holds, and since when.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::ResourceExt as _;
use rekey_api::names;

use super::{Kind, Marker, Workload, uses};
use crate::time;

/// The label by which Argo Rollouts distinguishes the pods of one template from those of another
/// (<https://argo-rollouts.readthedocs.io/en/stable/features/specification/>).
pub const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// Such labels of all controllers.
const TEMPLATE_HASHES: [&str; 3] = ["pod-template-hash", "controller-revision-hash", ROLLOUT_HASH];

/// A live pod, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// When the first of its running containers started; `None` when none runs yet: it will read the current value.
    pub started: Option<DateTime<Utc>>,
    /// The marker it was created with.
    pub marker: Marker,
    /// The Secrets it refers to, which are not those of the template when that has been changed since.
    pub uses: BTreeSet<String>,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
    /// Which template it was made from: its `pod-template-hash` or `controller-revision-hash`.
    pub template: Option<String>,
    /// Whether it is on its way out.
    pub terminating: bool,
}

impl Pod {
    /// What matters of a pod. Containers that restart read their environment again, so the oldest running one counts.
    #[must_use]
    pub fn of(pod: &KubePod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        // Init containers that run are sidecars
        // (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/).
        let usual = status.container_statuses.into_iter().chain(status.init_container_statuses);
        let containers = usual.chain(status.ephemeral_container_statuses).flatten();
        let started = containers
            .filter_map(|container| container.state?.running?.started_at)
            .map(|started| time::chrono(&started))
            .min();
        Self {
            name: pod.name_any(),
            started,
            marker: Marker::parse(pod.annotations().get(names::CONSUMED).map(String::as_str)),
            uses: pod.spec.as_ref().map(|spec| uses(spec).into_keys().collect()).unwrap_or_default(),
            created: pod.creation_timestamp().map(|created| time::chrono(&created)),
            template: template_hash(pod).cloned(),
            terminating: pod.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// Whether the pod is the workload's own, by the owner that controls it: labels can be anybody's.
#[must_use]
pub fn is_made_by(pod: &KubePod, workload: &Workload) -> bool {
    let Some(owner) = pod.owner_references().iter().find(|owner| owner.controller == Some(true)) else { return false };
    match workload.id.kind {
        Kind::StatefulSet | Kind::DaemonSet => owner.uid == workload.uid,
        Kind::CronJob => workload.jobs.iter().any(|job| job.uid == owner.uid),
        // Their ReplicaSets are called after them and the hash of the template.
        Kind::Deployment | Kind::Rollout => {
            owner.kind == "ReplicaSet"
                && template_hash(pod).is_some_and(|hash| owner.name == format!("{}-{hash}", workload.id.name))
        }
        Kind::Ingress | Kind::Gateway | Kind::ServiceAccount => false,
    }
}

/// Which template the pod was made from, by the label of its controller.
fn template_hash(pod: &KubePod) -> Option<&String> {
    TEMPLATE_HASHES.iter().find_map(|label| pod.labels().get(*label))
}

/// Whether a pod may still use what it has read.
#[must_use]
pub fn is_live(pod: &KubePod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}
