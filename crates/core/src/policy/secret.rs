//! What the Secret should be, what must be written, and what the status then says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rekey_api::{
    SecretPolicyStatus,
    condition::Reason,
    names,
    policy::{ConsumerState, OnPolicyDelete},
};

use super::{
    Claims, Fetched, Mark, PolicySpec, Scope, Source, admit, next_round, original, ownership,
    publish::{Decided, Publishing},
    rebase::rebase,
    roll_back::{Back, roll_back},
    rollback_to::rollback_to,
    seen::{ObjectVersion, Seen, SeenSecret},
    status::{Outcome, status},
    unlock,
    values::{Tools, Values, gather},
};
use crate::{
    SecretBytes, SpecError,
    digest::{DigestKey, Digests},
    notice::Notice,
    published::{MOST_KEYS, Published},
    render::RenderError,
    summary::listed,
};

/// A Secret to apply.
#[derive(Clone, Debug)]
pub struct Desired {
    /// What of the Secret is written.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its type; `None`: its maker has decided that.
    pub kind: Option<String>,
    /// Our data.
    pub data: BTreeMap<String, SecretBytes>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is immutable.
    pub immutable: bool,
    /// Its owner.
    pub owner: Option<OwnerReference>,
    /// The object to change; `None`: there must be none yet.
    pub over: Option<ObjectVersion>,
    /// Which keys go.
    pub surplus: Surplus,
    /// What is removed, so that no other tool writes or deletes it.
    pub claims: Claims,
}

/// Which keys of a Secret go with a write. Server-side apply leaves those that another field manager holds beside us,
/// or alone.
#[derive(Clone, Debug)]
pub enum Surplus {
    /// All that are not wanted: the Secret is ours.
    Others,
    /// Those that were ours and are not any more; the rest is another tool's.
    Dropped(Digests),
    /// None.
    Nothing,
}

impl Desired {
    /// Of the keys that are there, those that go.
    pub fn surplus<'a>(&self, present: impl Iterator<Item = &'a String>) -> Vec<String> {
        let goes = |key: &&String| match &self.surplus {
            Surplus::Others => true,
            Surplus::Dropped(before) => before.contains(key),
            Surplus::Nothing => false,
        };
        present.filter(|key| !self.data.contains_key(*key)).filter(goes).cloned().collect()
    }
}

/// A write.
#[derive(Clone, Debug)]
pub enum Step {
    /// Apply the Secret.
    Apply(Box<Desired>),
    /// Delete the Secret, if it is still this one.
    Delete(String, ObjectVersion),
    /// Its content was looked at and is as it should be: remember that.
    Verified,
    /// Say of a version what became of it.
    Mark {
        /// Its name.
        name: String,
        /// What; `None`: nothing any more.
        mark: Option<Mark>,
        /// The version that counts as published then.
        current: Arc<Published>,
    },
    /// Say of a Secret what it holds by digests of the digest key of now.
    Rebase {
        /// Its name.
        name: String,
        /// The object.
        over: ObjectVersion,
        /// What it says of itself then.
        record: Arc<Published>,
    },
    /// Make a private copy of what the Secret holds.
    Keep {
        /// What it holds.
        published: Arc<Published>,
        /// What became of it.
        mark: Option<Mark>,
    },
    /// Publish the value of such a copy again.
    Restore {
        /// What the copy says of itself.
        copy: Arc<Published>,
        /// What the Secret says of itself then.
        record: Arc<Published>,
    },
}

/// The decision about a policy.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Writes, in order.
    pub steps: Vec<Step>,
    /// The status afterwards.
    pub status: SecretPolicyStatus,
    /// What Events report.
    pub events: Vec<Notice>,
    /// When to look again, if nothing changes before.
    pub again: Option<DateTime<Utc>>,
    /// Whether the content is not published yet, since an unlock waits.
    pub is_unlocking: bool,
}

/// The values that a Secret should have, ready to be decided on.
pub struct Made(Values);

/// Makes the values of the Secret of `policy`: the part of a decision that its templates and expressions can make slow.
/// `fetched` is absent when nothing was due.
///
/// # Errors
/// What is wrong with the data, or keeps the Secret from being written.
pub fn make(policy: &PolicySpec, seen: &Seen, fetched: Option<&Fetched>, tools: Tools<'_>) -> Result<Made, SpecError> {
    if matches!(seen.secret, SeenSecret::Going) || policy.rollback_to.is_some() {
        return Ok(Made(Values::Unread));
    }
    admit(policy, &seen.secret)?;
    gather(policy, seen, fetched, tools).map(Made)
}

/// Decides about the Secret of `policy` by the values that were made for it. `tools.now` becomes the time of a
/// publication: a pod that started before it holds the older value, so it must not be earlier than the end of a slow
/// [`make`].
///
/// # Errors
/// What keeps the Secret from being written. Nothing was written then.
pub fn secret(
    policy: &PolicySpec,
    seen: &Seen,
    fetched: Option<&Fetched>,
    made: Made,
    tools: Tools<'_>,
) -> Result<Plan, SpecError> {
    let mut outcome = decide(policy, seen, fetched, made, tools)?;
    outcome.decided = original::noted(policy, seen, outcome.decided);
    let status = status(policy, seen, &outcome, tools.now);
    let is_unlocking = outcome.decided.is_unlocking();
    let again = if is_unlocking { Some(tools.now + unlock::AGAIN) } else { again(policy, seen, &outcome, tools.now) };
    let back = outcome.decided.published.as_ref().and_then(|published| roll_back(policy, seen, published, tools.now));
    let (mut steps, mut events) = (outcome.decided.steps, outcome.decided.events);
    steps.extend(rebase(policy, seen, &status, tools.key));
    if let Some(Back { steps: marks, notice }) = back {
        steps.extend(marks);
        events.push(notice);
    }
    events.extend(failures(&seen.status, &status));
    events.extend(claimed(policy, seen, &status));
    events.extend(beside(policy, seen, &status));
    Ok(Plan { steps, status, events, again, is_unlocking })
}

/// When to look again. Not for a Secret that is being deleted: its watch reports when it is gone.
fn again(policy: &PolicySpec, seen: &Seen, outcome: &Outcome<'_>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if matches!(seen.secret, SeenSecret::Going) {
        return None;
    }
    match &policy.source {
        Source::Remote(_) => match seen.last_read.filter(|_| outcome.fetched.is_none()) {
            Some(last) => next_round(policy, last.at).map(|next| last.due(next, now)),
            None => next_round(policy, now),
        },
        Source::Engine(_) => {
            let issue = outcome.decided.published.as_ref().and_then(|published| published.changes.issue.as_ref());
            let renew = issue.and_then(|issue| crate::time::parse(issue.renew.as_deref()?));
            renew.or(outcome.next).or(seen.last_read.and_then(|last| Some(last.due(last.next?, now))))
        }
        Source::Existing | Source::Generated(_) => None,
    }
}

fn decide<'a>(
    policy: &PolicySpec,
    seen: &Seen,
    fetched: Option<&'a Fetched>,
    Made(values): Made,
    tools: Tools<'_>,
) -> Result<Outcome<'a>, SpecError> {
    if matches!(seen.secret, SeenSecret::Going) {
        return Ok(Outcome::of(Decided::wait(Reason::SecretTerminating, "the Secret is being deleted"), fetched));
    }
    if let Some(revision) = &policy.rollback_to {
        return Ok(Outcome::of(rollback_to(policy, seen, revision, tools.now)?, fetched));
    }
    match (values, &seen.secret) {
        (Values::Here(gathered), _) => {
            let keys = gathered.data.len();
            if keys > MOST_KEYS {
                return Err(RenderError::TooManyKeys { keys }.into());
            }
            let digests = tools.key.of_secret(&policy.namespace, policy.names.base(), &gathered.data);
            let decided = Publishing { policy, seen, gathered: &gathered, digests, tools }.decide()?;
            Ok(Outcome { expires: gathered.expires, next: gathered.next, ..Outcome::of(decided, fetched) })
        }
        (Values::Gone(what), SeenSecret::Ours { .. }) => {
            Ok(Outcome::of(Decided::deleted(policy, &what, seen.over.clone()), fetched))
        }
        (Values::Gone(what), _) => {
            let text = match &seen.status.revision {
                Some(_) => Decided::gone(policy, &what),
                None => format!("{what} does not exist; Rekey makes the Secret when it does"),
            };
            Ok(Outcome::of(Decided::absent(text), fetched))
        }
        (Values::Unread, SeenSecret::Ours { published, .. }) => {
            Ok(Outcome::of(Decided::unchanged(Arc::clone(published)), fetched))
        }
        (Values::Unread, SeenSecret::Absent | SeenSecret::Foreign { .. } | SeenSecret::Going) => {
            Ok(Outcome::of(Decided::wait(Reason::Progressing, "Rekey has not read the values yet"), fetched))
        }
    }
}

/// Consumers that have failed since the last status.
fn failures(before: &SecretPolicyStatus, now: &SecretPolicyStatus) -> Option<Notice> {
    let failed = |status: &SecretPolicyStatus| -> BTreeSet<String> {
        let items = status.consumers.iter().flat_map(|consumers| &consumers.items);
        let failed = items.filter(|item| item.state == ConsumerState::Failed);
        failed.map(|item| format!("{} {}", item.kind, item.name)).collect()
    };
    let news: Vec<String> = failed(now).difference(&failed(before)).cloned().collect();
    let text = format!("not healthy, or not there: {}; see status.consumers", listed(&news, ", "));
    (!news.is_empty()).then(|| Notice::new(Reason::ConsumerFailed, "Rollout", text))
}

/// A controlling owner that another tool has put on the Secret since the last status.
fn claimed(policy: &PolicySpec, seen: &Seen, now: &SecretPolicyStatus) -> Option<Notice> {
    let text = ownership::shared(policy, &seen.secret)?;
    let is_news = is_news(seen, now, &text);
    let text = format!("Secret {}: {text}", seen.secret_name(policy));
    is_news.then(|| Notice::new(Reason::ForeignOwner, "Sync", text))
}

/// What keeps the plain Secret beside versions from being written, since the last status.
fn beside(policy: &PolicySpec, seen: &Seen, now: &SecretPolicyStatus) -> Option<Notice> {
    let trouble = seen.plain?;
    let text = trouble.text(policy);
    is_news(seen, now, &text).then(|| Notice::new(trouble.reason(), "Sync", text))
}

/// Whether the status says something that it did not say before.
fn is_news(seen: &Seen, now: &SecretPolicyStatus, text: &str) -> bool {
    let says = |status: &SecretPolicyStatus| status.conditions.iter().any(|at| at.message.contains(text));
    says(now) && !says(&seen.status)
}

impl PolicySpec {
    /// All labels of the Secret beside those that templates make.
    #[must_use]
    pub fn secret_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        match self.scope {
            Scope::Whole => {
                labels.insert(names::MANAGED_BY.to_owned(), names::MANAGED_BY_VALUE.to_owned());
            }
            Scope::Keys | Scope::Record => {}
        }
        labels
    }

    /// The annotations of the Secret beside those that templates make and the record of what it holds.
    #[must_use]
    pub fn secret_annotations(&self, published: &Published) -> BTreeMap<String, String> {
        let mut annotations = self.annotations.clone();
        annotations.insert(names::POLICY.to_owned(), self.name.clone());
        annotations.insert(names::REVISION.to_owned(), published.revision.clone());
        if self.names.is_versioned() && self.on_policy_delete == OnPolicyDelete::Delete {
            annotations.insert(names::ON_POLICY_DELETE.to_owned(), names::ON_POLICY_DELETE_DELETE.to_owned());
        }
        annotations.extend(published.seed.iter().map(|seed| (names::SEED.to_owned(), seed.to_string())));
        annotations
    }

    /// Digests of the part of a Secret's data that counts for us: all of it, or the keys that we have written.
    #[must_use]
    pub fn digests_of(
        &self,
        key: &DigestKey,
        data: &BTreeMap<String, SecretBytes>,
        published: Option<&Published>,
    ) -> Digests {
        match (self.scope, published) {
            (Scope::Whole | Scope::Record, _) => key.of_secret(&self.namespace, self.names.base(), data),
            (Scope::Keys, published) => {
                let ours = |name: &&String| published.is_some_and(|at| at.digests.contains(name));
                let data = data.iter().filter(|(name, _)| ours(name));
                let data = data.map(|(name, value)| (name.clone(), value.clone())).collect();
                key.of_secret(&self.namespace, self.names.base(), &data)
            }
        }
    }

    /// Whether the content of the Secret may be the only copy, so that a write needs it read first.
    #[must_use]
    pub fn is_only_copy(&self, published: &Published) -> bool {
        match self.source {
            Source::Generated(_) | Source::Engine(_) | Source::Existing => true,
            // Without its seed it cannot be made again.
            Source::Remote(_) => self.has_templates() && published.seed.is_none(),
        }
    }

    /// Whether templates make part of the Secret.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        !self.templates.is_empty() || !self.entries.is_empty() || !self.tags.is_empty()
    }
}
