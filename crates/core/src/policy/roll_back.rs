//! Going back to the last value whose rollout was complete, when a consumer does not become healthy on a new one. Where each
//! value has a Secret of its own that is exact: the references move back. Otherwise the Secret gets the value again from a
//! private copy. The bad value is marked, so that it is not tried again, whoever looks at it and whenever.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rekey_api::{condition::Reason, names, policy::OnFailure};

use super::{
    Consumer, Mark, PolicySpec, Seen, Step,
    consumers::failed,
    copies::record_of,
    publish::{Decided, Found, Publishing},
};
use crate::{
    SpecError,
    digest::Digests,
    notice::Notice,
    published::{Gap, Instead, Published},
    rollout::Input,
    workload::Keys,
};

/// A decision to go back.
pub struct Back {
    /// What does it.
    pub steps: Vec<Step>,
    /// What an Event reports of it.
    pub notice: Notice,
}

/// The same decision where the source cannot be read: going back needs nothing of it.
#[must_use]
pub fn back_without_source(policy: &PolicySpec, seen: &Seen, now: DateTime<Utc>) -> Option<Back> {
    let super::SeenSecret::Ours { published, .. } = &seen.secret else { return None };
    roll_back(policy, seen, published, now)
}

/// Whether consumers go back from what is published, and why. Only to what has worked, so at most once.
pub fn roll_back(policy: &PolicySpec, seen: &Seen, published: &Arc<Published>, now: DateTime<Utc>) -> Option<Back> {
    // While a rotation is open, its value is the one that has to work: it waits for a person. So does one who asked for this
    // very value.
    let is_asked = policy.rollback_to.is_some() || seen.rotation.is_some();
    // Into a Secret that another tool has made immutable nothing can be written, which is said elsewhere.
    let can = policy.keeps_plain() || policy.keeps_copies() && policy.writable(&seen.secret, "").is_ok();
    if policy.rollout.on_failure != OnFailure::RollBack || !can || is_asked {
        return None;
    }
    let was_there = seen.secret.published().is_some_and(|seen| seen.revision == published.revision);
    let good = seen.history.good(policy, published)?;
    // A set that changed together goes back whole, or not at all: a pod of some old and some new values was never tried.
    let is_held = |consumer: &Consumer| consumer.set_held_by.is_some();
    if seen.consumers.workloads.iter().any(is_held) {
        return None;
    }
    // Under one name a consumer may fail for another reason than this change, and going back would not help it.
    let is_by_change = |input: &Input| {
        let keys = &input.how.keys;
        let is_last = published.changed(keys).is_some() && published.changed(keys) == published.edge(keys);
        policy.names.is_versioned() || is_last && published.digests.consumed(keys, 0) != good.digests.consumed(keys, 0)
    };
    let (workload, why) = failed(policy, published, &seen.consumers, is_by_change, now).filter(|_| was_there)?;
    let text = format!(
        "went back from {} to {}, which worked last: {workload} is {why}. Rekey publishes this value again only when \
         you ask for it: {}",
        policy.value_text(published),
        policy.value_text(good),
        policy.sync_command(),
    );
    let steps = if policy.names.is_versioned() {
        // What was published in between has not worked either. The last one comes last: until then it counts as published.
        let marked = |at: &Arc<Published>| Step::Mark {
            name: policy.names.of_revision(&at.revision),
            mark: Some(Mark::RolledBack),
            current: Arc::clone(good),
        };
        seen.history.untried(good).into_iter().map(marked).collect()
    } else {
        vec![
            Step::Keep { published: Arc::clone(published), mark: Some(Mark::RolledBack) },
            Step::Restore { copy: Arc::clone(good), record: record_of(good, published, now) },
        ]
    };
    Some(Back { steps, notice: Notice::new(Reason::RolledBack, "Rollout", text) })
}

/// What the status says while a value before one that was rolled back is published, with the ways out.
pub fn told(policy: &PolicySpec, seen: &Seen, published: Option<&Published>) -> Option<String> {
    let published = published?;
    let bad = seen.history.bad(policy, published)?;
    Some(format!(
        "{} worked last and is published; a later one was rolled back ({}). Set another value in {}, or publish what is \
         there again: {}",
        policy.value_text(published),
        policy.value_text(bad),
        policy.source.text(),
        policy.sync_command(),
    ))
}

impl PolicySpec {
    /// How messages name a value.
    pub(super) fn value_text(&self, published: &Published) -> String {
        if self.names.is_versioned() {
            return format!("Secret {}", self.names.of_revision(&published.revision));
        }
        format!("revision {} of Secret {}", published.revision, self.names.base())
    }

    /// The command that asks for the value of the source.
    pub(super) fn sync_command(&self) -> String {
        self.request_command(names::SYNC_REQUESTED)
    }

    /// The command that puts a new token into this annotation.
    pub(super) fn request_command(&self, annotation: &str) -> String {
        format!(
            "kubectl annotate secretpolicy {} -n {} --overwrite {annotation}=\"$(date +%s)\"",
            self.name, self.namespace
        )
    }
}

impl Publishing<'_> {
    /// What is decided about a value that was rolled back before, unless a user has asked for it since.
    ///
    /// # Errors
    /// When the Secret has to be repaired and cannot be.
    pub(super) fn was_rolled_back(&self, found: &Found<'_>, before: &Digests) -> Result<Option<Decided>, SpecError> {
        // The token is the user's word for a locked value.
        let is_asked = self.is_asked() || self.policy.locked && self.is_unlocking();
        if is_asked || self.seen.history.rolled_back_with(&self.digests).is_none() {
            return Ok(None);
        }
        if let Err(refused) = self.policy.writable(&self.seen.secret, "") {
            return self.replaced(found.published, before, refused).map(Some);
        }
        let mut decided = Decided::unchanged(Arc::clone(found.published));
        decided.steps.extend(repair(self.policy, self.seen, found.published, self.tools.now));
        Ok(Some(decided))
    }

    /// A Secret that was deleted while the value of the source is a bad one comes back with the value that was held.
    pub(super) fn good_again(&self) -> Option<Decided> {
        let (policy, history) = (self.policy, &self.seen.history);
        if policy.names.is_versioned() || policy.locked {
            return None;
        }
        let bad = history.rolled_back_with(&self.digests)?;
        let last = self.seen.last.as_ref();
        let held = last.and_then(|last| history.find(&last.revision)).filter(|at| at.mark != Some(Mark::RolledBack));
        let good = held.map(|at| &at.published).or_else(|| history.good(policy, bad))?;
        let record = record_of(good, last.unwrap_or(bad), self.tools.now);
        let steps = vec![Step::Restore { copy: Arc::clone(good), record: Arc::clone(&record) }];
        Some(Decided { steps, ..Decided::unchanged(record) })
    }

    /// The record of a new value comes after all that there are.
    pub(super) fn after_all(&self, mut published: Published) -> Published {
        let next = self.seen.history.last().saturating_add(1);
        if self.policy.names.is_versioned() {
            published.changes.publication = published.changes.publication.max(next);
        }
        published
    }
}

/// While an earlier value is published again, the source has nothing to repair it with: its copy has.
pub(super) fn repair(policy: &PolicySpec, seen: &Seen, published: &Arc<Published>, now: DateTime<Utc>) -> Option<Step> {
    let super::SeenSecret::Ours { content, dressed, .. } = &seen.secret else { return None };
    let edited = content.as_ref().filter(|content| !content.is_intact);
    // What templates make of labels is not in the copy.
    let is_undressed = !dressed && !policy.makes_tags();
    if policy.names.is_versioned() || edited.is_none() && !is_undressed {
        return None;
    }
    let copy = seen.history.find(&published.revision)?;
    let gap = |since| Gap::new(since, now, Instead::Edit, Keys::All);
    let changes = edited.map(|content| published.changes.after(gap(content.edited_at)));
    let changes = changes.unwrap_or_else(|| published.changes.again(published.taken));
    let record = Arc::new(Published { changes, ..Published::clone(published) });
    Some(Step::Restore { copy: Arc::clone(&copy.published), record })
}
