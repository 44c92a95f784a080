//! The values that a policy has published and that are still there: versions, or private copies of what its one Secret held
//! before. What became of each stands on it, so that another process knows it, too.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use rekey_api::{
    names,
    policy::{HeldReason, OnFailure},
};

use super::{ObjectVersion, PolicySpec, Scope};
use crate::{
    digest::Digests,
    published::{Published, order},
};

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A consumer did not become healthy on it.
    RolledBack,
    /// A user went back to another one.
    RollbackTo,
    /// Another one replaced it before all consumers ran on it.
    Untried,
}

impl Mark {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RolledBack, Self::RollbackTo, Self::Untried];

    /// What is written of it (`rekey.dev/held`).
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::RolledBack => names::HELD_ROLLED_BACK,
            Self::RollbackTo => names::HELD_ROLLBACK_TO,
            Self::Untried => names::HELD_UNTRIED,
        }
    }

    /// Whether a version with it counts as published no more.
    #[must_use]
    pub fn is_passed_over(self) -> bool {
        match self {
            Self::RolledBack | Self::RollbackTo => true,
            Self::Untried => false,
        }
    }
}

/// A value that is still there.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// What it says of itself.
    pub published: Arc<Published>,
    /// What became of it.
    pub mark: Option<Mark>,
    /// What it holds, if its record was made with a digest key that is lost.
    pub reread: Option<Reread>,
}

/// Digests by the digest key of now. What is immutable and made by our field manager holds what it was made with.
#[derive(Clone, Debug)]
pub struct Reread {
    /// They.
    pub digests: Digests,
    /// The version that was read.
    pub version: ObjectVersion,
}

/// See the [module documentation](self).
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The values.
    pub values: Vec<Earlier>,
    /// The revision whose rollout was complete last, by the plain Secret, where references move.
    pub complete: Option<String>,
    /// When the last rotation of the policy began that has ended: credentials from before it may be dead.
    pub rotated: Option<DateTime<Utc>>,
}

impl History {
    /// The value of this revision.
    #[must_use]
    pub fn find(&self, revision: &str) -> Option<&Earlier> {
        self.values.iter().find(|at| at.published.revision == revision)
    }

    /// Those on which a consumer did not become healthy.
    pub fn rolled_back(&self) -> impl Iterator<Item = &Arc<Published>> {
        self.values.iter().filter(|at| at.mark == Some(Mark::RolledBack)).map(|at| &at.published)
    }

    /// The highest number of a publication.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.values.iter().map(|at| at.published.changes.publication).max().unwrap_or_default()
    }

    /// The one of them that holds this.
    #[must_use]
    pub fn rolled_back_with(&self, digests: &Digests) -> Option<&Arc<Published>> {
        let holds = |at: &&Earlier| {
            at.published.digests == *digests || at.reread.as_ref().is_some_and(|reread| reread.digests == *digests)
        };
        self.values.iter().filter(|at| at.mark == Some(Mark::RolledBack)).find(holds).map(|at| &at.published)
    }

    /// The value that worked last before `published`.
    #[must_use]
    pub fn good(&self, policy: &PolicySpec, published: &Published) -> Option<&Arc<Published>> {
        let is_before = |at: &&Earlier| at.published.revision != published.revision && at.mark.is_none();
        let mut values =
            self.values.iter().filter(is_before).filter(|at| !self.may_be_dead(&at.published, Some(published)));
        if policy.names.is_versioned() {
            let complete = self.complete.as_ref()?;
            return values.find(|at| at.published.revision == *complete).map(|at| &at.published);
        }
        // One that holds the same bytes would change nothing, and that of a digest key which is lost cannot be proven.
        let others = values.filter(|at| at.published.digests != published.digests);
        let others = others.filter(|at| at.published.digests.comparable(&published.digests));
        others.map(|at| &at.published).max_by(|one, other| order(one).cmp(&order(other)))
    }

    /// Those that came after `good` and have worked for nobody yet, the oldest first.
    #[must_use]
    pub fn untried(&self, good: &Published) -> Vec<&Arc<Published>> {
        let open = self.values.iter().filter(|at| !at.mark.is_some_and(Mark::is_passed_over)).map(|at| &at.published);
        let mut later: Vec<_> = open.filter(|at| order(at) > order(good)).collect();
        later.sort_by(|one, other| order(one).cmp(&order(other)));
        later
    }

    /// Whether a rotation came after this value: what it holds may not log in any more.
    #[must_use]
    pub fn may_be_dead(&self, value: &Published, published: Option<&Published>) -> bool {
        let is_older = |at: DateTime<Utc>| value.time().is_none_or(|time| time < at);
        let is_rotated = |at: &Published| {
            let rotation = at.changes.rotation.as_ref();
            rotation.is_some() && rotation != value.changes.rotation.as_ref() && order(at) > order(value)
        };
        let mut known = self.values.iter().map(|at| at.published.as_ref()).chain(published);
        self.rotated.is_some_and(is_older) || known.any(is_rotated)
    }

    /// The last one that was rolled back, while what was published before it is published again.
    #[must_use]
    pub fn bad<'a>(&'a self, policy: &PolicySpec, published: &Published) -> Option<&'a Arc<Published>> {
        // What came back under another mode has the number that it had there.
        let later = self.rolled_back().filter(|at| at.is_later_than(published));
        let before = || self.rolled_back().find(|at| published.changes.previous.as_ref() == Some(&at.revision));
        let last = later.max_by_key(|at| at.changes.publication);
        last.or_else(|| before().filter(|_| policy.has_history()))
    }

    /// Why what is published is not what the source holds.
    #[must_use]
    pub fn held(&self, policy: &PolicySpec, published: &Published) -> Option<HeldReason> {
        if policy.rollback_to.as_ref() == Some(&published.revision) {
            return Some(HeldReason::RollbackTo);
        }
        self.bad(policy, published).map(|_| HeldReason::RolledBack)
    }

    /// The revisions that stay, however many the policy keeps: what going back needs, and what has to be known of.
    #[must_use]
    pub fn needed(&self, policy: &PolicySpec, published: &Published) -> BTreeSet<String> {
        let mut needed: BTreeSet<String> = self.complete.iter().chain(&policy.rollback_to).cloned().collect();
        let is_later = |at: &&Earlier| at.mark == Some(Mark::RolledBack) && order(&at.published) > order(published);
        needed.extend(self.values.iter().filter(is_later).map(|at| at.published.revision.clone()));
        needed.extend(self.bad(policy, published).map(|bad| bad.revision.clone()));
        if self.held(policy, published).is_some() {
            needed.insert(published.revision.clone()); // what is repaired from it
            let passed = self.values.iter().filter(|at| at.mark == Some(Mark::RollbackTo));
            needed.extend(passed.map(|at| at.published.revision.clone()));
        }
        if policy.rollout.on_failure == OnFailure::RollBack {
            needed.extend(self.good(policy, published).map(|good| good.revision.clone()));
        }
        needed
    }
}

impl PolicySpec {
    /// Whether earlier values of the one Secret stay as private copies.
    #[must_use]
    pub fn keeps_copies(&self) -> bool {
        self.keep > 0 && !self.names.is_versioned()
    }

    /// Whether there may be earlier values, also from another mode or another `versions.keep`.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.scope == Scope::Whole
    }
}
