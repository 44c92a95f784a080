//! How a workload is brought onto a value: by a restart, where the Secret keeps its name, or by moving its references,
//! where each value has a name of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::policy::{OnFailure, PodCounts};

use super::{Held, Moves, count, held};
use crate::{
    SecretNames,
    published::{Published, Versions},
    rollout::Input,
    workload::{Pod, Use, Workload},
};

/// See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The Secret keeps its name: a restart marker on the pod template.
    Restart,
    /// Each value has a name of its own, and the workload refers to none of them: a restart marker, too.
    Named,
    /// The same for one that was restarted for another version, which was rolled back.
    NamedBack,
    /// References to older names move to that of the current value.
    Move(Names),
}

/// Whether a user has asked for the current version (`rekey.dev/rollback-to`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// One has.
    Yes,
    /// It is what the source holds, or held last.
    No,
}

/// The names by which a workload refers to a Secret of many versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// All that the policy's Secrets have.
    all: SecretNames,
    /// Those that references have to leave.
    older: BTreeSet<String>,
    /// Whether one of those came later than the current value: that one was rolled back.
    goes_back: bool,
    /// Those of other versions, or of a locked Secret, in which the consumed keys have their current values: a reference to one
    /// of them stays.
    equal: BTreeSet<String>,
    /// Those that are none of the policy's Secrets.
    others: BTreeSet<String>,
}

impl Names {
    /// Of a workload that uses these Secrets, onto `current`.
    #[must_use]
    pub fn of(
        all: &SecretNames,
        uses: &BTreeMap<String, Use>,
        current: (&str, &Published),
        versions: &Versions,
    ) -> Self {
        let (current, published) = current;
        let is_older = |name: &str| name != current && !versions.others.contains(name);
        let names = all.covered(uses).filter(|(name, _)| is_older(name));
        let is_comparable = |other: &Published| other.digests.comparable(&published.digests);
        let is_equal = |name: &str, how: &Use| {
            let version = versions.ours.get(name).or_else(|| versions.backups.get(name));
            let version = version.filter(|_| all.revision_in(name).is_some());
            // Of what has never changed under its name, every pod holds the same.
            let locked = || versions.locked.as_ref().filter(|at| name == all.base() && at.edge(&how.keys).is_none());
            let other = version.or_else(locked);
            other.is_some_and(|other| {
                // The record of a locked one under a lost digest key is made anew soon.
                let is_open = || name == all.base() && other.revision == published.revision && !is_comparable(other);
                other.consumed(&how.keys) == published.consumed(&how.keys) || is_open()
            })
        };
        let (mut older, mut equal) = (BTreeSet::new(), BTreeSet::new());
        for (name, how) in names {
            if is_equal(name, how) {
                equal.insert(name.clone())
            } else {
                older.insert(name.clone())
            };
        }
        let number = published.changes.publication;
        let is_later = |name: &String| versions.ours.get(name).is_some_and(|at| at.changes.publication > number);
        let goes_back = older.iter().any(is_later);
        Self { all: all.clone(), older, goes_back, equal, others: versions.others.clone() }
    }

    /// What the pod holds: its names say it, whatever the time.
    fn held(&self, pod: &Pod, current: &str) -> Held {
        let mut read = pod.reads.keys().filter(|name| self.all.covers(name) && !self.others.contains(*name));
        let is_current = |name: &String| name == current || self.equal.contains(name);
        if read.all(is_current) { Held::Current } else { Held::Other }
    }
}

impl Way {
    /// Of a workload that refers to no version: one in its marker is one that it leaves, if it came later than the current one
    /// or a user has asked for the current one.
    #[must_use]
    pub fn named(workload: &Workload, current: &Published, versions: &Versions, asked: Asked) -> Self {
        let is_left = |at: &Arc<Published>| match asked {
            Asked::Yes => at.revision != current.revision,
            Asked::No => at.changes.publication > current.changes.publication,
        };
        let mut marked = workload.marker.0.keys().filter_map(|name| versions.ours.get(name));
        if marked.any(is_left) { Self::NamedBack } else { Self::Named }
    }

    /// Whether it takes a restart marker.
    #[must_use]
    pub fn is_by_marker(&self) -> bool {
        matches!(self, Self::Restart | Self::Named | Self::NamedBack)
    }
}

impl Input {
    /// Whether the template of `workload` is that of the value.
    #[must_use]
    pub fn is_on(&self, workload: &Workload) -> bool {
        match &self.way {
            Way::Restart | Way::Named | Way::NamedBack => {
                workload.marker.0.get(&self.secret) == Some(&self.published.consumed(&self.how.keys))
            }
            Way::Move(names) => names.older.is_empty(),
        }
    }

    /// Whether it is, and by our doing: what a user rolls out is none of a policy's consumers on their way.
    #[must_use]
    pub fn is_brought(&self, workload: &Workload) -> bool {
        // Field managers are noted to the second.
        let since = || self.published.time().map(|at| at - TimeDelta::seconds(1));
        match &self.way {
            Way::Restart | Way::Named | Way::NamedBack => self.is_on(workload),
            Way::Move(_) => {
                self.is_on(workload) && since().is_some_and(|at| workload.marked.is_some_and(|by| by >= at))
            }
        }
    }

    /// When pods could last read anything else of the consumed keys than their value; `None`: never since the first publication.
    #[must_use]
    pub fn edge(&self) -> Option<DateTime<Utc>> {
        self.published.edge(&self.how.keys)
    }

    /// Since when the value is there that a workload may not be on yet.
    pub(super) fn since(&self) -> Option<DateTime<Utc>> {
        match &self.way {
            Way::Restart | Way::Named => self.edge(),
            Way::NamedBack | Way::Move(_) => self.published.time(),
        }
    }

    /// Whether the workload leaves a value that was rolled back: that ends what was begun.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        match &self.way {
            Way::Restart => self.published.changes.restored,
            Way::Named => false,
            Way::NamedBack => true,
            Way::Move(names) => names.goes_back,
        }
    }

    /// Whether it may go back too: its value came to the workload with the rollout under way, and is not proven.
    #[must_use]
    pub fn may_go_back(&self, workload: &Workload) -> bool {
        let can = self.rollout.on_failure == OnFailure::RollBack && !self.goes_back();
        can && matches!(self.way, Way::Move(_) | Way::Named) && self.is_brought(workload)
    }

    /// The references that have to move.
    #[must_use]
    pub fn moves(&self) -> Moves {
        match &self.way {
            Way::Restart | Way::Named | Way::NamedBack => Moves::new(),
            Way::Move(names) => names.older.iter().map(|old| (old.clone(), self.secret.clone())).collect(),
        }
    }

    /// Whether a Secret of this name matters to it.
    #[must_use]
    pub fn concerns(&self, secret: &str) -> bool {
        match &self.way {
            Way::Restart | Way::Named | Way::NamedBack => self.secret == secret,
            Way::Move(names) => names.all.covers(secret),
        }
    }

    /// What the pods hold of the Secret.
    #[must_use]
    pub fn counts(&self, pods: &[Pod]) -> PodCounts {
        count(pods.iter().map(|pod| match &self.way {
            Way::Restart | Way::Named | Way::NamedBack => held(pod, &self.secret, &self.how, &self.published),
            Way::Move(names) => names.held(pod, &self.secret),
        }))
    }
}
