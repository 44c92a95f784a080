//! `rekey.dev/unlock`: a user allows one replacement of a locked Secret. Its name stays, so that it is deleted and created
//! again, and a node serves the old content of an immutable Secret that was made again for as long as a pod of the node refers
//! to it ([ADR 005](../../../../docs/adr/005-locked-secret-that-was-deleted.md)). So it is deleted when no pod refers
//! to it, and created when no pod is left that may have read it before.
//!
//! Nothing is remembered between the two: the token is pending until the status or the record on the Secret names it, and a
//! start in the middle goes on from there.

mod referrer;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{SecretPolicyStatus, condition::Reason, names};

pub use self::referrer::{Referrer, Stage};
use super::{
    PolicySpec, Scope, Seen, Source,
    publish::{Decided, Publishing, Wait},
    secret::Step,
};
use crate::{SpecError, digest::Digests, notice::Notice, published::Published, summary::listed};

/// What was seen for the sake of a pending unlock.
#[derive(Clone, Debug, Default)]
pub struct UnlockSeen {
    /// Who refers to the Secret.
    pub look: Look,
    /// Whether a version holds the same, so that the Secret is not the only copy.
    pub is_copied: bool,
}

/// A fresh list of the pods of the namespace.
#[derive(Clone, Debug, Default)]
pub enum Look {
    /// It decides nothing now, so there is none.
    #[default]
    NotTaken,
    /// There is none: why.
    Failed(String),
    /// These pods stand in the way.
    Referred(Vec<Referrer>),
    /// None does.
    Clear {
        /// Since when each look has shown none.
        since: DateTime<Utc>,
    },
}

/// How often the pods are listed that stand in the way: their workloads are down meanwhile, or about to be.
pub const AGAIN: TimeDelta = TimeDelta::seconds(5);

/// How often, where nobody is down for it.
const UNHURRIED: TimeDelta = TimeDelta::minutes(1);

/// A pod may be gone while its node still lets go of it: one that is deleted without a grace period is. That takes a few seconds.
const RELEASE: TimeDelta = TimeDelta::seconds(20);

impl Look {
    /// When to look again, since a name may not be deleted or used again yet; `None`: it may.
    #[must_use]
    pub fn again(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        match self {
            Self::Clear { since } if now - *since >= RELEASE => None,
            Self::Clear { .. } => Some(AGAIN),
            Self::NotTaken | Self::Failed(_) | Self::Referred(_) => Some(UNHURRIED),
        }
    }
}

/// What stands in the way of a replacement.
enum Obstacle {
    /// These pods.
    Pods(String),
    /// None, for too short a time.
    Release,
    /// It is not known.
    Unknown(String),
}

impl PolicySpec {
    /// Whether the token of `rekey.dev/unlock` is new: a locked Secret may be replaced. `published`: what is, or was last,
    /// published. A token on an object that Rekey has not looked at yet may be from before a backup.
    #[must_use]
    pub fn is_unlocking(&self, status: &SecretPolicyStatus, published: Option<&Published>) -> bool {
        let Some(token) = self.unlock.as_deref() else { return false };
        let recorded = published.and_then(|published| published.changes.unlock.as_deref());
        let is_handled = status.handled_unlock() == Some(token) || recorded == Some(token);
        let has_locked = self.locked || !self.names.is_versioned();
        self.scope == Scope::Whole && has_locked && !status.is_unseen() && !is_handled
    }

    /// What a user can run to have the Secret replaced.
    pub(super) fn unlock_command(&self) -> String {
        self.request_command(names::UNLOCK)
    }
}

impl Seen {
    /// Whether an unlock is pending.
    pub(super) fn is_unlocking(&self, policy: &PolicySpec) -> bool {
        policy.is_unlocking(&self.status, self.secret.published().or(self.last.as_deref()))
    }
}

/// Records the token, unless it is still pending: also of a policy that cannot be worked on, since what is there at first sight
/// allows nothing later.
pub fn acknowledge(
    policy: &PolicySpec,
    before: &SecretPolicyStatus,
    published: Option<&Published>,
    status: &mut SecretPolicyStatus,
) {
    if !policy.is_unlocking(before, published) {
        status.set_handled_unlock(policy.unlock.as_deref());
    }
}

impl Publishing<'_> {
    pub(super) fn is_unlocking(&self) -> bool {
        self.seen.is_unlocking(self.policy)
    }

    /// A locked Secret that has to become another one: it is deleted, if that is allowed and nothing refers to it.
    ///
    /// # Errors
    /// `refused`, if no unlock is pending; or why it cannot be made again.
    pub(super) fn replaced(
        &self,
        published: &Arc<Published>,
        before: &Digests,
        refused: SpecError,
    ) -> Result<Decided, SpecError> {
        if !self.is_unlocking() {
            return Err(refused);
        }
        if self.is_only_copy() {
            return Err(self.not_without_copy());
        }
        // What could not be written must not be found out when the old one is gone.
        let changes = published.changes.next(&published.revision, before, &self.digests, self.tools.now);
        self.write(self.published(changes), None, String::new())?;
        let name = self.policy.names.base();
        let text = match (self.obstacle(), self.seen.over.clone()) {
            (None, Some(over)) => {
                let text =
                    format!("deleted Secret {name}, as rekey.dev/unlock asks; Rekey creates it with {}", self.next());
                let keep = self.policy.keeps_copies().then(|| self.kept(published));
                let steps = keep.into_iter().chain([Step::Delete(name.to_owned(), over)]).collect();
                let events = vec![Notice::new(Reason::Unlocking, "Unlock", text.as_str())];
                // As after a start in the middle, so that this is not written twice.
                return Ok(Decided { steps, events, ..Decided::wait(Reason::Unlocking, self.released_soon()) });
            }
            (Some(Obstacle::Pods(pods)), _) => format!(
                "Rekey deletes Secret {name} and creates it with {} when no pod refers to it any more; until then nodes \
                 would go on serving the old one. Scale these to 0, or delete them: {pods}",
                self.next()
            ),
            (Some(Obstacle::Unknown(why)), _) => format!(
                "Rekey deletes Secret {name} and creates it with {} when no pod refers to it any more, but cannot see \
                 whether one does: {why}",
                self.next()
            ),
            (Some(Obstacle::Release), _) => format!(
                "no pod refers to Secret {name} any more; Rekey deletes it and creates it with {} when nodes have had {} s \
                 to let go of it. Start nothing that uses it",
                self.next(),
                RELEASE.num_seconds(),
            ),
            (None, None) => format!("Secret {name} is not known well enough to be deleted"),
        };
        let told = self.seen.status.conditions.iter().any(|at| at.reason == Reason::Unlocking.as_str());
        let events = if told { Vec::new() } else { vec![Notice::new(Reason::Unlocking, "Unlock", text.as_str())] };
        let rests = Some(Wait { reason: Reason::Unlocking, text });
        Ok(Decided { events, rests, ..Decided::unchanged(Arc::clone(published)) })
    }

    /// What a Secret that is not there waits for before it is made, under a name that was locked; `None`: nothing.
    pub(super) fn not_yet_forgotten(&self) -> Option<Decided> {
        let was_published =
            self.seen.secret.published().is_some() || self.seen.last.is_some() || self.seen.status.revision.is_some();
        let is_in_place = self.is_unlocking() && !self.policy.names.is_versioned();
        if !is_in_place || !was_published || self.seen.over.is_some() {
            return None;
        }
        let (name, next) = (self.policy.names.base(), self.next());
        let text = match self.obstacle()? {
            Obstacle::Pods(pods) => format!(
                "there is no Secret {name}; Rekey creates it with {next} when no pod is left that may have read the old \
                 one, which nodes would go on serving. Scale these to 0, or delete them: {pods}"
            ),
            Obstacle::Release => self.released_soon(),
            Obstacle::Unknown(why) => format!(
                "there is no Secret {name}; Rekey creates it with {next} when no pod is left that may have read the old \
                 one, but cannot see whether one is: {why}"
            ),
        };
        Some(Decided::wait(Reason::Unlocking, text))
    }

    fn released_soon(&self) -> String {
        format!(
            "there is no Secret {}; Rekey creates it with {} when nodes have had {} s to let go of the old one",
            self.policy.names.base(),
            self.next(),
            RELEASE.num_seconds(),
        )
    }

    /// What the Secret is to become.
    fn next(&self) -> String {
        let value = format!("the value of {}", self.policy.source.text());
        if self.policy.locked { value } else { format!("{value}, not immutable") }
    }

    fn obstacle(&self) -> Option<Obstacle> {
        match &self.seen.unlock.look {
            Look::NotTaken => Some(Obstacle::Unknown("Rekey has not looked at the pods yet".to_owned())),
            Look::Failed(why) => Some(Obstacle::Unknown(why.clone())),
            Look::Clear { .. } => self.seen.unlock.look.again(self.tools.now).map(|_| Obstacle::Release),
            Look::Referred(all) => {
                let mut makers: BTreeMap<&str, usize> = BTreeMap::new();
                for referrer in all {
                    *makers.entry(&referrer.0).or_default() += 1;
                }
                let pods = |(maker, count): (&str, usize)| match count {
                    1 => maker.to_owned(),
                    count => format!("{maker} ({count} pods)"),
                };
                Some(Obstacle::Pods(listed(makers.into_iter().map(pods), ", ")))
            }
        }
    }

    /// Whether the Secret cannot be made again once it is deleted.
    fn is_only_copy(&self) -> bool {
        let is_generated = match &self.policy.source {
            Source::Generated(_) => true,
            // The token has asked the engine for a new answer.
            Source::Engine(_) | Source::Remote(_) | Source::Existing => false,
        };
        is_generated && !self.seen.is_elsewhere && !self.seen.unlock.is_copied
    }

    fn not_without_copy(&self) -> SpecError {
        SpecError::LockedAndChanged {
            text: format!(
                "Secret {:?} is locked and the only copy of its value, so Rekey does not delete it. Set \
                 spec.immutability to Versioned, with versions.references Publish or Move: the value is taken along \
                 under a new name, and from there the policy can get any other mode",
                self.policy.names.base()
            ),
        }
    }
}
