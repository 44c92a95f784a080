//! Durations as Go writes them: `1h30m`, `5m`, `10s`, `500ms`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use regex_lite::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How the schema bounds a duration. The parser is held to the same bounds: with so few digits, which cannot be negative, no
/// term and no sum is beyond what a [`Duration`] holds, where the parser of kube would panic.
const PATTERN: &str = r"^([0-9]{1,9}(\.[0-9]{1,9})?(h|m|s|ms))+$";
const MAX_LENGTH: usize = 32;
#[expect(clippy::expect_used, reason = "it is a constant, which every test of this file compiles")]
static COMPILED: LazyLock<Regex> = LazyLock::new(|| Regex::new(PATTERN).expect("a pattern"));
/// What Go's `time.Duration` can hold, about 292 years.
const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// A length of time, written as Go does: numbers with the units `h`, `m`, `s`, `ms`. The schema asks for at least 1s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub Duration);

impl GoDuration {
    /// That many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// That many minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// That many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours * 60)
    }

    /// The duration itself.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDurationError(String);

impl fmt::Display for ParseDurationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} is not a duration such as 1h30m, 5m, 10s or 500ms", self.0)
    }
}

impl std::error::Error for ParseDurationError {}

impl FromStr for GoDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = text.len() <= MAX_LENGTH && COMPILED.is_match(text);
        let read = is_plain.then(|| text.parse::<kube::core::Duration>().ok()).flatten();
        read.map(Duration::from)
            .filter(|duration| *duration <= MAX)
            .map(Self)
            .ok_or_else(|| ParseDurationError(text.chars().take(64).collect()))
    }
}

/// Hours, minutes and seconds.
const fn clock(seconds: u64) -> (u64, u64, u64) {
    (seconds / 3600, seconds / 60 % 60, seconds % 60)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = clock(self.0.as_secs());
        let nanos = self.0.subsec_nanos();
        if hours > 0 {
            write!(formatter, "{hours}h")?;
        }
        if minutes > 0 {
            write!(formatter, "{minutes}m")?;
        }
        if nanos > 0 && seconds == 0 && nanos.is_multiple_of(1_000_000) {
            return write!(formatter, "{}ms", nanos / 1_000_000);
        }
        if nanos > 0 {
            let fraction = format!("{nanos:09}");
            return write!(formatter, "{seconds}.{}s", fraction.trim_end_matches('0'));
        }
        if seconds > 0 || hours + minutes == 0 {
            write!(formatter, "{seconds}s")?;
        }
        Ok(())
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": MAX_LENGTH,
            "pattern": PATTERN,
            "x-kubernetes-validations": [{
                "rule": "duration(self) >= duration('1s')",
                "message": "write a duration of at least 1s, for example 30s, 5m or 1h30m",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_writes() {
        let cases = [
            ("1h30m", 5_400_000),
            ("5m", 300_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("1h0m0s", 3_600_000),
            ("1.5h", 5_400_000),
            ("1m30.25s", 90_250),
            ("2160h", 7_776_000_000),
            ("0s", 0),
            ("0.001s", 1),
            ("1ms1s1m", 61_001),
            ("2562047h47m16.854s", 9_223_372_036_854),
        ];
        for (text, millis) in cases {
            assert_eq!(text.parse(), Ok(GoDuration(Duration::from_millis(millis))), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in
            ["", "5", "m", "5 m", "-5m", "+5m", "1d", "1h-5m", "1.s", ".5s", "5M", "3000000h", "99999999999999999999s"]
                .into_iter()
                .chain(["0", "1h0", "5ns", "1us", "1hm", "inf", "NaNs", "1e3s", "2562047h48m", "5s\n"])
        {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_longest_is_that_of_go() {
        assert_eq!("2562047h47m16.854775807s".parse(), Ok(GoDuration(MAX)));
        assert!("2562047h47m16.854775808s".parse::<GoDuration>().is_err());
    }

    #[test]
    fn writes_the_short_form() {
        let cases = [
            (5_400_000, "1h30m"),
            (300_000, "5m"),
            (10_000, "10s"),
            (500, "500ms"),
            (60_500, "1m500ms"),
            (1_500, "1.5s"),
            (3_600_001, "1h1ms"),
            (0, "0s"),
        ];
        for (millis, text) in cases {
            assert_eq!(GoDuration(Duration::from_millis(millis)).to_string(), text);
        }
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        let error = serde_json::from_str::<GoDuration>("\"1d\"").expect_err("days are no unit");
        assert!(error.to_string().starts_with("\"1d\" is not a duration such as 1h30m"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(nanos in 0..=i64::MAX.unsigned_abs()) {
            let duration = GoDuration(Duration::from_nanos(nanos));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9hmsun.+-]{0,40}") {
            let _ = text.parse::<GoDuration>();
        }

        #[test]
        fn no_number_makes_it_panic(text in "([0-9]{1,24}(\\.[0-9]{1,12})?(h|m|s|ms)){1,12}") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
