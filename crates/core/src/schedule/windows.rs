//! Spans of time in which something may start: `spec.windows` and `spec.rollout.windows`, parsed.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use croner::YEAR_UPPER_LIMIT;
use rekey_api::schedule::{self, Window};

use super::Schedule;
use crate::SpecError;

/// The spans of time in which something may start; none: at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(Arc<[Span]>);

/// A span of time that recurs.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    opens: Schedule,
    /// How long it stays open: measured, so that a change of daylight saving makes it no longer and no shorter.
    lasts: TimeDelta,
}

/// Whether it may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opening {
    /// It may.
    Open,
    /// Not before this time.
    At(DateTime<Utc>),
}

/// The longest time that a window may stay open.
const LONGEST: TimeDelta = TimeDelta::hours(168);

impl Windows {
    /// Parses the windows of the part of a spec at `path`.
    ///
    /// # Errors
    /// Names the window, and what is wrong with it.
    pub fn parse(path: &str, windows: &[Window]) -> Result<Self, SpecError> {
        let all = windows.iter().enumerate();
        all.map(|(index, window)| span(&format!("{path}[{index}]"), window)).collect::<Result<_, _>>().map(Self)
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

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    fn parse(windows: &serde_json::Value) -> Result<Windows, SpecError> {
        Windows::parse("spec.rollout.windows", &serde_json::from_value::<Vec<Window>>(windows.clone()).unwrap())
    }

    pub(crate) fn windows(all: &[(&str, &str, &str)]) -> Windows {
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
}
