//! Built-in functions of the engine whose cost depends on what they are given: they do what the engine does, within the
//! bounds.

use std::cmp::Ordering;

use gotmpl::{Template, Value};

use super::{
    Entry,
    call::{Call, Failure, Outcome, int, list, string},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("print", text),
    ("println", text),
    ("printf", printf),
    ("html", text),
    ("js", text),
    ("urlquery", text),
    ("slice", slice),
    ("eq", compare),
    ("ne", compare),
    ("lt", compare),
    ("le", compare),
    ("gt", compare),
    ("ge", compare),
    // What it is given may hold a value, so it is not repeated.
    ("fail", |call| call.fail("the template calls it")),
];

/// Widths and precisions that `printf` may be given.
const MAX_WIDTH: u32 = 1000;

/// What the engine's own function of this name prints.
fn text(call: &Call<'_>) -> Outcome {
    call.takes_at_least(1, "at least one value")?;
    engine(call).map(string)
}

fn printf(call: &Call<'_>) -> Outcome {
    let format = call.text(0)?;
    let wide = |digits: &str| digits.len() > 4 || digits.parse::<u32>().is_ok_and(|width| width > MAX_WIDTH);
    if format.contains('*') || format.split(|character: char| !character.is_ascii_digit()).any(wide) {
        return call.fail(format!("a width may be {MAX_WIDTH} at most, and must be written as digits, without `*`"));
    }
    let text = engine(call)?;
    // What Go prints for a verb that does not fit. As a credential it would be worse than none.
    let misfit = |text: &str| text.contains("%!");
    if misfit(&text) && !format.contains("%%") && !call.arguments.iter().any(|given| misfit(&given.to_string())) {
        return call.fail("a verb does not fit the value it is for, or has none");
    }
    Ok(string(text))
}

/// Calls the engine's function of the same name.
fn engine(call: &Call<'_>) -> Result<String, Failure> {
    let arguments: Vec<String> = (0..call.arguments.len()).map(|position| format!("(index . {position})")).collect();
    let source = format!("{{{{ {} {} }}}}", call.name, arguments.join(" "));
    let template = Template::new("call").parse(&source);
    let result = template.and_then(|template| template.execute_to_string(&list(call.arguments.to_vec())));
    result.map_or_else(|_| call.fail("it does not fit what it was given"), Ok)
}

fn compare(call: &Call<'_>) -> Outcome {
    call.takes_at_least(2, "two values")?;
    let first = call.value(0)?;
    let mut orders = call.arguments[1..].iter().map(|other| order(call, first, other));
    let holds = match call.name {
        "eq" => orders.collect::<Result<Vec<_>, _>>()?.into_iter().any(Ordering::is_eq),
        name => {
            call.takes(2, "two values")?;
            let order = orders.next().unwrap_or_else(|| call.fail("it takes two values"))?;
            match name {
                "ne" => order.is_ne(),
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }
        }
    };
    Ok(Value::Bool(holds))
}

fn order(call: &Call<'_>, first: &Value, second: &Value) -> Result<Ordering, Failure> {
    let order = match (first, second) {
        (Value::String(first), Value::String(second)) => Some(first.cmp(second)),
        (Value::Bool(first), Value::Bool(second)) => Some(first.cmp(second)),
        (Value::Float(first), Value::Float(second)) => first.partial_cmp(second),
        (Value::Int(_) | Value::Uint(_), Value::Int(_) | Value::Uint(_)) => Some(int(first).cmp(&int(second))),
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::Nil, _) | (_, Value::Nil) if matches!(call.name, "eq" | "ne") => Some(Ordering::Less),
        _ => None,
    };
    order.map_or_else(|| call.fail("it compares values of one kind: texts, numbers or bools"), Ok)
}

fn slice(call: &Call<'_>) -> Outcome {
    call.takes_at_least(1, "a list or a text, and the positions from and to")?;
    let value = call.value(0)?;
    let length = match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        _ => return call.fail("it takes a list or a text"),
    };
    let from = if call.arguments.len() > 1 { call.size(1)? } else { 0 };
    let to = if call.arguments.len() > 2 { call.size(2)? } else { length };
    let part = match value {
        Value::String(text) => text.get(from..to).map(string),
        Value::List(items) => items.get(from..to).map(|part| list(part.to_vec())),
        _ => None,
    };
    part.map_or_else(|| call.fail("the positions are outside of it"), Ok)
}
