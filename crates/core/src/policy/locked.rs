//! What an immutable Secret may not become.

use std::{collections::BTreeSet, sync::Arc};

use rekey_api::condition::Reason;

use super::{
    PolicySpec, Scope, SeenSecret,
    publish::{Comparison, Decided, Found, Publishing, Wait},
    values::Gathered,
};
use crate::{SpecError, digest::Digests, notice::Notice, published::Published, summary::listed};

impl Publishing<'_> {
    pub(super) fn check(&self, found: &Found<'_>, compared: &Comparison) -> Result<(), SpecError> {
        let (policy, before) = (self.policy, &compared.before);
        if policy.names.is_versioned() {
            let is_free = compared.is_same || !policy.locked || self.is_unlocking();
            return if is_free { Ok(()) } else { Err(self.locked_and_changed(before)) };
        }
        let is_ours = policy.scope == Scope::Whole;
        if found.immutable && policy.scope == Scope::Keys && *before != self.digests {
            let text = format!(
                "Secret {:?} is immutable, so Rekey cannot write keys into it; delete it and create it again without \
                 immutable: true",
                policy.names.base()
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        // Made immutable with other bytes: a write would be refused, and no mode makes them right.
        if let Some(content) = found.content.filter(|_| found.immutable && is_ours)
            && !content.is_intact
            && !self.is_as_wanted(content)
        {
            let (by, name) = (content.editors(), policy.names.base());
            let replacement = policy.replacement();
            let text = format!("Secret {name:?} is immutable, and {by} had changed its data before; {replacement}");
            return Err(SpecError::LockedAndChanged { text });
        }
        if found.immutable && !policy.locked && is_ours {
            return Err(policy.frozen("set spec.immutability to Locked, or "));
        }
        if found.immutable && is_ours && *before != self.digests {
            return Err(self.locked_and_changed(before));
        }
        Ok(())
    }

    /// Where references move, what was published goes on being kept and followed while the source has a value that nobody has
    /// allowed. Content that has no version yet, or whose version does not say any more what it is, gets one.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub(super) fn withheld(
        &self,
        found: &Found<'_>,
        before: &Digests,
        refused: &SpecError,
    ) -> Result<Decided, SpecError> {
        let text = refused.to_string();
        let told = self.seen.status.conditions.iter().any(|at| at.reason == Reason::LockedAndChanged.as_str());
        let notice = (!told).then(|| Notice::new(Reason::LockedAndChanged, "Sync", text.as_str()));
        // A record of a digest key that was lost is made anew, too.
        let is_as_it_should = found.dressed && found.published.digests == *before;
        let decided = match found.content.filter(|content| content.is_intact && !is_as_it_should) {
            Some(content) => {
                let (policy, seen, tools) = (self.policy, self.seen, self.tools);
                let (data, kind) = (content.data.clone(), Some(content.kind.clone()));
                let gathered = Gathered { data, kind, tags: policy.made_of(&content.tags), ..Gathered::default() };
                let kept = Publishing { policy, seen, gathered: &gathered, digests: before.clone(), tools };
                let published = Published { digests: before.clone(), ..Published::clone(found.published) };
                let name = policy.names.of_revision(&published.revision);
                kept.write(kept.placed(published), None, format!("made Secret {name} of what is published"))?
            }
            None => Decided::unchanged(Arc::clone(found.published)),
        };
        let events = decided.events.into_iter().chain(notice).collect();
        Ok(Decided { events, withheld: Some(Wait { reason: Reason::LockedAndChanged, text }), ..decided })
    }

    fn locked_and_changed(&self, before: &Digests) -> SpecError {
        let names = self.gathered.data.keys().chain(before.named().into_iter().flatten());
        let names: BTreeSet<&str> =
            names.filter(|name| before.differs(&self.digests, name)).map(String::as_str).collect();
        SpecError::LockedAndChanged {
            text: format!(
                "Secret {:?} is locked, and {} holds another value. Rekey leaves the Secret untouched. Set the value \
                 back in the store; or {} (keys: {})",
                if self.seen.is_elsewhere {
                    self.policy.names.base().to_owned()
                } else {
                    self.seen.secret_name(self.policy)
                },
                self.policy.source.text(),
                if self.policy.names.is_versioned() { self.policy.publication() } else { self.policy.replacement() },
                listed(names, ", "), // last: a long list must not push the command out of the status
            ),
        }
    }
}

impl PolicySpec {
    /// Refuses to write over a Secret that has to be mutable and is not: another tool has made it so, or it was locked.
    ///
    /// # Errors
    /// When it is immutable. `first`: what a user has to do before it can be replaced, or instead.
    pub(super) fn writable(&self, secret: &SeenSecret, first: &str) -> Result<(), SpecError> {
        match secret {
            SeenSecret::Ours { immutable: true, .. } if !self.is_immutable() => Err(self.frozen(first)),
            SeenSecret::Ours { .. } | SeenSecret::Foreign { .. } | SeenSecret::Absent | SeenSecret::Going => Ok(()),
        }
    }

    fn frozen(&self, first: &str) -> SpecError {
        let (name, replacement) = (self.names.base(), self.replacement());
        SpecError::LockedAndChanged {
            text: format!(
                "Secret {name:?} is locked, and spec.immutability is None: it was Locked before, or another tool has \
                 made it immutable. Rekey leaves the Secret untouched: {first}{replacement}"
            ),
        }
    }

    /// Where references move.
    fn publication(&self) -> String {
        format!(
            "let Rekey publish it: run {}. Rekey makes a new Secret {}<revision> of it and moves consumers there, one after \
             the other",
            self.unlock_command(),
            self.names.version_prefix(),
        )
    }

    fn replacement(&self) -> String {
        format!(
            "let Rekey replace it: scale down what uses it, and run {}. Rekey waits until no pod refers to the Secret, \
             deletes it and creates it anew",
            self.unlock_command()
        )
    }
}
