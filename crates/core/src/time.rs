//! The one place where Kubernetes' time type and ours meet.

use chrono::{DateTime, SecondsFormat, Utc};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// Tells the time; the binary passes the wall clock, tests pass theirs.
pub trait Clock: Send + Sync {
    /// The present time.
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
}
