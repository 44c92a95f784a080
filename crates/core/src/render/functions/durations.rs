//! Lengths of time. None of these reads a clock.

use super::{
    Entry, Signature, Type,
    call::{Call, Failure},
    signature::takes,
};
use crate::render::template::value::{Signed, Value};

const ONE: Signature = takes(&[Type::Any]);
const SECOND: i64 = 1_000_000_000;

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("duration", ONE, |call| {
        let seconds = given(call, |text| match text.parse::<i128>() {
            Ok(number) => i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX }),
            Err(_) => 0,
        })?;
        Ok(written(seconds.wrapping_mul(SECOND)).into())
    }),
    ("durationRound", ONE, |call| Ok(rounded(given(call, |text| read(text).unwrap_or(0))?).into())),
];

/// Sprig looks at texts and `int64` alone.
fn given(call: &Call<'_>, read: fn(&str) -> i64) -> Result<i64, Failure> {
    Ok(match call.value(0)? {
        Value::Text(text) => std::str::from_utf8(text).map_or(0, read),
        Value::Int(number, Signed::Int64) => *number,
        _ => 0,
    })
}

/// `1h2m3.5s`
fn written(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    let small = |unit: u64, name: &str| format!("{sign}{}{name}", fraction(size, unit));
    match size {
        0 => "0s".to_owned(),
        1..1_000 => small(1, "ns"),
        1_000..1_000_000 => small(1_000, "µs"),
        1_000_000..1_000_000_000 => small(1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// How many units, with what is left behind a point.
fn fraction(size: u64, unit: u64) -> String {
    let places = unit.ilog10() as usize;
    let rest = format!("{:0places$}", size % unit);
    let rest = if places == 0 { "" } else { rest.trim_end_matches('0') };
    if rest.is_empty() { (size / unit).to_string() } else { format!("{}.{rest}", size / unit) }
}

/// Its largest unit.
fn rounded(nanoseconds: i64) -> String {
    let size = nanoseconds.unsigned_abs();
    let second = SECOND.unsigned_abs();
    let day = 86_400 * second;
    for (unit, name) in
        [(365 * day, "y"), (30 * day, "mo"), (day, "d"), (3_600 * second, "h"), (60 * second, "m"), (second, "s")]
    {
        if size > unit {
            return format!("{}{name}", size / unit);
        }
    }
    "0s".to_owned()
}

/// Reads what [`written`] writes, and other orders of its parts.
fn read(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut all = 0_u64;
    while !rest.is_empty() {
        let (number, behind) = cut(rest, |character| character.is_ascii_digit() || character == '.');
        let (name, behind) = cut(behind, |character| !character.is_ascii_digit() && character != '.');
        let unit = match name {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND.unsigned_abs(),
            "m" => 60 * SECOND.unsigned_abs(),
            "h" => 3_600 * SECOND.unsigned_abs(),
            _ => return None,
        };
        let (whole, places) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && places.is_empty() || places.contains('.') {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        all = all.checked_add(whole.checked_mul(unit)?)?.checked_add(part(places, unit))?;
        rest = behind;
    }
    if is_negative { 0_i64.checked_sub_unsigned(all) } else { i64::try_from(all).ok() }
}

/// Digits behind a point, as so many units.
fn part(digits: &str, unit: u64) -> u64 {
    let digits = &digits[..digits.len().min(18)];
    let value = u128::from(digits.parse::<u64>().unwrap_or(0)) * u128::from(unit)
        / 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    u64::try_from(value).unwrap_or(0)
}

fn cut(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|character| !belongs(character)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_and_read() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (-2_000_000, "-2ms"),
            (90 * SECOND, "1m30s"),
            (3_600 * SECOND, "1h0m0s"),
            (3_723 * SECOND + 500_000_000, "1h2m3.5s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(written(nanoseconds), text);
            assert_eq!(read(text), Some(nanoseconds), "{text}");
        }
        assert_eq!(rounded(3 * 86_400 * SECOND), "3d");
        assert_eq!(read("1"), None);
    }
}
