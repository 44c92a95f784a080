//! The first look at a Secret that another tool has made: it is taken over, written into, or governed from here on.

use std::collections::BTreeMap;

use rekey_api::policy::ChangeReason;

use super::{
    Claims, Scope,
    publish::{Decided, Publishing},
    secret::Step,
    seen::Content,
};
use crate::{
    SecretBytes, SpecError,
    published::{Changes, Published},
    time,
};

impl Publishing<'_> {
    pub(super) fn adopt(&self, content: &Content) -> Result<Decided, SpecError> {
        let policy = self.policy;
        let same = self.is_as_wanted(content);
        if content.immutable && !same {
            let text = format!(
                "Secret {:?} is immutable and holds another value; make a new policy with another spec.target.name",
                policy.names.base()
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        let (published, reason) = self.adopted(content);
        let claims = if policy.scope == Scope::Whole { content.claims.clone() } else { Claims::default() };
        let mut text = match policy.scope {
            Scope::Whole => format!("took over Secret {}", policy.names.base()),
            Scope::Keys => format!("wrote keys into Secret {}", policy.names.base()),
            Scope::Record => format!("governs Secret {}", policy.names.base()),
        };
        if let Some(taken) = claims.text() {
            text.extend([", and removed what other tools write or delete it by: ", &taken]);
        }
        let mut decided = self.write(published, reason, text)?;
        for step in &mut decided.steps {
            if let Step::Apply(desired) = step {
                desired.claims = claims.clone();
            }
        }
        Ok(decided)
    }

    /// The first record of a Secret, or the next one when another tool has removed the one we knew.
    fn adopted(&self, content: &Content) -> (Published, Option<ChangeReason>) {
        let first = Changes::first(self.since(Some(content)));
        match &self.seen.last {
            Some(last) if last.digests == self.digests => {
                (Published { changes: last.changes.again(last.taken), ..Published::clone(last) }, None)
            }
            Some(last) if last.digests.comparable(&self.digests) => {
                let since = self.since(Some(content));
                let changes = last.changes.next(&last.revision, &last.digests, &self.digests, since);
                (self.published(changes), Some(ChangeReason::SourceChanged))
            }
            None if self.is_made_anew(content) => {
                let (revision, since) = (self.seen.status.revision.as_deref(), self.since(Some(content)));
                let changes = first.next(revision.unwrap_or_default(), &self.digests.none(), &self.digests, since);
                (self.published(changes), Some(ChangeReason::SourceChanged))
            }
            Some(_) | None if self.is_as_wanted(content) => (self.published(first), Some(ChangeReason::Adopted)),
            Some(_) | None => {
                let ours = self.ours(&content.data);
                let held = self.tools.key.of_secret(&self.policy.namespace, self.policy.names.base(), &ours);
                let changes = first.next("adopted", &held, &self.digests, self.tools.now);
                (self.published(changes), Some(ChangeReason::Adopted))
            }
        }
    }

    /// Whether a Secret that is governed has been deleted and made again since its last change that we know of: its
    /// record went with it, and its consumers may hold what it held before.
    fn is_made_anew(&self, content: &Content) -> bool {
        let known = self.seen.status.last_change_time.as_ref().map(time::chrono);
        self.policy.scope == Scope::Record && content.created > known && known.is_some()
    }

    /// The part of the data that is ours to write.
    fn ours(&self, all: &BTreeMap<String, SecretBytes>) -> BTreeMap<String, SecretBytes> {
        let counts = |name: &String| match self.policy.scope {
            Scope::Whole | Scope::Record => true,
            Scope::Keys => self.gathered.data.contains_key(name),
        };
        all.iter().filter(|(name, _)| counts(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}
