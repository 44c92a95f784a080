//! Floating-point numbers.

use super::{Failure, Printer};

/// How a number is written, as in Go's `strconv.FormatFloat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `%e`
    Exponent,
    /// `%f`
    Plain,
    /// `%g`
    Shorter,
    /// `%x`: digits of base 16 and a power of 2.
    Hexadecimal,
    /// `%b`: a whole number and a power of 2.
    Binary,
}

impl Style {
    /// A number in this style; without a precision, with as many digits as distinguish it from all others.
    pub fn write(self, number: f64, precision: Option<usize>) -> String {
        let sign = if number.is_sign_negative() && !number.is_nan() { "-" } else { "" };
        let number = number.abs();
        if number.is_nan() {
            return "NaN".to_owned();
        }
        if number.is_infinite() {
            return if sign.is_empty() { "+Inf".to_owned() } else { "-Inf".to_owned() };
        }
        let written = match self {
            Self::Exponent => exponent(number, precision),
            Self::Plain => precision.map_or_else(|| number.to_string(), |precision| format!("{number:.precision$}")),
            Self::Shorter => shorter(number, precision),
            Self::Hexadecimal => hexadecimal(number, precision),
            Self::Binary => {
                let (mantissa, power) = parts(number);
                format!("{mantissa}p{power:+}")
            }
        };
        format!("{sign}{written}")
    }
}

/// Rust writes `1.5e7`, Go `1.5e+07`.
fn exponent(number: f64, precision: Option<usize>) -> String {
    let written = precision.map_or_else(|| format!("{number:e}"), |precision| format!("{number:.precision$e}"));
    let (digits, exponent) = split(&written);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

fn split(written: &str) -> (&str, i32) {
    let (digits, exponent) = written.split_once('e').unwrap_or((written, "0"));
    (digits, exponent.parse().unwrap_or(0))
}

fn shorter(number: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|precision| precision.max(1));
    let written = precision.map_or_else(|| format!("{number:e}"), |precision| format!("{number:.*e}", precision - 1));
    let (digits, power) = split(&written);
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let count = i32::try_from(digits.trim_end_matches('0').len()).unwrap_or(i32::MAX);
    let point = if count == 0 { 0 } else { power + 1 };
    let limit = match precision.map(|precision| i32::try_from(precision).unwrap_or(i32::MAX)) {
        None => 6,
        Some(limit) if limit > count && count >= point => count,
        Some(limit) => limit,
    };
    let after_point = |least: i32| usize::try_from(least.max(0)).unwrap_or(0);
    if point - 1 < -4 || point > limit {
        exponent(number, Some(after_point(count - 1)))
    } else {
        format!("{number:.*}", after_point(count - point))
    }
}

/// The bits of a number and the power of 2 that they are times.
fn parts(number: f64) -> (u64, i64) {
    const MANTISSA: u32 = 52;
    let bits = number.to_bits();
    let (fraction, exponent) = (bits & ((1 << MANTISSA) - 1), i64::try_from(bits >> MANTISSA & 0x7ff).unwrap_or(0));
    // The smallest ones have no hidden bit.
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << MANTISSA, exponent - 1075) }
}

fn hexadecimal(number: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut power) = parts(number);
    if mantissa == 0 {
        power = 0;
    } else {
        // One bit before the point, and 60 behind it.
        let shift = mantissa.leading_zeros() - 3;
        mantissa <<= shift;
        power += 60 - i64::from(shift);
    }
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        let dropped = 4 * (15 - precision);
        let half = 1_u64 << (dropped - 1);
        let rest = mantissa & ((half << 1) - 1);
        let kept = mantissa >> dropped;
        mantissa = (kept + u64::from(rest > half || (rest == half && kept & 1 == 1))) << dropped;
        if mantissa >> 61 != 0 {
            mantissa >>= 1;
            power += 1;
        }
    }
    let digits = format!("{:015x}", mantissa & ((1 << 60) - 1));
    let shown = match precision {
        Some(precision) => format!("{digits:0<precision$}")[..precision].to_owned(),
        None => digits.trim_end_matches('0').to_owned(),
    };
    let point = if shown.is_empty() { "" } else { "." };
    let sign = if power < 0 { '-' } else { '+' };
    format!("0x{}{point}{shown}p{sign}{:02}", mantissa >> 60, power.unsigned_abs())
}

impl Printer {
    pub(super) fn float(&mut self, number: f64, verb: char) -> Result<(), Failure> {
        let (style, usual) = match verb {
            'v' | 'g' | 'G' => (Style::Shorter, None),
            'f' | 'F' => (Style::Plain, Some(6)),
            'e' | 'E' => (Style::Exponent, Some(6)),
            'x' | 'X' => (Style::Hexadecimal, None),
            'b' => (Style::Binary, None),
            _ => return Self::misfit(verb, "float64"),
        };
        let flags = self.flags;
        let precision = flags.precision.or(usual);
        self.digits_fit(precision.unwrap_or(0))?;
        let mut written = style.write(number, precision);
        if verb.is_ascii_uppercase() && number.is_finite() {
            written = written.to_ascii_uppercase();
        }
        if !written.starts_with(['+', '-']) {
            written.insert(0, '+');
        }
        if flags.space && written.starts_with('+') && !flags.plus {
            written.replace_range(..1, " ");
        }
        if !number.is_finite() {
            if number.is_nan() && !flags.space && !flags.plus {
                written.remove(0);
            }
            // Go writes the sign of an infinity in any case.
            return self.pad_by_spaces(written.as_bytes());
        }
        if flags.sharp && style != Style::Binary {
            let digits = match style {
                Style::Shorter => precision.unwrap_or(6),
                Style::Hexadecimal if verb == 'x' => precision.unwrap_or(6),
                Style::Plain | Style::Exponent | Style::Hexadecimal | Style::Binary => 0,
            };
            written = with_point(&written, digits);
        }
        if !flags.plus && written.starts_with('+') {
            return self.pad(&written.as_bytes()[1..]);
        }
        match flags.width {
            // The sign comes before the zeros.
            Some(width) if flags.zero && !flags.minus && width > written.len() => {
                self.push(&written.as_bytes()[..1])?;
                self.padding(width - written.len())?;
                self.push(&written.as_bytes()[1..])
            }
            _ => self.pad(written.as_bytes()),
        }
    }
}

/// With a decimal point in any case, and as many digits as asked for.
fn with_point(written: &str, digits: usize) -> String {
    let is_hexadecimal = written.contains(['x', 'X']);
    let marks: &[char] = if is_hexadecimal { &['p', 'P'] } else { &['e', 'E'] };
    let end = written.find(marks).unwrap_or(written.len());
    let (number, tail) = written.split_at(end);
    // Go counts the x too.
    let counts = |character: &char| character.is_ascii_digit() || (is_hexadecimal && character.is_ascii_alphanumeric());
    let significant = number.chars().filter(counts).skip_while(|digit| *digit == '0').count();
    let mut missing = digits.saturating_sub(significant);
    let mut number = number.to_owned();
    if !number.contains('.') {
        if number.len() == 2 && number.ends_with('0') {
            missing = missing.saturating_sub(1);
        }
        number.push('.');
    }
    format!("{number}{}{tail}", "0".repeat(missing))
}
