//! Go templates: pure, bounded in size, loops and work, and with the functions of [`functions`](super::functions). The
//! engine does what Go's `text/template` does, on bytes. What Go would print of a mistake, such as `<no value>` or
//! `%!d(string=…)`, is an error.

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

/// Where the salts of a template come from. The same inputs always render the same bytes, so salts are not drawn: they
/// follow from the Secret's seed, the place of the template and what the function is given.
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
    guarded(name, || parse(name, source).map(drop))
}

/// The templates of one policy: they see the same values, and what one does is missing for the others.
#[derive(Debug)]
pub struct Renderer<'a> {
    data: Map,
    seed: &'a Seed,
    work: &'a Arc<Work>,
}

impl<'a> Renderer<'a> {
    /// The values are `.name` fields of each template.
    #[must_use]
    pub fn new(values: &BTreeMap<String, SecretBytes>, seed: &'a Seed, work: &'a Arc<Work>) -> Self {
        let members = values.iter().map(|(name, value)| (name.as_str().into(), Value::Text(value.clone().into())));
        // A `map[string]string`, as in External Secrets.
        Self { data: Map::with(Of::Text, members.collect()), seed, work }
    }

    /// Renders `source`. Values that are no UTF-8 text come out as they went in.
    ///
    /// # Errors
    /// `TemplateSyntax`; `TemplateFailed` for a missing key, a failed function, and what is too large or too long;
    /// `Stopped`.
    pub fn render(&self, name: &str, source: &str) -> Result<SecretBytes, RenderError> {
        let result = guarded(name, || self.run(name, source));
        // Whatever went wrong, that was why.
        self.work.go_on()?;
        result
    }

    fn run(&self, name: &str, source: &str) -> Result<SecretBytes, RenderError> {
        self.work.go_on()?;
        let definitions = parse(name, source)?;
        // What the parser has made is work too.
        let parsed = self.work.spend(Resource::Steps, source.len() / 16);
        parsed.map_err(|ended| failed(name, ended.text()))?;
        let run = Run::new(self.seed.within(name), self.work);
        match execute::execute(&definitions, name, &self.data, &run) {
            Ok(output) => Ok(SecretBytes::new(output)),
            Err(stopped) => Err(failed(name, &placed(source, stopped.at, &stopped.text))),
        }
    }
}

/// The engine has its own tests and ours; should it panic all the same, that is an error of this template and of no
/// other.
fn guarded<T>(name: &str, run: impl FnOnce() -> Result<T, RenderError>) -> Result<T, RenderError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(failed(name, "the template engine cannot work with it; write it in another way, and report it as a bug"))
    })
}

fn parse(name: &str, source: &str) -> Result<Definitions, RenderError> {
    parser::parse(name, source).map_err(|wrong| RenderError::TemplateSyntax {
        name: name.to_owned(),
        text: placed(source, wrong.at, &wrong.text),
    })
}

/// A text with the line and column of a place in bytes. Columns are in characters.
fn placed(source: &str, at: usize, text: &str) -> String {
    let before = source.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {text}")
}

fn failed(name: &str, text: &str) -> RenderError {
    RenderError::TemplateFailed { name: name.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests;
