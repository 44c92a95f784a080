//! Go templates: pure, bounded in size, loops and work, and with the functions of [`functions`](super::functions).

mod shape;

use std::{collections::BTreeMap, fmt, sync::Arc};

use gotmpl::{MissingKey, Template, TemplateError, Value};

use super::{
    RenderError,
    functions::{self, Run},
};
use crate::{SecretBytes, digest::DigestKey};

/// Output of one template, in bytes: a Secret cannot hold more than 1 MiB in all.
const MAX_OUTPUT: usize = 1024 * 1024;

/// Where the salts of a template come from. The same inputs always render the same bytes, so salts are not drawn: they
/// follow from the installation's key, the place of the template and what the function is given.
#[derive(Clone, Debug)]
pub struct Seed {
    key: DigestKey,
    place: Vec<String>,
}

impl Seed {
    /// The seed of the templates of one Secret.
    #[must_use]
    pub fn new(key: &DigestKey, namespace: &str, secret: &str) -> Self {
        Self { key: key.clone(), place: vec!["template".to_owned(), namespace.to_owned(), secret.to_owned()] }
    }

    fn within(&self, name: &str) -> Self {
        let mut within = self.clone();
        within.place.push(name.to_owned());
        within
    }

    /// At most 32 bytes for one purpose and input.
    pub(super) fn bytes<const LENGTH: usize>(&self, purpose: &[&str], input: Vec<u8>) -> [u8; LENGTH] {
        let context: Vec<&str> = self.place.iter().map(String::as_str).chain(purpose.iter().copied()).collect();
        let derived = self.key.derive(&context, &SecretBytes::new(input));
        let mut bytes = [0; LENGTH];
        bytes.iter_mut().zip(derived).for_each(|(byte, derived)| *byte = derived);
        bytes
    }
}

/// Parses a template without running it, so that a syntax error, an unknown function or a template without an end is
/// found before anything is fetched.
///
/// # Errors
/// `TemplateSyntax`; the text quotes the template, never a value.
pub fn check(name: &str, source: &str) -> Result<(), RenderError> {
    parse(name, source, Template::new(name)).map(drop)
}

/// Renders `source` with the fetched values as `.name` fields. Values that are no UTF-8 text come out as they went in.
///
/// # Errors
/// `TemplateSyntax`, or `TemplateFailed` for a missing key, a failed function, and what is too large or too long.
pub fn render(
    name: &str,
    source: &str,
    values: &BTreeMap<String, SecretBytes>,
    seed: &Seed,
) -> Result<SecretBytes, RenderError> {
    let run = Arc::new(Run::new(seed.within(name)));
    let template = parse(name, source, Template::new(name).funcs(functions::all(&run)))?;
    let mut output = Bounded { text: String::new(), full: false };
    let result = template.execute_fmt(&mut output, &data(values));
    let output_full = output.full;
    let text = SecretBytes::new(functions::lower(&output.text));
    drop(SecretBytes::from(output.text));
    if output_full || text.len() > MAX_OUTPUT {
        return Err(failed(name, "its output is larger than 1 MiB"));
    }
    match result {
        Ok(()) if has_no_value(&text) && !values.values().any(has_no_value) => {
            Err(failed(name, "it prints something that is not there; check the names that `index` is given"))
        }
        Ok(()) => Ok(text),
        Err(error) => Err(failed(name, &explain(&error))),
    }
}

/// What Go prints for `index` with a name that is not there. As a credential it would be worse than none.
fn has_no_value(text: &SecretBytes) -> bool {
    const NO_VALUE: &[u8] = b"<no value>";
    text.expose().windows(NO_VALUE.len()).any(|part| part == NO_VALUE)
}

fn parse(name: &str, source: &str, template: Template) -> Result<Template, RenderError> {
    let wrong = |text: String| RenderError::TemplateSyntax { name: name.to_owned(), text };
    shape::nesting(source).map_err(wrong)?;
    let parsed = template.missing_key(MissingKey::Error).parse(source).map_err(|error| wrong(error.to_string()))?;
    let rounds = shape::rounds(name, &parsed).map_err(wrong)?;
    Ok(parsed.max_range_iters(rounds))
}

fn data(values: &BTreeMap<String, SecretBytes>) -> Value {
    let members: BTreeMap<Arc<str>, Value> =
        values.iter().map(|(key, value)| (Arc::from(key.as_str()), functions::value(value.expose()))).collect();
    Value::Map(Arc::new(members))
}

fn failed(name: &str, text: &str) -> RenderError {
    RenderError::TemplateFailed { name: name.to_owned(), text: text.to_owned() }
}

/// Says what went wrong in words of ours: messages of the engine may quote the values it worked on.
fn explain(error: &TemplateError) -> String {
    match error {
        TemplateError::UndefinedFunction(name) => return format!("there is no function {name:?}"),
        TemplateError::UndefinedTemplate(name) => return format!("there is no template {name:?}"),
        TemplateError::RangeIterLimit => {
            return "its loops do too many rounds (10,000 at most, fewer in a large template)".to_owned();
        }
        TemplateError::RecursionLimit => return "its blocks and templates are nested too deeply".to_owned(),
        _ => {}
    }
    let text = error.to_string();
    if let Some(position) = text.find("map has no entry for key") {
        return text[position..].to_owned();
    }
    match functions::own_error(&text) {
        Some(own) => own.to_owned(),
        None => "a function or field does not fit the value it was given (the value itself is not shown)".to_owned(),
    }
}

struct Bounded {
    text: String,
    full: bool,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        // A byte that is no text takes four here.
        if self.text.len() + more.len() > 4 * MAX_OUTPUT {
            self.full = true;
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
