//! Whether this replica can do its work, and whether it ever will again.
//!
//! A replica is ready if it could do the work now, also while it waits for the Lease. It is alive if it makes progress,
//! or will as soon as the API server and the stores respond: what a restart would not fix never makes a replica dead.

use std::time::Duration;

/// A moment, as the time since the start of the process, by a clock that never goes back.
pub type Moment = Duration;

/// A watch is opened again after this time, in seconds, also when nothing happens.
pub const WATCH: u32 = 180;
/// A watch without an answer from the API server for so long has stopped: [`WATCH`], the longest pause between two
/// attempts, and the time of the attempts.
pub const QUIET: Duration = Duration::from_mins(5);
/// No reconcile takes longer.
pub const RECONCILE: Duration = Duration::from_mins(1);
/// Workers that take longer are stuck: [`RECONCILE`], and as long again to report its failure.
pub const STUCK: Duration = Duration::from_mins(2);
/// A candidate without an answer about the Lease for so long could not take over.
pub const UNANSWERED: Duration = Duration::from_secs(15);
/// An attempt to take or renew the Lease never takes this long: its calls end after 15 s each.
pub const HUNG: Duration = Duration::from_mins(2);

/// What this replica does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duty {
    /// It has not reached the API server yet.
    #[default]
    Starting,
    /// It waits for the Lease.
    Waiting,
    /// It works.
    Leading,
}

/// The state of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The kind that it watches.
    pub kind: &'static str,
    /// Whether the replica starts no work before its first list.
    pub first: bool,
    /// Whether its first list is complete.
    pub listed: bool,
    /// When the API server last answered it, or when it started.
    pub answered: Moment,
}

/// The workers of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crew {
    /// The kind that they work on.
    pub kind: &'static str,
    /// Since when each of them has been at its current object; `None`: it has none.
    pub since: Vec<Option<Moment>>,
}

/// The attempts to take or renew the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Election {
    /// When the last attempt started or ended.
    pub tried: Moment,
    /// When the API server last answered one.
    pub answered: Option<Moment>,
}

/// What can be seen of this replica.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// What it does.
    pub duty: Duty,
    /// `None`: it works without a Lease, or has not asked for it yet.
    pub election: Option<Election>,
    /// Its watches, but for those that it has no right to and can do without.
    pub watches: Vec<Watch>,
    /// Its workers.
    pub crews: Vec<Crew>,
}

/// Why a replica is not ready, or not alive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has not started.
    #[error("the API server has not been reached yet")]
    Unreached,
    /// It could not take over.
    #[error("the API server has not answered about the Lease for {seconds} s", seconds = UNANSWERED.as_secs())]
    Unanswered,
    /// It lacks data for its decisions.
    #[error("the first list of {0} is not complete yet")]
    Unlisted(&'static str),
    /// The data for its decisions may be old.
    #[error("the API server has not answered a watch of {0} for more than {seconds} s", seconds = QUIET.as_secs())]
    Quiet(&'static str),
    /// It will do nothing more for this kind.
    #[error("every worker of {0} has been at its object for more than {seconds} s", seconds = STUCK.as_secs())]
    Stuck(&'static str),
    /// It will never lead, or never notice that it no longer does.
    #[error("there was no attempt at the Lease for more than {seconds} s", seconds = HUNG.as_secs())]
    Hung,
}

impl Vitals {
    /// Whether it could do its work now.
    ///
    /// # Errors
    /// Why it could not.
    pub fn ready(&self, now: Moment) -> Result<(), Fault> {
        match self.duty {
            Duty::Starting => Err(Fault::Unreached),
            Duty::Waiting => {
                let answered = self.election.and_then(|election| election.answered);
                let lately = answered.is_some_and(|at| now.saturating_sub(at) <= UNANSWERED);
                if lately { Ok(()) } else { Err(Fault::Unanswered) }
            }
            Duty::Leading => self.sees(now),
        }
    }

    fn sees(&self, now: Moment) -> Result<(), Fault> {
        if !self.watches.iter().any(|watch| watch.first) {
            return Err(Fault::Unlisted("anything")); // the watches have not started
        }
        for watch in &self.watches {
            if watch.first && !watch.listed {
                return Err(Fault::Unlisted(watch.kind));
            }
            if now.saturating_sub(watch.answered) > QUIET {
                return Err(Fault::Quiet(watch.kind));
            }
        }
        Ok(())
    }

    /// Whether it makes progress, or will as soon as others respond.
    ///
    /// # Errors
    /// Why it never will.
    pub fn live(&self, now: Moment) -> Result<(), Fault> {
        if self.election.is_some_and(|election| now.saturating_sub(election.tried) > HUNG) {
            return Err(Fault::Hung);
        }
        let stuck = |since: &Option<Moment>| since.is_some_and(|at| now.saturating_sub(at) > STUCK);
        match self.crews.iter().find(|crew| !crew.since.is_empty() && crew.since.iter().all(stuck)) {
            Some(crew) => Err(Fault::Stuck(crew.kind)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOW: Moment = Duration::from_hours(1);

    #[expect(clippy::unnecessary_wraps, reason = "the signs hold an Option")]
    fn election(tried: Moment, answered: Option<Moment>) -> Option<Election> {
        Some(Election { tried, answered })
    }

    fn watch(kind: &'static str, first: bool, listed: bool, quiet: Duration) -> Watch {
        Watch { kind, first, listed, answered: NOW.saturating_sub(quiet) }
    }

    fn leading(watches: Vec<Watch>) -> Vitals {
        Vitals { duty: Duty::Leading, watches, ..Vitals::default() }
    }

    fn waiting(answered: Option<Moment>) -> Vitals {
        Vitals { duty: Duty::Waiting, election: election(NOW, answered), ..Vitals::default() }
    }

    #[test]
    fn ready_is_who_could_do_the_work_now() {
        let own = || watch("SecretPolicy", true, true, Duration::ZERO);
        for (title, vitals, expected) in [
            ("nothing has happened", Vitals::default(), Err(Fault::Unreached)),
            ("it asks for the Lease, unanswered", waiting(None), Err(Fault::Unanswered)),
            ("it was answered just within the bound", waiting(Some(NOW.saturating_sub(UNANSWERED))), Ok(())),
            (
                "it was answered before that",
                waiting(Some(NOW.saturating_sub(UNANSWERED + SECOND))),
                Err(Fault::Unanswered),
            ),
            ("it leads and has no watch yet", leading(Vec::new()), Err(Fault::Unlisted("anything"))),
            (
                "a first list is under way",
                leading(vec![own(), watch("RemoteStore", true, false, Duration::ZERO)]),
                Err(Fault::Unlisted("RemoteStore")),
            ),
            ("all are listed and answered", leading(vec![own(), watch("Secret", false, true, QUIET)]), Ok(())),
            ("a namespace is just being opened", leading(vec![own(), watch("Secret", false, false, SECOND)]), Ok(())),
            (
                "a watch of a namespace has gone silent",
                leading(vec![own(), watch("Secret", false, true, QUIET + SECOND)]),
                Err(Fault::Quiet("Secret")),
            ),
            (
                "a watch of ours has gone silent",
                leading(vec![watch("SecretPolicy", true, true, QUIET + SECOND)]),
                Err(Fault::Quiet("SecretPolicy")),
            ),
        ] {
            assert_eq!(vitals.ready(NOW), expected, "{title}");
        }
    }

    #[test]
    fn alive_is_who_makes_progress_or_waits_for_others() {
        let crew = |since: &[Option<Duration>]| Crew {
            kind: "SecretPolicy",
            since: since.iter().map(|ago| ago.map(|ago| NOW.saturating_sub(ago))).collect(),
        };
        let working = |crews: Vec<Crew>| Vitals { duty: Duty::Leading, crews, ..Vitals::default() };
        let tried = |ago: Duration| Vitals {
            election: election(NOW.saturating_sub(ago), None),
            duty: Duty::Waiting,
            ..Vitals::default()
        };
        let late = Some(STUCK + SECOND);
        let silent = leading(vec![watch("Secret", false, true, QUIET + SECOND)]);
        for (title, vitals, expected) in [
            ("the API server is not responding yet", Vitals::default(), Ok(())),
            ("the API server stops answering", silent, Ok(())),
            ("the attempts at the Lease get no answer", tried(SECOND), Ok(())),
            ("there are no attempts at the Lease any more", tried(HUNG + SECOND), Err(Fault::Hung)),
            ("no worker has an object", working(vec![crew(&[None, None])]), Ok(())),
            ("one is stuck, one is free", working(vec![crew(&[late, None])]), Ok(())),
            ("one is stuck, one works", working(vec![crew(&[late, Some(STUCK)])]), Ok(())),
            ("there are no workers yet", working(vec![crew(&[])]), Ok(())),
            ("all are stuck", working(vec![crew(&[None]), crew(&[late, late])]), Err(Fault::Stuck("SecretPolicy"))),
        ] {
            assert_eq!(vitals.live(NOW), expected, "{title}");
        }
    }

    #[test]
    fn the_bounds_leave_room_for_what_they_wait_for() {
        assert!(QUIET > Duration::from_secs(u64::from(WATCH)) + Duration::from_mins(1));
        assert!(STUCK >= 2 * RECONCILE);
    }
}
