//! Watches on kinds that not every cluster has: Gateways, Argo Rollouts.

use std::{sync::Arc, time::Duration};

use futures::pin_mut;
use kube::{
    Api,
    core::{DynamicObject, GroupVersionKind},
    discovery::{self, ApiResource},
};
use rekey_core::workload::Kind;
use tokio::task::AbortHandle;

use super::{Feed, Presence, consumers, listed, run};
use crate::{context::Context, rows::WorkloadRow, table::ObjectName};

/// A kind that not every cluster has is waited for so long: whatever does not answer belongs to somebody's extension.
const PATIENCE: Duration = Duration::from_secs(30);

/// The question whether there is a kind is asked again after this time when it was not answered.
const UNANSWERED: Duration = Duration::from_secs(30);

/// Follows a kind that not every cluster has. The namespace waits for its first list, but not for ever.
pub fn follow(
    ctx: &Arc<Context>,
    namespace: &str,
    kind: Kind,
    row: fn(DynamicObject) -> (ObjectName, WorkloadRow),
) -> AbortHandle {
    let (ctx, namespace) = (Arc::clone(ctx), namespace.to_owned());
    let task = async move {
        let followed = follow_if_known(Arc::clone(&ctx), namespace.clone(), kind, row);
        let known = || listed(&ctx, Some(&namespace), kind.as_str());
        no_longer_than(PATIENCE, followed, known).await;
    };
    tokio::spawn(task).abort_handle()
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

/// Follows a kind that not every cluster has, as long as this one does. It is asked when the namespace is opened, and when
/// the API server no longer knows the kind.
async fn follow_if_known(
    ctx: Arc<Context>,
    namespace: String,
    kind: Kind,
    row: fn(DynamicObject) -> (ObjectName, WorkloadRow),
) {
    let (group, version) = kind.api_version().split_once('/').unwrap_or_default();
    while let Some(resource) = resource(&ctx, &GroupVersionKind::gvk(group, version, kind.as_str())).await {
        let api: Api<DynamicObject> = Api::namespaced_with(ctx.watch_client.clone(), &namespace, &resource);
        // Without a right to it its objects are not shown.
        let feed = Feed { vital: false, presence: Presence::Removable, ..consumers(&namespace, kind, row) };
        run(Arc::clone(&ctx), api, feed).await;
        tracing::info!(kind = kind.as_str(), namespace, "the kind was removed from the cluster; its watch ends");
        // Discovery may still list it for a moment.
        tokio::time::sleep(UNANSWERED).await;
    }
}

/// How a kind is reached that not every cluster has.
async fn resource(ctx: &Context, kind: &GroupVersionKind) -> Option<ApiResource> {
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
    use std::{cell::Cell, future::pending};

    use super::*;

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
