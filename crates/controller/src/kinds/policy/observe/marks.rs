//! What the row of a Secret says of whose it is, and whether it looks as it should.

use rekey_core::{
    policy::{self, PolicySpec, Scope},
    published::Published,
};

use super::{super::Policies, place::is_policys};
use crate::cluster::{Managed, Uid};

/// Whether the policy may read the content of another tool's Secret: it may take it over, or governs it.
pub fn may_read(policy: &PolicySpec, adopt_by: Option<&str>) -> bool {
    match policy.scope {
        Scope::Record => true,
        Scope::Whole | Scope::Keys => adopt_by == Some(policy.name.as_str()),
    }
}

/// The policy that its maker lets have it.
pub fn adopt_by(managed: &Managed) -> Option<String> {
    managed.adopt_by.as_deref().map(str::to_owned)
}

/// Owned by a policy of the same name that is no more: the garbage collector is about to delete it.
pub fn orphan(managed: &Managed, policy: &PolicySpec) -> bool {
    let uid = Uid::new(&policy.uid);
    managed.owners.iter().any(|owner| *owner.name == *policy.name && owner.uid != uid)
}

/// Who controls the Secret beside the policy.
pub fn controller(policy: &PolicySpec, managed: &Managed) -> Option<String> {
    let uid = Uid::new(&policy.uid);
    let policies = || managed.owners.iter().filter(|_| !is_owned(policy, managed)).find(|owner| owner.uid != uid);
    let other = managed.controller.as_deref().map(str::to_owned);
    other.or_else(|| policies().map(|owner| format!("SecretPolicy {}", owner.name)))
}

/// Whether labels, annotations and owner are as they should be, and none of ours is left from an earlier spec.
pub fn dressed(policy: &PolicySpec, managed: &Managed, published: &Published) -> bool {
    is_tagged(policy, managed, published)
        && is_owned(policy, managed) == policy.owns()
        && (policy.scope == Scope::Whole) == managed.is_labelled
}

/// Whether labels and annotations are as they should be. What templates have made is known by its mark only.
fn is_tagged(policy: &PolicySpec, managed: &Managed, published: &Published) -> bool {
    let (labels, annotations) = (policy.secret_labels(), policy.secret_annotations(published));
    if !policy.makes_tags() {
        return managed.labels.are(&labels) && managed.annotations.are(&annotations);
    }
    let made = managed.labels.beside(&labels).zip(managed.annotations.beside(&annotations));
    made.is_some_and(|(labels, annotations)| {
        policy::mark(labels.into_iter(), annotations.into_iter()) == published.changes.tags
    })
}

/// Whether the Secret has been the policy's as a whole: made by our field manager, and ours by label or owner. One that
/// it has only governed, or written keys into, or that carries a copy of what is on ours, is its maker's, who has to
/// consent before it is taken over.
pub fn is_whole(policy: &PolicySpec, managed: &Managed) -> bool {
    managed.is_made_by_us && (managed.is_labelled || is_owned(policy, managed))
}

/// Whether a Secret whose record another tool has taken off is the policy's all the same: it has been so [as a whole](is_whole),
/// and the policy owns it, or is named on it, and no other policy that is there is. `named`: what `rekey.dev/policy` says.
pub fn is_ours_still(ctx: &Policies, policy: &PolicySpec, managed: &Managed, named: Option<&str>) -> bool {
    let is_anothers = named.is_some_and(|other| is_policys(ctx, policy, other));
    let is_told = is_owned(policy, managed) || named == Some(policy.name.as_str());
    is_whole(policy, managed) && is_told && !is_anothers
}

/// Whether the policy is one of its owners.
pub fn is_owned(policy: &PolicySpec, managed: &Managed) -> bool {
    let uid = Uid::new(&policy.uid);
    managed.owners.iter().any(|owner| owner.uid == uid)
}
