//! Deletes versions that nothing needs any more: those beyond `versions.keep`, and those of a policy that is gone. What may
//! refer to one is listed afresh, and only when there is one to delete.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, ReplicaSet, StatefulSet},
    batch::v1::Job,
    core::v1::Pod,
};
use kube::Api;
use rekey_api::names;
use rekey_core::{
    SecretNames,
    policy::{
        self, PolicySpec,
        in_use::{Revision, Wanted, in_revisions, made_of},
    },
    published::{Published, order},
};
use tokio::time::Instant;

use super::{Policies, observe::history};
use crate::{
    cluster::{NamespaceAccess, ObjectName, Referent, SecretRow, SecretVersion, policy_name},
    error::{Error, Operation, status},
    memory::{Collected, Publication},
    pages::{Listed, Reach},
    queue::Next,
};

/// How often versions that something refers to are looked at again.
const SELDOM: Duration = Duration::from_hours(1);
/// After a look that has failed.
const SOON: Duration = Duration::from_mins(1);

impl Policies {
    /// Deletes the versions of a policy that it keeps no longer and that nothing refers to. When to look again, if
    /// some are left. `published`: what the policy publishes now, of which nothing is deleted.
    pub(super) async fn collect(&self, spec: &PolicySpec, published: Option<&Published>) -> Option<Duration> {
        let (policy, published) = (policy_name(spec), published?);
        let versions = self.cluster.versions_and_copies(&policy, &spec.names);
        let current = spec.names.of_revision(&published.revision);
        let ours = versions.iter().filter(|version| version.is_our_word());
        let all = ours.map(|at| policy::Version { name: &at.name, published: &at.published }).collect();
        let mut superfluous = policy::superfluous(Some(&current), spec.keep, all);
        if superfluous.is_empty() {
            self.memory.collected.forget(&policy);
            return None;
        }
        let history = history(self, spec);
        let needed = history.needed(spec, published);
        superfluous.retain(|name| !needed.contains(spec.names.revision_in(name).unwrap_or_default()));
        if superfluous.is_empty() {
            self.memory.collected.forget(&policy);
            return None;
        }
        let now = Instant::now();
        let publication = Publication {
            revision: published.revision.clone(),
            complete: history.complete,
            generation: spec.generation,
        };
        if let Some(wait) = self.memory.collected.wait(&policy, &publication, now) {
            return Some(wait);
        }
        let again = match self.delete_unused(&spec.namespace, &versions, &superfluous).await {
            Ok(0) => {
                self.memory.collected.forget(&policy);
                return None;
            }
            Ok(left) => {
                tracing::debug!(left, "versions that something still refers to stay");
                SELDOM
            }
            Err(error) => self.uncollected(&policy, &error),
        };
        self.memory.collected.set(&policy, Collected { publication, next: now + again });
        Some(again)
    }

    /// What is left of a policy that is gone: versions go with it, if they say so and nothing refers to them.
    pub(super) async fn leave(&self, policy: &ObjectName) -> Next {
        let versions = match self.cluster.namespaces.access(&policy.namespace) {
            NamespaceAccess::Open => self.orphans(policy),
            // Its Secrets are not known; those of a namespace that is opened later come with its lists.
            NamespaceAccess::Pending | NamespaceAccess::Closed => Vec::new(),
        };
        let names: Vec<&str> = versions.iter().map(|version| version.name.as_str()).collect();
        let next = match self.delete_unused(&policy.namespace, &versions, &names).await {
            Ok(0) => Next::Change,
            Ok(_) => Next::After(SELDOM),
            Err(error) => Next::After(self.uncollected(policy, &error)),
        };
        self.memory.collected.forget(policy);
        self.memory.kept.forget(policy);
        self.cluster.leaving.done(policy);
        next
    }

    /// The versions of a policy that is gone, if the newest of them says that they go too.
    fn orphans(&self, policy: &ObjectName) -> Vec<SecretVersion> {
        let is_version = |name: &str, row: &SecretRow| {
            row.managed().is_some_and(|managed| {
                let is_named =
                    || SecretNames::bases(name).nth(1).is_some() && name.ends_with(&managed.published.revision);
                managed.published.policy == policy.name && managed.is_made_by_us && !managed.is_going && is_named()
            })
        };
        let rows = self.cluster.secrets.starting(&policy.namespace, "", is_version);
        let version = |(name, row): (String, Arc<SecretRow>)| {
            let published = Arc::clone(&row.managed()?.published);
            Some(SecretVersion { name, row, published })
        };
        let all: Vec<SecretVersion> = rows.into_iter().filter_map(version).filter(SecretVersion::is_our_word).collect();
        let newest = all.iter().max_by(|one, other| order(&one.published).cmp(&order(&other.published)));
        let managed = newest.and_then(|newest| newest.row.managed());
        let goes = managed.is_some_and(|managed| {
            managed.annotations.has_ours(names::ON_POLICY_DELETE, names::ON_POLICY_DELETE_DELETE)
        });
        if goes { all } else { Vec::new() }
    }

    /// Says why nothing was deleted; when to try again.
    fn uncollected(&self, policy: &ObjectName, error: &Error) -> Duration {
        let is_denied = matches!(error, Error::Api { source, .. } if status(source) == Some(403));
        if !is_denied || self.memory.collected.tell(&policy.namespace) {
            tracing::warn!(%policy, %error, "versions that may not be needed any more stay");
        }
        if is_denied || matches!(error, Error::NotKnownYet { .. }) { SELDOM } else { SOON }
    }

    /// Deletes those of `names` that nothing refers to; how many are left.
    async fn delete_unused(&self, namespace: &str, versions: &[SecretVersion], names: &[&str]) -> Result<usize, Error> {
        if names.is_empty() {
            return Ok(0);
        }
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let referred = self.referred(namespace, &wanted).await?;
        let unused = policy::unused(names, &referred);
        for name in &unused {
            if let Some(version) = versions.iter().find(|version| version.name == **name) {
                let secret = ObjectName::new(namespace, *name);
                let policy = ObjectName::new(namespace, version.published.policy.as_str());
                self.memory.kept.let_go(&policy, name);
                self.write.remove(&secret, &version.row.object_version()).await?;
                tracing::info!(%secret, "deleted a version that nothing refers to");
            }
        }
        Ok(names.len() - unused.len())
    }

    /// Whether something that is watched refers to the Secret.
    pub(super) fn is_watched(&self, namespace: &str, name: &str) -> bool {
        !self.cluster.workloads.referring(namespace, Referent::Secret, name).is_empty()
            || !self.cluster.stores.referring(namespace, Referent::Secret, name).is_empty()
    }

    /// Those of these Secrets that something refers to: what is watched, and what may make a pod.
    pub(super) async fn referred(&self, namespace: &str, wanted: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
        let is_watched = |name: &&String| self.is_watched(namespace, name);
        let mut found: BTreeSet<String> = wanted.iter().filter(is_watched).cloned().collect();
        let left = |found: &BTreeSet<String>| wanted.difference(found).cloned().collect::<BTreeSet<String>>();
        let (mut rest, lists) = (left(&found), Lists { ctx: self, namespace });
        // What a pod is made from comes before the pods: one that is made meanwhile is seen here or there.
        if !rest.is_empty() {
            let sets = lists.of::<ReplicaSet, _>(Operation::ListMakers, |set| Some(Wanted(&rest).in_replica_set(set)));
            found.extend(sets.await?.into_iter().flatten());
            rest = left(&found);
        }
        if !rest.is_empty() {
            let jobs = lists.of::<Job, _>(Operation::ListMakers, |job| Some(Wanted(&rest).in_job(job)));
            found.extend(jobs.await?.into_iter().flatten());
            rest = left(&found);
        }
        if !rest.is_empty() {
            found.extend(lists.in_revisions(&rest).await?);
            rest = left(&found);
        }
        if !rest.is_empty() {
            let pods = lists.of::<Pod, _>(Operation::ListPods, |pod| Some(Wanted(&rest).in_pod(pod)));
            found.extend(pods.await?.into_iter().flatten());
        }
        Ok(found)
    }
}

/// Fresh lists of one namespace.
#[derive(Clone, Copy)]
struct Lists<'a> {
    ctx: &'a Policies,
    namespace: &'a str,
}

impl Lists<'_> {
    async fn of<K, T>(&self, operation: Operation, of: impl Fn(&K) -> Option<T>) -> Result<Vec<T>, Error>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.ctx.client.clone(), self.namespace);
        match Listed::all(api, operation).each(&self.ctx.pages, self.namespace, of).await? {
            Reach::All(found) => Ok(found),
            Reach::TooMany => {
                let what =
                    format!("who refers to the versions in namespace {}: there is too much to list", self.namespace);
                Err(Error::NotKnownYet { what })
            }
        }
    }

    /// Those in the kept states, of `StatefulSet`s for example, of which pods are made.
    async fn in_revisions(&self, wanted: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
        let revision = |at: &ControllerRevision| Some(Wanted(wanted).in_revision(at));
        let all: Vec<Revision> = self.of(Operation::ListMakers, revision).await?;
        if all.iter().all(|revision| revision.secrets.is_empty()) {
            return Ok(BTreeSet::new());
        }
        let sets = self.of::<StatefulSet, _>(Operation::ListMakers, |set| Some(made_of(set))).await?;
        Ok(in_revisions(&all, &sets.into_iter().collect::<BTreeMap<_, _>>()))
    }
}
