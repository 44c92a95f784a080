//! What a look at the pods of a workload has shown, and when to look again.

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{GoDuration, policy::PodCounts};

use super::{Health, Input, Standing, are_current, has_to_run, health, health::LATE, standing, turn::overdue};
use crate::workload::{Pod, Progress, Workload};

/// What a look at the pods of a workload has shown. It says something about one value only: the one that was
/// published at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// When pods could last read anything else than that value.
    pub edge: Option<DateTime<Utc>>,
    /// What they held.
    pub pods: PodCounts,
    /// Whether they ran on.
    pub health: Health,
}

/// Whether a workload was seen to run steadily on a value: what comes later is no matter of that value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was.
    Yes,
    /// It was not, or nobody knows.
    NotYet,
}

impl Look {
    /// Whether every pod held the value.
    #[must_use]
    pub fn is_current(&self) -> bool {
        are_current(self.pods)
    }

    /// Whether it has shown a workload that runs steadily on the value.
    #[must_use]
    pub fn settled(&self) -> Settled {
        if self.is_current() && self.health == Health::Stable { Settled::Yes } else { Settled::NotYet }
    }

    /// Whether it was taken since what is published is there.
    #[must_use]
    pub fn is_of(&self, input: &Input) -> bool {
        self.edge == input.edge()
    }

    /// Whether both say the same of a policy's consumer: when to look again is nobody else's matter.
    #[must_use]
    pub fn says_what(&self, other: &Self) -> bool {
        let said = |look: &Self| (look.edge, look.pods, look.settled(), look.health.trouble().map(str::to_owned));
        said(self) == said(other)
    }
}

/// What the `pods` of a workload show about one of its Secrets. As long as the workload is not complete, some of its
/// pods are not what they should be, however those run that are there.
#[must_use]
pub fn look(workload: &Workload, input: &Input, pods: &[Pod], now: DateTime<Utc>) -> Look {
    let health = health(pods, span(input.rollout.stable_for), now);
    let health = match &workload.progress {
        // Nobody has shown anything.
        Progress::Complete if pods.is_empty() && input.is_canary(&workload.id) => {
            Health::Unsteady { until: None, trouble: None }
        }
        Progress::Complete => health,
        Progress::Underway(_) | Progress::Stuck(_) | Progress::Waiting(_) => {
            Health::Unsteady { until: None, trouble: health.trouble().map(Into::into) }
        }
    };
    Look { edge: input.edge(), pods: input.counts(pods), health }
}

/// What is to be done until a workload is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Nothing, or nothing before it changes.
    Rest,
    /// Nothing before this time.
    NotBefore(DateTime<Utc>),
    /// Its pods must be looked at.
    Look,
}

/// What is to be done until `workload`, whose pods hold the value of each of `inputs`, runs steadily on them. None of
/// the inputs is settled. `moving`: when it was last seen on its way.
#[must_use]
pub fn settling(workload: &Workload, inputs: &[Input], moving: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Settling {
    let concerned = |input: &&Input| {
        let is_idle = input.is_idle(workload);
        has_to_run(workload, &input.how) && !is_idle && standing(workload, input, None) != Standing::Reloads
    };
    let inputs: Vec<&Input> = inputs.iter().filter(concerned).collect();
    let Some(stable_for) = inputs.iter().map(|input| span(input.rollout.stable_for)).max() else {
        return Settling::Rest;
    };
    let start = |of: DateTime<Utc>| of.min(now) + stable_for + LATE;
    let not_before = |at: Option<DateTime<Utc>>| match at.filter(|at| *at > now) {
        Some(at) => Settling::NotBefore(at),
        None => Settling::Look,
    };
    match &workload.progress {
        // It cannot have run for long enough before.
        Progress::Complete => not_before(workload.marked.into_iter().chain(moving).map(start).max()),
        Progress::Stuck(_) => Settling::Look,
        // Its reason is shown when its time is over.
        Progress::Underway(_) => {
            let deadlines = inputs.iter().filter_map(|at| overdue(workload, at.rollout.progress_deadline));
            deadlines.min().map_or(Settling::Rest, |at| not_before(Some(at)))
        }
        Progress::Waiting(_) => Settling::Rest,
    }
}

/// A time of a spec.
fn span(of: GoDuration) -> TimeDelta {
    TimeDelta::from_std(of.get()).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{at, changed, pod, unchanged, workload},
        *,
    };
    use crate::workload::Waiting;

    #[test]
    fn a_look_says_what_pods_hold_and_whether_they_run_on() {
        let input = changed("db");
        let all = [pod(Some(50), ""), pod(Some(101), ""), pod(Some(150), ""), pod(Some(160), "")];
        let done = workload("");
        let look = |pods: &[Pod], second| look(&done, &input, pods, at(second));
        let found = look(&all, 200);
        assert_eq!(found.pods, PodCounts { current: 2, old: 1, unknown: 1 });
        assert_eq!((found.edge, found.settled()), (Some(at(100)), Settled::NotYet));
        assert_eq!(look(&all[2..], 200).settled(), Settled::Yes);
        assert_eq!(look(&all[2..], 165).settled(), Settled::NotYet, "started five seconds ago");
        assert!(look(&all[2..], 165).says_what(&look(&all[2..], 166)));
        let underway = Workload { progress: Progress::Underway(String::new()), ..workload("") };
        let found = super::look(&underway, &input, &all[2..], at(200));
        assert_eq!(found.settled(), Settled::NotYet, "its pods run, and others are not there");
    }

    #[test]
    fn pods_are_looked_at_when_they_can_have_run_for_long_enough() {
        let marked = |progress| Workload { progress, marked: Some(at(100)), ..workload("") };
        let underway = || Progress::Underway(String::new());
        for (workload, moving, second, expected) in [
            (marked(Progress::Complete), None, 105, Settling::NotBefore(at(112))),
            (marked(Progress::Complete), Some(at(104)), 105, Settling::NotBefore(at(116))),
            (marked(Progress::Complete), Some(at(104)), 116, Settling::Look),
            (marked(Progress::Complete), Some(at(999)), 105, Settling::NotBefore(at(117))),
            (workload(""), None, 105, Settling::Look),
            (marked(underway()), None, 105, Settling::NotBefore(at(700))),
            (marked(underway()), None, 700, Settling::Look),
            (marked(Progress::Stuck(String::new())), None, 105, Settling::Look),
            (marked(Progress::Waiting(Waiting::Paused)), None, 105, Settling::Rest),
        ] {
            assert_eq!(settling(&workload, &[changed("db")], moving, at(second)), expected, "{workload:?} {second}");
        }
        assert_eq!(settling(&workload(""), &[], None, at(105)), Settling::Rest);
        let mut pull = unchanged("db");
        pull.how.forms = [rekey_api::policy::ConsumeForm::ImagePull].into();
        assert_eq!(settling(&workload(""), &[pull], None, at(105)), Settling::Rest);
    }
}
