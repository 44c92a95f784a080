//! Whether a workload is healthy on what its pods hold: not for a moment, but for some time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::workload::{Pod, Steady};

/// Whether pods run on for long enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing of them has started again for that long.
    Stable,
    /// Not yet, or a container ends again and again.
    Unsteady {
        /// When they have run for long enough, if nothing starts again; `None`: one of them does not run.
        until: Option<DateTime<Utc>>,
        /// What is wrong with one of them, as far as Kubernetes says.
        trouble: Option<Box<str>>,
    },
}

impl Health {
    /// When they have run for long enough, if nothing starts again; `None`: they have, or one of them does not run.
    #[must_use]
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Stable => None,
            Self::Unsteady { until, .. } => *until,
        }
    }

    /// What is wrong, as far as Kubernetes says.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Stable => None,
            Self::Unsteady { trouble, .. } => trouble.as_deref(),
        }
    }
}

/// The end of a container is in the status of its pod up to so much later: kubelet looks at its containers each second, and
/// its report takes a moment.
pub(super) const LATE: TimeDelta = TimeDelta::seconds(2);

/// Whether the pods that stay have run on for `stable_for`, as far as is known by now.
#[must_use]
pub fn health(pods: &[Pod], stable_for: TimeDelta, now: DateTime<Utc>) -> Health {
    let troubles = || {
        pods.iter().find_map(|pod| match &pod.steady {
            Steady::Since { trouble, .. } | Steady::Not(trouble) => trouble.clone(),
        })
    };
    let mut youngest: Option<DateTime<Utc>> = None;
    for pod in pods {
        match &pod.steady {
            Steady::Since { at, .. } => youngest = youngest.max(Some(*at)),
            Steady::Not(_) => return Health::Unsteady { until: None, trouble: troubles() },
        }
    }
    // A start in the future was noted by a clock that is ahead of ours.
    let until = youngest.map(|at| at.min(now) + stable_for + LATE);
    match until.filter(|until| *until > now) {
        Some(until) => Health::Unsteady { until: Some(until), trouble: troubles() },
        None => Health::Stable,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{at, pod},
        *,
    };

    fn since(second: i64, trouble: Option<&str>) -> Pod {
        Pod { steady: Steady::Since { at: at(second), trouble: trouble.map(Into::into) }, ..pod(Some(second), "") }
    }

    #[test]
    fn pods_are_stable_when_the_youngest_has_run_for_long_enough() {
        let ten = TimeDelta::seconds(10);
        let until = |until, trouble: Option<&str>| Health::Unsteady { until, trouble: trouble.map(Into::into) };
        let broken = Pod { steady: Steady::Not(Some("why".into())), ..pod(None, "") };
        for (pods, expected) in [
            (vec![], Health::Stable),
            (vec![since(88, None), since(50, None)], Health::Stable),
            (vec![since(89, None), since(50, None)], until(Some(at(101)), None)),
            (vec![since(50, None), since(91, None)], until(Some(at(103)), None)),
            (vec![since(50, None), since(95, Some("exit code 1"))], until(Some(at(107)), Some("exit code 1"))),
            (vec![since(50, Some("long ago"))], Health::Stable),
            (vec![since(50, None), broken], until(None, Some("why"))),
            (vec![since(500, None)], until(Some(at(112)), None)),
        ] {
            assert_eq!(health(&pods, ten, at(100)), expected, "{pods:?}");
        }
    }
}
