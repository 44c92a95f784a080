//! What is written when the values have been read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use rekey_api::{condition::Reason, policy::ChangeReason};

use super::{
    Claims, ObjectVersion, PolicySpec, Scope, Source,
    secret::{Content, Desired, Seen, SeenSecret, Step, Surplus},
    values::{Gathered, Tools},
};
use crate::{
    SpecError,
    chance::revision,
    digest::Digests,
    notice::Notice,
    published::{Changes, Published},
};

/// What was decided about the content.
pub struct Decided {
    pub steps: Vec<Step>,
    pub events: Vec<Notice>,
    pub published: Option<Arc<Published>>,
    pub reason: Option<ChangeReason>,
    pub wait: Option<Wait>,
    /// Why what is published stays, though the source gives something else.
    pub stale: Option<Wait>,
}

/// What keeps the Secret from being there, or from following its source.
pub struct Wait {
    pub reason: Reason,
    pub text: String,
}

impl Decided {
    /// There is nothing at the source to make the Secret from.
    pub fn absent(text: String) -> Self {
        Self::wait(Reason::KeyNotFound, text)
    }

    /// What the Secret is made from is gone, and the policy says that the Secret goes too.
    pub fn deleted(policy: &PolicySpec, what: &str, over: Option<ObjectVersion>) -> Self {
        let text = Self::gone(policy, what);
        let steps = over.map(|over| Step::Delete(policy.names.current().to_owned(), over)).into_iter().collect();
        let events = vec![Notice::new(Reason::KeyNotFound, "Delete", text.as_str())];
        Self { steps, events, ..Self::absent(text) }
    }

    /// The text stays the same for as long as the value is gone.
    pub fn gone(policy: &PolicySpec, what: &str) -> String {
        format!(
            "{what} is gone, so Rekey deleted Secret {}, as spec.source.remote.onMissing says; Rekey creates it again \
             when the value is back",
            policy.names.current()
        )
    }

    pub fn wait(reason: Reason, text: impl Into<String>) -> Self {
        let wait = Some(Wait { reason, text: text.into() });
        Self { steps: Vec::new(), events: Vec::new(), published: None, reason: None, wait, stale: None }
    }

    pub fn unchanged(published: Arc<Published>) -> Self {
        let (steps, events) = (Vec::new(), Vec::new());
        Self { steps, events, published: Some(published), reason: None, wait: None, stale: None }
    }
}

/// Everything the decision is made from.
pub struct Publishing<'a> {
    pub policy: &'a PolicySpec,
    pub seen: &'a Seen,
    pub gathered: &'a Gathered,
    pub digests: Digests,
    pub tools: Tools<'a>,
}

struct Found<'a> {
    published: &'a Arc<Published>,
    content: Option<&'a Content>,
    dressed: bool,
    immutable: bool,
}

/// What is there, beside what is to be published.
struct Comparison {
    /// The digests of what is there, comparable with those of what is to be published.
    before: Digests,
    /// Whether both are the same value.
    is_same: bool,
    /// Whether the content is as it was written.
    is_intact: bool,
}

impl Publishing<'_> {
    pub fn decide(&self) -> Result<Decided, SpecError> {
        let policy = self.policy;
        match &self.seen.secret {
            SeenSecret::Absent => {
                self.recreatable()?;
                let text = format!("created Secret {}", policy.names.current());
                let (published, reason) = self.recreated();
                self.write(published, reason, text)
            }
            SeenSecret::Foreign { content: Some(content), .. } => self.adopt(content),
            SeenSecret::Foreign { .. } => {
                Ok(Decided::wait(Reason::Progressing, "Rekey has not read the Secret to take over yet"))
            }
            SeenSecret::Ours { published, content, dressed, immutable, .. } => {
                self.update(&Found { published, content: content.as_ref(), dressed: *dressed, immutable: *immutable })
            }
            SeenSecret::Going => Ok(Decided::wait(Reason::SecretTerminating, "the Secret is being deleted")),
        }
    }

    pub(super) fn published(&self, changes: Changes) -> Published {
        Published {
            policy: self.policy.name.clone(),
            revision: revision(self.tools.chance),
            digests: self.digests.clone(),
            changes: self.sourced(self.issued(changes)),
            seed: self.gathered.salts.seed.clone(),
            taken: None,
        }
    }

    /// Which versions the content comes from, so that an older one is known when it comes.
    fn sourced(&self, mut changes: Changes) -> Changes {
        changes.origins = self.gathered.origins.iter().map(|source| (source.id.as_str(), source.origin)).collect();
        changes
    }

    /// What the record says of where the content comes from. Of equal content, what was said before stays true.
    pub(super) fn issued(&self, mut changes: Changes) -> Changes {
        changes.issue.clone_from(&self.gathered.issue);
        changes.rotation = self.gathered.rotation.clone().or(changes.rotation);
        changes.inputs = self.gathered.salts.inputs.clone().or(changes.inputs);
        changes
    }

    /// When the content came to be: another tool's edit was made before we saw it.
    pub(super) fn since(&self, content: Option<&Content>) -> DateTime<Utc> {
        let now = self.tools.now;
        match self.policy.scope {
            Scope::Record => content.and_then(|content| content.edited_at).map_or(now, |at| at.min(now)),
            Scope::Whole | Scope::Keys => now,
        }
    }

    /// Whether the source is known to give what was published before. Without versions nothing is known.
    pub(super) fn is_same_source(&self) -> bool {
        let (before, now) = (&self.seen.status.source_versions, &self.gathered.versions);
        before == now && !now.is_empty() && now.iter().all(|at| !at.version.is_empty()) && self.gathered.issue.is_none()
    }

    fn digests_of(&self, content: &Content, published: Option<&Published>) -> Digests {
        self.policy.digests_of(self.tools.key, &content.data, published)
    }

    /// Whether the part of the content that is ours is as it should be.
    pub(super) fn is_as_wanted(&self, content: &Content) -> bool {
        match self.policy.scope {
            Scope::Whole | Scope::Record => content.data == self.gathered.data,
            Scope::Keys => self.gathered.data.iter().all(|(name, value)| content.data.get(name) == Some(value)),
        }
    }

    fn update(&self, found: &Found<'_>) -> Result<Decided, SpecError> {
        let (policy, published) = (self.policy, found.published);
        let before = match found.content {
            Some(content) if !published.digests.comparable(&self.digests) => self.digests_of(content, Some(published)),
            _ => published.digests.clone(),
        };
        let is_intact = found.content.is_none_or(|content| self.is_as_wanted(content));
        let compared = Comparison { is_same: before == self.digests, before, is_intact };
        if let Some(decided) = self.went_back(published).filter(|_| !compared.is_same) {
            return Ok(decided);
        }
        self.check(found, &compared.before)?;
        if compared.is_same
            && compared.is_intact
            && found.dressed
            && (found.immutable == policy.locked || policy.scope != Scope::Whole)
            && published.digests == self.digests
            && published.changes.issue == self.gathered.issue
            && published.changes.tags == self.gathered.tags.mark()
            && !self.is_acknowledgement(published)
        {
            let mut decided = Decided::unchanged(Arc::clone(published));
            decided.steps.extend(found.content.map(|_| Step::Verified));
            return Ok(decided);
        }
        let next = if compared.is_same {
            let changes = self.issued(published.changes.clone());
            // Equal digests keep the form that they have there, and so do the markers that are made of them.
            let digests = if published.digests == self.digests { &published.digests } else { &self.digests };
            let seed = self.gathered.salts.seed.clone();
            Published { digests: digests.clone(), changes, seed, ..Published::clone(published) }
        } else {
            let since = self.since(found.content);
            self.published(published.changes.next(&published.revision, &compared.before, &self.digests, since))
        };
        let (reason, mut text) = self.explain(found, &compared);
        text.push_str(&self.key_changes(&compared.before, found.content));
        let mut decided = self.write(next, (!compared.is_same).then_some(reason), text)?;
        let edit = if compared.is_same { self.repair(found, &compared) } else { self.edited(found) };
        if let Some(text) = edit {
            decided.events = vec![Notice::new(Reason::Drifted, "Repair", text)];
        }
        Ok(decided)
    }

    /// Edits of generated values stay: there is no other copy to go back to.
    fn edited(&self, found: &Found<'_>) -> Option<String> {
        let content = found.content.filter(|content| !content.is_intact)?;
        let asked = self.seen.status.observed_generation != Some(self.policy.generation);
        (matches!(self.policy.source, Source::Generated(_)) && !asked).then(|| {
            let (by, name) = (editors(content), self.policy.names.current());
            format!(
                "{by} changed generated values of Secret {name}; Rekey kept what is there now and generated what was \
                 missing"
            )
        })
    }

    /// What is repaired, when it is others who have changed the Secret.
    fn repair(&self, found: &Found<'_>, compared: &Comparison) -> Option<String> {
        let (policy, name) = (self.policy, self.policy.names.current());
        if let Some(content) = found.content.filter(|_| !compared.is_intact) {
            return Some(format!("repaired Secret {name}, which {} had changed", editors(content)));
        }
        let asked = self.seen.status.observed_generation != Some(policy.generation);
        (!found.dressed && !asked).then(|| format!("repaired the labels, annotations or owner of Secret {name}"))
    }

    fn check(&self, found: &Found<'_>, before: &Digests) -> Result<(), SpecError> {
        let policy = self.policy;
        let is_ours = policy.scope == Scope::Whole;
        if found.immutable && policy.scope == Scope::Keys && *before != self.digests {
            let text = format!(
                "Secret {:?} is immutable, so Rekey cannot write keys into it; delete it and create it again without \
                 immutable: true",
                policy.names.current()
            );
            return Err(SpecError::LockedAndChanged { text });
        }
        if found.immutable && !policy.locked && is_ours {
            return Err(SpecError::not_yet(
                "spec.immutability: leaving Locked",
                "set it to Locked again, or make a new policy with another spec.target.name",
            ));
        }
        if found.immutable && is_ours && *before != self.digests {
            return Err(self.locked_and_changed(before));
        }
        Ok(())
    }

    fn locked_and_changed(&self, before: &Digests) -> SpecError {
        let names = self.gathered.data.keys().chain(before.named().into_iter().flatten());
        let names: BTreeSet<&str> =
            names.filter(|name| before.differs(&self.digests, name)).map(String::as_str).collect();
        SpecError::LockedAndChanged {
            text: format!(
                "Secret {:?} is locked, and {} holds another value (keys: {}). Rekey leaves the Secret untouched. \
                 There is no way out of Locked in this version: set the value back in the store, or make a new policy \
                 with another spec.target.name and move the consumers to it",
                self.policy.names.current(),
                self.policy.source.text(),
                names.into_iter().collect::<Vec<_>>().join(", "),
            ),
        }
    }

    /// Whether the content is made from the values of a rotation, and the record does not say so yet.
    fn is_acknowledgement(&self, published: &Published) -> bool {
        self.gathered.rotation.is_some() && self.gathered.rotation != published.changes.rotation
    }

    fn explain(&self, found: &Found<'_>, compared: &Comparison) -> (ChangeReason, String) {
        let (policy, status) = (self.policy, &self.seen.status);
        let name = policy.names.current();
        if self.is_acknowledgement(found.published) {
            (ChangeReason::Rotated, format!("published the rotated value in Secret {name}"))
        } else if compared.is_same && compared.is_intact && !found.immutable && policy.locked {
            (ChangeReason::SpecChanged, format!("locked Secret {name}"))
        } else if status.observed_generation != Some(policy.generation) {
            (ChangeReason::SpecChanged, format!("updated Secret {name} after a change of the policy"))
        } else {
            match &policy.source {
                Source::Existing => {
                    let by = found.content.map_or_else(|| "another tool".to_owned(), editors);
                    (ChangeReason::SourceChanged, format!("{by} changed Secret {name}"))
                }
                Source::Engine(_) if self.gathered.issue.is_some() => {
                    (ChangeReason::Renewed, format!("renewed Secret {name} from {}", policy.source.text()))
                }
                Source::Engine(_) | Source::Remote(_) | Source::Generated(_) => {
                    (ChangeReason::SourceChanged, format!("updated Secret {name} from {}", policy.source.text()))
                }
            }
        }
    }

    fn surplus(&self) -> Surplus {
        let wanted = &self.gathered.data;
        match (self.policy.scope, &self.seen.secret) {
            (Scope::Whole, _) => Surplus::Others,
            (Scope::Keys, SeenSecret::Ours { published, .. }) => {
                let before = &published.digests;
                let stay = wanted.keys().filter(|key| before.contains(key)).count();
                if before.len() > stay { Surplus::Dropped(before.clone()) } else { Surplus::Nothing }
            }
            (Scope::Keys | Scope::Record, _) => Surplus::Nothing,
        }
    }

    pub(super) fn write(
        &self,
        mut published: Published,
        reason: Option<ChangeReason>,
        text: String,
    ) -> Result<Decided, SpecError> {
        let policy = self.policy;
        published.changes.tags = self.gathered.tags.mark();
        let (kind, data) = match policy.scope {
            Scope::Whole => (Some(policy.kind.clone()), self.gathered.data.clone()),
            Scope::Keys => (None, self.gathered.data.clone()),
            Scope::Record => (None, BTreeMap::new()),
        };
        let desired = Desired {
            scope: policy.scope,
            name: policy.names.current().to_owned(),
            kind,
            data,
            labels: policy.secret_labels().into_iter().chain(self.gathered.tags.labels.clone()).collect(),
            annotations: self.annotations(&published)?,
            immutable: policy.locked,
            owner: policy.owner(),
            over: self.seen.over.clone(),
            surplus: self.surplus(),
            claims: Claims::default(),
        };
        Ok(Decided {
            steps: vec![Step::Apply(Box::new(desired))],
            events: vec![Notice::new(Reason::Synced, action(reason), text)],
            reason,
            ..Decided::unchanged(Arc::new(published))
        })
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

/// Who has changed the content.
fn editors(content: &Content) -> String {
    if content.edited_by.is_empty() { "another tool".to_owned() } else { content.edited_by.join(", ") }
}
