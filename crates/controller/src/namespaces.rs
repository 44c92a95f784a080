//! Which namespaces are opened to the operator, and the watches that exist only there.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, api::PostParams};
use tokio::task::AbortHandle;

use crate::{
    cluster::{NamespaceAccess, ObjectName},
    connections,
    context::Context,
    error::{Error, Operation},
    queue::Lane,
    watch,
};

/// A closed namespace is tried again after this time.
const RECHECK: Duration = Duration::from_secs(30);
/// How often the set of namespaces that hold our objects is compared with the watches.
const ROUND: Duration = Duration::from_secs(2);

/// See the [module documentation](self).
#[derive(Default)]
pub struct Namespaces {
    state: Mutex<HashMap<String, Entry>>,
    wake: tokio::sync::Notify,
    /// Lists of our own kinds that are complete, by scope and kind.
    own: Mutex<BTreeSet<(Option<String>, &'static str)>>,
}

struct Entry {
    access: NamespaceAccess,
    checked: tokio::time::Instant,
    /// Kinds whose first list is complete.
    listed: BTreeSet<&'static str>,
    tasks: Vec<AbortHandle>,
}

impl Namespaces {
    /// How far `namespace` is.
    #[must_use]
    pub fn access(&self, namespace: &str) -> NamespaceAccess {
        self.state().get(namespace).map_or(NamespaceAccess::Pending, |entry| entry.access)
    }

    /// A new object came: look soon whether its namespace is watched.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// A list of a namespace is complete. True when it was the last one to be waited for.
    pub fn listed(&self, namespace: &str, kind: &'static str) -> bool {
        let mut state = self.state();
        let Some(entry) = state.get_mut(namespace) else {
            return false;
        };
        entry.listed.insert(kind); // a watch may fail and list again before the others have listed once
        let complete = entry.listed.len() == watch::PER_NAMESPACE && entry.access == NamespaceAccess::Pending;
        if complete {
            entry.access = NamespaceAccess::Open;
        }
        complete
    }

    /// A list of one of our own kinds is complete.
    pub fn listed_own(&self, scope: Option<&str>, kind: &'static str) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert((scope.map(str::to_owned), kind));
        drop(own);
        self.wake();
    }

    /// Whether all our own kinds have been listed: before, an object that is not known may exist all the same.
    fn own_known(&self, watches: usize) -> bool {
        // Nothing waits for the cluster-scoped kind: who gives the operator no right to it can do without.
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.iter().filter(|(_, kind)| *kind != "ClusterRemoteStore").count() >= watches
    }

    fn close(&self, namespace: &str) {
        if let Some(entry) = self.state().get_mut(namespace) {
            entry.access = NamespaceAccess::Closed;
            entry.tasks.drain(..).for_each(|task| task.abort());
        }
        self.wake();
    }

    /// Takes it as opened.
    #[cfg(test)]
    pub fn set_open(&self, namespace: &str) {
        let checked = tokio::time::Instant::now();
        let entry = Entry { access: NamespaceAccess::Open, checked, listed: BTreeSet::new(), tasks: Vec::new() };
        self.state().insert(namespace.to_owned(), entry);
    }

    fn state(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the watches of namespaces in step with where our objects are. Ends never.
///
/// # Errors
/// Never; failures are tried again.
pub async fn run(ctx: Arc<Context>) {
    while !ctx.namespaces.own_known(watch::own_watches(&ctx)) {
        ctx.namespaces.wake.notified().await;
    }
    loop {
        let wanted = wanted(&ctx);
        retire(&ctx, &wanted);
        connections::release(&ctx);
        for namespace in wanted {
            let due = match ctx.namespaces.state().get(&namespace) {
                None => true,
                Some(entry) => entry.access == NamespaceAccess::Closed && entry.checked.elapsed() >= RECHECK,
            };
            if due && let Err(error) = open(&ctx, &namespace).await {
                tracing::warn!(namespace, %error, "the namespace could not be asked about");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = ctx.namespaces.wake.notified() => {}
        }
    }
}

fn wanted(ctx: &Context) -> BTreeSet<String> {
    let mut wanted = ctx.known.policies.namespaces();
    wanted.extend(ctx.known.schedules.namespaces());
    wanted.extend(ctx.known.stores.namespaces());
    let only = &ctx.settings.namespaces;
    wanted.retain(|namespace| only.is_empty() || only.contains(namespace));
    wanted
}

fn retire(ctx: &Context, wanted: &BTreeSet<String>) {
    let gone: Vec<String> = {
        let mut state = ctx.namespaces.state();
        let gone: Vec<String> = state.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in &gone {
            if let Some(entry) = state.remove(name) {
                entry.tasks.into_iter().for_each(|task| task.abort());
            }
        }
        gone
    };
    for namespace in gone {
        ctx.known.secrets.retain(Some(&namespace), |_| false);
        ctx.known.workloads.retain(Some(&namespace), |_| false);
    }
}

/// Asks once whether the namespace is opened, and starts its watches if so.
async fn open(ctx: &Arc<Context>, namespace: &str) -> Result<(), Error> {
    let allowed = allowed(ctx, namespace).await?;
    let access = if allowed { NamespaceAccess::Pending } else { NamespaceAccess::Closed };
    let was = ctx.namespaces.access(namespace);
    let entry = Entry { access, checked: tokio::time::Instant::now(), listed: BTreeSet::new(), tasks: Vec::new() };
    ctx.namespaces.state().insert(namespace.to_owned(), entry);
    if allowed {
        let tasks = watch::namespace(ctx, namespace);
        if let Some(entry) = ctx.namespaces.state().get_mut(namespace) {
            entry.tasks = tasks;
        }
    } else if was != NamespaceAccess::Closed {
        requeue(ctx, namespace);
    }
    Ok(())
}

/// What needs the binding was refused: the namespace may have been closed.
pub fn refused(ctx: &Context, namespace: &str) {
    ctx.namespaces.close(namespace);
    requeue(ctx, namespace);
}

/// Wants every object of the namespace looked at again.
pub fn requeue(ctx: &Context, namespace: &str) {
    let name = |name: String| ObjectName::new(namespace, name);
    for (policy, _) in ctx.known.policies.in_namespace(namespace) {
        ctx.queues.policies.add(name(policy), Lane::Urgent);
    }
    for (schedule, _) in ctx.known.schedules.in_namespace(namespace) {
        ctx.queues.schedules.add(name(schedule), Lane::Urgent);
    }
    for (store, _) in ctx.known.stores.in_namespace(namespace) {
        ctx.queues.stores.add(name(store), Lane::Urgent);
    }
    for (_, row) in ctx.known.workloads.in_namespace(namespace) {
        ctx.queues.workloads.add(row.0.id.clone(), Lane::Urgent);
    }
}

/// Asks the API server whether we may watch Secrets there
/// (<https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>).
async fn allowed(ctx: &Context, namespace: &str) -> Result<bool, Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some("watch".to_owned()),
                resource: Some("secrets".to_owned()),
                version: Some("v1".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(ctx.client.clone());
    let answer = api
        .create(&PostParams::default(), &review)
        .await
        .map_err(Error::api(Operation::AskForRights, format!("namespace {namespace}")))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use rekey_core::workload::Kind;

    use super::*;

    #[test]
    fn a_namespace_is_open_when_every_kind_of_consumer_is_known() {
        let namespaces = Namespaces::default();
        let checked = tokio::time::Instant::now();
        let entry = Entry { access: NamespaceAccess::Pending, checked, listed: BTreeSet::new(), tasks: Vec::new() };
        namespaces.state().insert("shop".to_owned(), entry);
        let usual = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::CronJob, Kind::Ingress];
        for kind in usual.into_iter().chain([Kind::ServiceAccount, Kind::Gateway]) {
            assert!(!namespaces.listed("shop", kind.as_str()));
        }
        assert!(!namespaces.listed("shop", "Secret"));
        assert_eq!(namespaces.access("shop"), NamespaceAccess::Pending, "a Rollout that is named may exist");
        assert!(namespaces.listed("shop", Kind::Rollout.as_str()));
        assert_eq!(namespaces.access("shop"), NamespaceAccess::Open);
        assert!(!namespaces.listed("shop", Kind::Rollout.as_str()), "it is told once");
    }
}
