//! The one place where Kubernetes' time type and ours meet.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// The longest life that we accept from a server: a hundred years of 365 days. No credential needs to live longer, and
/// counted from now it stays within years of four digits, which the API accepts, and within every clock.
pub const LONGEST_LIFE: Duration = Duration::from_hours(100 * 365 * 24);

/// Tells the time; the binary passes the wall clock, tests pass theirs.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> DateTime<Utc>;
}

/// As the API server keeps it: whole seconds, so that a status reads back equal to what was written.
#[must_use]
pub fn kube(time: DateTime<Utc>) -> Time {
    Time(Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// From Kubernetes' form.
#[must_use]
pub fn chrono(time: &Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.0.as_second(), time.0.subsec_nanosecond().unsigned_abs()).unwrap_or_default()
}

/// The end of `life` from `now` on. [`LONGEST_LIFE`] bounds it.
#[must_use]
pub fn end(now: DateTime<Utc>, life: Duration) -> DateTime<Utc> {
    later(now, TimeDelta::from_std(life.min(LONGEST_LIFE)).unwrap_or_default())
}

/// `time` plus `wait`, at most the last moment that the type holds. `+` would panic.
#[must_use]
pub fn later(time: DateTime<Utc>, wait: TimeDelta) -> DateTime<Utc> {
    time.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The shortest wait before Rekey looks again only because time has passed.
const SOON: TimeDelta = TimeDelta::seconds(1);
/// The longest such wait.
pub const SELDOM: TimeDelta = TimeDelta::seconds(60);
/// By how much the clocks of two replicas may differ.
const SKEW: TimeDelta = TimeDelta::seconds(10);

/// How long to wait before the next look or retry, for something that has lasted so long: a quarter of that, from a
/// second to a minute. So it is soon after a change, and seldom when a person has to act. For a start in the future it
/// is a minute.
#[must_use]
pub fn pause(taken: TimeDelta) -> TimeDelta {
    if taken < -SKEW { SELDOM } else { (taken / 4).clamp(SOON, SELDOM) }
}

/// Whether a time in a status can be in the past.
#[must_use]
pub fn is_past(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    time <= later(now, SKEW)
}

/// RFC 3339 in whole seconds, for times in the future, which `kubectl` cannot show in its own time columns.
#[must_use]
pub fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads [`text`] back.
#[must_use]
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_in_whole_seconds() {
        let now = DateTime::from_timestamp(1_800_000_000, 987_000_000).unwrap_or_default();
        assert_eq!(chrono(&kube(now)).timestamp(), now.timestamp());
        assert_eq!(chrono(&kube(now)), chrono(&kube(chrono(&kube(now)))));
        assert_eq!(parse(&text(now)).map(|time| time.timestamp()), Some(now.timestamp()));
    }

    #[test]
    fn what_takes_long_is_looked_at_ever_more_seldom() {
        let pauses = [-5, 0, 4, 40, 240, 10_000].map(|taken| pause(TimeDelta::seconds(taken)).num_seconds());
        assert_eq!(pauses, [1, 1, 1, 10, 60, 60]);
        assert_eq!(pause(TimeDelta::MAX), SELDOM);
    }

    #[test]
    fn no_life_is_longer_than_allowed_and_no_sum_panics() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        assert_eq!(text(end(now, Duration::from_secs(90))), "2027-01-15T08:01:30Z");
        for life in [LONGEST_LIFE, Duration::from_secs(9_000_000_000_000_001), Duration::MAX] {
            assert_eq!(text(end(now, life)), "2126-12-22T08:00:00Z");
            assert_eq!(parse(&text(end(now, life))), Some(end(now, life)), "it reads back");
        }
        assert_eq!(later(now, TimeDelta::MAX), DateTime::<Utc>::MAX_UTC);
        assert_eq!(later(DateTime::<Utc>::MAX_UTC, TimeDelta::seconds(1)), DateTime::<Utc>::MAX_UTC);
    }
}
