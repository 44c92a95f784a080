//! A Secret that is gone, and comes back.

use rekey_api::policy::ChangeReason;

use super::publish::Publishing;
use crate::{
    SpecError,
    published::{Changes, Published},
};

impl Publishing<'_> {
    /// A locked Secret that is gone comes back only with the value it had: nodes may still serve the old content of an
    /// immutable Secret to pods that start under the same name.
    pub(super) fn recreatable(&self) -> Result<(), SpecError> {
        let (policy, status) = (self.policy, &self.seen.status);
        let moved_on = match &self.seen.last {
            Some(last) if last.digests.comparable(&self.digests) => last.digests != self.digests,
            // Only the status still says what there was, which another tool may have written.
            Some(_) | None => status.observed_generation != Some(policy.generation) || !self.is_same_source(),
        };
        let was_published = self.seen.last.is_some() || status.revision.is_some() || !status.history.is_empty();
        if policy.locked && was_published && self.gathered.salts.are_lost {
            let text = format!(
                "the locked Secret {:?} was deleted, and with it the seed of the salts that its templates use, so \
                 Rekey cannot make the same bytes again. Under the same name, pods could read a stale copy: make a new \
                 policy with another spec.target.name",
                policy.names.current(),
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        if policy.locked && was_published && moved_on {
            let text = format!(
                "the locked Secret {:?} was deleted, and the policy or the value in {} has changed since. Under the \
                 same name, pods could read a stale copy: make a new policy with another spec.target.name",
                policy.names.current(),
                policy.source.text(),
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        Ok(())
    }

    /// What a Secret that is made now says about itself. If there was one before, its consumers may hold what it held:
    /// the record of changes goes on.
    pub(super) fn recreated(&self) -> (Published, Option<ChangeReason>) {
        let (status, now) = (&self.seen.status, self.tools.now);
        let first = Changes::first(now);
        match (&self.seen.last, &status.revision) {
            (Some(last), _) if last.digests == self.digests => {
                (Published { changes: self.issued(last.changes.clone()), ..Published::clone(last) }, None)
            }
            (Some(last), _) => {
                let changes = last.changes.next(&last.revision, &last.digests, &self.digests, now);
                (self.published(changes), Some(ChangeReason::SourceChanged))
            }
            (None, Some(revision)) if !self.is_same_source() => {
                let changes = first.next(revision, &self.digests.none(), &self.digests, now);
                (self.published(changes), Some(ChangeReason::SourceChanged))
            }
            (None, _) => (self.published(first), Some(ChangeReason::Created)),
        }
    }
}
