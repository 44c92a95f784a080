//! Whose turn it is, and what time alone changes: several consumers of one Secret, a deadline, a grace.

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::GoDuration;

use super::{GATHER, Input, Standing, standing};
use crate::workload::{Progress, Use, Workload};

/// Whether a consumer may be restarted, as far as the other consumers of the Secret are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Now,
    /// As many as are allowed are on their way; these.
    Wait(String),
    /// This one did not become healthy: no other consumer follows it.
    Hold(String),
}

/// Why a restart for the sake of `input`, onto the value whose marker is `wanted`, has failed; `None` when it has not,
/// or not yet. The workload says when it was restarted.
#[must_use]
pub fn failure(workload: &Workload, input: &Input, wanted: &str, now: DateTime<Utc>) -> Option<String> {
    let is_on_it = workload.marker.0.get(&input.secret).is_some_and(|entry| entry == wanted);
    if workload.completed || workload.outlived || !is_on_it {
        return None;
    }
    let deadline = input.rollout.progress_deadline;
    match &workload.progress {
        Progress::Stuck(reason) => Some(format!("not healthy after its restart: {reason}")),
        // The text stays while pods come and go.
        Progress::Underway(_) if overdue(workload, deadline)? <= now => {
            Some(format!("not healthy {deadline} after its restart; fix it, or publish another value"))
        }
        Progress::Complete | Progress::Waiting(_) | Progress::Underway(_) => None,
    }
}

fn overdue(workload: &Workload, deadline: GoDuration) -> Option<DateTime<Utc>> {
    workload.marked?.checked_add_signed(TimeDelta::from_std(deadline.get()).ok()?)
}

/// Whether `workload` may be restarted now for the sake of `input`, given the others that consume the Secret.
pub fn turn<'a>(
    workload: &Workload,
    input: &Input,
    others: impl Iterator<Item = (&'a Workload, &'a Use)>,
    allowed: usize,
    now: DateTime<Utc>,
) -> Turn {
    let mut moving = Vec::new();
    for (other, how) in others.filter(|(other, _)| other.id != workload.id && other.is_moving()) {
        let wanted = input.published.consumed(&how.keys);
        if other.marker.0.get(&input.secret) != Some(&wanted) {
            continue;
        }
        if failure(other, input, &wanted, now).is_some() {
            return Turn::Hold(other.id.to_string());
        }
        moving.push(other.id.to_string());
    }
    if moving.len() >= allowed { Turn::Wait(moving.join(", ")) } else { Turn::Now }
}

/// When a consumer that reads mounted files again by itself counts as current.
#[must_use]
pub fn reloaded(input: &Input) -> Option<DateTime<Utc>> {
    let changed = input.published.changed(&input.how.keys)?;
    changed.checked_add_signed(TimeDelta::from_std(input.rollout.live_reload_grace.get()).ok()?)
}

/// A Job is in the status of its `CronJob` a moment after it was made: only from this time on is it known which Jobs
/// started before the change.
#[must_use]
pub fn jobs_known(inputs: &[Input]) -> Option<DateTime<Utc>> {
    inputs.iter().filter_map(|input| input.published.changed(&input.how.keys)).max().map(|changed| changed + GATHER)
}

/// When time alone changes the state of `workload`, if it does.
#[must_use]
pub fn recheck(workload: &Workload, input: &Input, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let wanted = input.published.consumed(&input.how.keys);
    let restarted = workload.marker.0.get(&input.secret) == Some(&wanted);
    let deadline = overdue(workload, input.rollout.progress_deadline)
        .filter(|_| restarted && workload.is_moving() && !workload.outlived);
    let reloads = standing(workload, input, None) == Standing::Reloads;
    let grace = reloaded(input).filter(|_| reloads);
    deadline.into_iter().chain(grace).filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests {
    use rekey_api::policy::ConsumeForm;

    use super::{
        super::tests::{at, changed, changed_with, workload},
        *,
    };

    /// A consumer that was restarted onto the current value at second 110.
    fn restarted(name: &str, progress: Progress) -> Workload {
        let input = changed("db");
        let mut workload = workload(&format!("db={}", input.published.consumed(&input.how.keys)));
        workload.id.name = name.to_owned();
        workload.marked = Some(at(110));
        workload.completed = false;
        workload.outlived = false;
        workload.progress = progress;
        workload
    }

    fn underway() -> Progress {
        Progress::Underway("0 of 1".to_owned())
    }

    #[test]
    fn a_restart_fails_at_its_deadline_or_when_its_own_controller_gives_up() {
        let input = changed_with(|wish| wish.progress_deadline = GoDuration::seconds(60));
        let wanted = input.published.consumed(&input.how.keys);
        let failed = |workload: &Workload, second| failure(workload, &input, &wanted, at(second)).is_some();
        assert!(!failed(&restarted("a", underway()), 169));
        assert!(failed(&restarted("a", underway()), 170));
        assert!(failed(&restarted("a", Progress::Stuck(String::new())), 111));
        assert!(!failed(&restarted("a", Progress::Complete), 500));
        let later = Workload { completed: true, ..restarted("a", underway()) };
        assert!(!failed(&later, 500), "it was healthy once: what came later is no failure of the restart");
        let deployed = Workload { outlived: true, ..restarted("a", underway()) };
        assert!(!failed(&deployed, 500), "a user's own rollout, after the restart was over");
        assert_eq!(recheck(&deployed, &input, at(120)), None);
        let other = Workload { marker: workload("db=old").marker, ..restarted("a", underway()) };
        assert!(!failed(&other, 500), "it was restarted onto another value");
        assert_eq!(recheck(&restarted("a", underway()), &input, at(120)), Some(at(170)));
        assert_eq!(recheck(&restarted("a", underway()), &input, at(170)), None);
        assert_eq!(recheck(&restarted("a", Progress::Complete), &input, at(120)), None);
    }

    #[test]
    fn others_wait_for_those_on_their_way_and_nobody_follows_a_failed_one() {
        let input = changed_with(|wish| wish.progress_deadline = GoDuration::seconds(60));
        let me = workload("");
        let turn_with = |others: &[Workload], allowed, second| {
            turn(&me, &input, others.iter().map(|other| (other, &input.how)), allowed, at(second))
        };
        let (a, b) = (restarted("a", underway()), restarted("b", underway()));
        assert_eq!(turn_with(&[], 1, 120), Turn::Now);
        assert_eq!(turn_with(std::slice::from_ref(&a), 1, 120), Turn::Wait("Deployment shop/a".to_owned()));
        assert_eq!(turn_with(std::slice::from_ref(&a), 2, 120), Turn::Now);
        assert_eq!(turn_with(&[a.clone(), b], 2, 120), Turn::Wait("Deployment shop/a, Deployment shop/b".to_owned()));
        assert_eq!(turn_with(std::slice::from_ref(&a), 2, 170), Turn::Hold("Deployment shop/a".to_owned()));
        let done = Workload { completed: true, ..a };
        assert_eq!(turn_with(&[done], 1, 500), Turn::Now, "a pod that fails later holds nobody up");
        assert_eq!(turn_with(&[restarted("a", Progress::Complete)], 1, 120), Turn::Now);
    }

    #[test]
    fn a_consumer_that_reloads_is_current_after_the_grace() {
        let mut reloading = workload("");
        reloading.live_reload = true;
        let mut input = changed_with(|wish| wish.live_reload_grace = GoDuration::seconds(30));
        input.how.forms = [ConsumeForm::Volume].into();
        assert_eq!(reloaded(&input), Some(at(130)));
        assert_eq!(recheck(&reloading, &input, at(120)), Some(at(130)));
        assert_eq!(recheck(&reloading, &input, at(130)), None);
        assert_eq!(recheck(&workload(""), &input, at(120)), None);
    }
}
