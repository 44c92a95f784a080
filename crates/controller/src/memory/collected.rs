//! When the versions of a policy were looked at last, so that those which something refers to are not looked at in each
//! round.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::ObjectName;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Collections(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    looked: HashMap<ObjectName, Collected>,
    /// Namespaces where it was said that a right is missing.
    told: BTreeSet<String>,
}

/// What decides which versions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The current revision.
    pub revision: String,
    /// The revision whose rollout was complete last, which stays.
    pub complete: Option<String>,
    /// Generation of the policy.
    pub generation: i64,
}

/// A look that has left something.
#[derive(Clone, Debug)]
pub struct Collected {
    /// What was published then, and by which spec: anything new is a reason to look again.
    pub publication: Publication,
    /// When to look again otherwise.
    pub next: Instant,
}

impl Collections {
    /// How long there is nothing to look at.
    #[must_use]
    pub fn wait(&self, policy: &ObjectName, publication: &Publication, now: Instant) -> Option<Duration> {
        let state = self.state();
        let last = state.looked.get(policy).filter(|last| last.publication == *publication)?;
        Some(last.next.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Remembers a look.
    pub fn set(&self, policy: &ObjectName, collected: Collected) {
        self.state().looked.insert(policy.clone(), collected);
    }

    /// There is nothing left to look at.
    pub fn forget(&self, policy: &ObjectName) {
        self.state().looked.remove(policy);
    }

    /// Whether it has to be said that a right is missing in a namespace. True once.
    #[must_use]
    pub fn tell(&self, namespace: &str) -> bool {
        self.state().told.insert(namespace.to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_counts_for_its_time_and_for_one_publication() {
        let (all, policy, now) = (Collections::default(), ObjectName::new("shop", "db"), Instant::now());
        let hour = Duration::from_hours(1);
        let of = |revision: &str, generation: i64| Publication {
            revision: revision.to_owned(),
            complete: Some("a".to_owned()),
            generation,
        };
        let complete = |revision: &str| Publication { complete: Some(revision.to_owned()), ..of("a", 1) };
        assert_eq!(all.wait(&policy, &of("a", 1), now), None, "nobody has looked");
        all.set(&policy, Collected { publication: of("a", 1), next: now + hour });
        assert_eq!(all.wait(&policy, &of("a", 1), now), Some(hour));
        assert_eq!(all.wait(&policy, &of("b", 1), now), None, "something else is published by now");
        assert_eq!(all.wait(&policy, &of("a", 2), now), None, "fewer may be kept by now");
        assert_eq!(all.wait(&policy, &complete("b"), now), None, "the plain Secret holds another one by now");
        assert_eq!(all.wait(&policy, &of("a", 1), now + hour), None);
        all.forget(&policy);
        assert_eq!(all.wait(&policy, &of("a", 1), now), None);
        assert!(all.tell("shop") && !all.tell("shop") && all.tell("other"), "it is said once");
    }
}
