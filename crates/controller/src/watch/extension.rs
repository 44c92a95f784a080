//! Watches on kinds that not every cluster has: Gateways, Argo Rollouts.

use std::{sync::Arc, time::Duration};

use futures::pin_mut;
use kube::{
    Api,
    core::{DynamicObject, GroupVersionKind},
    discovery::{self, ApiResource},
};
use rekey_core::workload::{Kind, Workload};
use tokio::task::AbortHandle;

use super::{
    Feed, Presence, Watches,
    opened::{consumers, listed},
    run,
};
use crate::cluster::ObjectName;

/// A kind that not every cluster has is waited for so long: an API that is not responding belongs to an extension.
const PATIENCE: Duration = Duration::from_secs(30);

/// The question whether there is a kind is asked again after this time when it was not answered.
const UNANSWERED: Duration = Duration::from_secs(30);

/// A kind that was removed while it was followed may come back: a user who installs a new version of an extension may
/// remove the old one first. It is asked for after [`UNANSWERED`] and then each time this has passed, which costs next
/// to nothing.
const REMOVED: Duration = Duration::from_mins(5);

/// Follows a kind that not every cluster has, in one namespace or in all. They wait for its first list, but not for
/// ever.
pub fn follow(
    ctx: &Arc<Watches>,
    namespace: Option<&str>,
    kind: Kind,
    row: fn(DynamicObject) -> (ObjectName, Workload),
) -> AbortHandle {
    let (ctx, namespace) = (Arc::clone(ctx), namespace.map(str::to_owned));
    let task = async move {
        let followed = follow_if_known(Arc::clone(&ctx), namespace.clone(), kind, row);
        no_longer_than(PATIENCE, followed, || known(&ctx, namespace.as_deref(), kind)).await;
    };
    tokio::spawn(task).abort_handle()
}

/// Nothing waits for the kind any more: in the namespace, or in all for which its watch of all answers.
fn known(ctx: &Watches, namespace: Option<&str>, kind: Kind) {
    let all = || ctx.cluster.namespaces.covered(kind.as_str());
    let waiting = namespace.map_or_else(all, |namespace| [namespace.to_owned()].into());
    for namespace in waiting {
        listed(ctx, Some(&namespace), kind.as_str());
    }
}

/// Runs `task` to its end, and calls `go_on` when it has ended or `patience` is over.
async fn no_longer_than(patience: Duration, task: impl Future<Output = ()>, go_on: impl Fn()) {
    pin_mut!(task);
    if tokio::time::timeout(patience, task.as_mut()).await.is_ok() {
        return go_on();
    }
    go_on();
    task.await;
}

/// Follows a kind that not every cluster has, if this one does. It is asked when the namespace is opened, and again
/// when the kind was there and is removed.
async fn follow_if_known(
    ctx: Arc<Watches>,
    namespace: Option<String>,
    kind: Kind,
    row: fn(DynamicObject) -> (ObjectName, Workload),
) {
    let (group, version) = kind.api_version().split_once('/').unwrap_or_default();
    let asked = GroupVersionKind::gvk(group, version, kind.as_str());
    let find = || ctx.cluster.namespaces.extensions.find(kind.as_str(), resource(&ctx, &asked));
    let watch = |resource: ApiResource| {
        let client = ctx.watch_client.clone();
        let api: Api<DynamicObject> = match &namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let feed = Feed { presence: Presence::Removable, ..consumers(namespace.as_deref(), kind, row) };
        let ctx = Arc::clone(&ctx);
        async move {
            run(Arc::clone(&ctx), api, feed).await;
            tracing::info!(kind = kind.as_str(), "the cluster no longer has this kind");
        }
    };
    while_there(find, watch).await;
}

/// Does `watch` with what `find` finds, again and again, if it finds anything at first.
async fn while_there<T, F, W>(find: impl Fn() -> F, watch: impl Fn(T) -> W)
where
    F: Future<Output = Option<T>>,
    W: Future<Output = ()>,
{
    let Some(mut found) = find().await else { return };
    loop {
        watch(found).await;
        tokio::time::sleep(UNANSWERED).await;
        found = loop {
            match find().await {
                Some(found) => break found,
                None => tokio::time::sleep(REMOVED).await,
            }
        };
    }
}

/// How a kind is reached that not every cluster has.
async fn resource(ctx: &Watches, kind: &GroupVersionKind) -> Option<ApiResource> {
    loop {
        match discovery::pinned_kind(&ctx.client, kind).await {
            Ok((resource, _)) => return Some(resource),
            Err(kube::Error::Discovery(_)) => return None,
            Err(error) if matches!(crate::error::status(&error), Some(403 | 404)) => return None,
            Err(_) => tokio::time::sleep(UNANSWERED).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        future::pending,
    };

    use super::*;
    use crate::{cluster::NamespaceAccess, in_memory::Ground, watch::opened::FOLLOWED};

    #[tokio::test]
    async fn the_watch_of_all_is_not_waited_for_where_the_kind_has_a_watch_of_its_own() {
        let ctx = Ground::new().context.watches();
        let namespaces = &ctx.cluster.namespaces;
        namespaces.answered("first", None);
        namespaces.wide.start("Rollout", namespaces.followed());
        namespaces.wide.listed("Rollout");
        // One that comes now is followed from what a watch of its own brings, which has brought nothing yet.
        namespaces.answered("later", None);
        namespaces.follow("later", "Rollout", tokio::spawn(pending::<()>()).abort_handle());
        namespaces.wide.add("Rollout", "later");
        for namespace in ["first", "later"] {
            for followed in FOLLOWED.iter().filter(|followed| followed.kind != "Rollout") {
                listed(&ctx, Some(namespace), followed.kind);
            }
        }
        known(&ctx, None, Kind::Rollout);
        assert_eq!(namespaces.access("first"), NamespaceAccess::Open);
        assert_eq!(namespaces.access("later"), NamespaceAccess::Pending, "what Rollouts it has is not known");
        known(&ctx, Some("later"), Kind::Rollout);
        assert_eq!(namespaces.access("later"), NamespaceAccess::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_removed_is_not_there_until_it_is_found_again() {
        let begin = tokio::time::Instant::now();
        let (asked, watched) = (RefCell::new(Vec::new()), Cell::new(0));
        let find = async || {
            asked.borrow_mut().push(begin.elapsed());
            // There at first, then away for two questions, then there for good.
            let found = !(1..3).contains(&(asked.borrow().len() - 1));
            found.then_some(())
        };
        let watch = async |()| {
            watched.set(watched.get() + 1);
            if watched.get() == 2 {
                pending::<()>().await;
            }
        };
        let never = tokio::time::timeout(Duration::from_hours(1), while_there(find, watch)).await;
        assert!(never.is_err(), "it is watched to the end");
        let expected = [Duration::ZERO, UNANSWERED, UNANSWERED + REMOVED, UNANSWERED + 2 * REMOVED];
        assert_eq!((&asked.borrow()[..], watched.get()), (&expected[..], 2));

        let absent = async || None::<()>;
        while_there(absent, async |()| unreachable!("nothing is there")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_does_not_answer_is_waited_for_no_longer_than_allowed() {
        let (told, begin) = (Cell::new(None), tokio::time::Instant::now());
        let tell = || told.set(Some(begin.elapsed()));
        let silent = no_longer_than(PATIENCE, pending(), tell);
        assert!(tokio::time::timeout(2 * PATIENCE, silent).await.is_err(), "it is asked on");
        assert_eq!(told.get(), Some(PATIENCE));
        told.set(None);
        no_longer_than(PATIENCE, async {}, tell).await;
        assert!(told.get().is_some(), "it is not there, and that is known");
    }
}
