//! Which pods keep the old credential of a rotation needed, from a fresh list of all pods of the namespace.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::ResourceExt as _;
use rekey_core::{
    SecretNames,
    published::Published,
    rollout::{Health, Held, health, held_for_sure},
    rotation::{self, PodsView, Task},
    workload::{Kind, Makers, Pod, ROLLOUT_HASH, Use, is_live, uses},
};

use super::{Schedules, observe::ThePolicy, policy_of};
use crate::{cluster::SecretVersion, error::Error, pages};

/// Pods that are named in a text.
const SHOWN: usize = 20;
/// What keeps a number of pods as they are: only of these a pod that does not run steadily is a fault of the new value.
/// Pods of Jobs, and those that a user made, may end as they please.
const KEEPERS: [&str; 3] = ["ReplicaSet", "StatefulSet", "DaemonSet"];

/// What a pod keeps from its end.
enum Kept {
    Old(String),
    Unknown(String),
    Unsteady(String),
}

/// Live pods of the policy's Secret, whoever made them, that do not run steadily on what is `published`. While nothing is, nobody
/// knows what they hold, unless they have never run.
pub async fn observe(
    ctx: &Schedules,
    task: &Task,
    policy: ThePolicy<'_>,
    published: Option<&Published>,
) -> Result<PodsView, Error> {
    let names = SecretNames::of(policy.object);
    let reloading = match reloading(ctx, task, &names).await {
        Err(error) => return unlisted(error),
        Ok(reloading) => reloading,
    };
    let stable_for = policy.object.spec.rollout.stable_for;
    let versions = ctx.cluster.all_versions(&policy_of(&task.spec), &names);
    let view =
        View { names: &names, published, versions, reloading, stable_for: TimeDelta::from_std(stable_for.get()).ok() };
    let workloads = ctx.cluster.workloads.in_namespace(&task.spec.namespace);
    let knows_rollouts = workloads.iter().any(|(_, row)| row.id.kind == Kind::Rollout);
    let now = ctx.clock.now();
    let kept = |pod: &KubePod| {
        let described = || {
            let is_unseen = !knows_rollouts && pod.labels().contains_key(ROLLOUT_HASH);
            if is_unseen { rotation::pod_of_unseen_rollout(&pod.name_any()) } else { pod.name_any() }
        };
        let is_kept = || pod.owner_references().iter().any(|owner| KEEPERS.contains(&owner.kind.as_str()));
        match view.held(pod)? {
            Held::Other => Some(Kept::Old(described())),
            Held::Unknown => Some(Kept::Unknown(described())),
            Held::Current if is_kept() => view.unsteady(pod, now).map(Kept::Unsteady),
            Held::Current => None,
        }
    };
    let live = |pod: &KubePod| if is_live(pod) { kept(pod) } else { None };
    let list = pages::Pods { namespace: &task.spec.namespace, selector: None };
    list.each(&ctx.client, &ctx.pages, &task.spec.namespace, live).await.map_or_else(unlisted, |all| Ok(sorted(all)))
}

/// What pods are judged by.
struct View<'a> {
    names: &'a SecretNames,
    published: Option<&'a Published>,
    /// The versions of the policy's Secret.
    versions: Vec<SecretVersion>,
    /// Uids of those that read mounted files again by themselves.
    reloading: BTreeSet<String>,
    /// How long a pod has to run on.
    stable_for: Option<TimeDelta>,
}

impl View<'_> {
    /// What the pod holds of the policy's Secret; `None`: it does not refer to it, or sees changes by itself.
    fn held(&self, pod: &KubePod) -> Option<Held> {
        let uses = pod.spec.as_ref().map(uses).unwrap_or_default();
        let Some(published) = self.published else {
            return (self.names.covered(&uses).next().is_some() && has_run(pod)).then_some(Held::Unknown);
        };
        if self.names.is_versioned() {
            // A version holds one value for good, so its name says what the pod holds.
            let current = self.names.of_revision(&published.revision);
            let mut uses = self.names.covered(&uses).filter(|(_, how)| !how.needs_no_restart()).peekable();
            uses.peek()?;
            let is_equal = |name: &str, how: &Use| {
                let other = self.versions.iter().find(|version| version.name == name && version.is_our_word());
                other.is_some_and(|other| other.published.consumed(&how.keys) == published.consumed(&how.keys))
            };
            let is_current = |(name, how): (&String, &Use)| *name == current || is_equal(name, how);
            return Some(if uses.all(is_current) { Held::Current } else { Held::Other });
        }
        let reloads = pod.metadata.uid.as_ref().is_some_and(|uid| self.reloading.contains(uid));
        let mut uses = self.names.covered(&uses).filter(|(_, how)| !how.refreshes(reloads)).peekable();
        uses.peek()?;
        let known = Pod::of(pod);
        let mut found = Held::Current;
        for (secret, how) in uses {
            match held_for_sure(&known, secret, how, published) {
                Held::Other => return Some(Held::Other),
                Held::Unknown => found = Held::Unknown,
                Held::Current => {}
            }
        }
        Some(found)
    }

    /// Why the pod does not run steadily. One that is on its way out need not.
    fn unsteady(&self, pod: &KubePod, now: chrono::DateTime<chrono::Utc>) -> Option<String> {
        let known = Pod::of(pod);
        let stable_for = self.stable_for.filter(|_| !known.terminating)?;
        match health(std::slice::from_ref(&known), stable_for, now) {
            Health::Stable => None,
            Health::Unsteady { trouble: Some(trouble), .. } => Some(format!("{} ({trouble})", known.name)),
            Health::Unsteady { trouble: None, .. } => Some(known.name),
        }
    }
}

/// Whether a container of the pod has ever been started: before that it has read nothing.
fn has_run(pod: &KubePod) -> bool {
    let Some(status) = &pod.status else { return false };
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().any(|container| {
        let waits = container.state.as_ref().is_none_or(|state| state.running.is_none() && state.terminated.is_none());
        !waits
            || container.restart_count > 0
            || container.last_state.as_ref().is_some_and(|last| last.terminated.is_some())
    })
}

/// The uids of the pods whose workloads read mounted files again by themselves: of each workload its own, since others
/// may mount the same Secret and never look again.
async fn reloading(ctx: &Schedules, task: &Task, names: &SecretNames) -> Result<BTreeSet<String>, Error> {
    let namespace = task.spec.namespace.as_str();
    let mut found = BTreeSet::new();
    for (_, workload) in ctx.cluster.workloads.in_namespace(namespace) {
        if workload.live_reload && !workload.selector.is_empty() && names.covered(&workload.uses).next().is_some() {
            let list = pages::Pods { namespace, selector: Some(&workload.selector) };
            let makers = Makers::of([workload.as_ref()]);
            let uid = |pod: &KubePod| pod.metadata.uid.clone().filter(|_| makers.have_made(pod));
            found.extend(list.each(&ctx.client, &ctx.pages, &task.spec.namespace, uid).await?);
        }
    }
    Ok(found)
}

/// Pods that cannot all be listed: a rotation waits, and whatever ends one that waits still does.
fn unlisted(error: Error) -> Result<PodsView, Error> {
    match error {
        Error::TooManyPods { most, .. } => Ok(PodsView {
            unknown: vec![format!(
                "one of more than {most} pods, too many for Rekey to look at (delete those that are not needed)"
            )],
            ..PodsView::default()
        }),
        error => Err(error),
    }
}

fn sorted(all: Vec<Kept>) -> PodsView {
    let mut view = PodsView::default();
    for kept in all {
        match kept {
            Kept::Old(name) => view.old.push(name),
            Kept::Unknown(name) => view.unknown.push(name),
            Kept::Unsteady(name) => view.unsteady.push(name),
        }
    }
    PodsView { old: shown(view.old), unknown: shown(view.unknown), unsteady: shown(view.unsteady) }
}

/// The names of as many pods as a text has room for, and how many there are beside them.
fn shown(mut pods: Vec<String>) -> Vec<String> {
    let more = pods.len().saturating_sub(SHOWN);
    pods.truncate(SHOWN);
    pods.extend((more > 0).then(|| format!("{more} more")));
    pods
}
