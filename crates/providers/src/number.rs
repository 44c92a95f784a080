//! Numbers from servers, bounded so that no computation with them overflows.

use std::time::Duration;

use rekey_core::time::LONGEST_LIFE;
use serde_json::Value;

/// A whole number that is not negative: without its fraction, and at most the largest of its type. `None` for
/// everything else, also for a number in a string.
pub(crate) fn whole(number: &Value) -> Option<u64> {
    let fraction = |number: f64| match Duration::try_from_secs_f64(number) {
        Ok(seconds) => Some(seconds.as_secs()),
        Err(_) => (number > 0.0).then_some(u64::MAX),
    };
    number.as_u64().or_else(|| fraction(number.as_f64()?))
}

/// How long something lives, given in seconds. [`LONGEST_LIFE`] bounds it.
pub(crate) fn life(number: &Value) -> Option<Duration> {
    whole(number).map(seconds)
}

/// A life of so many seconds, with the same bound.
pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let table = [
            ("0", Some(0)),
            ("7", Some(7)),
            ("7.9", Some(7)),
            ("-0.0", Some(0)),
            ("9000000000000000", Some(9_000_000_000_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("1e300", Some(u64::MAX)),
            ("-1", None),
            ("-0.5", None),
            ("-9223372036854775809", None),
            ("-1e300", None),
            ("null", None),
            ("true", None),
            ("\"7\"", None),
            ("\"NaN\"", None),
            ("[7]", None),
            ("{}", None),
        ];
        for (text, expected) in table {
            let number: Value = serde_json::from_str(text).unwrap();
            assert_eq!(whole(&number), expected, "{text}");
            assert_eq!(life(&number), expected.map(|number| Duration::from_secs(number).min(LONGEST_LIFE)), "{text}");
        }
    }
}
