//! What is written when the values have been read.

mod told;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{condition::Reason, policy::ChangeReason};

use self::told::{action, taken};
use super::{
    Claims, ObjectVersion, PolicySpec, Scope,
    copies::replaced,
    secret::{Desired, Step, Surplus},
    seen::{Content, Seen, SeenSecret},
    values::{Gathered, Tools},
};
use crate::{
    SpecError,
    chance::revision,
    digest::Digests,
    notice::Notice,
    published::{Changes, Gap, Instead, Published},
    workload::Keys,
};

/// Within this time an edit is seen and repaired, while a process runs.
const NOTICED: TimeDelta = TimeDelta::seconds(5);

/// What was decided about the content.
pub struct Decided {
    pub steps: Vec<Step>,
    pub events: Vec<Notice>,
    pub published: Option<Arc<Published>>,
    pub reason: Option<ChangeReason>,
    pub wait: Option<Wait>,
    /// Why what is published stays, though the source gives something else.
    pub stale: Option<Wait>,
    /// Why what is published stays for now, though a user has allowed another content.
    pub rests: Option<Wait>,
    /// Why what is published stays until a user allows another content.
    pub withheld: Option<Wait>,
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
        let steps = over.map(|over| Step::Delete(policy.names.base().to_owned(), over)).into_iter().collect();
        let events = vec![Notice::new(Reason::KeyNotFound, "Delete", text.as_str())];
        Self { steps, events, ..Self::absent(text) }
    }

    /// The text stays the same for as long as the value is gone.
    pub fn gone(policy: &PolicySpec, what: &str) -> String {
        format!(
            "{what} is gone, so Rekey deleted Secret {}, as spec.source.remote.onMissing says; Rekey creates it again \
             when the value is back",
            policy.names.base()
        )
    }

    pub fn wait(reason: Reason, text: impl Into<String>) -> Self {
        let wait = Some(Wait { reason, text: text.into() });
        Self { wait, published: None, ..Self::nothing() }
    }

    /// Whether an unlock waits.
    pub fn is_unlocking(&self) -> bool {
        let is_it = |wait: &Option<Wait>| wait.as_ref().is_some_and(|wait| wait.reason == Reason::Unlocking);
        is_it(&self.wait) || is_it(&self.rests)
    }

    pub fn unchanged(published: Arc<Published>) -> Self {
        Self { published: Some(published), ..Self::nothing() }
    }

    fn nothing() -> Self {
        let (steps, events) = (Vec::new(), Vec::new());
        Self { steps, events, published: None, reason: None, wait: None, stale: None, rests: None, withheld: None }
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

pub(super) struct Found<'a> {
    pub published: &'a Arc<Published>,
    pub content: Option<&'a Content>,
    pub dressed: bool,
    pub immutable: bool,
    pub kind: &'a str,
}

/// What is there, beside what is to be published.
pub(super) struct Comparison {
    /// The digests of what is there, comparable with those of what is to be published.
    pub before: Digests,
    /// Whether both are the same value.
    pub is_same: bool,
    /// Whether the content is as it was written.
    is_intact: bool,
}

impl Publishing<'_> {
    pub fn decide(&self) -> Result<Decided, SpecError> {
        match &self.seen.secret {
            SeenSecret::Absent => self.good_again().map_or_else(|| self.absent(), Ok),
            SeenSecret::Ours { .. } if self.seen.is_lost(self.policy) => self.absent(),
            SeenSecret::Foreign { content: Some(content), .. } => self.adopt(content),
            SeenSecret::Foreign { .. } => {
                Ok(Decided::wait(Reason::Progressing, "Rekey has not read the Secret to take over yet"))
            }
            SeenSecret::Ours { published, content, dressed, immutable, kind, .. } => {
                let (content, dressed, immutable) = (content.as_ref(), *dressed, *immutable);
                self.update(&Found { published, content, dressed, immutable, kind })
            }
            SeenSecret::Going => Ok(Decided::wait(Reason::SecretTerminating, "the Secret is being deleted")),
        }
    }

    /// Makes a Secret that is not there.
    pub(super) fn recreate(&self) -> Result<Decided, SpecError> {
        let (published, reason) = self.recreated();
        let wanted = self.policy.names.of_revision(&published.revision);
        let published = self.placed(published);
        let name = self.policy.names.of_revision(&published.revision);
        if let Some(taken) = taken(&wanted, &name).filter(|_| reason.is_none()) {
            let text = taken.text.clone();
            return Ok(Decided { events: vec![taken], ..self.write(published, reason, text)? });
        }
        let mut text = format!("created Secret {name}");
        if self.is_unlocking() {
            text.push_str(", as rekey.dev/unlock asks");
        }
        self.write(published, reason, text)
    }

    pub(super) fn published(&self, changes: Changes) -> Published {
        Published {
            policy: self.policy.name.clone(),
            revision: self.tried().unwrap_or_else(|| revision(self.tools.chance)),
            digests: self.digests.clone(),
            changes: self.sourced(self.issued(changes)),
            seed: self.gathered.salts.seed.clone(),
            taken: None,
        }
    }

    /// The revision under which the same value may have been published already. Another one would make it two versions.
    fn tried(&self) -> Option<String> {
        let tried = self.seen.attempted.as_ref().filter(|_| self.policy.names.is_versioned())?;
        // Seen is what was told; it may be of another type.
        let is_seen = self.seen.taken.contains(&self.policy.names.of_revision(&tried.revision));
        (tried.digests == self.digests && !is_seen).then(|| tried.revision.clone())
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
        // The type of a Secret cannot change: the same bytes with another one are another version.
        let is_of_type = found.kind == self.kind() || !policy.names.is_versioned();
        let compared = Comparison { is_same: before == self.digests && is_of_type, before, is_intact };
        if let Some(decided) = self.went_back(published).filter(|_| !compared.is_same) {
            return Ok(decided);
        }
        if !compared.is_same
            && let Some(decided) = self.was_rolled_back(found, &compared.before)?
        {
            return Ok(decided);
        }
        if let Err(refused) = self.check(found, &compared) {
            return if policy.names.is_versioned() {
                self.withheld(found, &compared.before, &refused)
            } else {
                self.replaced(published, &compared.before, refused)
            };
        }
        if let Some(decided) = self.not_yet_forgotten() {
            return Ok(decided);
        }
        if self.is_as_it_should_be(found, &compared) {
            let mut decided = Decided::unchanged(Arc::clone(published));
            decided.steps.extend(found.content.map(|_| Step::Verified));
            return Ok(decided);
        }
        let next = if compared.is_same {
            let repaired = self.repaired(found, &compared);
            // What pods hold of a version does not depend on times.
            let repaired = self.over_another(repaired);
            let is_by_time = !policy.names.is_versioned() && self.over(published).is_some();
            let changes = self.issued(if is_by_time { repaired.again(published.taken) } else { repaired });
            // Equal digests keep the form that they have there, and so do the markers that are made of them.
            let digests = if published.digests == self.digests { &published.digests } else { &self.digests };
            let seed = self.gathered.salts.seed.clone();
            Published { digests: digests.clone(), changes, seed, ..Published::clone(published) }
        } else {
            let since = self.since(found.content);
            let changes = published.changes.next(&published.revision, &compared.before, &self.digests, since);
            self.after_all(self.published(changes))
        };
        let wanted = policy.names.of_revision(&next.revision);
        let next = self.placed(next);
        let name = policy.names.of_revision(&next.revision);
        let (reason, mut text) = self.explain(found, &compared, &name);
        text.push_str(&self.key_changes(&compared.before, found.content));
        let mut decided = self.write(next, (!compared.is_same).then_some(reason), text)?;
        if !compared.is_same && policy.keeps_copies() {
            decided.steps.insert(0, self.kept(published));
        }
        let edit = if compared.is_same { self.repair(found, &compared) } else { self.edited(found) };
        let edit = edit.map(|text| Notice::new(Reason::Drifted, "Repair", text));
        if let Some(told) = edit.or_else(|| taken(&wanted, &name).filter(|_| compared.is_same)) {
            decided.events = vec![told];
        }
        Ok(decided)
    }

    /// Whether there is nothing to write.
    fn is_as_it_should_be(&self, found: &Found<'_>, compared: &Comparison) -> bool {
        let (policy, published) = (self.policy, found.published);
        compared.is_same
            && compared.is_intact
            && found.dressed
            && (found.immutable == policy.is_immutable() || policy.scope != Scope::Whole)
            && published.digests == self.digests
            && published.changes.issue == self.gathered.issue
            && published.changes.tags == self.gathered.tags.mark()
            && !self.is_acknowledgement(published)
    }

    /// The record once the Secret holds its value again: who has read what another tool had written there holds a value
    /// of nobody.
    fn repaired(&self, found: &Found<'_>, compared: &Comparison) -> Changes {
        let changes = &found.published.changes;
        let Some(content) = found.content.filter(|_| !compared.is_intact) else { return changes.clone() };
        let wanted = &self.gathered.data;
        let is_ours = |name: &&String| self.policy.scope == Scope::Whole && !wanted.contains_key(*name);
        let names = wanted.keys().chain(content.data.keys().filter(is_ours));
        let keys = names.filter(|name| wanted.get(*name) != content.data.get(*name)).cloned().collect();
        // A key that was taken out leaves no trace of when: a moment ago, if this process has seen it there.
        let removed = self.seen.last.is_some().then(|| self.tools.now - NOTICED);
        let since = content.edited_at.or(removed);
        changes.after(Gap::new(since, self.tools.now, Instead::Edit, Keys::Some(keys)))
    }

    /// Whether the content is made from the values of a rotation, and the record does not say so yet.
    fn is_acknowledgement(&self, published: &Published) -> bool {
        self.gathered.rotation.is_some() && self.gathered.rotation != published.changes.rotation
    }

    /// A private copy of what another value is about to replace.
    pub(super) fn kept(&self, published: &Arc<Published>) -> Step {
        Step::Keep { published: Arc::clone(published), mark: replaced(self.seen, published) }
    }

    /// The type that the Secret has to have.
    fn kind(&self) -> &str {
        self.gathered.kind.as_deref().unwrap_or(&self.policy.kind)
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
        if self.is_unlocking() {
            published.changes.unlock.clone_from(&policy.unlock);
        }
        let (kind, data) = match policy.scope {
            Scope::Whole => (Some(self.kind().to_owned()), self.gathered.data.clone()),
            Scope::Keys => (None, self.gathered.data.clone()),
            Scope::Record => (None, BTreeMap::new()),
        };
        let desired = Desired {
            scope: policy.scope,
            name: policy.names.of_revision(&published.revision),
            kind,
            data,
            labels: policy.secret_labels().into_iter().chain(self.gathered.tags.labels.clone()).collect(),
            annotations: self.annotations(&published)?,
            immutable: policy.is_immutable(),
            owner: policy.owner(),
            over: self.over(&published),
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
