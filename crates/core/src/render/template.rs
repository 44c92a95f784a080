//! Go templates: pure, bounded in size, loops and work, and with the functions of [`functions`](super::functions). The
//! engine does what Go's `text/template` does, on bytes. Where Go prints a mistake, such as `<no value>` or
//! `%!d(string=…)`, this is an error.

mod execute;
pub(super) mod format;
mod lexer;
mod parser;
mod tree;
pub(super) mod value;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use self::{
    tree::Definitions,
    value::{Map, Of, Value},
};
use super::{
    RenderError,
    functions::Run,
    work::{Resource, Work},
};
use crate::{SecretBytes, digest::DigestKey};

/// Where the salts of a template come from. The same inputs always render the same bytes, so salts are not random: they
/// follow from the Secret's seed, the place of the template and the arguments of the function.
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

    /// The seed of templates that make names of keys. Names are no secrets, and stay the same with another key.
    #[must_use]
    pub fn of_names() -> Self {
        Self { key: DigestKey::new(SecretBytes::default()), place: vec!["name".to_owned()] }
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

/// A template, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// Its name among those of the Secret. Salts follow from it.
    pub name: &'a str,
    /// Its field, as errors name it.
    pub at: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Whether messages must not quote the text.
    pub is_secret: bool,
}

impl<'a> Template<'a> {
    /// One that errors name and quote.
    #[must_use]
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, at: name, text, is_secret: false }
    }

    fn failed(&self, text: &str) -> RenderError {
        RenderError::TemplateFailed { at: self.at.to_owned(), text: text.to_owned() }
    }

    /// A text with the line and column of a place in bytes. Columns are in characters.
    fn placed(&self, at: usize, text: &str) -> String {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let text = if self.is_secret { HIDDEN } else { text };
        format!("line {line}, column {column}: {text}")
    }
}

/// The message in place of what is wrong with a template in a Secret.
const HIDDEN: &str = "the template does not work; Rekey quotes nothing from a Secret";

/// Parses a template without running it, so that Rekey finds a syntax error, an unknown function or a template without
/// an end before it fetches anything.
///
/// # Errors
/// `TemplateSyntax`; the text quotes the template, never a value.
pub fn check(template: &Template<'_>) -> Result<(), RenderError> {
    guarded(template, || parse(template).map(drop))
}

/// The templates of one policy: they see the same values and share one budget.
#[derive(Debug)]
pub struct Renderer<'a> {
    data: Map,
    seed: &'a Seed,
    work: &'a Arc<Work>,
}

impl<'a> Renderer<'a> {
    /// Each template has the values as `.name` fields.
    #[must_use]
    pub fn new(values: &BTreeMap<String, SecretBytes>, seed: &'a Seed, work: &'a Arc<Work>) -> Self {
        let members = values.iter().map(|(name, value)| (name.as_str().into(), Value::Text(value.clone().into())));
        // A `map[string]string`, as in External Secrets.
        Self { data: Map::with(Of::Text, members.collect()), seed, work }
    }

    /// Renders `template`. Values that are no UTF-8 text come out as they went in.
    ///
    /// # Errors
    /// `TemplateSyntax`; `TemplateFailed` for a missing key, a failed function, and a result that is too large or takes
    /// too long; `Stopped`.
    pub fn render(&self, template: &Template<'_>) -> Result<SecretBytes, RenderError> {
        let result = guarded(template, || self.run(template));
        // The stop is the cause, whatever error followed.
        self.work.go_on()?;
        result
    }

    fn run(&self, template: &Template<'_>) -> Result<SecretBytes, RenderError> {
        self.work.go_on()?;
        let definitions = parse(template)?;
        // The result of the parser is work, too.
        let parsed = self.work.spend(Resource::Steps, template.text.len() / 16);
        parsed.map_err(|ended| template.failed(ended.text()))?;
        let run = Run::new(self.seed.within(template.name), self.work);
        match execute::execute(&definitions, template.name, &self.data, &run) {
            Ok(output) => Ok(SecretBytes::new(output)),
            Err(stopped) => Err(template.failed(&template.placed(stopped.at, &stopped.text))),
        }
    }
}

/// The engine is well tested; if it panics all the same, only this template fails.
fn guarded<T>(template: &Template<'_>, run: impl FnOnce() -> Result<T, RenderError>) -> Result<T, RenderError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(template.failed("the template engine cannot work with it; write it in another way, and report it as a bug"))
    })
}

fn parse(template: &Template<'_>) -> Result<Definitions, RenderError> {
    parser::parse(template.name, template.text).map_err(|wrong| RenderError::TemplateSyntax {
        at: template.at.to_owned(),
        text: template.placed(wrong.at, &wrong.text),
    })
}

#[cfg(test)]
mod tests;
