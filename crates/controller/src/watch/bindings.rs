//! Bindings that open a namespace, known by the name that everybody is told to give them: their content is not looked at, and
//! the API server is asked what they have changed. A binding of another name is found when a namespace is asked about again.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, ResourceExt as _, core::PartialObjectMeta, runtime::watcher::Event};
use tokio::task::JoinHandle;

use super::{Watches, code, events::Events};
use crate::{cluster::Hint, pages};

/// The role allows the watch for this name alone.
const NAME: &str = "rekey";
/// An operator without that right does without; it may get it with the next version of its role.
const REFUSED: Duration = Duration::from_mins(10);

/// Follows them. Ends never.
pub fn follow(ctx: &Arc<Watches>) -> JoinHandle<()> {
    let ctx = Arc::clone(ctx);
    tokio::spawn(async move {
        loop {
            until_refused(&ctx).await;
            tracing::info!(
                "RoleBindings named {NAME} may not be watched; a namespace that is opened is found within 30 s"
            );
            tokio::time::sleep(REFUSED).await;
        }
    })
}

async fn until_refused(ctx: &Watches) {
    let api: Api<PartialObjectMeta<RoleBinding>> = Api::all(ctx.watch_client.clone());
    let running = ctx.pulse.watch(api.resource_url(), "RoleBinding", false);
    let mut events = Events::of(api, &ctx.pages, pages::METADATA, Some(NAME)).await;
    loop {
        let (binding, hint) = match events.next().await {
            Ok(Event::InitApply(binding) | Event::Apply(binding)) => (binding, Hint::Bound),
            Ok(Event::Delete(binding)) => (binding, Hint::Unbound),
            Ok(Event::InitDone) => {
                running.listed();
                continue;
            }
            Ok(Event::Init) => continue,
            Err(error) if code(&error) == Some(403) => return,
            Err(error) => {
                tracing::warn!(code = code(&error), "the watch of RoleBindings failed; it is started again");
                continue;
            }
        };
        ctx.cluster.namespaces.hinted(&binding.namespace().unwrap_or_default(), hint);
    }
}
