//! Values as values of another type, as Sprig converts them.

use super::call::{Failure, MAX_STRUCTURE};
use crate::render::template::{
    format,
    value::{List, Signed, Text, Value},
};

/// The text that Sprig makes of a value.
pub fn written(value: &Value) -> Result<Text, Failure> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Object(object) => Ok(object.text()),
        _ => format::text_of(value),
    }
}

/// The texts of a list, without what is `nil`; another value is a list of one. Dicts may share what they hold, so the
/// texts may be far larger than their memory: too large a result is refused before it exists.
pub fn texts(value: &Value) -> Result<Vec<Text>, Failure> {
    let Value::List(items) = value else {
        return if matches!(value, Value::Nil) { Ok(Vec::new()) } else { Ok(vec![written(value)?]) };
    };
    let (mut texts, mut room) = (Vec::new(), MAX_STRUCTURE);
    for item in items.iter().filter(|item| !matches!(item, Value::Nil)) {
        let text = written(item)?;
        let left = room.checked_sub(text.len());
        room = left.ok_or_else(|| Failure("the texts of the list are larger than 2 MiB".to_owned()))?;
        texts.push(text);
    }
    Ok(texts)
}

/// The items of a value that Go takes for a list.
pub fn items(value: &Value) -> Option<List> {
    match value {
        Value::List(items) => Some(items.clone()),
        _ => None,
    }
}

/// A value as a whole number; what is none is 0.
pub fn whole(value: &Value) -> i64 {
    match value {
        Value::Int(number, _) => *number,
        Value::Uint(number, _) => number.cast_signed(),
        Value::Bool(flag) => i64::from(*flag),
        Value::Float(number) => cut(*number),
        Value::Text(text) => std::str::from_utf8(text).ok().and_then(|text| read(without_zeros(text))).unwrap_or(0),
        Value::Object(object) if object.type_name() == super::json::NUMBER => {
            String::from_utf8_lossy(&object.text()).parse().map_or(0, cut)
        }
        _ => 0,
    }
}

/// A float without its fraction. What 64 bits cannot hold becomes the smallest number, as on the processors that Go's
/// releases run on.
pub fn cut(number: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "the code above checks that it fits")]
    if (-END..END).contains(&number) { number as i64 } else { i64::MIN }
}

/// A value as a float; what is none is 0.
pub fn float(value: &Value) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the caller asks for a float")]
    match value {
        Value::Int(number, _) => *number as f64,
        Value::Uint(number, _) => *number as f64,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::Float(number) => *number,
        Value::Text(text) => std::str::from_utf8(text).ok().and_then(read_float).unwrap_or(0.0),
        Value::Object(object) if object.type_name() == super::json::NUMBER => {
            String::from_utf8_lossy(&object.text()).parse().unwrap_or(0.0)
        }
        _ => 0.0,
    }
}

/// Without a point and the zeros behind it.
fn without_zeros(text: &str) -> &str {
    let rest = text.trim_end_matches('0');
    if rest.len() < text.len() { rest.strip_suffix('.').unwrap_or(text) } else { text }
}

/// A whole number as Go's programs are written: with a prefix for its base, and `_` between digits.
pub fn read(text: &str) -> Option<i64> {
    let (sign, digits) = signed(text);
    let (base, digits) = based(digits)?;
    let number = u64::from_str_radix(&digits, base).ok()?;
    if sign == "-" { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

/// The same without a sign.
pub fn read_unsigned(text: &str) -> Option<u64> {
    let (base, digits) = based(text)?;
    u64::from_str_radix(&digits, base).ok()
}

fn signed(text: &str) -> (&str, &str) {
    let sign = usize::from(text.starts_with(['+', '-']));
    text.split_at(sign)
}

/// The base of a number and its digits, if there are any and `_` is only between them.
fn based(text: &str) -> Option<(u32, String)> {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let is_prefixed = base != 10;
    let is_wrong =
        digits.is_empty() || digits.contains("__") || digits.ends_with('_') || !is_prefixed && digits.starts_with('_');
    let digits = digits.replace('_', "");
    (!is_wrong && digits.chars().all(|digit| digit.is_digit(base))).then_some((base, digits))
}

/// A float as `strconv.ParseFloat` reads it; one that is too large is none.
pub fn read_float(text: &str) -> Option<f64> {
    let (sign, number) = signed(text);
    let lower = number.to_ascii_lowercase();
    let value = if matches!(lower.as_str(), "inf" | "infinity") {
        f64::INFINITY
    } else if lower == "nan" {
        if !sign.is_empty() {
            return None;
        }
        f64::NAN
    } else if let Some(digits) = lower.strip_prefix("0x") {
        hexadecimal(digits)?
    } else {
        let is_number = |byte: u8| byte.is_ascii_digit();
        let is_between = |at: usize| {
            let bytes = lower.as_bytes();
            at > 0 && is_number(bytes[at - 1]) && bytes.get(at + 1).is_some_and(|next| is_number(*next))
        };
        let is_wrong = lower.bytes().enumerate().any(|(at, byte)| byte == b'_' && !is_between(at));
        if is_wrong || !lower.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return None;
        }
        lower.replace('_', "").parse::<f64>().ok().filter(|value| value.is_finite())?
    };
    Some(if sign == "-" { -value } else { value })
}

/// Digits in base 16, with a power of two that must be there.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, power) = text.split_once('p')?;
    let power: i32 = power.parse().ok()?;
    let digits = digits.strip_prefix('_').unwrap_or(digits);
    if digits.contains("__") || digits.ends_with('_') {
        return None;
    }
    let digits = digits.replace('_', "");
    let (before, after) = digits.split_once('.').unwrap_or((&digits, ""));
    let all = format!("{before}{after}");
    // More digits than 64 bits hold are rounded twice, which does not matter in practice.
    let number = u64::from_str_radix(&all, 16).ok()?;
    let places = i32::try_from(after.len()).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "the caller asks for a float")]
    let value = number as f64 * 2_f64.powi(power.checked_sub(4 * places)?);
    value.is_finite().then_some(value)
}

/// A whole number of type `int64`.
pub const fn int64(number: i64) -> Value {
    Value::Int(number, Signed::Int64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_programs_of_go() {
        for (text, expected) in [
            ("0x1F", Some(31)),
            ("0b11", Some(3)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("08", None),
            ("1_000", Some(1000)),
            ("1__0", None),
            ("0x_1", Some(1)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("+5", Some(5)),
            ("--5", None),
            ("", None),
            ("-", None),
            ("0", Some(0)),
            (" 1", None),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        assert_eq!(whole(&"5.00".into()), 5);
        assert_eq!(whole(&"5.50".into()), 0);
        assert_eq!(whole(&Value::Float(-2.9)), -2);
        assert_eq!(whole(&Value::Float(1e19)), i64::MIN);
        assert_eq!(read_float("0x1p4"), Some(16.0));
        assert_eq!(read_float("1e400"), None);
        assert_eq!(read_float("e5"), None);
        assert_eq!(read_float(".5"), Some(0.5));
        assert_eq!(read_float("1_000"), Some(1000.0));
        assert_eq!(read_float("1_.5"), None);
    }
}
