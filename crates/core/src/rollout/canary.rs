//! The workload that gets a new value first: `spec.rollout.canary`. The others follow once it runs steadily on the value.

use std::fmt;

use chrono::{DateTime, Utc};
use rekey_api::reference::WorkloadRef;

use super::{Input, KnownPods, Other, Settled, failure};
use crate::{
    SpecError,
    workload::{Kind, Scale, Workload, WorkloadId},
};

/// The canary of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Its kind: one that has pods of its own.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// What the canary says of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs steadily on it.
    Good,
    /// It does not do so yet.
    Open,
    /// It did not become healthy on it.
    Bad,
    /// There is no such consumer of the Secret.
    Absent,
    /// It has no pod that could show anything.
    Idle,
}

impl Canary {
    /// The one that a policy names.
    ///
    /// # Errors
    /// When its kind has no pods that could show anything.
    pub fn parse(reference: &WorkloadRef) -> Result<Self, SpecError> {
        let kind = Kind::named(reference).filter(|kind| kind.rolls()).ok_or_else(|| {
            let known = Kind::NAMED.into_iter().filter(|kind| kind.rolls());
            let known = known.map(|kind| format!("{} {}", kind.api_version(), kind.as_str())).collect::<Vec<_>>();
            let (version, kind) = (&reference.api_version, &reference.kind);
            let fix = format!("{version} {kind} has no pods to prove a value with: use one of {}", known.join(", "));
            SpecError::field("spec.rollout.canary", fix)
        })?;
        Ok(Self { kind, name: reference.name.clone() })
    }

    /// Whether it is this workload.
    #[must_use]
    pub fn is(&self, id: &WorkloadId) -> bool {
        self.kind == id.kind && self.name == id.name
    }

    /// What it says, as one of these consumers.
    pub(super) fn verdict(&self, consumers: &[Other<'_>], now: DateTime<Utc>) -> Verdict {
        let Some(Other { workload, input, settled, .. }) = consumers.iter().find(|at| self.is(&at.workload.id)) else {
            return Verdict::Absent;
        };
        if is_good(workload, input, *settled) {
            return Verdict::Good;
        }
        if input.is_idle(workload) {
            return Verdict::Idle;
        }
        let pods = KnownPods { settled: *settled, look: None };
        if failure(workload, input, pods, now).is_some() { Verdict::Bad } else { Verdict::Open }
    }
}

/// What the status says of a canary without pods.
pub const IDLE: &str = "it is scaled to 0, so it proves nothing, and nobody gets a new value before it does: scale it up, or name \
                        another workload in spec.rollout.canary, or remove spec.rollout.canary";

impl fmt::Display for Canary {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.kind.as_str(), self.name)
    }
}

impl Input {
    /// The canary that `workload` has to wait for. It is not asked about a value that worked before, to which consumers go
    /// back.
    #[must_use]
    pub fn canary_before(&self, workload: &WorkloadId) -> Option<&Canary> {
        self.rollout.canary.as_ref().filter(|canary| !canary.is(workload) && !self.goes_back())
    }

    /// Whether `workload` is the canary of its policy, and has no pod that could show anything: it is left where it is until it
    /// has one, so that its pods really start on the value.
    #[must_use]
    pub fn is_idle(&self, workload: &Workload) -> bool {
        workload.scale == Scale::Zero && self.is_canary(&workload.id) && !self.goes_back()
    }

    /// Whether `workload` is the canary of its policy.
    #[must_use]
    pub fn is_canary(&self, workload: &WorkloadId) -> bool {
        self.rollout.canary.as_ref().is_some_and(|canary| canary.is(workload))
    }
}

/// Whether a canary runs steadily on the value. A template that was there before and stays, since its keys have equal
/// values, proves as much.
fn is_good(workload: &Workload, input: &Input, settled: Settled) -> bool {
    settled == Settled::Yes && input.is_on(workload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rollout::{
            Before, Rank, Turn, look,
            tests::{at, changed_with, workload},
            turn,
        },
        workload::Progress,
    };

    fn reference(kind: &str, version: &str) -> WorkloadRef {
        WorkloadRef { api_version: version.to_owned(), kind: kind.to_owned(), name: "first".to_owned() }
    }

    fn input() -> Input {
        let canary = Canary::parse(&reference("Deployment", "apps/v1")).unwrap();
        changed_with(|wish| {
            wish.canary = Some(canary);
            wish.concurrency = 5;
            wish.progress_deadline = rekey_api::GoDuration::seconds(60);
        })
    }

    fn named(name: &str, marker: &str) -> Workload {
        let mut workload = workload(marker);
        workload.id.name = name.to_owned();
        workload.marked = Some(at(110));
        workload
    }

    #[test]
    fn nobody_follows_before_the_canary_runs_steadily_on_the_value() {
        let input = input();
        let marker = format!("db={}", input.published.consumed(&input.how.keys));
        let other = named("web", "");
        let turn_after = |first: Option<(&Workload, Settled)>, before, second| {
            let others =
                first.map(|(workload, settled)| Other { workload, input: &input, settled, before, asked: None });
            turn(&other, &input, others.into_iter(), at(second))
        };
        let after = |first, second| turn_after(first, Before::Healthy, second);
        let wait = || Turn::Canary("Deployment first".to_owned());
        let (old, new) = (named("first", ""), named("first", &marker));
        assert_eq!(after(None, 120), wait(), "there is none");
        assert_eq!(after(Some((&old, Settled::NotYet)), 120), wait(), "it has not begun");
        assert_eq!(after(Some((&old, Settled::Yes)), 120), wait(), "it runs steadily on the value before");
        assert_eq!(after(Some((&new, Settled::NotYet)), 120), wait(), "complete for a moment is no proof");
        assert_eq!(after(Some((&new, Settled::Yes)), 120), Turn::Now);
        let stuck = Workload { progress: Progress::Stuck(String::new()), ..new.clone() };
        for before in [Before::Healthy, Before::Unhealthy] {
            let turn = turn_after(Some((&stuck, Settled::NotYet)), before, 120);
            assert_eq!(turn, Turn::Hold("Deployment first".to_owned()), "also one that was unhealthy before");
        }
        let me = turn(&old, &input, std::iter::empty(), at(120));
        assert_eq!(me, Turn::Now, "it waits for nobody to be first");
    }

    #[test]
    fn a_canary_without_pods_proves_nothing_and_waits_for_them() {
        let input = input();
        let marker = format!("db={}", input.published.consumed(&input.how.keys));
        let idle = |marker: &str| Workload { scale: Scale::Zero, ..named("first", marker) };
        let (old, new, other) = (idle(""), idle(&marker), named("web", ""));
        let wait = || Turn::Canary("Deployment first".to_owned());
        let follows = |first: &Workload, settled| {
            let first = Other { workload: first, input: &input, settled, before: Before::Healthy, asked: None };
            turn(&other, &input, [first].into_iter(), at(120))
        };
        assert_eq!(follows(&new, Settled::NotYet), wait());
        assert_eq!(follows(&new, Settled::Yes), Turn::Now, "it was scaled down after it had shown it");
        assert_eq!(look(&new, &input, &[], at(200)).settled(), Settled::NotYet, "no pod is no proof");
        assert_eq!(look(&other, &input, &[], at(200)).settled(), Settled::Yes, "nobody waits for others");
        let itself = turn(&old, &input, std::iter::empty(), at(120));
        assert!(matches!(itself, Turn::Canary(_)), "its pods have to start on the value: {itself:?}");
        let pods = KnownPods { settled: Settled::NotYet, look: None };
        let stuck = Workload { progress: Progress::Stuck(String::new()), ..new };
        assert_eq!(failure(&stuck, &input, pods, at(500)), None, "nothing has failed");
    }

    #[test]
    fn a_canary_is_called_first_whatever_it_was_before() {
        let inputs = [input()];
        let rank = |name: &str, before| Rank::of(&named(name, "").id, &inputs, before);
        assert_eq!(rank("first", Before::Unhealthy), Rank::First);
        assert_eq!(rank("web", Before::Healthy), Rank::Usual);
        assert_eq!(rank("web", Before::Unhealthy), Rank::Last);
        assert!(Rank::First < Rank::Usual && Rank::Usual < Rank::Last);
    }

    #[test]
    fn a_canary_has_pods() {
        for (kind, version) in [("CronJob", "batch/v1"), ("Job", "batch/v1"), ("Deployment", "v1")] {
            let refused = Canary::parse(&reference(kind, version)).unwrap_err().to_string();
            assert!(refused.contains("spec.rollout.canary") && refused.contains("apps/v1 Deployment"), "{refused}");
        }
    }
}
