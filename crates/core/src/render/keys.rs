//! Names in a store become keys of a Secret.

mod merge;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use rekey_api::policy::{KeyConversion, Rewrite};

use self::merge::Merge;
use super::{
    RenderError, kinds,
    template::{self, Template},
    work::{Resource, Work},
};
use crate::{
    SecretBytes, SpecError,
    regexp::{Haystack, Regexp, Replacement},
    store::NamePattern,
};

/// The cost of a rewrite beside the length of the name, in bytes.
const REWRITE: usize = 1024;
/// Characters of a name that a message shows.
const SHOWN: usize = 256;
/// The longest key between two rewrites; the last one must leave a key that a Secret can have.
const MAX_LENGTH: usize = 4096;

/// How names become keys of a Secret: changes, one after the other, and the conversion of characters that a key cannot
/// have. The expressions and templates compile when they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrites {
    /// Their path, for example `spec.source.remote.dataFrom[0].rewrite`.
    at: String,
    steps: Vec<Step>,
    conversion: KeyConversion,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Replaces every match of an expression.
    Regexp(NamePattern, String),
    /// A template makes the new name.
    Transform(String),
    /// The values become one object.
    Merge(Merge),
}

/// Values by their current name, each with its first name.
type Named = BTreeMap<String, (String, SecretBytes)>;

impl Rewrites {
    /// The rewrites of an entry. `at` is their path, for example `spec.source.remote.dataFrom[0].rewrite`.
    ///
    /// # Errors
    /// When a rewrite sets none or several of its fields, or a merge has no place to go.
    pub fn parse(at: &str, rewrites: &[Rewrite], conversion: KeyConversion) -> Result<Self, SpecError> {
        let step = |(index, rewrite): (usize, &Rewrite)| match (&rewrite.regexp, &rewrite.transform, &rewrite.merge) {
            (Some(regexp), None, None) => Ok(Step::Regexp(NamePattern::new(&regexp.source), regexp.target.clone())),
            (None, Some(transform), None) => Ok(Step::Transform(transform.template.clone())),
            (None, None, Some(merge)) => Merge::parse(&format!("{at}[{index}]"), merge).map(Step::Merge),
            _ => Err(SpecError::field(&format!("{at}[{index}]"), "set exactly one of regexp, transform, merge")),
        };
        let steps = rewrites.iter().enumerate().map(step).collect::<Result<_, _>>()?;
        Ok(Self { at: at.to_owned(), steps, conversion })
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Checks the expressions and templates.
    ///
    /// # Errors
    /// Names the one that is wrong; when `work` has not as much left.
    pub fn prove(&self, work: &Work) -> Result<(), SpecError> {
        self.steps.iter().enumerate().try_for_each(|(index, step)| match step {
            Step::Regexp(pattern, _) => {
                work.spend(Resource::Slow, pattern.price())?;
                pattern.prove(&format!("{}[{index}].regexp.source", self.at))
            }
            Step::Transform(text) => {
                let at = &transform_at(&self.at(index));
                Ok(template::check(&Template { at, ..Template::new("rewrite", text) })?)
            }
            Step::Merge(_) => Ok(()),
        })
    }

    fn at(&self, index: usize) -> String {
        format!("{}[{index}]", self.at)
    }

    /// Gives each value its key: applies one change after the other, then converts characters. A remote key that a
    /// search found is one name: with `Underscore`, `shop/api-a` is `shop_api-a`.
    ///
    /// # Errors
    /// `InvalidKey` for a result that a Secret cannot have, `KeyClash` when two keys become one, and the errors of
    /// templates and merges.
    pub fn apply(
        &self,
        values: BTreeMap<String, SecretBytes>,
        work: &Work,
    ) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
        let mut named: Named = values.into_iter().map(|(name, value)| (name.clone(), (name, value))).collect();
        for (index, step) in self.steps.iter().enumerate() {
            work.go_on()?;
            named = step.apply(&self.at(index), named, work)?;
        }
        let named = renamed(named, |name, _| Ok(converted(name, self.conversion)))?;
        match named.keys().find(|key| !kinds::valid_key(key)) {
            Some(key) => Err(RenderError::InvalidKey { key: shown(key).to_owned() }),
            None => Ok(named.into_iter().map(|(key, (_, value))| (key, value)).collect()),
        }
    }
}

impl Step {
    fn apply(&self, at: &str, named: Named, work: &Work) -> Result<Named, RenderError> {
        match self {
            Self::Regexp(pattern, target) => {
                work.spend(Resource::Slow, pattern.price())?;
                // The check of the policy has refused what does not compile.
                let regexp = pattern.compile().map_err(|key| RenderError::InvalidKey { key })?;
                renamed(named, |name, first| rewritten(&regexp, target, (name, first), work))
            }
            Self::Transform(text) => {
                let (at, work) = (transform_at(at), Arc::new(work.clone()));
                renamed(named, |name, first| transformed(&at, text, (name, first), &work))
            }
            Self::Merge(merge) => merge.apply(at, named, work),
        }
    }
}

fn transform_at(at: &str) -> String {
    format!("{at}.transform.template")
}

/// The name with characters that a key cannot have converted, each for itself. The numbers have the form of External
/// Secrets: `_U002f_`.
fn converted(name: &str, conversion: KeyConversion) -> String {
    let one = |character: char| match conversion {
        _ if kinds::allowed(character) => character.to_string(),
        KeyConversion::None => character.to_string(),
        KeyConversion::Underscore => "_".to_owned(),
        KeyConversion::Unicode => format!("_U{:04x}_", u32::from(character)),
    };
    name.chars().map(one).collect()
}

fn rewritten(regexp: &Regexp, target: &str, (name, first): (&str, &str), work: &Work) -> Result<String, RenderError> {
    work.spend(Resource::Parsed, REWRITE + name.len())?;
    let replacement = Replacement { text: target.as_bytes(), has_groups: true, limit: MAX_LENGTH };
    let rewritten = replacement.apply(regexp, &Haystack::new(name.as_bytes()), || work.go_on())?;
    rewritten.map(|name| String::from_utf8_lossy(&name).into_owned()).map_err(|_| too_long(first))
}

/// The name that a template makes of another one.
fn transformed(at: &str, text: &str, (name, first): (&str, &str), work: &Arc<Work>) -> Result<String, RenderError> {
    work.spend(Resource::Parsed, REWRITE + name.len())?;
    let values = [("value".to_owned(), SecretBytes::from(name))].into();
    let at = &format!("{at} for {:?}", shown(name));
    let template = Template { at, ..Template::new("rewrite", text) };
    let made = template::Renderer::new(&values, &template::Seed::of_names(), work).render(&template)?;
    if made.len() > MAX_LENGTH {
        return Err(too_long(first));
    }
    Ok(String::from_utf8_lossy(made.expose()).into_owned())
}

fn too_long(first: &str) -> RenderError {
    RenderError::InvalidKey { key: format!("{} after its rewrites", shown(first)) }
}

/// The start of a name that is too long to show.
fn shown(name: &str) -> &str {
    let end = name.char_indices().nth(SHOWN).map_or(name.len(), |(end, _)| end);
    &name[..end]
}

/// Gives each value another name, made from its current and its first name.
fn renamed(values: Named, rename: impl Fn(&str, &str) -> Result<String, RenderError>) -> Result<Named, RenderError> {
    let mut named = Named::new();
    for (name, (first, value)) in values {
        let key = rename(&name, &first)?;
        if let Some((other, _)) = named.get(&key) {
            return Err(RenderError::KeyClash { first: other.clone(), second: first, key: shown(&key).to_owned() });
        }
        named.insert(key, (first, value));
    }
    Ok(named)
}
