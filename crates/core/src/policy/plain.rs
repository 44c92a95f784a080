//! The Secret with the plain name that stays beside versions, where references move between them: for a workload whose
//! references another tool puts back. It holds the last revision whose rollout was complete, and follows only then. One that is
//! immutable, as with `Locked`, gets another content only by being deleted and made again, when no pod refers to it.

mod told;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use rekey_api::{
    SecretPolicyStatus, names,
    policy::{ConsumerState, ConsumerStatus},
};

pub use self::told::Trouble;
use super::{
    Copied, Desired, History, Mark, ObjectVersion, PolicySpec, Tags,
    consumers::{is_put_back, is_stray},
};
use crate::{
    digest::Digests,
    published::{Changes, Published, Versions, order},
};

/// What is known of the plain Secret.
#[derive(Clone, Debug)]
pub enum PlainSeen {
    /// There is none.
    Absent(LastPlain),
    /// It is on its way out.
    Going,
    /// It is not ours to write.
    Other(Trouble),
    /// Ours.
    Ours {
        /// What it says of itself.
        published: Arc<Published>,
        /// Whether it is known to hold just that, with our label.
        is_intact: bool,
        /// Who has changed what it holds, if anybody has.
        edited_by: Option<String>,
        /// Whether it is immutable.
        immutable: bool,
        /// Digests of what it holds, by the present digest key.
        holds: Digests,
        /// The object.
        version: ObjectVersion,
    },
    /// Ours, and another tool has changed what it says of itself and what it holds.
    Spoiled {
        /// Who has.
        edited_by: String,
        /// Whether it is immutable.
        immutable: bool,
        /// The object.
        version: ObjectVersion,
    },
}

/// What is known of a plain Secret that is not there any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LastPlain {
    /// Nothing: this process has not seen it.
    #[default]
    Unknown,
    /// What it said of itself.
    Was(Arc<Published>),
    /// This process has deleted it, so that another value can come in its place.
    Deleted,
}

/// What has to be done about the plain Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Following {
    /// Write it.
    Write(Plain),
    /// Write it, once no pod is left that may have read the one before it: that was immutable, and a node may serve it still.
    WriteOnceForgotten(Plain),
    /// Delete it, once no pod refers to it: it is immutable.
    DeleteOnceUnused(ObjectVersion),
}

/// What the plain Secret has to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Name of the version that it copies.
    pub copy_of: String,
    /// The object to change; `None`: there must be none yet.
    pub over: Option<ObjectVersion>,
    /// What it said of itself so far.
    pub before: Option<Arc<Published>>,
}

/// What has to be done about the plain Secret. `None`: it is as it should be, or not ours.
#[must_use]
pub fn plain(
    policy: &PolicySpec,
    status: &SecretPolicyStatus,
    published: &Published,
    versions: &Versions,
    history: &History,
    seen: &PlainSeen,
) -> Option<Following> {
    if !policy.keeps_plain() {
        return None;
    }
    let name = |revision: &str| policy.names.of_revision(revision);
    let is_passed_over = |at: &Published| {
        let mark = history.find(&at.revision).and_then(|at| at.mark);
        mark.is_some_and(Mark::is_passed_over)
    };
    let older = || {
        let is_before = |at: &&Arc<Published>| at.changes.publication < published.changes.publication;
        let before = versions.ours.values().filter(is_before).filter(|at| !is_passed_over(at));
        before.max_by(|one, other| order(one).cmp(&order(other))).map(|at| name(&at.revision))
    };
    let current = || name(&published.revision);
    let is_complete = is_complete(status);
    let anew = || if is_complete { current() } else { older().unwrap_or_else(current) };
    match seen {
        PlainSeen::Going | PlainSeen::Other(_) => None,
        // Of the first value there is no rollout to wait for: a workload may name the plain Secret from the start.
        PlainSeen::Absent(last) => {
            let is_first = published.changes.publication == 1 && status.history.len() <= 1;
            Some(absent(policy, is_first, versions, last, anew()))
        }
        PlainSeen::Spoiled { immutable: true, version, .. } => {
            is_complete.then(|| Following::DeleteOnceUnused(version.clone()))
        }
        PlainSeen::Spoiled { version, .. } => {
            Some(Following::Write(Plain { copy_of: anew(), over: Some(version.clone()), before: None }))
        }
        PlainSeen::Ours { published: there, is_intact, immutable, holds, version, .. } => {
            let revision = &there.revision;
            let wanted = if is_complete { current() } else { name(revision) };
            let copy_of = if versions.ours.contains_key(&wanted) { wanted } else { older().unwrap_or_else(current) };
            let is_it = copy_of == name(revision) && *is_intact && *immutable == policy.locked;
            let wants = versions.ours.get(&copy_of).map_or(holds, |at| &at.digests);
            let needs_another = *immutable && wants != holds;
            match (is_it, needs_another) {
                (true, _) => None,
                // Until then it says what has worked.
                (false, true) => is_complete.then(|| Following::DeleteOnceUnused(version.clone())),
                (false, false) => {
                    let before = Some(as_comparable(there, wants, holds));
                    Some(Following::Write(Plain { copy_of, over: Some(version.clone()), before }))
                }
            }
        }
    }
}

/// A plain Secret that is not there. A node may serve the content of an immutable one for as long as a pod refers to it, so
/// that it comes back at once only with the same bytes. `is_first`: no other value was ever published.
fn absent(policy: &PolicySpec, is_first: bool, versions: &Versions, last: &LastPlain, copy_of: String) -> Following {
    let plain = |copy_of| Plain { copy_of, over: None, before: None };
    match last {
        LastPlain::Was(was) if policy.locked => {
            let holds_it = |name: &String| versions.ours.get(name).is_some_and(|at| at.digests == was.digests);
            let as_it_was = policy.names.of_revision(&was.revision);
            match [copy_of.clone(), as_it_was].into_iter().find(holds_it) {
                Some(same) => Following::Write(plain(same)),
                None => Following::WriteOnceForgotten(plain(copy_of)),
            }
        }
        LastPlain::Deleted => Following::WriteOnceForgotten(plain(copy_of)),
        LastPlain::Unknown if policy.locked && !is_first => Following::WriteOnceForgotten(plain(copy_of)),
        LastPlain::Was(_) | LastPlain::Unknown => Following::Write(plain(copy_of)),
    }
}

/// What a plain Secret says of itself, in digests of the present key: equal bytes are no change, whatever the key.
fn as_comparable(there: &Arc<Published>, wants: &Digests, holds: &Digests) -> Arc<Published> {
    if there.digests.comparable(wants) {
        return Arc::clone(there);
    }
    Arc::new(Published { digests: holds.clone(), ..Published::clone(there) })
}

/// Whether every workload runs on what is published now, but those that are held: what they wait for may never come. Where
/// references are put back everywhere, nobody shows that the value works, and without the plain Secret nobody gets it.
fn is_complete(status: &SecretPolicyStatus) -> bool {
    runs(status, &[ConsumerState::Current]) || are_put_back(status)
}

/// Whether all workloads are put back, but those of which it is not known what they held.
fn are_put_back(status: &SecretPolicyStatus) -> bool {
    let items = status.consumers.iter().flat_map(|consumers| &consumers.items);
    let (back, others): (Vec<_>, Vec<_>) = items.filter(|item| !is_stray(item)).partition(|item| is_put_back(item));
    !back.is_empty() && others.iter().all(|item| item.state == ConsumerState::Assumed)
}

/// Whether nobody is behind, and one is in one of these states, if there is anybody.
pub(super) fn runs(status: &SecretPolicyStatus, well: &[ConsumerState]) -> bool {
    let items = status.consumers.iter().flat_map(|consumers| &consumers.items);
    let is_behind = |item: &&ConsumerStatus| match item.state {
        ConsumerState::Current | ConsumerState::Assumed | ConsumerState::Held => false,
        ConsumerState::Outdated | ConsumerState::Progressing | ConsumerState::Failed | ConsumerState::Unknown => true,
    };
    let workloads: Vec<&ConsumerStatus> = items.filter(|item| !is_stray(item)).collect();
    let is_any_well = workloads.iter().any(|item| well.contains(&item.state));
    (workloads.is_empty() || is_any_well) && !workloads.iter().any(is_behind)
}

impl Plain {
    /// Its own record: it changes later than the version was published, and who reads it in between reads what it held.
    fn changes(&self, version: &Published, now: DateTime<Utc>) -> Changes {
        let mut changed = match &self.before {
            Some(before) if before.digests == version.digests => before.changes.clone(),
            Some(before) => before.changes.next(&before.revision, &before.digests, &version.digests, now),
            None => Changes::first(now),
        };
        changed.publication = version.changes.publication;
        changed.rotation.clone_from(&version.changes.rotation);
        changed
    }

    /// The Secret, with what the version holds and says of itself.
    #[must_use]
    pub fn desired(
        self,
        policy: &PolicySpec,
        content: Copied,
        tags: Tags,
        version: &Published,
        now: DateTime<Utc>,
    ) -> Desired {
        let Tags { labels, mut annotations } = tags;
        annotations.remove(names::ON_POLICY_DELETE);
        annotations.remove(names::HELD);
        annotations.insert(names::CHANGES.to_owned(), self.changes(version, now).to_string());
        let desired = content.desired(policy, policy.names.base(), Tags { labels, annotations }, self.over);
        Desired { immutable: policy.locked, ..desired }
    }
}
