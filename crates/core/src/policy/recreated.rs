//! A Secret that is gone, and comes back.

use rekey_api::policy::ChangeReason;

use super::publish::{Decided, Publishing};
use crate::{
    SpecError,
    published::{Changes, Gap, Instead, Published},
    workload::Keys,
};

impl Publishing<'_> {
    /// The Secret is not there.
    pub(super) fn absent(&self) -> Result<Decided, SpecError> {
        match self.recreatable() {
            Err(refused) if !self.is_unlocking() => return Err(refused),
            Ok(()) if self.policy.locked => return self.recreate(), // with its value: a stale copy is no different
            Err(_) | Ok(()) => {}
        }
        self.not_yet_forgotten().map_or_else(|| self.recreate(), Ok)
    }

    /// A locked Secret that is gone comes back only with the value it had: nodes may still serve the old content of an
    /// immutable Secret to pods that start under the same name.
    fn recreatable(&self) -> Result<(), SpecError> {
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
                 Rekey cannot make the same bytes again. {}",
                self.gone_name(),
                self.way_out(),
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        if policy.locked && was_published && moved_on {
            let text = format!(
                "the locked Secret {:?} was deleted, and the policy or the value in {} has changed since. {}",
                self.gone_name(),
                policy.source.text(),
                self.way_out(),
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        Ok(())
    }

    /// The name of the Secret that is gone.
    fn gone_name(&self) -> String {
        let names = &self.policy.names;
        let known = self.seen.last.as_ref().map(|last| last.revision.as_str()).or(self.seen.status.revision.as_deref());
        known.map_or_else(|| names.base().to_owned(), |revision| names.of_revision(revision))
    }

    fn way_out(&self) -> String {
        if self.policy.names.is_versioned() {
            return format!(
                "Set the value back in the store; or run {}, and Rekey publishes it as a new Secret and moves consumers \
                 there",
                self.policy.unlock_command()
            );
        }
        format!(
            "Under the same name, pods could read a stale copy: make a new policy with another spec.target.name; or run \
             {}, and Rekey creates it when no pod is left that may have read the old one",
            self.policy.unlock_command()
        )
    }

    /// What a Secret that is made now says about itself. If there was one before, its consumers may hold what it held:
    /// the record of changes goes on.
    pub(super) fn recreated(&self) -> (Published, Option<ChangeReason>) {
        let (status, now) = (&self.seen.status, self.tools.now);
        let first = Changes::first(now);
        match (&self.seen.last, &status.revision) {
            (Some(last), _) if last.digests == self.digests => {
                // Where each value has a name of its own, nobody runs without it: a pod that refers to it waits.
                let is_versioned = self.policy.names.is_versioned();
                let again = || last.changes.again(last.taken).after(self.absence());
                let changes = if is_versioned { last.changes.clone() } else { again() };
                (Published { changes: self.issued(changes), ..Published::clone(last) }, None)
            }
            (Some(last), _) => {
                let changes = last.changes.next(&last.revision, &last.digests, &self.digests, now);
                (self.published(changes), Some(ChangeReason::SourceChanged))
            }
            (None, Some(revision)) if !self.is_same_source() => {
                let changes = first.next(revision, &self.digests.none(), &self.digests, now);
                (self.published(changes), Some(ChangeReason::SourceChanged))
            }
            (None, Some(_)) => (self.published(first.after(self.absence())), Some(ChangeReason::Created)),
            (None, None) => (self.published(first), Some(ChangeReason::Created)),
        }
    }

    /// The time in which there was no Secret. Who started meanwhile, since it may start without, holds nothing.
    fn absence(&self) -> Gap {
        Gap::new(self.seen.gone, self.tools.now, Instead::Nothing, Keys::All)
    }
}
