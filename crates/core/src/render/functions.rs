//! Functions that templates may call beside the built-in ones of Go's `text/template`. All are pure.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gotmpl::{FuncMap, Result, TemplateError, Value};

/// Marks messages that are ours and thus free of values.
const OWN: &str = "rekey: ";

/// The functions by name, as Sprig and External Secrets templates call them.
pub fn all() -> FuncMap {
    let mut map = FuncMap::new();
    let mut text = |name: &'static str, function: fn(&str) -> Result<String>| {
        map.insert(
            name.to_owned(),
            Arc::new(move |arguments: &[Value]| Ok(Value::from(function(&last(name, arguments)?)?))),
        );
    };
    text("b64enc", |value| Ok(STANDARD.encode(value)));
    text("b64dec", |value| {
        let bytes = STANDARD.decode(value.trim()).map_err(|_| own("b64dec: the value is not base64"))?;
        String::from_utf8(bytes).map_err(|_| own("b64dec: the decoded value is not UTF-8 text"))
    });
    text("quote", |value| Ok(serde_json::Value::from(value).to_string()));
    text("upper", |value| Ok(value.to_uppercase()));
    text("lower", |value| Ok(value.to_lowercase()));
    text("trim", |value| Ok(value.trim().to_owned()));
    map.insert("toJson".to_owned(), Arc::new(|arguments: &[Value]| to_json(arguments)));
    map.insert("default".to_owned(), Arc::new(|arguments: &[Value]| default(arguments)));
    map.insert("replace".to_owned(), Arc::new(|arguments: &[Value]| replace(arguments)));
    map
}

/// The part of an engine message that one of our functions wrote.
pub fn own_error(text: &str) -> Option<&str> {
    text.find(OWN).map(|position| &text[position + OWN.len()..])
}

fn own(text: &str) -> TemplateError {
    TemplateError::Exec(format!("{OWN}{text}"))
}

fn last(name: &str, arguments: &[Value]) -> Result<String> {
    match arguments {
        [value] => Ok(value.to_string()),
        _ => Err(own(&format!("{name} takes one value"))),
    }
}

fn to_json(arguments: &[Value]) -> Result<Value> {
    match arguments {
        [value] => Ok(Value::from(json(value)?.to_string())),
        _ => Err(own("toJson takes one value")),
    }
}

fn json(value: &Value) -> Result<serde_json::Value> {
    Ok(match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_ref().into(),
        Value::List(items) => items.iter().map(json).collect::<Result<Vec<_>>>()?.into(),
        Value::Map(members) => {
            let members: Result<serde_json::Map<_, _>> =
                members.iter().map(|(key, value)| Ok((key.to_string(), json(value)?))).collect();
            members?.into()
        }
        Value::Function(_) => return Err(own("toJson: a function has no JSON form")),
    })
}

fn default(arguments: &[Value]) -> Result<Value> {
    match arguments {
        [fallback, value] => Ok(if gotmpl::is_true(value) { value.clone() } else { fallback.clone() }),
        [fallback] => Ok(fallback.clone()),
        _ => Err(own("default takes a fallback and a value")),
    }
}

fn replace(arguments: &[Value]) -> Result<Value> {
    match arguments {
        [from, to, text] => Ok(Value::from(text.to_string().replace(&from.to_string(), &to.to_string()))),
        _ => Err(own("replace takes what to replace, the replacement and the text")),
    }
}
