//! When restarts may start: `spec.rollout.windows`, parsed, and the one change that does not wait for them.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use croner::YEAR_UPPER_LIMIT;
use rekey_api::{
    policy::Rollout,
    rotation::{RotationProgress, RotationReason},
    schedule::{self, Window},
};

use super::{Budget, Input};
use crate::{SpecError, published::Published, schedule::Schedule};

/// The spans of time in which restarts may start; none: at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(Arc<[Span]>);

/// A span of time that recurs.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    opens: Schedule,
    /// How long it stays open: measured, so that a change of daylight saving makes it no longer and no shorter.
    lasts: TimeDelta,
}

/// Whether a restart may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opening {
    /// It may.
    Open,
    /// Not before this time.
    At(DateTime<Utc>),
}

/// What a change asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// What its policy says.
    #[default]
    Usual,
    /// The value before has leaked: nothing is waited for.
    Leaked,
}

/// The longest time that a window may stay open.
const LONGEST: TimeDelta = TimeDelta::hours(168);

impl Windows {
    /// The windows of a rollout.
    ///
    /// # Errors
    /// Names the window, and what is wrong with it.
    pub fn parse(rollout: &Rollout) -> Result<Self, SpecError> {
        let all = rollout.windows.iter().enumerate();
        all.map(|(index, window)| span(&format!("spec.rollout.windows[{index}]"), window))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether one of them is open, or when the next one opens.
    #[must_use]
    pub fn opening(&self, now: DateTime<Utc>) -> Opening {
        let each = self.0.iter().filter_map(|span| {
            // The first one that has not closed yet.
            let opens = span.opens.next(now.checked_sub_signed(span.lasts)?)?;
            Some(if opens <= now { Opening::Open } else { Opening::At(opens) })
        });
        // One that was accepted opens again and again, until the end of time.
        each.min().unwrap_or(if self.0.is_empty() { Opening::Open } else { Opening::At(DateTime::<Utc>::MAX_UTC) })
    }
}

fn span(path: &str, window: &Window) -> Result<Span, SpecError> {
    let zone = window.time_zone.clone().unwrap_or_else(schedule::utc);
    let opens = Schedule::cron(path, &window.cron, &zone)?;
    let lasts = TimeDelta::from_std(window.duration.get()).ok().filter(|lasts| *lasts <= LONGEST);
    let Some(lasts) = lasts else {
        return Err(SpecError::field(&format!("{path}.duration"), "write at most 168h"));
    };
    if lasts <= TimeDelta::zero() {
        return Err(SpecError::field(&format!("{path}.duration"), "write at least 1s, or the window never opens"));
    }
    if opens.next(late()).is_none() {
        let fix = format!("{:?} names a day that never comes, so the window never opens; write another", window.cron);
        return Err(SpecError::field(&format!("{path}.cron"), fix));
    }
    Ok(Span { opens, lasts })
}

/// Half a century before the search for a day gives up (`croner::YEAR_UPPER_LIMIT`): a pattern has no year, so what comes
/// at all comes by then, and what does not is not looked for in three thousand years.
fn late() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(YEAR_UPPER_LIMIT - 50, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc()
}

/// A consumer waits for a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When all that are asked are open.
    pub until: DateTime<Utc>,
    /// The policy that opens last.
    pub policy: String,
}

/// What a workload that has to be restarted waits for, beside its turn among the consumers of one Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A window.
    Window(Closed),
    /// The end of another rollout, of whatever policy.
    Budget(Budget),
}

/// Whether a restart for the sake of these may start: the strictest of their policies decides. `None`: it may. What goes
/// back to the last value that worked does so at once.
#[must_use]
pub fn closed<'a>(because: impl Iterator<Item = &'a Input> + Clone, now: DateTime<Utc>) -> Option<Closed> {
    if urgent(because.clone()) == Urgency::Leaked {
        return None;
    }
    let mut last: Option<Closed> = None;
    for input in because.filter(|input| !input.goes_back()) {
        if let Opening::At(until) = input.rollout.windows.opening(now)
            && last.as_ref().is_none_or(|last| last.until < until)
        {
            last = Some(Closed { until, policy: input.published.policy.clone() });
        }
    }
    last
}

/// What a restart for the sake of these asks for: one leak is enough, and the other changes go with it.
#[must_use]
pub fn urgent<'a>(because: impl IntoIterator<Item = &'a Input>) -> Urgency {
    let is_leaked = because.into_iter().any(|input| input.urgency == Urgency::Leaked);
    if is_leaked { Urgency::Leaked } else { Urgency::Usual }
}

/// What the change to what is published asks for, by the rotations that are `open` for its policy.
#[must_use]
pub fn urgency<'a>(published: &Published, open: impl IntoIterator<Item = &'a RotationProgress>) -> Urgency {
    let Some(rotation) = &published.changes.rotation else { return Urgency::Usual };
    let is_leaked = |open: &RotationProgress| open.reason == RotationReason::Leaked && open.id == rotation.id;
    if open.into_iter().any(is_leaked) { Urgency::Leaked } else { Urgency::Usual }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rekey_api::rotation::RotationStep;
    use serde_json::json;

    use super::{
        super::tests::{changed, changed_with, unchanged},
        *,
    };
    use crate::{
        SecretNames,
        published::{Rotated, Versions},
        rollout::{Names, Way},
    };

    fn parse(windows: &serde_json::Value) -> Result<Windows, SpecError> {
        Windows::parse(&serde_json::from_value(json!({ "windows": windows })).unwrap())
    }

    fn windows(all: &[(&str, &str, &str)]) -> Windows {
        let one =
            |(cron, duration, zone): &(&str, &str, &str)| json!({"cron": cron, "duration": duration, "timeZone": zone});
        parse(&all.iter().map(one).collect()).unwrap()
    }

    fn time(text: &str) -> DateTime<Utc> {
        crate::time::parse(text).unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_time_on_for_as_long_as_it_lasts() {
        let night = [("0 2 * * *", "2h", "UTC")];
        let two = [("0 2 * * *", "2h", "UTC"), ("30 12 * * 6", "1h", "UTC")];
        let berlin = [("30 2 * * *", "1h", "Europe/Berlin")];
        for (all, now, expected) in [
            (&[][..], "2026-11-30T12:00:00Z", None),
            (&night, "2026-11-30T01:59:59Z", Some("2026-11-30T02:00:00Z")),
            (&night, "2026-11-30T02:00:00Z", None),
            (&night, "2026-11-30T03:59:59Z", None),
            (&night, "2026-11-30T04:00:00Z", Some("2026-12-01T02:00:00Z")),
            // Those that follow each other without a gap, and those that last longer than their distance, never close.
            (&[("0 * * * *", "1h", "UTC")], "2026-11-30T02:00:00Z", None),
            (&[("0 0 * * *", "168h", "UTC")], "2026-11-30T23:59:59Z", None),
            // The next of several.
            (&two, "2026-12-05T05:00:00Z", Some("2026-12-05T12:30:00Z")),
            (&two, "2026-12-05T13:00:00Z", None),
            // 02:30 does not exist in Berlin on 29 March 2026, and exists twice on 25 October.
            (&berlin, "2026-03-29T00:59:59Z", Some("2026-03-29T01:00:00Z")),
            (&berlin, "2026-03-29T01:59:59Z", None),
            (&berlin, "2026-03-29T02:00:00Z", Some("2026-03-30T00:30:00Z")),
            (&berlin, "2026-10-25T00:30:00Z", None),
            (&berlin, "2026-10-25T01:29:59Z", None),
            (&berlin, "2026-10-25T01:30:00Z", Some("2026-10-26T01:30:00Z")),
            // Four hours are four hours, also where the clock is put forward in between.
            (&[("0 0 * * *", "4h", "Europe/Berlin")], "2026-03-29T02:59:59Z", None),
            (&[("0 0 * * *", "4h", "Europe/Berlin")], "2026-03-29T03:00:00Z", Some("2026-03-29T22:00:00Z")),
        ] {
            let expected = expected.map_or(Opening::Open, |at| Opening::At(time(at)));
            assert_eq!(windows(all).opening(time(now)), expected, "{all:?} {now}");
        }
    }

    #[test]
    fn a_window_that_cannot_work_is_refused_by_name() {
        let good = json!({"cron": "0 2 * * *", "duration": "2h"});
        for (window, said) in [
            (json!({"cron": "0 2 * *", "duration": "2h"}), "spec.rollout.windows[1].cron: \"0 2 * *\" is no cron"),
            (
                json!({"cron": "0 2 * * *", "duration": "2h", "timeZone": "Mars/Olympus"}),
                "spec.rollout.windows[1].timeZone: \"Mars/Olympus\" is no IANA",
            ),
            (
                json!({"cron": "0 0 30 2 *", "duration": "2h"}),
                "spec.rollout.windows[1].cron: \"0 0 30 2 *\" names a day",
            ),
            (json!({"cron": "0 2 * * *", "duration": "0s"}), "spec.rollout.windows[1].duration: write at least 1s"),
            (json!({"cron": "0 2 * * *", "duration": "169h"}), "spec.rollout.windows[1].duration: write at most 168h"),
        ] {
            let refusal = parse(&json!([good, window])).unwrap_err().to_string();
            assert!(refusal.starts_with(said), "{refusal}");
        }
        assert!(parse(&json!([{"cron": "0 0 29 2 *", "duration": "1h"}])).is_ok(), "it comes every four years");
        assert_eq!(late().to_rfc3339(), "4950-01-01T00:00:00+00:00");
    }

    #[test]
    fn the_strictest_policy_decides_and_a_leak_waits_for_nothing() {
        let with = |policy: &str, all: &[(&str, &str, &str)]| {
            let mut input = changed_with(|wish| wish.windows = windows(all));
            Arc::make_mut(&mut input.published).policy = policy.to_owned();
            input
        };
        let (night, noon) =
            (with("night", &[("0 2 * * *", "2h", "UTC")]), with("noon", &[("0 12 * * *", "1h", "UTC")]));
        let leaked = Input { urgency: Urgency::Leaked, ..night.clone() };
        let now = time("2026-11-30T12:10:00Z");
        let is_closed = |because: &[&Input]| {
            closed(because.iter().copied(), now).map(|at| (at.policy, crate::time::text(at.until)))
        };
        let until = |policy: &str, at: &str| Some((policy.to_owned(), at.to_owned()));
        assert_eq!(is_closed(&[&changed("db")]), None);
        assert_eq!(is_closed(&[&noon]), None);
        assert_eq!(is_closed(&[&noon, &night]), until("night", "2026-12-01T02:00:00Z"));
        assert_eq!(is_closed(&[&leaked]), None);
        assert_eq!(is_closed(&[&leaked, &night]), None);
    }

    #[test]
    fn who_goes_back_waits_for_no_window() {
        let object = json!({"apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {"name": "db"},
            "spec": {"source": {"existing": {}}, "immutability": "Versioned", "versions": {"references": "Move"}}});
        let names = SecretNames::of(&serde_json::from_value(object).unwrap());
        let uses = BTreeMap::from([("db-k4v9x2m7qz".to_owned(), changed("db").how)]);
        let moved_from = |publication: u64| {
            let mut input = changed_with(|wish| wish.windows = windows(&[("0 2 * * *", "2h", "UTC")]));
            let mut other = Published::clone(&unchanged("db").published);
            other.changes.publication = publication;
            Arc::make_mut(&mut input.published).changes.publication = 5;
            let current = ("db-k4v9x2m7qx", input.published.as_ref());
            let ours = uses.keys().map(|name| (name.clone(), Arc::new(other.clone()))).collect();
            let versions = Versions { ours, ..Versions::default() };
            input.way = Way::Move(Names::of(&names, &uses, current, &versions));
            input
        };
        let now = time("2026-11-30T12:10:00Z");
        let is_closed = |publication| closed([moved_from(publication)].iter(), now).is_some();
        assert!(is_closed(4), "to a newer value");
        assert!(!is_closed(6), "from one that was rolled back");
    }

    #[test]
    fn a_leak_is_one_while_its_rotation_is_open_and_is_what_is_published() {
        let open = |id: &str, reason| RotationProgress {
            id: id.to_owned(),
            step: RotationStep::RollingOut,
            started_at: crate::time::kube(DateTime::UNIX_EPOCH),
            step_started_at: None,
            attempts: 0,
            next_attempt_time: None,
            reason,
            requested_by: None,
            message: None,
            key: None,
            version: None,
            properties: Vec::new(),
            digest: None,
            retiring_revision: None,
            steps: Vec::new(),
        };
        let published = |rotation: Option<&str>| {
            let mut published = Published::clone(&changed("db").published);
            published.changes.rotation = rotation.map(|id| Rotated { id: id.to_owned(), digest: String::new() });
            published
        };
        for (recorded, open, expected) in [
            (Some("r1"), vec![open("r1", RotationReason::Leaked)], Urgency::Leaked),
            (Some("r1"), vec![open("r1", RotationReason::Requested)], Urgency::Usual),
            (Some("r0"), vec![open("r1", RotationReason::Leaked)], Urgency::Usual),
            (None, vec![open("r1", RotationReason::Leaked)], Urgency::Usual),
            (Some("r1"), vec![], Urgency::Usual),
        ] {
            assert_eq!(urgency(&published(recorded), &open), expected, "{recorded:?} {open:?}");
        }
    }
}
