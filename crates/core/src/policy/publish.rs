//! What is written when the values have been read.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rekey_api::{condition::Reason, policy::ChangeReason};

use super::{
    Policy,
    secret::{Content, Desired, Fetched, Notice, Seen, SeenSecret, Step},
    status::versions,
};
use crate::{
    SecretBytes, SpecError,
    chance::{Chance, revision},
    digest::{DigestKey, Digests},
    published::{Changes, Published},
};

/// What was decided about the content.
pub struct Decided {
    pub steps: Vec<Step>,
    pub events: Vec<Notice>,
    pub published: Option<Published>,
    pub reason: Option<ChangeReason>,
    pub wait: Option<&'static str>,
}

impl Decided {
    pub fn waiting(text: &'static str) -> Self {
        Self { steps: Vec::new(), events: Vec::new(), published: None, reason: None, wait: Some(text) }
    }

    pub fn unchanged(published: Published) -> Self {
        Self { steps: Vec::new(), events: Vec::new(), published: Some(published), reason: None, wait: None }
    }
}

/// Everything the decision is made from.
pub struct Publishing<'a> {
    pub policy: &'a Policy,
    pub seen: &'a Seen,
    pub fetched: &'a Fetched,
    pub data: BTreeMap<String, SecretBytes>,
    pub digests: Digests,
    pub key: &'a DigestKey,
    pub chance: &'a dyn Chance,
    pub now: DateTime<Utc>,
}

struct Found<'a> {
    published: &'a Published,
    content: Option<&'a Content>,
    dressed: bool,
    immutable: bool,
}

impl Publishing<'_> {
    pub fn decide(&self) -> Result<Decided, SpecError> {
        let policy = self.policy;
        match &self.seen.secret {
            SeenSecret::Absent => {
                self.recreatable()?;
                let text = format!("created Secret {}", policy.secret);
                let (published, reason) = self.recreated();
                Ok(self.write(published, reason, text))
            }
            SeenSecret::Foreign { content: Some(content), .. } => self.adopt(content),
            SeenSecret::Foreign { .. } => Ok(Decided::waiting("the Secret to take over has not been read yet")),
            SeenSecret::Ours { published, content, dressed, immutable } => {
                self.update(&Found { published, content: content.as_ref(), dressed: *dressed, immutable: *immutable })
            }
            SeenSecret::Going => Ok(Decided::waiting("the Secret is being deleted")),
        }
    }

    fn published(&self, changes: Changes) -> Published {
        Published {
            policy: self.policy.name.clone(),
            revision: revision(self.chance),
            digests: self.digests.clone(),
            changes,
        }
    }

    /// What a Secret that is made now says about itself. If there was one before, its consumers may hold what it held:
    /// the record of changes goes on.
    fn recreated(&self) -> (Published, Option<ChangeReason>) {
        let status = &self.seen.status;
        let first = Changes::first(self.now);
        match (&self.seen.last, &status.revision) {
            (Some(last), _) if last.digests == self.digests => (last.clone(), None),
            (Some(last), _) => {
                let changes = last.changes.next(&last.revision, &last.digests, &self.digests, self.now);
                (self.published(changes), Some(ChangeReason::SourceChanged))
            }
            (None, Some(revision)) if status.source_versions != versions(self.fetched) => {
                let nothing = Digests { key_id: self.digests.key_id.clone(), ..Digests::default() };
                let changes = first.next(revision, &nothing, &self.digests, self.now);
                (self.published(changes), Some(ChangeReason::SourceChanged))
            }
            (None, _) => (self.published(first), Some(ChangeReason::Created)),
        }
    }

    fn digests_of(&self, content: &Content) -> Digests {
        self.key.of_secret(&self.policy.namespace, &self.policy.secret, &content.data)
    }

    /// A locked Secret that is gone comes back only with the value it had: nodes may still serve the old content of an
    /// immutable Secret to pods that start under the same name.
    fn recreatable(&self) -> Result<(), SpecError> {
        let (policy, status) = (self.policy, &self.seen.status);
        let moved_on =
            status.observed_generation != Some(policy.generation) || status.source_versions != versions(self.fetched);
        if policy.locked && status.revision.is_some() && moved_on {
            let text = format!(
                "the locked Secret {:?} was deleted, and the policy or the value in {} has changed since; under the same \
                 name pods could read a stale copy: make a new policy with another spec.target.name",
                policy.secret, policy.source,
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        Ok(())
    }

    fn adopt(&self, content: &Content) -> Result<Decided, SpecError> {
        let policy = self.policy;
        if content.kind != policy.kind {
            let fix = format!("the Secret to take over has type {:?}; write that", content.kind);
            return Err(SpecError::field("spec.target.type", fix));
        }
        let same = content.data == self.data;
        if content.immutable && !same {
            let text = format!(
                "Secret {:?} is immutable and holds another value; use another spec.target.name",
                policy.secret
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        let first = Changes::first(self.now);
        let changes =
            if same { first } else { first.next("adopted", &self.digests_of(content), &self.digests, self.now) };
        let text = format!("took over Secret {}", policy.secret);
        let decided = self.write(self.published(changes), Some(ChangeReason::Adopted), text);
        Ok(self.pruned(decided, content))
    }

    fn update(&self, found: &Found<'_>) -> Result<Decided, SpecError> {
        let (policy, published) = (self.policy, found.published);
        let before = match found.content {
            Some(content) if !published.digests.comparable(&self.digests) => self.digests_of(content),
            _ => published.digests.clone(),
        };
        let same_value = before == self.digests;
        let intact = found.content.is_none_or(|content| content.data == self.data);
        self.check(found, &before)?;
        if same_value
            && intact
            && found.dressed
            && found.immutable == policy.locked
            && published.digests == self.digests
        {
            let mut decided = Decided::unchanged(published.clone());
            decided.steps.extend(found.content.map(|_| Step::Verified));
            return Ok(decided);
        }
        let next = if same_value {
            Published { digests: self.digests.clone(), ..published.clone() }
        } else {
            self.published(published.changes.next(&published.revision, &before, &self.digests, self.now))
        };
        let (reason, text) = self.explain(found, same_value, intact);
        let mut decided = self.write(next, (!same_value).then_some(reason), text);
        if let Some(content) = found.content {
            decided = self.pruned(decided, content);
        }
        if same_value && let Some(text) = self.repair(found, intact) {
            decided.events = vec![Notice { reason: Reason::Drifted, action: "Repair", text }];
        }
        Ok(decided)
    }

    /// What is repaired, when it is others who have changed the Secret.
    fn repair(&self, found: &Found<'_>, intact: bool) -> Option<String> {
        let (policy, name) = (self.policy, &self.policy.secret);
        if let Some(content) = found.content.filter(|_| !intact) {
            let by = if content.edited_by.is_empty() { "somebody".to_owned() } else { content.edited_by.join(", ") };
            return Some(format!("repaired Secret {name}, which {by} had changed"));
        }
        let asked = self.seen.status.observed_generation != Some(policy.generation);
        (!found.dressed && !asked).then(|| format!("repaired the labels, annotations or owner of Secret {name}"))
    }

    fn check(&self, found: &Found<'_>, before: &Digests) -> Result<(), SpecError> {
        let policy = self.policy;
        if let Some(content) = found.content
            && content.kind != policy.kind
        {
            let fix = format!(
                "the Secret has type {:?}, which Kubernetes cannot change; set the type back, or delete the Secret",
                content.kind
            );
            return Err(SpecError::field("spec.target.type", fix));
        }
        if found.immutable && !policy.locked {
            return Err(SpecError::not_yet(
                "spec.immutability: leaving Locked",
                "set it to Locked again, or make a new policy with another spec.target.name",
            ));
        }
        if found.immutable && *before != self.digests {
            return Err(self.locked_and_changed(before));
        }
        Ok(())
    }

    fn locked_and_changed(&self, before: &Digests) -> SpecError {
        let (old, new) = (&before.by_key, &self.digests.by_key);
        let names: BTreeSet<&str> =
            old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).map(String::as_str).collect();
        SpecError::LockedAndChanged {
            text: format!(
                "Secret {:?} is locked, and {} holds another value (keys: {}). The Secret is left untouched. There is no way \
                 out of Locked in this version: set the value back in the store, or make a new policy with another \
                 spec.target.name and move the consumers to it",
                self.policy.secret,
                self.policy.source,
                names.into_iter().collect::<Vec<_>>().join(", "),
            ),
        }
    }

    fn explain(&self, found: &Found<'_>, same_value: bool, intact: bool) -> (ChangeReason, String) {
        let (policy, status) = (self.policy, &self.seen.status);
        let name = &policy.secret;
        if self.seen.rotation.as_ref().is_some_and(|rotation| !rotation.is_published(status)) {
            (ChangeReason::Rotated, format!("published the rotated value in Secret {name}"))
        } else if same_value && intact && !found.immutable && policy.locked {
            (ChangeReason::SpecChanged, format!("locked Secret {name}"))
        } else if status.observed_generation != Some(policy.generation) {
            (ChangeReason::SpecChanged, format!("updated Secret {name} after a change of the policy"))
        } else {
            (ChangeReason::SourceChanged, format!("updated Secret {name} from {}", policy.source))
        }
    }

    fn write(&self, published: Published, reason: Option<ChangeReason>, text: String) -> Decided {
        let policy = self.policy;
        let desired = Desired {
            name: policy.secret.clone(),
            kind: policy.kind.clone(),
            data: self.data.clone(),
            labels: policy.secret_labels(),
            annotations: policy.secret_annotations(&published),
            immutable: policy.locked,
            owner: policy.owner.clone(),
            over: self.seen.over.clone(),
            remove: Vec::new(),
        };
        Decided {
            steps: vec![Step::Apply(Box::new(desired))],
            events: vec![Notice { reason: Reason::Synced, action: action(reason), text }],
            published: Some(published),
            reason,
            wait: None,
        }
    }

    fn pruned(&self, mut decided: Decided, content: &Content) -> Decided {
        for step in &mut decided.steps {
            if let Step::Apply(desired) = step {
                desired.remove = content.data.keys().filter(|name| !self.data.contains_key(*name)).cloned().collect();
            }
        }
        decided
    }
}

fn action(reason: Option<ChangeReason>) -> &'static str {
    match reason {
        Some(ChangeReason::Created) => "Create",
        Some(ChangeReason::Adopted) => "Adopt",
        Some(ChangeReason::Rotated) => "Rotate",
        Some(ChangeReason::SourceChanged | ChangeReason::Renewed | ChangeReason::RolledBack) => "Update",
        Some(ChangeReason::SpecChanged) | None => "Conform",
    }
}
