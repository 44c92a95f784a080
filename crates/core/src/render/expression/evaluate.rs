//! Runs an expression on the text of a JSON value; the result keeps the digits of the input.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use jmespath::{Context, ErrorReason, Rcvar, Runtime, RuntimeError, Variable, ast::Ast};
use serde_json::value::RawValue;

use crate::SecretBytes;

/// The most bytes of a result: a Secret cannot hold more.
const MAX_RESULT: usize = 1024 * 1024;

/// The text of each number of the input that a float cannot hold, by the address of its node. The interpreter passes
/// nodes on and never copies them, so the address shows which number of the input a number of the result is.
pub type Numbers = HashMap<usize, String>;

/// The functions of the language; `to_string` knows the digits of the input.
pub fn runtime(numbers: &Numbers) -> Runtime {
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    let numbers = numbers.clone();
    runtime.register_function(
        "to_string",
        Box::new(move |arguments: &[Rcvar], context: &mut Context<'_>| {
            let wrong = |reason| jmespath::JmespathError::from_ctx(context, ErrorReason::Runtime(reason));
            match arguments {
                [value] if value.is_string() => Ok(value.clone()),
                [value] => match text(value, &numbers) {
                    Some(text) => Ok(Rcvar::new(Variable::String(text))),
                    None => Err(wrong(RuntimeError::InvalidType {
                        expected: "a value of at most 1 MiB".to_owned(),
                        actual: "another".to_owned(),
                        position: 0,
                    })),
                },
                [] => Err(wrong(RuntimeError::NotEnoughArguments { expected: 1, actual: 0 })),
                more => Err(wrong(RuntimeError::TooManyArguments { expected: 1, actual: more.len() })),
            }
        }),
    );
    runtime
}

/// Runs `tree`; `None` when it gives a `null` that is not in the input: what it looks for does not exist.
pub fn evaluate(document: &RawValue, expression: &str, tree: &Ast) -> Result<Option<SecretBytes>, String> {
    let mut reading = Reading { numbers: Numbers::new(), null: Rcvar::new(Variable::Null) };
    let input = reading.read(document);
    let Reading { numbers, null } = reading;
    let runtime = runtime(&numbers);
    let mut context = Context::new(expression, &runtime);
    let result = jmespath::interpret(&input, tree, &mut context)
        .map_err(|error| format!("{} (at character {})", explain(&error.reason), error.offset + 1))?;
    match result.as_ref() {
        Variable::Null => Ok(Arc::ptr_eq(&result, &null).then(SecretBytes::default)),
        Variable::String(text) if text.len() <= MAX_RESULT => Ok(Some(SecretBytes::from(text.as_str()))),
        Variable::Expref(_) => Err("it gives a reference to an expression and no value; remove the `&`".to_owned()),
        Variable::String(_) | Variable::Bool(_) | Variable::Number(_) | Variable::Array(_) | Variable::Object(_) => {
            let text = match source(&input, document, &result) {
                Some(raw) => Some(raw.get().to_owned()).filter(|raw| raw.len() <= MAX_RESULT),
                None => text(&result, &numbers),
            };
            text.map(|text| Some(SecretBytes::from(text))).ok_or_else(|| "its result is larger than 1 MiB".to_owned())
        }
    }
}

/// The text of the list or object of the input that `wanted` is, if it is one.
fn source<'v>(node: &Rcvar, raw: &'v RawValue, wanted: &Rcvar) -> Option<&'v RawValue> {
    if !matches!(wanted.as_ref(), Variable::Array(_) | Variable::Object(_)) {
        return None;
    }
    if Arc::ptr_eq(node, wanted) {
        return Some(raw);
    }
    let holds = |node: &Rcvar| matches!(node.as_ref(), Variable::Array(_) | Variable::Object(_));
    match node.as_ref() {
        Variable::Object(members) if members.values().any(holds) => {
            let texts: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
            members.iter().find_map(|(name, member)| source(member, texts.get(name)?, wanted))
        }
        Variable::Array(items) if items.iter().any(holds) => {
            let texts: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            items.iter().zip(texts).find_map(|(item, text)| source(item, text, wanted))
        }
        _ => None,
    }
}

/// In our words, since the engine's may quote a value.
fn explain(reason: &ErrorReason) -> String {
    let ErrorReason::Runtime(error) = reason else {
        return "it cannot be evaluated".to_owned();
    };
    match error {
        RuntimeError::InvalidSlice => "a slice needs a step other than 0".to_owned(),
        RuntimeError::TooManyArguments { expected, actual } | RuntimeError::NotEnoughArguments { expected, actual } => {
            format!("the function takes {expected} arguments, not {actual}")
        }
        RuntimeError::UnknownFunction(name) => format!("there is no function {name:?}"),
        RuntimeError::InvalidType { expected, position, .. } => {
            format!("argument {} of the function must be {expected}", position + 1)
        }
        RuntimeError::InvalidReturnType { expected, position, .. } => {
            format!("the reference in argument {} of the function must give {expected}", position + 1)
        }
    }
}

/// Reads the input.
struct Reading {
    numbers: Numbers,
    /// Every `null` of the input, to distinguish it from one that the interpreter makes.
    null: Rcvar,
}

impl Reading {
    fn read(&mut self, raw: &RawValue) -> Rcvar {
        let json = raw.get();
        let scalar = || serde_json::from_str(json).unwrap_or(Variable::Null);
        let variable = match json.as_bytes().first() {
            Some(b'{') => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap_or_default();
                Variable::Object(members.into_iter().map(|(name, member)| (name, self.read(member))).collect())
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
                Variable::Array(items.into_iter().map(|item| self.read(item)).collect())
            }
            _ => scalar(),
        };
        if variable == Variable::Null {
            return Rcvar::clone(&self.null);
        }
        let node = Rcvar::new(variable);
        if let Variable::Number(number) = node.as_ref()
            && number.to_string() != json
        {
            self.numbers.insert(address(&node), json.to_owned());
        }
        node
    }
}

fn address(node: &Rcvar) -> usize {
    Arc::as_ptr(node).addr()
}

/// Compact JSON of at most 1 MiB.
fn text(value: &Rcvar, numbers: &Numbers) -> Option<String> {
    let mut text = String::new();
    write(value, numbers, &mut text)?;
    Some(text)
}

fn write(value: &Rcvar, numbers: &Numbers, text: &mut String) -> Option<()> {
    match value.as_ref() {
        Variable::Null => text.push_str("null"),
        Variable::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Variable::Number(number) => match numbers.get(&address(value)) {
            Some(digits) => text.push_str(digits),
            None => write!(text, "{number}").ok()?,
        },
        Variable::String(string) => text.push_str(&serde_json::to_string(string).ok()?),
        Variable::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                text.push_str(if position == 0 { "" } else { "," });
                write(item, numbers, text)?;
            }
            text.push(']');
        }
        Variable::Object(members) => {
            text.push('{');
            for (position, (name, member)) in members.iter().enumerate() {
                text.push_str(if position == 0 { "" } else { "," });
                text.push_str(&serde_json::to_string(name).ok()?);
                text.push(':');
                write(member, numbers, text)?;
            }
            text.push('}');
        }
        Variable::Expref(_) => return None,
    }
    (text.len() <= MAX_RESULT).then_some(())
}
