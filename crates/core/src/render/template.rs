//! Go templates: pure, bounded in size, loops and work, and with the functions of [`functions`](super::functions).

mod counted;
mod lexer;
mod nesting;
mod shape;

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use gotmpl::{MissingKey, Template, TemplateError, Value};

use self::shape::{Extent, Shape};
use super::{
    RenderError,
    functions::{self, Run},
    work::{Resource, Work},
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
    guarded(name, || parse(name, source, Template::new(name)).map(drop))
}

/// The templates of one policy: they see the same values, and what one does is missing for the others.
#[derive(Debug)]
pub struct Renderer<'a> {
    values: &'a BTreeMap<String, SecretBytes>,
    data: Value,
    seed: &'a Seed,
    work: &'a Arc<Work>,
}

impl<'a> Renderer<'a> {
    /// The values are `.name` fields of each template.
    #[must_use]
    pub fn new(values: &'a BTreeMap<String, SecretBytes>, seed: &'a Seed, work: &'a Arc<Work>) -> Self {
        Self { values, data: data(values), seed, work }
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
        let run = Arc::new(Run { seed: self.seed.within(name), work: Arc::clone(self.work) });
        let parsed = parse(name, source, Template::new(name).funcs(functions::all(&run)))?;
        let steps = usize::try_from(parsed.extent.steps).unwrap_or(usize::MAX);
        self.work.spend(Resource::Steps, steps).map_err(|ended| failed(name, ended.text()))?;
        let mut output = Bounded { text: String::new(), full: false, work: self.work };
        let result = parsed.execute(name, &mut output, &self.data);
        let output_full = output.full;
        let text = SecretBytes::new(functions::lower(&output.text));
        drop(SecretBytes::from(output.text));
        if output_full || text.len() > MAX_OUTPUT {
            return Err(failed(name, "its output is larger than 1 MiB"));
        }
        match result {
            Ok(()) if has_no_value(&text) && !self.values.values().any(has_no_value) => {
                Err(failed(name, "it prints something that is not there; check the names that `index` is given"))
            }
            Ok(()) => Ok(text),
            Err(error) => Err(failed(name, &explain(&error))),
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

/// What Go prints for `index` with a name that is not there. As a credential it would be worse than none.
fn has_no_value(text: &SecretBytes) -> bool {
    const NO_VALUE: &[u8] = b"<no value>";
    text.expose().windows(NO_VALUE.len()).any(|part| part == NO_VALUE)
}

/// A template that is ready to run.
struct Parsed {
    template: Template,
    extent: Extent,
    /// Whether the definitions were exchanged for such that count.
    counts: bool,
}

impl Parsed {
    fn execute(&self, name: &str, output: &mut Bounded<'_>, data: &Value) -> gotmpl::Result<()> {
        // What the engine has parsed stays as its main text; the one that counts is the definition of this name.
        if self.counts && self.template.lookup(name).is_some() {
            self.template.execute_template_fmt(output, name, data)
        } else {
            self.template.execute_fmt(output, data)
        }
    }
}

fn parse(name: &str, source: &str, template: Template) -> Result<Parsed, RenderError> {
    let wrong = |text: String| RenderError::TemplateSyntax { name: name.to_owned(), text };
    nesting::check(source).map_err(wrong)?;
    let mut template =
        template.missing_key(MissingKey::Error).parse(source).map_err(|error| wrong(error.to_string()))?;
    let mut shape = Shape::new(&template);
    let extent = shape.extent(name).map_err(wrong)?;
    let counted = counted::definitions(&template, &mut shape);
    let counts = counted.is_some();
    for (of, definition) in counted.into_iter().flatten() {
        template = template.add_parse_tree(&of, definition);
    }
    Ok(Parsed { template: template.max_range_iters(extent.rounds), extent, counts })
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
    let own = match error {
        TemplateError::UndefinedFunction(name) => return format!("there is no function {name:?}"),
        TemplateError::UndefinedTemplate(name) => return format!("there is no template {name:?}"),
        TemplateError::RangeIterLimit => {
            return "its loops do too many rounds (10,000 at most, fewer in a large template)".to_owned();
        }
        TemplateError::RecursionLimit => return "its blocks and templates are nested too deeply".to_owned(),
        TemplateError::MissingKey { key } => return format!("map has no entry for key: {key}"),
        TemplateError::Exec(text) => functions::own_error(text),
        // The engine's kinds of errors may become more.
        _ => None,
    };
    match own {
        Some(own) => own.to_owned(),
        None => "a function or field does not fit the value it was given (the value itself is not shown)".to_owned(),
    }
}

struct Bounded<'a> {
    text: String,
    full: bool,
    work: &'a Work,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.work.go_on().map_err(|_| fmt::Error)?;
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
