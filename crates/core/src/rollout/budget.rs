//! How many rollouts of ours may be under way at the same time, over all policies.

use chrono::{DateTime, Utc};

use super::{Before, Input, KnownPods, Settled, failure, turn::keeps_others};
use crate::workload::Workload;

/// The most rollouts at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In one namespace.
    pub namespace: usize,
    /// In all of them.
    pub cluster: usize,
}

/// Rollouts that are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// In the namespace.
    pub namespace: usize,
    /// In all namespaces.
    pub cluster: usize,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Of the namespace: so many.
    Namespace(usize),
    /// Of the cluster.
    Cluster(usize),
}

impl Limits {
    /// The limit that one more rollout would break; `None`: it may start.
    #[must_use]
    pub fn reached(self, under_way: UnderWay) -> Option<Budget> {
        if under_way.namespace >= self.namespace {
            Some(Budget::Namespace(self.namespace))
        } else if under_way.cluster >= self.cluster {
            Some(Budget::Cluster(self.cluster))
        } else {
            None
        }
    }
}

impl Budget {
    /// What is said of a consumer in this namespace that waits. It stays while it waits, whoever else comes and goes.
    #[must_use]
    pub fn text(self, namespace: &str) -> String {
        match self {
            Self::Namespace(most) => format!(
                "waits for its turn: {most} of {most} rollouts of namespace {namespace} are under way \
                 (--rollouts-per-namespace)"
            ),
            Self::Cluster(most) => {
                format!("waits for its turn: {most} of {most} rollouts of the cluster are under way (--rollouts)")
            }
        }
    }
}

/// Whether a restart of `workload` for the sake of `input` is under way: onto what is published, and not at its end. One
/// that has failed is at its end, or a few broken workloads would hold up a whole cluster.
#[must_use]
pub fn is_under_way(
    workload: &Workload,
    input: &Input,
    pods: KnownPods<'_>,
    before: Before,
    now: DateTime<Utc>,
) -> bool {
    let is_open =
        pods.settled == Settled::NotYet && !input.is_idle(workload) && failure(workload, input, pods, now).is_none();
    input.is_brought(workload) && is_open && before == Before::Healthy && keeps_others(workload, &input.how)
}

#[cfg(test)]
mod tests {
    use rekey_api::GoDuration;

    use super::{
        super::tests::{at, changed_with, workload},
        *,
    };
    use crate::workload::{Progress, Waiting};

    #[test]
    fn the_limit_of_the_namespace_comes_before_that_of_the_cluster() {
        let limits = Limits { namespace: 2, cluster: 3 };
        for (namespace, cluster, expected) in [
            (0, 0, None),
            (1, 2, None),
            (2, 2, Some(Budget::Namespace(2))),
            (2, 3, Some(Budget::Namespace(2))),
            (1, 3, Some(Budget::Cluster(3))),
            (0, 9, Some(Budget::Cluster(3))),
        ] {
            assert_eq!(limits.reached(UnderWay { namespace, cluster }), expected, "{namespace} {cluster}");
        }
    }

    /// Restarted at second 110, with a deadline of a minute.
    #[test]
    fn a_rollout_is_under_way_until_it_is_settled_or_has_failed() {
        let input = changed_with(|wish| wish.progress_deadline = GoDuration::seconds(60));
        let on = |marker: &str, progress| Workload { progress, marked: Some(at(110)), ..workload(marker) };
        let current = format!("db={}", input.published.consumed(&input.how.keys));
        let (healthy, rolls) = (Before::Healthy, || Progress::Underway(String::new()));
        for (workload, settled, before, second, expected) in [
            (on(&current, rolls()), Settled::NotYet, healthy, 120, true),
            (on(&current, Progress::Complete), Settled::NotYet, healthy, 120, true),
            (on(&current, Progress::Complete), Settled::Yes, healthy, 120, false),
            (on(&current, rolls()), Settled::NotYet, healthy, 170, false),
            (on(&current, Progress::Stuck(String::new())), Settled::NotYet, healthy, 120, false),
            (on(&current, Progress::Waiting(Waiting::Paused)), Settled::NotYet, healthy, 120, false),
            (on(&current, rolls()), Settled::NotYet, Before::Unhealthy, 120, false),
            (on("db=old", rolls()), Settled::NotYet, healthy, 120, false),
            (on("", rolls()), Settled::NotYet, healthy, 120, false),
        ] {
            let pods = KnownPods { settled, look: None };
            let found = is_under_way(&workload, &input, pods, before, at(second));
            assert_eq!(found, expected, "{workload:?} {settled:?} {before:?} {second}");
        }
    }

    #[test]
    fn who_waits_says_for_what() {
        assert_eq!(
            Budget::Namespace(10).text("shop"),
            "waits for its turn: 10 of 10 rollouts of namespace shop are under way (--rollouts-per-namespace)"
        );
        assert_eq!(
            Budget::Cluster(50).text("shop"),
            "waits for its turn: 50 of 50 rollouts of the cluster are under way (--rollouts)"
        );
    }
}
