//! What a pod has read and when, and whether it runs steadily.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod as KubePod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::ResourceExt as _;
use rekey_api::names;

use super::{
    Kind, Marker, Workload,
    readers::{Reader, Readers, readers},
};
use crate::time;

mod steady;

pub use steady::Steady;

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
    /// The marker it was created with.
    pub marker: Marker,
    /// The Secrets that its processes read, which are not those of the template when that has been changed since.
    pub reads: BTreeMap<String, Reading>,
    /// Since when the oldest of its containers runs.
    pub whole: Since,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
    /// Which template it was made from: its `pod-template-hash` or `controller-revision-hash`.
    pub template: Option<String>,
    /// Whether it is on its way out.
    pub terminating: bool,
    /// Whether its containers run and go on running.
    pub steady: Steady,
    /// How far the clock of its node differs at least from that of the API server.
    pub skew: TimeDelta,
}

/// What a pod has read of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When.
    pub since: Since,
    /// Whether it may have started without the Secret.
    pub optional: bool,
}

/// Since when the processes of a pod hold what they have read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The oldest of them read it at this time.
    At(DateTime<Utc>),
    /// One of them does not run: what it has read, or when it reads again, is not known.
    Unknown,
}

impl Since {
    /// Of two, what is older or less known.
    fn oldest(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(one), Self::At(other)) => Self::At(one.min(other)),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }
}

impl Pod {
    /// What matters of a pod.
    #[must_use]
    pub fn of(pod: &KubePod) -> Self {
        let containers = Containers::of(pod);
        let reading = |readers: &Readers<'_>| {
            let since = readers.all.iter().filter_map(|reader| containers.since(*reader)).reduce(Since::oldest)?;
            Some(Reading { since, optional: readers.optional })
        };
        let reads = readers(pod).into_iter();
        let reads = reads.filter_map(|(secret, readers)| Some((secret.to_owned(), reading(&readers)?))).collect();
        Self {
            name: pod.name_any(),
            marker: Marker::parse(pod.annotations().get(names::CONSUMED).map(String::as_str)),
            reads,
            whole: containers.oldest(),
            created: pod.creation_timestamp().map(|created| time::chrono(&created)),
            template: template_hash(pod).cloned(),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            steady: Steady::of(pod),
            skew: skew(pod),
        }
    }
}

/// The containers of a pod as its status shows them.
struct Containers<'a> {
    by_name: BTreeMap<&'a str, &'a ContainerStatus>,
    /// When kubelet took the pod up.
    started: Option<DateTime<Utc>>,
    /// Whether a container that has ended stays so.
    never_again: bool,
    /// Whether one that has ended well stays so.
    not_after_success: bool,
}

impl<'a> Containers<'a> {
    fn of(pod: &'a KubePod) -> Self {
        let status = pod.status.as_ref();
        let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        Self {
            by_name: statuses(pod).map(|container| (container.name.as_str(), container)).collect(),
            started: status.and_then(|status| status.start_time.as_ref()).map(time::chrono),
            never_again: policy == Some("Never"),
            not_after_success: policy == Some("OnFailure"),
        }
    }

    /// Since when a reader holds what it has read; `None`: it has ended for good and holds nothing.
    fn since(&self, reader: Reader<'_>) -> Option<Since> {
        match reader {
            Reader::Pod => Some(self.started.map_or(Since::Unknown, Since::At)),
            Reader::Container(name) => self.by_name.get(name).map_or(Some(Since::Unknown), |at| self.container(at)),
        }
    }

    fn container(&self, container: &ContainerStatus) -> Option<Since> {
        let state = container.state.as_ref();
        if let Some(running) = state.and_then(|state| state.running.as_ref()) {
            return Some(running.started_at.as_ref().map_or(Since::Unknown, |at| Since::At(time::chrono(at))));
        }
        let code = state.and_then(|state| state.terminated.as_ref()).map(|ended| ended.exit_code);
        let is_over = code.is_some_and(|code| self.never_again || self.not_after_success && code == 0);
        (!is_over).then_some(Since::Unknown)
    }

    /// Of those that run, the oldest: for who reads in a way that the pod does not show.
    fn oldest(&self) -> Since {
        let running = self.by_name.values().filter_map(|at| at.state.as_ref()?.running.as_ref()?.started_at.as_ref());
        running.map(time::chrono).min().map_or(Since::Unknown, Since::At)
    }
}

/// The status of every container. Init containers that run are sidecars
/// (<https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>).
fn statuses(pod: &KubePod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let usual = status.container_statuses.iter().chain(&status.init_container_statuses);
        usual.chain(&status.ephemeral_container_statuses).flatten()
    })
}

/// How far the clock of the pod's node differs at least from that of the API server, as the pod itself shows: kubelet
/// takes up no pod before it was created, and reports no start before it happened. Times are whole seconds.
fn skew(pod: &KubePod) -> TimeDelta {
    let created = pod.creation_timestamp().map(|created| time::chrono(&created));
    let taken_up = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(time::chrono);
    let behind = created.zip(taken_up).map(|(created, taken_up)| created - taken_up);
    let entries = pod.metadata.managed_fields.iter().flatten();
    let reports = entries.filter(|entry| entry.subresource.as_deref() == Some("status"));
    let reported = reports.filter_map(|entry| entry.time.as_ref()).map(time::chrono).max();
    let starts = statuses(pod).filter_map(|at| at.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let ahead = starts.map(time::chrono).max().zip(reported).map(|(started, reported)| started - reported);
    behind.into_iter().chain(ahead).fold(TimeDelta::zero(), TimeDelta::max)
}

/// Workloads, by what the pods that they make say of their owner: labels can be anybody's.
#[derive(Debug, Default)]
pub struct Makers {
    /// Uids of what controls its pods itself.
    uids: HashSet<String>,
    /// Names of those whose `ReplicaSet`s control their pods.
    names: HashSet<String>,
}

impl Makers {
    /// All of these.
    pub fn of<'a>(workloads: impl IntoIterator<Item = &'a Workload>) -> Self {
        let mut makers = Self::default();
        for workload in workloads {
            match workload.id.kind {
                Kind::StatefulSet | Kind::DaemonSet => drop(makers.uids.insert(workload.uid.clone())),
                Kind::CronJob => makers.uids.extend(workload.jobs.iter().map(|job| job.uid.clone())),
                Kind::Deployment | Kind::Rollout => drop(makers.names.insert(workload.id.name.clone())),
                Kind::Ingress | Kind::Gateway | Kind::ServiceAccount => {}
            }
        }
        makers
    }

    /// Whether one of them has made the pod.
    #[must_use]
    pub fn have_made(&self, pod: &KubePod) -> bool {
        let Some(owner) = controller(pod) else { return false };
        self.uids.contains(&owner.uid) || of_replica_set(pod, owner).is_some_and(|name| self.names.contains(name))
    }
}

fn controller(pod: &KubePod) -> Option<&OwnerReference> {
    pod.owner_references().iter().find(|owner| owner.controller == Some(true))
}

/// What a `ReplicaSet` of this pod belongs to: it is called after its owner and the hash of the template.
fn of_replica_set<'a>(pod: &KubePod, owner: &'a OwnerReference) -> Option<&'a str> {
    let name = || owner.name.strip_suffix(template_hash(pod)?.as_str())?.strip_suffix('-');
    if owner.kind == "ReplicaSet" { name() } else { None }
}

/// Kind and name of the workload that has made a pod; `None`: none has.
#[must_use]
pub fn maker(pod: &KubePod) -> Option<(&str, &str)> {
    let owner = controller(pod)?;
    let kind = if pod.labels().contains_key(ROLLOUT_HASH) { Kind::Rollout } else { Kind::Deployment };
    let made = of_replica_set(pod, owner).map(|name| (kind.as_str(), name));
    Some(made.unwrap_or((owner.kind.as_str(), owner.name.as_str())))
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

#[cfg(test)]
mod tests;
