//! Who refers to a Secret that is replaced under its name.

use k8s_openapi::api::core::v1::Pod;
use rekey_api::SecretPolicyStatus;
use rekey_core::policy::{Look, PolicySpec, Referrer, SeenSecret, Stage, UnlockSeen};
use tokio::time::Instant;

use super::{super::Policies, place::plain_name, since};
use crate::{cluster::policy_name, pages};

/// What a pending unlock is decided on. The pods are listed only where that decides something: what is locked may be deleted,
/// or what was deleted may be created.
pub async fn unlock(
    ctx: &Policies,
    policy: &PolicySpec,
    before: &SecretPolicyStatus,
    secret: &SeenSecret,
) -> UnlockSeen {
    if policy.names.is_versioned() {
        return UnlockSeen::default(); // it publishes another name
    }
    let name = plain_name(policy);
    let last = ctx.memory.published(&name);
    let published = secret.published();
    if !policy.is_unlocking(before, published.or(last.as_deref())) {
        ctx.memory.clearings.forget(&name);
        return UnlockSeen::default();
    }
    let is_absent = ctx.cluster.secrets.get(&name).is_none();
    let look = match secret {
        SeenSecret::Ours { .. } | SeenSecret::Absent if is_absent => look_gone(ctx, policy).await,
        SeenSecret::Ours { immutable: true, .. } => look_there(ctx, policy).await,
        SeenSecret::Ours { .. } | SeenSecret::Absent | SeenSecret::Foreign { .. } | SeenSecret::Going => Look::NotTaken,
    };
    let versions = ctx.cluster.versions(&policy_name(policy), &policy.names);
    let is_it = |revision: &str| published.is_some_and(|published| published.revision == revision);
    UnlockSeen { look, is_copied: versions.iter().any(|version| is_it(&version.published.revision)) }
}

/// Which pods may have read the plain Secret, which is gone.
pub async fn look_gone(ctx: &Policies, policy: &PolicySpec) -> Look {
    let since = ctx.memory.gone(&plain_name(policy)).map(|gone| ctx.clock.now() - since(gone));
    look(ctx, policy, Stage::Gone { since }).await
}

/// Which pods refer to the plain Secret.
pub async fn look_there(ctx: &Policies, policy: &PolicySpec) -> Look {
    look(ctx, policy, Stage::There).await
}

async fn look(ctx: &Policies, policy: &PolicySpec, stage: Stage) -> Look {
    let (namespace, name) = (policy.namespace.as_str(), plain_name(policy));
    let all = pages::Pods { namespace, selector: None };
    let referrer = |pod: &Pod| Referrer::of(pod, &name.name, stage);
    match all.each(&ctx.client, &ctx.pages, format!("namespace {namespace}"), referrer).await {
        Ok(found) if found.is_empty() => {
            let clear = ctx.memory.clearings.clear(&name, Instant::now());
            Look::Clear { since: ctx.clock.now() - since(clear) }
        }
        Ok(found) => {
            ctx.memory.clearings.forget(&name);
            Look::Referred(found)
        }
        Err(error) => Look::Failed(error.to_string()),
    }
}
