//! Literals: numbers, characters and texts.

use std::fmt::Display;

use crate::render::template::tree::Number;

/// `None` for text that is no number or overflows.
pub fn number(written: &str) -> Option<Number> {
    let int = int(written);
    // -0 is 0.
    let uint = uint(written).or_else(|| (int == Some(0)).then_some(0));
    let is_float = looks_like_float(written);
    if let Some(float) = int.map(float_of).or_else(|| uint.map(float_of)) {
        return Some(Number { int, uint, float: Some(float), is_float });
    }
    if !written.contains(['.', 'e', 'E', 'p', 'P']) {
        return None;
    }
    let float = float(written)?;
    // As digits it is a whole number that may fit.
    let whole = if float.fract() == 0.0 { format!("{float:.0}") } else { String::new() };
    let uint = whole.strip_prefix('-').filter(|size| *size == "0").unwrap_or(&whole).parse().ok();
    Some(Number { int: whole.parse().ok(), uint, float: Some(float), is_float })
}

/// The float that is nearest to a whole number.
fn float_of(number: impl Display + Copy) -> f64 {
    format!("{number}").parse().unwrap_or_default()
}

/// Without a wanted type, the form of a number decides.
fn looks_like_float(written: &str) -> bool {
    let is_hexadecimal_int =
        written.len() > 2 && (written.starts_with("0x") || written.starts_with("0X")) && !written.contains(['p', 'P']);
    !is_hexadecimal_int && written.contains(['.', 'e', 'E', 'p', 'P'])
}

/// Without a sign.
fn uint(written: &str) -> Option<u64> {
    let lower = written.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !underscores_part_digits(&lower) || digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), base).ok()
}

fn int(written: &str) -> Option<i64> {
    match written.strip_prefix('-') {
        Some(size) => 0_i64.checked_sub_unsigned(uint(size)?),
        None => i64::try_from(uint(written.strip_prefix('+').unwrap_or(written))?).ok(),
    }
}

/// Underscores are allowed between digits, or behind the prefix that names the base.
fn underscores_part_digits(written: &str) -> bool {
    let unsigned = written.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let (mut before, rest, hexadecimal) = match unsigned.as_bytes() {
        [b'0', b'x', ..] => ('0', &unsigned[2..], true),
        [b'0', b'o' | b'b', ..] => ('0', &unsigned[2..], false),
        _ => (' ', unsigned.as_str(), false),
    };
    for character in rest.chars() {
        let is_digit = character.is_ascii_digit() || (hexadecimal && character.is_ascii_hexdigit());
        match character {
            '_' if before != '0' => return false,
            '_' => before = '_',
            _ if is_digit => before = '0',
            _ if before == '_' => return false,
            _ => before = '!',
        }
    }
    before != '_'
}

fn float(written: &str) -> Option<f64> {
    if !underscores_part_digits(written) {
        return None;
    }
    let plain = written.replace('_', "").to_ascii_lowercase();
    let (sign, size) = match plain.strip_prefix('-') {
        Some(size) => (-1.0, size),
        None => (1.0, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let float = match size.strip_prefix("0x") {
        Some(digits) => hexadecimal(digits)?,
        None if size.starts_with(|first: char| first.is_ascii_digit() || first == '.') => size.parse::<f64>().ok()?,
        None => return None,
    };
    // Go refuses what is too large; a float of Rust would be infinite.
    float.is_finite().then_some(sign * float)
}

/// `1.8p4`: digits of base 16, and a power of 2 that must be there.
fn hexadecimal(written: &str) -> Option<f64> {
    let (digits, power) = written.split_once('p')?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() {
        return None;
    }
    // As many digits as a float can distinguish, and whether there are more.
    let significant = all.trim_start_matches('0');
    let kept = significant.len().min(15);
    let sticky = significant[kept..].contains(|digit| digit != '0');
    let mantissa = u64::from_str_radix(&format!("0{}", &significant[..kept]), 16).ok()? << 1 | u64::from(sticky);
    let dropped = i64::try_from(significant.len() - kept).ok()?;
    let power: i64 = power.parse().ok()?;
    let power = power.checked_add(4 * dropped)?.checked_sub(4 * i64::try_from(part.len()).ok()?)?.checked_sub(1)?;
    Some(scaled(mantissa, power))
}

/// `mantissa` times a power of 2, rounded once.
fn scaled(mantissa: u64, power: i64) -> f64 {
    let bits = i64::from(64 - mantissa.leading_zeros());
    // What a float holds of it: 53 bits, fewer when it is very small.
    let lowest = (bits + power - 53).max(-1074);
    let drop = lowest - power;
    if mantissa == 0 || drop > 64 {
        return 0.0;
    }
    let (kept, up) = if drop > 0 {
        let half = 1_u128 << (drop - 1);
        let rest = u128::from(mantissa) & ((half << 1) - 1);
        let kept = u64::try_from(u128::from(mantissa) >> drop).unwrap_or(u64::MAX);
        (kept, rest > half || (rest == half && kept & 1 == 1))
    } else {
        (mantissa, false)
    };
    let power = if drop > 0 { lowest } else { power };
    let mut float = float_of(kept + u64::from(up));
    let mut left = power.clamp(-3000, 3000);
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        float *= 2_f64.powi(i32::try_from(step).unwrap_or(0));
        left -= step;
    }
    float
}

/// `'a'`
pub fn character(written: &str) -> Option<Number> {
    let inner = written.strip_prefix('\'')?.strip_suffix('\'')?;
    let (unit, rest) = unit(inner, '\'')?;
    if !rest.is_empty() {
        return None;
    }
    let number = match unit {
        Unit::Character(character) => u32::from(character),
        Unit::Byte(byte) => byte.into(),
    };
    let (int, float) = (Some(number.into()), Some(number.into()));
    Some(Number { int, uint: Some(number.into()), float, is_float: false })
}

/// A text in backquotes: without carriage returns, as in Go.
pub fn raw(written: &str) -> Vec<u8> {
    written.trim_matches('`').replace('\r', "").into_bytes()
}

/// A text in double quotes.
pub fn quoted(written: &str) -> Option<Vec<u8>> {
    let mut rest = written.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let (first, behind) = unit(rest, '"')?;
        match first {
            Unit::Character(character) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(byte) => bytes.push(byte),
        }
        rest = behind;
    }
    Some(bytes)
}

enum Unit {
    Character(char),
    /// Of `\xff` and `\377`.
    Byte(u8),
}

/// The first unit of a text in these quotes, and the rest.
fn unit(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first == quote || first == '\n' {
        return None;
    }
    if first != '\\' {
        return Some((Unit::Character(first), characters.as_str()));
    }
    let escape = characters.next()?;
    let rest = characters.as_str();
    let plain = |character| Some((Unit::Character(character), rest));
    let digits = |length: usize, base: u32, rest: &'_ str| -> Option<u32> {
        let digits = rest.get(..length)?;
        digits.chars().all(|digit| digit.is_digit(base)).then(|| u32::from_str_radix(digits, base).ok())?
    };
    match escape {
        'a' => plain('\u{7}'),
        'b' => plain('\u{8}'),
        'f' => plain('\u{c}'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\u{b}'),
        '\\' => plain('\\'),
        '\'' | '"' if escape == quote => plain(quote),
        'x' => Some((Unit::Byte(u8::try_from(digits(2, 16, rest)?).ok()?), &rest[2..])),
        'u' => Some((Unit::Character(char::from_u32(digits(4, 16, rest)?)?), &rest[4..])),
        'U' => Some((Unit::Character(char::from_u32(digits(8, 16, rest)?)?), &rest[8..])),
        '0'..='7' => {
            let start = text.get(1..)?;
            Some((Unit::Byte(u8::try_from(digits(3, 8, start)?).ok()?), &start[3..]))
        }
        _ => None,
    }
}
