//! Bindings that open a namespace, known by the name that messages and documentation give them: their content is not
//! looked at, and the API server is asked what they have changed. A binding of another name is found when a namespace
//! is asked about again.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, ResourceExt as _, core::PartialObjectMeta, runtime::watcher::Event};
use tokio::task::JoinHandle;

use super::{Watches, code, events::Events};
use crate::{cluster::Hint, pages};

/// The role allows the watch for this name alone.
const NAME: &str = "rekey";
/// An operator without that right does without; it may get it with the next version of its role. So does one whose
/// cluster has no such kind.
const REFUSED: Duration = Duration::from_mins(10);

/// Follows them. Never ends.
pub fn follow(ctx: &Arc<Watches>) -> JoinHandle<()> {
    let ctx = Arc::clone(ctx);
    tokio::spawn(async move {
        loop {
            until_refused(&ctx).await;
            tracing::info!(
                "RoleBindings named {NAME} cannot be watched; a namespace that is opened is found within 30 s"
            );
            tokio::time::sleep(REFUSED).await;
        }
    })
}

/// A sign that comes late or never costs time only, so this watch counts for nothing where the replica's health is
/// judged.
async fn until_refused(ctx: &Watches) {
    let api: Api<PartialObjectMeta<RoleBinding>> = Api::all(ctx.watch_client.clone());
    let mut events = Events::of(api, &ctx.pages, pages::METADATA, Some(NAME)).await;
    loop {
        let (binding, hint) = match events.next().await {
            Ok(Event::InitApply(binding) | Event::Apply(binding)) => (binding, Hint::Bound),
            Ok(Event::Delete(binding)) => (binding, Hint::Unbound),
            Ok(Event::Init | Event::InitDone) => continue,
            Err(error) if matches!(code(&error), Some(403 | 404)) => return,
            Err(error) => {
                tracing::warn!(code = code(&error), "the watch of RoleBindings failed; Rekey starts it again");
                continue;
            }
        };
        ctx.cluster.namespaces.hinted(&binding.namespace().unwrap_or_default(), hint);
    }
}

#[cfg(test)]
mod tests {
    use rekey_core::health::{Duty, QUIET};

    use super::*;
    use crate::in_memory::{Ground, Guard};

    #[tokio::test(start_paused = true)]
    async fn a_watch_of_bindings_that_fails_leaves_the_replica_ready() {
        let (mut ctx, guard) = (Ground::new().context.watches(), Arc::<Guard>::default());
        guard.fail("/apis/rbac.authorization.k8s.io", 500);
        ctx.watch_client = guard.client();
        let ctx = Arc::new(ctx);
        ctx.pulse.duty(Duty::Leading);
        let own = ctx.pulse.watch("/own", "SecretPolicy", true);
        own.listed();
        let task = follow(&ctx);
        tokio::time::sleep(2 * QUIET).await;
        ctx.pulse.answered("/own");
        assert_eq!(ctx.pulse.ready(), Ok(()), "bindings are found all the same, within 30 s");
        assert!(!task.is_finished());
    }
}
