//! When a rotation is due next, and when something may start.

mod windows;

use std::str::FromStr as _;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use sha2::{Digest as _, Sha256};

#[cfg(test)]
pub(crate) use windows::tests::windows;
pub use windows::{Opening, Windows};

use crate::SpecError;

/// A parsed schedule, which can always compute a next time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Only on request.
    OnRequest,
    /// Five-field cron in a time zone. A time that daylight saving skips runs right after the gap, a time that it
    /// repeats runs once.
    Cron {
        /// The pattern.
        pattern: Box<Cron>,
        /// The time zone of the pattern.
        zone: Tz,
    },
    /// A fixed distance from the last rotation.
    Every(TimeDelta),
}

impl Schedule {
    /// Parses a cron pattern of five fields in an IANA time zone: `cron` and `timeZone` of the part of a spec at `path`.
    ///
    /// # Errors
    /// Names the field and what is wrong with it.
    pub fn cron(path: &str, pattern: &str, zone: &str) -> Result<Self, SpecError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parsed = parser.parse(pattern).map_err(|error| SpecError::Field {
            field: format!("{path}.cron"),
            fix: format!("{pattern:?} is no cron pattern of five fields: {error}"),
        })?;
        let zone = Tz::from_str(zone).map_err(|_| SpecError::Field {
            field: format!("{path}.timeZone"),
            fix: format!("{zone:?} is no IANA time zone name such as Europe/Berlin"),
        })?;
        Ok(Self::Cron { pattern: Box::new(parsed), zone })
    }

    /// The first due time after `after`; `None` when there is no schedule, or a pattern that never comes again
    /// (for example 30 February).
    #[must_use]
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::OnRequest => None,
            Self::Every(period) => after.checked_add_signed(*period),
            Self::Cron { pattern, zone } => {
                let found = pattern.find_next_occurrence(&after.with_timezone(zone), false).ok()?;
                Some(found.with_timezone(&Utc))
            }
        }
    }
}

/// The same delay for the same object and due time, between zero and `jitter`: it survives restarts without being
/// stored, and spreads objects that share a pattern.
#[must_use]
pub fn jitter(uid: &str, due: DateTime<Utc>, jitter: TimeDelta) -> TimeDelta {
    let Ok(range) = u64::try_from(jitter.num_milliseconds()) else {
        return TimeDelta::zero();
    };
    let hash = Sha256::digest(format!("{uid}\0{}", due.timestamp()));
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    let share = u64::from_be_bytes(first) % (range + 1);
    TimeDelta::milliseconds(i64::try_from(share).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    fn series(pattern: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::cron("spec.schedule", pattern, zone).unwrap();
        let mut now = at(from);
        (0..count)
            .map(|_| {
                now = schedule.next(now).unwrap();
                now.format("%m-%dT%H:%MZ").to_string()
            })
            .collect()
    }

    #[test]
    fn a_daily_time_in_the_spring_gap_is_not_skipped() {
        // Europe/Berlin goes from 02:00 to 03:00 on 29 March 2026: 02:30 does not exist that day.
        let days = series("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3);
        assert_eq!(days, ["03-28T01:30Z", "03-29T01:00Z", "03-30T00:30Z"]);
    }

    #[test]
    fn a_daily_time_that_autumn_repeats_runs_once() {
        // 02:30 happens twice on 25 October 2026 in Berlin.
        let days = series("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(days, ["10-25T00:30Z", "10-26T01:30Z"]);
    }

    #[test]
    fn wrong_fields_are_named() {
        for (pattern, zone, field) in [
            ("* * *", "UTC", "spec.schedule.cron"),
            ("0 0 2 * * *", "UTC", "spec.schedule.cron"),
            ("0 2 * * *", "Mars/Olympus", "spec.schedule.timeZone"),
        ] {
            let error = Schedule::cron("spec.schedule", pattern, zone).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn a_day_that_never_comes_has_no_next_time() {
        let schedule = Schedule::cron("spec.schedule", "0 0 30 2 *", "UTC").unwrap();
        assert_eq!(schedule.next(at("2026-01-01T00:00:00Z")), None);
    }

    proptest! {
        #[test]
        fn next_is_always_later(minute in 0u32..60, hour in 0u32..24, seconds in 0i64..4_000_000_000) {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            for zone in ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu"] {
                let schedule = Schedule::cron("spec.schedule", &format!("{minute} {hour} * * *"), zone).unwrap();
                let next = schedule.next(now).unwrap();
                prop_assert!(next > now && next - now <= TimeDelta::hours(50));
            }
        }

        #[test]
        fn jitter_stays_within_its_bound(uid in "[a-z0-9-]{1,36}", bound in 0i64..86_400_000) {
            let share = jitter(&uid, at("2026-01-01T00:00:00Z"), TimeDelta::milliseconds(bound));
            prop_assert!(share >= TimeDelta::zero() && share <= TimeDelta::milliseconds(bound));
        }
    }
}
