//! The Secret of another tool that versions are made of. It is read when it has changed, and never written.

use std::sync::Arc;

use rekey_core::{
    policy::{Content, Original, PolicySpec, Scope, Seen, SeenSecret},
    published::Published,
};

use super::{
    super::Policies,
    content,
    place::{is_policys, plain_name},
    published,
};
use crate::{
    cluster::{Holder, Version, policy_name},
    error::Error,
    memory::Copied,
};

/// Finds it. `secret`: the current version.
///
/// # Errors
/// When it has to be read and cannot be.
pub async fn find(ctx: &Policies, policy: &PolicySpec, secret: &SeenSecret) -> Result<Option<Original>, Error> {
    if !policy.has_original() {
        return Ok(None);
    }
    let name = plain_name(policy);
    let Some(row) = ctx.cluster.secrets.get(&name) else { return Ok(Some(Original::Absent)) };
    match &row.holder {
        // It belongs to the rotation alone.
        Holder::Rotation { .. } => return Ok(Some(Original::Absent)),
        Holder::Policy(_) | Holder::Other { .. } => {}
    }
    let revision = secret.published().map(|published| published.revision.clone());
    let known = revision.map(|revision| Copied { version: row.version.clone(), revision });
    if known.is_some_and(|known| ctx.memory.is_copied(&name, &known)) {
        return Ok(Some(Original::Copied));
    }
    let found = content(ctx, policy, &name).await?;
    Ok(Some(found.map_or(Original::Absent, |found| Original::Read(Box::new(found)))))
}

/// What was published last before the policy got its mode: what the newest version says, if the Secret is governed in place
/// now; or what is written on the Secret, if it was, and has no version yet.
pub fn before(ctx: &Policies, policy: &PolicySpec) -> Option<Arc<Published>> {
    if policy.scope != Scope::Record && !policy.has_original() {
        return None;
    }
    let newest = ctx.cluster.versions(&policy_name(policy), &policy.names).into_iter().next();
    if let Some(newest) = newest {
        return (policy.scope == Scope::Record).then_some(newest.published);
    }
    let row = ctx.cluster.secrets.get(&plain_name(policy)).filter(|_| policy.has_original())?;
    row.managed().map(|managed| Arc::clone(&managed.published)).filter(|at| at.policy == policy.name)
}

/// Another policy that publishes, or governs, what this one would make versions of.
pub fn taken(ctx: &Policies, policy: &PolicySpec) -> Option<String> {
    let row = ctx.cluster.secrets.get(&plain_name(policy)).filter(|_| policy.has_original())?;
    let other = &row.managed()?.published.policy;
    is_policys(ctx, policy, other).then(|| other.clone())
}

/// What was read is what is published now: it need not be read again before it changes.
pub fn copied(ctx: &Policies, policy: &PolicySpec, seen: &Seen) {
    let Some(Original::Read(content)) = &seen.original else { return };
    let Content { version, data, .. } = &**content;
    let Some(published) = published(&ctx.cluster, policy) else { return };
    if policy.digests_of(&ctx.digest_key, data, None) == published.digests {
        let version = Version::new(&version.resource_version);
        ctx.memory.set_copied(&plain_name(policy), Copied { version, revision: published.revision.clone() });
    }
}
