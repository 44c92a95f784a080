//! Whose turn it is, and what time alone changes: several consumers of one Secret, a deadline, a grace.

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::GoDuration;

use super::{GATHER, Input, Look, Settled, Standing, Urgency, Verdict, has_to_run, standing};
use crate::{
    schedule::Opening,
    workload::{Progress, Use, Workload, WorkloadId},
};

/// Whether a consumer may be restarted, as far as the other consumers of the Secret are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Now,
    /// As many as are allowed are on their way; these.
    Wait(String),
    /// This one did not become healthy: no other consumer follows it.
    Hold(String),
    /// The canary has not shown yet that the value is good.
    Canary(String),
}

/// Another consumer of a Secret.
#[derive(Clone, Copy, Debug)]
pub struct Other<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// How it consumes the Secret.
    pub input: &'a Input,
    /// Whether it runs steadily on what is published.
    pub settled: Settled,
    /// Whether it did well before.
    pub before: Before,
    /// Since when a change of it has no answer, while it is seen as it was before: the change may be made, or arrive yet.
    pub asked: Option<DateTime<Utc>>,
}

impl Other<'_> {
    /// Whether it may be on its way all the same. Whoever gets no answer for as long as a rollout may take keeps nobody.
    fn may_move(&self, now: DateTime<Utc>) -> bool {
        may_move(self.input, self.asked, now)
    }
}

/// Whether a workload may be on its way by a change that has had no answer since `asked`.
#[must_use]
pub fn may_move(input: &Input, asked: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    let deadline = TimeDelta::from_std(input.rollout.progress_deadline.get());
    asked.zip(deadline.ok()).is_some_and(|(at, deadline)| now - at < deadline)
}

/// Whether a workload was healthy before the value changed. One that was not says nothing about the value: it goes last,
/// and holds nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Before {
    /// It was, or nobody knows.
    #[default]
    Healthy,
    /// It had too few available pods already.
    Unhealthy,
}

/// Who comes before whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// A canary.
    First,
    /// Whoever was healthy before.
    Usual,
    /// Whoever was not.
    Last,
}

impl Rank {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::First, Self::Usual, Self::Last];

    /// That of a workload which is changed for the sake of these.
    #[must_use]
    pub fn of(workload: &WorkloadId, because: &[Input], before: Before) -> Self {
        if because.iter().any(|input| input.is_canary(workload)) {
            return Self::First;
        }
        match before {
            Before::Healthy => Self::Usual,
            Before::Unhealthy => Self::Last,
        }
    }
}

/// A place in line; the first one is called first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// How it is ranked.
    pub rank: Rank,
    /// The workload.
    pub id: WorkloadId,
}

/// Whoever is unavailable for a shorter time may be so because of the change: the times are of two clocks.
const BEFORE: TimeDelta = TimeDelta::seconds(10);

/// Whether `workload` was healthy before what it consumes by `input` changed last. A Deployment and a Rollout say since
/// when pods are missing, and that outlives us. Other kinds say nothing of the kind: `incomplete` is since when this
/// process has seen the workload incomplete, which is its own fault once a rollout would have failed by it.
#[must_use]
pub fn before(workload: &Workload, input: &Input, incomplete: Option<DateTime<Utc>>) -> Before {
    let Some(change) = input.since() else { return Before::Healthy };
    let too_long = |since: DateTime<Utc>| {
        TimeDelta::from_std(input.rollout.progress_deadline.get()).is_ok_and(|most| change - since >= most)
    };
    let is_short = workload.unavailable.is_some_and(|since| change - since >= BEFORE);
    if is_short || incomplete.is_some_and(too_long) { Before::Unhealthy } else { Before::Healthy }
}

/// What is known of the pods of a workload.
#[derive(Clone, Copy, Debug)]
pub struct KnownPods<'a> {
    /// Whether they run steadily on what is published.
    pub settled: Settled,
    /// The last look at them, if one was taken since it is published.
    pub look: Option<&'a Look>,
}

/// Why a restart for the sake of `input`, onto what is published now, has failed; `None` when it has not, or not yet.
/// The workload says when it was restarted.
#[must_use]
pub fn failure(workload: &Workload, input: &Input, pods: KnownPods<'_>, now: DateTime<Utc>) -> Option<String> {
    if pods.settled == Settled::Yes || !input.is_brought(workload) || input.is_idle(workload) {
        return None;
    }
    let trouble = pods.look.and_then(|look| look.health.trouble());
    let deadline = input.rollout.progress_deadline;
    match &workload.progress {
        Progress::Stuck(reason) => {
            Some(format!("not healthy after its restart: {}; {WAYS_OUT}", trouble.unwrap_or(reason)))
        }
        // What is complete may run steadily: without a look nobody knows.
        Progress::Complete if pods.look.is_none() => None,
        // The text stays while pods come and go.
        Progress::Underway(_) | Progress::Complete if overdue(workload, deadline)? <= now => {
            let trouble = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
            Some(format!("not healthy {deadline} after its restart{trouble}; {WAYS_OUT}"))
        }
        Progress::Complete | Progress::Waiting(_) | Progress::Underway(_) => None,
    }
}

/// What ends a failure.
const WAYS_OUT: &str = "fix it, or publish another value";

pub(super) fn overdue(workload: &Workload, deadline: GoDuration) -> Option<DateTime<Utc>> {
    workload.marked?.checked_add_signed(TimeDelta::from_std(deadline.get()).ok()?)
}

/// Whether `workload` may be restarted now for the sake of `input`, given the others that consume the Secret. One that
/// was restarted onto what is published, or may have been, is on its way until it runs steadily.
pub fn turn<'a>(
    workload: &Workload,
    input: &Input,
    others: impl Iterator<Item = Other<'a>>,
    now: DateTime<Utc>,
) -> Turn {
    let others: Vec<Other<'_>> = others.collect();
    if input.is_idle(workload) {
        return Turn::Canary(workload.id.to_string());
    }
    if let Some(canary) = input.canary_before(&workload.id) {
        match canary.verdict(&others, now) {
            Verdict::Good => {}
            Verdict::Open | Verdict::Absent | Verdict::Idle => return Turn::Canary(canary.to_string()),
            Verdict::Bad => return Turn::Hold(canary.to_string()),
        }
    }
    let mut moving = Vec::new();
    for at in others {
        let Other { workload: other, input: theirs, settled, before, .. } = at;
        let is_done = settled == Settled::Yes || !(theirs.is_brought(other) || at.may_move(now));
        if other.id == workload.id || is_done || !keeps_others(other, &theirs.how) {
            continue;
        }
        if before == Before::Unhealthy || theirs.is_idle(other) {
            continue;
        }
        if failure(other, theirs, KnownPods { settled, look: None }, now).is_some() {
            return Turn::Hold(other.id.to_string());
        }
        moving.push(other.id.to_string());
    }
    if moving.len() >= input.rollout.concurrency { Turn::Wait(moving.join(", ")) } else { Turn::Now }
}

/// Whether a consumer keeps others while it is not settled. One that waits for a user does not.
pub(super) fn keeps_others(other: &Workload, how: &Use) -> bool {
    has_to_run(other, how) && !matches!(other.progress, Progress::Waiting(_))
}

/// When a consumer that reads mounted files again by itself counts as current.
#[must_use]
pub fn reloaded(input: &Input) -> Option<DateTime<Utc>> {
    let edge = input.edge()?;
    edge.checked_add_signed(TimeDelta::from_std(input.rollout.live_reload_grace.get()).ok()?)
}

/// A Job is in the status of its `CronJob` a moment after it was made: only from this time on is it known which Jobs
/// started before the change.
#[must_use]
pub fn jobs_known(inputs: &[Input]) -> Option<DateTime<Utc>> {
    inputs.iter().filter_map(Input::edge).max().map(|edge| edge + GATHER)
}

/// When time alone changes the state of `workload`, if it does.
#[must_use]
pub fn recheck(workload: &Workload, input: &Input, settled: Settled, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let deadline = overdue(workload, input.rollout.progress_deadline)
        .filter(|_| input.is_brought(workload) && settled == Settled::NotYet && keeps_others(workload, &input.how));
    let standing = standing(workload, input, None);
    let grace = reloaded(input).filter(|_| standing == Standing::Reloads);
    let waits = settled == Settled::NotYet && matches!(standing, Standing::Unknown | Standing::Outdated);
    let opens = match input.rollout.windows.opening(now) {
        Opening::At(at) => Some(at).filter(|_| waits && input.urgency == Urgency::Usual),
        Opening::Open => None,
    };
    deadline.into_iter().chain(grace).chain(opens).filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests {
    use rekey_api::policy::{ConsumeForm, PodCounts};

    use super::{
        super::{
            Health,
            tests::{at, changed, changed_with, workload},
        },
        *,
    };
    use crate::workload::Waiting;

    /// A consumer that was restarted onto the current value at second 110.
    fn restarted(name: &str, progress: Progress) -> Workload {
        let input = changed("db");
        let mut workload = workload(&format!("db={}", input.published.consumed(&input.how.keys)));
        workload.id.name = name.to_owned();
        workload.marked = Some(at(110));
        workload.progress = progress;
        workload
    }

    fn underway() -> Progress {
        Progress::Underway("0 of 1".to_owned())
    }

    #[test]
    fn a_restart_fails_at_its_deadline_or_when_its_own_controller_gives_up() {
        let input = changed_with(|wish| wish.progress_deadline = GoDuration::seconds(60));
        let failed = |workload: &Workload, settled, look, second| {
            failure(workload, &input, KnownPods { settled, look }, at(second))
        };
        let not_yet = |workload: &Workload, second| failed(workload, Settled::NotYet, None, second).is_some();
        assert!(!not_yet(&restarted("a", underway()), 169));
        assert!(not_yet(&restarted("a", underway()), 170));
        assert!(not_yet(&restarted("a", Progress::Stuck(String::new())), 111));
        assert!(!not_yet(&restarted("a", Progress::Complete), 500), "nobody has looked at its pods");
        let later = failed(&restarted("a", underway()), Settled::Yes, None, 500);
        assert!(later.is_none(), "it ran steadily: what came later is no failure of the restart");
        let other = Workload { marker: workload("db=old").marker, ..restarted("a", underway()) };
        assert!(!not_yet(&other, 500), "it was restarted onto another value");
        let recheck = |progress, settled, second| recheck(&restarted("a", progress), &input, settled, at(second));
        assert_eq!(recheck(underway(), Settled::NotYet, 120), Some(at(170)));
        assert_eq!(recheck(underway(), Settled::NotYet, 170), None);
        assert_eq!(recheck(Progress::Complete, Settled::NotYet, 120), Some(at(170)));
        assert_eq!(recheck(Progress::Complete, Settled::Yes, 120), None);
    }

    #[test]
    fn the_deadline_counts_on_while_a_container_ends_again_and_again() {
        let input = changed_with(|wish| wish.progress_deadline = GoDuration::seconds(60));
        let crashing = |until: Option<i64>| Look {
            edge: input.edge(),
            pods: PodCounts { current: 1, ..PodCounts::default() },
            health: Health::Unsteady { until: until.map(at), trouble: Some("container app: exit code 1".into()) },
        };
        let text = "not healthy 1m after its restart: container app: exit code 1; fix it, or publish another value";
        for progress in [underway(), Progress::Complete] {
            let looped = restarted("a", progress);
            for look in [crashing(None), crashing(Some(175))] {
                let pods = KnownPods { settled: look.settled(), look: Some(&look) };
                assert_eq!(failure(&looped, &input, pods, at(169)), None);
                assert_eq!(failure(&looped, &input, pods, at(170)).as_deref(), Some(text), "also while it runs");
            }
        }
    }

    #[test]
    fn others_wait_for_those_on_their_way_and_nobody_follows_a_failed_one() {
        let input = |concurrency| {
            changed_with(|wish| {
                wish.progress_deadline = GoDuration::seconds(60);
                wish.concurrency = concurrency;
            })
        };
        let me = workload("");
        let turn_after = |others: &[(Workload, Settled)], before, allowed, second| {
            let input = input(allowed);
            let others = others.iter();
            let others = others.map(|(workload, settled)| Other {
                workload,
                input: &input,
                settled: *settled,
                before,
                asked: None,
            });
            turn(&me, &input, others, at(second))
        };
        let turn_with =
            |others: &[(Workload, Settled)], allowed, second| turn_after(others, Before::Healthy, allowed, second);
        let [a, b] = ["a", "b"].map(|name| (restarted(name, underway()), Settled::NotYet));
        assert_eq!(turn_with(&[], 1, 120), Turn::Now);
        assert_eq!(turn_with(std::slice::from_ref(&a), 1, 120), Turn::Wait("Deployment shop/a".to_owned()));
        assert_eq!(turn_with(std::slice::from_ref(&a), 2, 120), Turn::Now);
        assert_eq!(turn_with(&[a.clone(), b], 2, 120), Turn::Wait("Deployment shop/a, Deployment shop/b".to_owned()));
        assert_eq!(turn_with(std::slice::from_ref(&a), 2, 170), Turn::Hold("Deployment shop/a".to_owned()));
        for second in [120, 170] {
            let turn = turn_after(std::slice::from_ref(&a), Before::Unhealthy, 1, second);
            assert_eq!(turn, Turn::Now, "who was unhealthy before holds nobody");
        }
        assert_eq!(turn_with(&[(a.0, Settled::Yes)], 1, 500), Turn::Now, "a pod that fails later holds nobody up");
        let complete = restarted("a", Progress::Complete);
        assert_eq!(turn_with(&[(complete.clone(), Settled::Yes)], 1, 120), Turn::Now);
        let wait = Turn::Wait("Deployment shop/a".to_owned());
        assert_eq!(turn_with(&[(complete, Settled::NotYet)], 1, 120), wait, "complete for a moment is not healthy");
        let paused = restarted("a", Progress::Waiting(Waiting::Paused));
        assert_eq!(turn_with(&[(paused, Settled::NotYet)], 1, 120), Turn::Now, "who waits for a user keeps nobody");
    }

    #[test]
    fn a_change_without_an_answer_keeps_others_until_its_deadline() {
        let input = changed_with(|wish| wish.progress_deadline = GoDuration::seconds(60));
        let (me, other) = (workload(""), Workload { marker: workload("db=old").marker, ..restarted("a", underway()) });
        let turn_after = |asked: Option<i64>, second| {
            let asked = asked.map(at);
            let other =
                Other { workload: &other, input: &input, settled: Settled::NotYet, before: Before::Healthy, asked };
            turn(&me, &input, [other].into_iter(), at(second))
        };
        assert_eq!(turn_after(None, 120), Turn::Now, "it has not begun");
        assert_eq!(turn_after(Some(110), 169), Turn::Wait("Deployment shop/a".to_owned()), "it may have begun");
        assert_eq!(turn_after(Some(110), 170), Turn::Now);
    }

    /// The value changed at second 100, and the deadline is a minute.
    #[test]
    fn who_was_unhealthy_before_the_change_comes_last() {
        let input = changed_with(|wish| wish.progress_deadline = GoDuration::seconds(60));
        let short = |since: i64| Workload { unavailable: Some(at(since)), ..workload("") };
        for (workload, incomplete, expected) in [
            (workload(""), None, Before::Healthy),
            (short(90), None, Before::Unhealthy),
            (short(91), None, Before::Healthy),
            (short(200), None, Before::Healthy),
            (workload(""), Some(40), Before::Unhealthy),
            (workload(""), Some(41), Before::Healthy),
            (workload(""), Some(500), Before::Healthy),
        ] {
            assert_eq!(before(&workload, &input, incomplete.map(at)), expected, "{workload:?} {incomplete:?}");
        }
        let unchanged = super::super::tests::unchanged("db");
        assert_eq!(before(&short(50), &unchanged, None), Before::Healthy, "nothing has changed");
        let place = |before, name: &str| {
            let id = WorkloadId { name: name.to_owned(), ..workload("").id };
            Place { rank: Rank::of(&id, &[], before), id }
        };
        let mut line = [place(Before::Unhealthy, "a"), place(Before::Healthy, "c"), place(Before::Healthy, "b")];
        line.sort();
        assert_eq!(line.map(|at| at.id.name), ["b", "c", "a"]);
    }

    #[test]
    fn a_consumer_that_reloads_is_current_after_the_grace() {
        let mut reloading = workload("");
        reloading.live_reload = true;
        let mut input = changed_with(|wish| wish.live_reload_grace = GoDuration::seconds(30));
        input.how.forms = [ConsumeForm::Volume].into();
        assert_eq!(reloaded(&input), Some(at(130)));
        let recheck = |of: &Workload, second| recheck(of, &input, Settled::NotYet, at(second));
        assert_eq!(recheck(&reloading, 120), Some(at(130)));
        assert_eq!(recheck(&reloading, 130), None);
        assert_eq!(recheck(&workload(""), 120), None);
    }
}
