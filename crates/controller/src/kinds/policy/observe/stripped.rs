//! A Secret of ours whose record another tool has taken off. The rest of it says whose it is: our field manager has made
//! it, and the policy owns it or is named beside our label. Without all of that it is nobody's, and needs consent.

use std::sync::Arc;

use rekey_api::{SecretPolicyStatus, names};
use rekey_core::{
    Seed,
    policy::{PolicySpec, Scope, SeenSecret, Tools},
    published::Published,
    stop::Stop,
};

use super::{
    super::Policies,
    Own, found, history,
    marks::{is_ours_still, orphan},
    ours,
    place::plain_name,
    read,
};
use crate::{
    cluster::{Holder, Managed, SecretRow},
    error::Error,
};

/// The plain Secret, if it is such a one. It is ours by the record that this process has seen on it; after a restart, by a
/// new one of what it holds.
///
/// # Errors
/// When it cannot be read.
pub async fn find(
    ctx: &Policies,
    policy: &PolicySpec,
    row: Option<&SecretRow>,
    before: &SecretPolicyStatus,
) -> Result<Option<SeenSecret>, Error> {
    let is_stripped = |row: &&SecretRow| match &row.holder {
        Holder::Other { is_made_by_us, .. } => *is_made_by_us,
        // Another name was written on it.
        Holder::Policy(at) => {
            let named = at.published.policy.as_str();
            named != policy.name && is_ours_still(ctx, policy, at, Some(named))
        }
        Holder::Rotation { .. } => false,
    };
    let Some(row) = row.filter(is_stripped).filter(|_| policy.scope == Scope::Whole) else { return Ok(None) };
    let name = &plain_name(policy);
    let Some(found) = found(ctx, name).await? else { return Ok(Some(SeenSecret::Absent)) };
    let metadata = found.metadata.clone();
    let said = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
    let named = said(names::POLICY);
    let last = ctx.memory.published(name).filter(|last| last.policy == policy.name);
    let published = last.unwrap_or_else(|| {
        let (chance, now, stop) = (ctx.chance.as_ref(), ctx.clock.now(), &Stop::default());
        let tools = Tools { key: &ctx.digest_key, chance, now, stop };
        let seed = said(names::SEED).as_deref().and_then(Seed::parse);
        Arc::new(policy.baseline(&read(found, policy), before, &history(ctx, policy), seed, tools))
    });
    let managed = &Managed::new(metadata, Published::clone(&published));
    if !is_ours_still(ctx, policy, managed, named.as_deref()) {
        return Ok(None);
    }
    if managed.is_going || orphan(managed, policy) {
        return Ok(Some(SeenSecret::Going));
    }
    let own = Own { name, row, managed, published, dressed: false, needs_content: true };
    ours(ctx, policy, own).await.map(Some)
}
