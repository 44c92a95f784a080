//! Numbers: whole ones of 64 bits, that go round at their ends as in Go, and floats.

use super::{
    Entry, Signature, Type,
    call::{Call, Outcome},
    cast::{float, int64, whole},
    decimals::Decimal,
    signature::{takes, variadic},
};
use crate::render::template::{
    format,
    value::{Of, Value},
};

const ONE: Signature = takes(&[Type::Any]);
const TWO: Signature = takes(&[Type::Any, Type::Any]);
const SOME: Signature = variadic(&[Type::Any], Type::Any);
const ANY: Signature = variadic(&[], Type::Any);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("int", ONE, |call| Ok(Value::int(whole(call.value(0)?)))),
    ("int64", ONE, |call| Ok(int64(whole(call.value(0)?)))),
    ("float64", ONE, |call| Ok(float(call.value(0)?).into())),
    ("atoi", takes(&[Type::Text]), |call| Ok(Value::int(atoi(call.bytes(0)?)))),
    ("toDecimal", ONE, |call| {
        let text = format::text_of(call.value(0)?)?;
        let text = std::str::from_utf8(&text).unwrap_or_default();
        Ok(int64(i64::from_str_radix(text, 8).unwrap_or(0)))
    }),
    ("add1", ONE, |call| Ok(int64(whole(call.value(0)?).wrapping_add(1)))),
    ("add", ANY, |call| Ok(int64(call.arguments.iter().map(whole).fold(0, i64::wrapping_add)))),
    ("sub", TWO, |call| Ok(int64(whole(call.value(0)?).wrapping_sub(whole(call.value(1)?))))),
    ("mul", SOME, |call| Ok(int64(call.arguments.iter().map(whole).fold(1, i64::wrapping_mul)))),
    ("div", TWO, |call| divided(call, i64::wrapping_div)),
    ("mod", TWO, |call| divided(call, i64::wrapping_rem)),
    ("max", SOME, |call| Ok(int64(call.arguments.iter().map(whole).max().unwrap_or_default()))),
    ("biggest", SOME, |call| Ok(int64(call.arguments.iter().map(whole).max().unwrap_or_default()))),
    ("min", SOME, |call| Ok(int64(call.arguments.iter().map(whole).min().unwrap_or_default()))),
    ("maxf", SOME, |call| Ok(outermost(call, f64::max).into())),
    ("minf", SOME, |call| Ok(outermost(call, f64::min).into())),
    ("ceil", ONE, |call| Ok(float(call.value(0)?).ceil().into())),
    ("floor", ONE, |call| Ok(float(call.value(0)?).floor().into())),
    ("round", variadic(&[Type::Any, Type::Int], Type::Float), round),
    ("add1f", ONE, |call| folded(call, &[call.value(0)?.clone(), Value::int(1)], |one, other| Some(one.add(other)))),
    ("addf", ANY, |call| folded(call, &[&[Value::int(0)], call.arguments].concat(), |one, other| Some(one.add(other)))),
    ("subf", SOME, |call| folded(call, call.arguments, |one, other| Some(one.subtract(other)))),
    ("mulf", SOME, |call| folded(call, call.arguments, Decimal::multiply)),
    ("divf", SOME, |call| folded(call, call.arguments, Decimal::divide)),
    ("seq", variadic(&[], Type::Int), seq),
    ("until", takes(&[Type::Int]), |call| {
        let end = call.int(0)?;
        numbers(call, 0, end, if end < 0 { -1 } else { 1 })
    }),
    ("untilStep", takes(&[Type::Int, Type::Int, Type::Int]), |call| {
        numbers(call, call.int(0)?, call.int(1)?, call.int(2)?)
    }),
];

/// What is too large is the largest number, and what is no number 0.
fn atoi(text: &[u8]) -> i64 {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match std::str::from_utf8(text).unwrap_or_default().parse() {
        Ok(number) => number,
        Err(error) => {
            let error: std::num::ParseIntError = error;
            match error.kind() {
                PosOverflow => i64::MAX,
                NegOverflow => i64::MIN,
                _ => 0,
            }
        }
    }
}

fn divided(call: &Call<'_>, divide: fn(i64, i64) -> i64) -> Outcome {
    match whole(call.value(1)?) {
        0 => call.fail("nothing can be divided by 0"),
        by => Ok(int64(divide(whole(call.value(0)?), by))),
    }
}

/// With `NaN` if one is that.
fn outermost(call: &Call<'_>, choose: fn(f64, f64) -> f64) -> f64 {
    let mut all = call.arguments.iter().map(float);
    let first = all.next().unwrap_or_default();
    all.fold(first, |one, other| {
        if one.is_nan() || other.is_nan() {
            f64::NAN
        } else if one == 0.0 && other == 0.0 {
            // One of them may be -0.
            let is_largest = choose(1.0, 2.0) > 1.0;
            if one.is_sign_negative() == is_largest { other } else { one }
        } else {
            choose(one, other)
        }
    })
}

fn round(call: &Call<'_>) -> Outcome {
    let (value, places) = (float(call.value(0)?), call.int(1)?);
    let from = if call.arguments.len() > 2 { call.float(2)? } else { 0.5 };
    let power = power_of_ten(places);
    let digits = power * value;
    let rounded = if digits.fract() >= from { digits.ceil() } else { digits.floor() };
    Ok((rounded / power).into())
}

/// As Go computes it: by squares, so that a large power is not the float that is nearest.
fn power_of_ten(places: i64) -> f64 {
    const CATASTROPHE: i32 = 1 << 12;
    // 10 is 0.625 times 2 to the power of 4.
    let (mut square, mut exponent) = (0.625_f64, 4);
    let (mut product, mut sum) = (1.0_f64, 0_i32);
    let mut rest = places.unsigned_abs();
    while rest != 0 {
        if exponent > CATASTROPHE {
            sum = sum.saturating_add(exponent);
            break;
        }
        if rest & 1 == 1 {
            product *= square;
            sum += exponent;
        }
        square *= square;
        exponent <<= 1;
        if square < 0.5 {
            square += square;
            exponent -= 1;
        }
        rest >>= 1;
    }
    let (product, sum) = if places < 0 { (1.0 / product, -sum) } else { (product, sum) };
    // In two steps, or one of them is infinite where the whole is not.
    let half = sum / 2;
    product * 2_f64.powi(half) * 2_f64.powi(sum - half)
}

fn folded(call: &Call<'_>, values: &[Value], compute: fn(&Decimal, &Decimal) -> Option<Decimal>) -> Outcome {
    let number = |value: &Value| Decimal::new(float(value));
    let mut result = values.first().and_then(number);
    for value in values.iter().skip(1) {
        let (Some(so_far), Some(next)) = (&result, number(value)) else { break };
        call.spend(so_far.size())?;
        result = compute(so_far, &next);
        if result.is_none() {
            break;
        }
    }
    let wrong = || call.fail("an argument is no number that it can work with, or it divides by 0");
    if values.iter().any(|value| number(value).is_none()) {
        return wrong();
    }
    result.map_or_else(wrong, |result| Ok(result.to_float().into()))
}

/// From `start` until before `end`.
fn numbers(call: &Call<'_>, start: i64, end: i64, step: i64) -> Outcome {
    let runs = if end < start { step < 0 } else { step > 0 };
    let all = std::iter::successors(runs.then_some(start), |at| at.checked_add(step))
        .take_while(|at| if end < start { *at > end } else { *at < end });
    call.collected_of(Of::Int, all.map(Value::int))
}

/// The numbers from the first to the last, with both of them, as one text.
fn seq(call: &Call<'_>) -> Outcome {
    let given: Vec<i64> = (0..call.arguments.len()).map(|position| call.int(position)).collect::<Result<_, _>>()?;
    let direction = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, end, step) = match given[..] {
        [end] => (1, end, direction(1, end)),
        [start, end] => (start, end, direction(start, end)),
        [start, step, end] if end >= start || step <= 0 => (start, end, step),
        _ => return Ok("".into()),
    };
    let end = end.wrapping_add(direction(start, end));
    let Value::List(numbers) = numbers(call, start, end, step)? else { return Ok("".into()) };
    let texts = numbers.iter().map(format::text_of).collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<&[u8]> = texts.iter().map(|text| &text[..]).collect();
    Ok(texts.join(&b' ').into())
}
