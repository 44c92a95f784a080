//! The digest key was lost while a value that was rolled back is kept: the records of what is kept are made anew, so that they
//! go on to prove it. What is published has its record made anew by its next write, unless it is held.

use std::sync::Arc;

use rekey_api::SecretPolicyStatus;

use super::{Earlier, PolicySpec, Seen, SeenSecret, Step};
use crate::{
    digest::{DigestKey, Digests},
    published::Published,
};

/// The records to write.
pub fn rebase(policy: &PolicySpec, seen: &Seen, status: &SecretPolicyStatus, key: &DigestKey) -> Vec<Step> {
    let is_held = status.held.is_some();
    // What is published and not held is written for itself.
    let current = seen.secret.published().filter(|_| !is_held).map(|at| at.revision.as_str());
    let by_now = |published: &Published, digests: &Digests| {
        Arc::new(Published { digests: digests.clone(), ..published.clone() })
    };
    let kept = |at: &Earlier| {
        let reread = at.reread.as_ref().filter(|_| current != Some(at.published.revision.as_str()))?;
        let (name, over) = (policy.names.version(&at.published.revision), reread.version.clone());
        Some(Step::Rebase { name, over, record: by_now(&at.published, &reread.digests) })
    };
    let mut steps: Vec<Step> = seen.history.values.iter().filter_map(kept).collect();
    if let SeenSecret::Ours { published, content: Some(content), .. } = &seen.secret
        && is_held
        && !policy.names.is_versioned() // there it is among the values
        && content.is_intact
        && !published.is_by(key)
    {
        let digests = policy.digests_of(key, &content.data, Some(published));
        let (name, over) = (policy.names.base().to_owned(), content.version.clone());
        steps.push(Step::Rebase { name, over, record: by_now(published, &digests) });
    }
    steps
}
