//! What a plain word of YAML 1.1 means.

use super::super::cast::{read, read_float, read_unsigned};
use crate::render::yaml::is_null;

/// The meaning of a plain word.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    /// Nothing.
    Null,
    /// A bool.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that needs all 64 bits.
    Uint(u64),
    /// A float.
    Float(f64),
    /// A day, or a time.
    Time,
    /// The members of another dict.
    Merge,
    /// What it says.
    Text,
}

/// What a plain word means.
pub fn resolve(word: &str) -> Plain {
    match word {
        _ if is_null(word) => return Plain::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Plain::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Plain::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Plain::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Plain::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Plain::Float(f64::NEG_INFINITY),
        "<<" => return Plain::Merge,
        _ => {}
    }
    match word.as_bytes()[0] {
        b'.' => read_float(word).map_or(Plain::Text, Plain::Float),
        b'0'..=b'9' | b'+' | b'-' if is_time(word) => Plain::Time,
        b'0'..=b'9' | b'+' | b'-' => number(&word.replace('_', "")),
        _ => Plain::Text,
    }
}

fn number(word: &str) -> Plain {
    if let Some(number) = read(word) {
        return Plain::Int(number);
    }
    if let Some(number) = read_unsigned(word) {
        return Plain::Uint(number);
    }
    if is_float(word)
        && let Some(number) = read_float(word)
    {
        return Plain::Float(number);
    }
    Plain::Text
}

/// Digits with a point or a power of ten.
fn is_float(word: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (number, power) = number.split_once(['e', 'E']).map_or((number, "0"), |(number, power)| (number, power));
    let power = power.strip_prefix(['+', '-']).unwrap_or(power);
    let (whole, places) = number.split_once('.').unwrap_or((number, ""));
    digits(whole) && digits(places) && !(whole.is_empty() && places.is_empty()) && !power.is_empty() && digits(power)
}

/// Numbers of base 60: no meaning here, but others read them.
pub fn is_base_60(word: &str) -> bool {
    let number = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (number, places) = number.split_once('.').unwrap_or((number, ""));
    let digit_or = |byte: u8| byte.is_ascii_digit() || byte == b'_';
    let mut parts = number.split(':');
    let first = parts.next().unwrap_or_default();
    let mut count = 0;
    let all = parts.all(|part| {
        count += 1;
        let bytes = part.as_bytes();
        match bytes {
            [one] => one.is_ascii_digit(),
            [tens, one] => (b'0'..=b'5').contains(tens) && one.is_ascii_digit(),
            _ => false,
        }
    });
    first.starts_with(|digit: char| digit.is_ascii_digit())
        && first.bytes().all(digit_or)
        && all
        && count > 0
        && places.bytes().all(digit_or)
}

/// A day, or a time with seconds.
pub fn is_time(word: &str) -> bool {
    let Some((year, rest)) = word.split_once('-') else { return false };
    if year.len() != 4 || !year.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let Some((month, rest)) = rest.split_once('-') else { return false };
    let day_end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    let (day, rest) = rest.split_at(day_end);
    let number = |text: &str, most: u32| {
        (text.len() == 1 || text.len() == 2)
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|number| number <= most)
    };
    let (Ok(year), Ok(month_number), Ok(day_number)) = (year.parse(), month.parse(), day.parse()) else { return false };
    if !number(month, 12)
        || !number(day, 31)
        || chrono::NaiveDate::from_ymd_opt(year, month_number, day_number).is_none()
    {
        return false;
    }
    if rest.is_empty() {
        return true;
    }
    // A time has no characters of several bytes.
    if !rest.is_ascii() {
        return false;
    }
    let (has_zone, clock) = match (rest.strip_prefix(' '), rest.strip_prefix(['T', 't'])) {
        (Some(clock), _) => (false, clock),
        (None, Some(clock)) => (true, clock),
        (None, None) => return false,
    };
    let zone = if has_zone { clock.find(['Z', '+', '-']) } else { Some(clock.len()) };
    let Some((clock, zone)) = zone.map(|zone| clock.split_at(zone)) else { return false };
    let is_zone = !has_zone
        || zone == "Z"
        || zone.len() == 6
            && zone.is_ascii()
            && zone[3..].starts_with(':')
            && number(&zone[1..3], 24)
            && number(&zone[4..], 60);
    let parts: Vec<&str> = clock.splitn(3, ':').collect();
    let [hour, minute, second] = parts[..] else { return false };
    let (second, fraction) = second.split_once(['.', ',']).unwrap_or((second, "0"));
    is_zone
        && number(hour, 23)
        && number(minute, 59)
        && number(second, 59)
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_version_1_1_says() {
        for (word, expected) in [
            ("yes", Plain::Bool(true)),
            ("NO", Plain::Bool(false)),
            ("nO", Plain::Text),
            ("0x1F", Plain::Int(31)),
            ("010", Plain::Int(8)),
            ("1_000", Plain::Int(1000)),
            ("-1", Plain::Int(-1)),
            ("18446744073709551615", Plain::Uint(u64::MAX)),
            ("1e3", Plain::Float(1000.0)),
            ("1.", Plain::Float(1.0)),
            (".5", Plain::Float(0.5)),
            ("1e", Plain::Text),
            ("2001-1-2", Plain::Time),
            ("2001-02-30", Plain::Text),
            ("2001-01-01\u{2013}2001-02-01", Plain::Text),
            ("2001-01-01T00:00:00+0\u{e9}00", Plain::Text),
            ("2001-12-14 21:59:43.10", Plain::Time),
            ("2001-12-14T21:59:43Z", Plain::Time),
            ("1:20", Plain::Text),
            ("2001-01-01ß", Plain::Text),
            ("2001-12-14T21:59:43+0ßßß", Plain::Text),
            ("~", Plain::Null),
            ("<<", Plain::Merge),
            ("a", Plain::Text),
        ] {
            assert_eq!(resolve(word), expected, "{word}");
        }
        assert!(is_base_60("1:20") && is_base_60("190:20:30.15") && !is_base_60("1:99") && !is_base_60("a:1"));
    }
}
