//! Names in a store become keys of a Secret.

use std::collections::BTreeMap;

use regex::Regex;
use rekey_api::policy::{KeyConversion, RegexpRewrite, Rewrite};

use super::{
    RenderError, kinds,
    replace::{Form, replaced},
    work::{Resource, Work},
};
use crate::{SecretBytes, SpecError, store::NamePattern};

/// What a rewrite costs beside the length of the name, in bytes.
const REWRITE: usize = 1024;
/// Characters of a name that a message shows.
const SHOWN: usize = 256;
/// A key may be this long between two rewrites; the last one must leave a key that a Secret can have.
const MAX_LENGTH: usize = 4096;

/// How names become keys of a Secret: changes, one after the other, and what becomes of characters that a key cannot have. The
/// expressions are compiled where they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrites {
    steps: Vec<(NamePattern, String)>,
    conversion: KeyConversion,
}

impl Rewrites {
    /// The rewrites of an entry. `at` is their path, for example `spec.source.remote.dataFrom[0].rewrite`. Those that this version
    /// does not act on are refused before.
    ///
    /// # Errors
    /// When a rewrite is none, or several at once.
    pub fn parse(at: &str, rewrites: &[Rewrite], conversion: KeyConversion) -> Result<Self, SpecError> {
        let step = |(index, rewrite): (usize, &Rewrite)| match rewrite {
            Rewrite { regexp: Some(RegexpRewrite { source, target }), transform: None, merge: None } => {
                Ok((NamePattern::new(source), target.clone()))
            }
            _ => Err(SpecError::field(&format!("{at}[{index}]"), "set exactly one of regexp, transform, merge")),
        };
        Ok(Self { steps: rewrites.iter().enumerate().map(step).collect::<Result<_, _>>()?, conversion })
    }

    /// Whether there is no expression.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Looks at the expressions. `field` is the path of the rewrites, for example `spec.source.remote.dataFrom[0].rewrite`.
    ///
    /// # Errors
    /// Names the expression that is wrong.
    pub fn prove(&self, field: &str) -> Result<(), SpecError> {
        let mut steps = self.steps.iter().enumerate();
        steps.try_for_each(|(index, (pattern, _))| pattern.prove(&format!("{field}[{index}].regexp.source")))
    }

    /// Gives each value its key: every match of the first expression is replaced, then of the second, and so on; then
    /// characters are converted. A remote key that a search found is a name as a whole: with `Underscore`, `shop/api-a` is
    /// `shop_api-a`.
    ///
    /// # Errors
    /// `InvalidKey` for a result that a Secret cannot have, `KeyClash` when two keys become one.
    pub fn apply(
        &self,
        values: BTreeMap<String, SecretBytes>,
        work: &Work,
    ) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
        let steps = self.steps(work)?;
        renamed(values, |name| Ok(converted(&rewrite(&steps, name, work)?, self.conversion)))
    }

    fn steps(&self, work: &Work) -> Result<Vec<(Regex, &str)>, RenderError> {
        let compile = |pattern: &NamePattern| {
            work.go_on()?;
            // What does not compile was refused when the policy was proven.
            pattern.compile().map_err(|key| RenderError::InvalidKey { key })
        };
        self.steps.iter().map(|(pattern, target)| Ok((compile(pattern)?, target.as_str()))).collect()
    }
}

/// The name with characters that a key cannot have converted, each for itself. The numbers are written as External Secrets
/// writes them: `_U002f_`.
fn converted(name: &str, conversion: KeyConversion) -> String {
    let one = |character: char| match conversion {
        _ if kinds::allowed(character) => character.to_string(),
        KeyConversion::None => character.to_string(),
        KeyConversion::Underscore => "_".to_owned(),
        KeyConversion::Unicode => format!("_U{:04x}_", u32::from(character)),
    };
    name.chars().map(one).collect()
}

fn rewrite(steps: &[(Regex, &str)], name: &str, work: &Work) -> Result<String, RenderError> {
    let too_long = || RenderError::InvalidKey { key: format!("{} after its rewrites", shown(name)) };
    let mut key = name.to_owned();
    for (regex, replacement) in steps {
        work.spend(Resource::Parsed, REWRITE + key.len())?;
        if key.len() > MAX_LENGTH {
            return Err(too_long());
        }
        let rewritten = replaced(regex, &key, replacement, Form::Groups, MAX_LENGTH, || work.go_on())?;
        key = rewritten.ok_or_else(too_long)?;
    }
    Ok(key)
}

/// The start of a name that is too long to be shown.
fn shown(name: &str) -> &str {
    let end = name.char_indices().nth(SHOWN).map_or(name.len(), |(end, _)| end);
    &name[..end]
}

fn renamed(
    values: BTreeMap<String, SecretBytes>,
    rename: impl Fn(&str) -> Result<String, RenderError>,
) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
    let mut named: BTreeMap<String, (String, SecretBytes)> = BTreeMap::new();
    for (name, value) in values {
        let key = rename(&name)?;
        if !kinds::valid_key(&key) {
            return Err(RenderError::InvalidKey { key: shown(&key).to_owned() });
        }
        if let Some((other, _)) = named.get(&key) {
            return Err(RenderError::KeyClash { first: other.clone(), second: name, key });
        }
        named.insert(key, (name, value));
    }
    Ok(named.into_iter().map(|(key, (_, value))| (key, value)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewrites(pairs: &[(&str, &str)]) -> Result<Rewrites, String> {
        converting(pairs, KeyConversion::None)
    }

    fn converting(pairs: &[(&str, &str)], conversion: KeyConversion) -> Result<Rewrites, String> {
        let regexp =
            |source: &str, target: &str| RegexpRewrite { source: source.to_owned(), target: target.to_owned() };
        let pairs: Vec<Rewrite> = pairs
            .iter()
            .map(|(source, target)| Rewrite { regexp: Some(regexp(source, target)), ..Rewrite::default() })
            .collect();
        let rewrites = Rewrites::parse("dataFrom.rewrite", &pairs, conversion).map_err(|error| error.to_string())?;
        rewrites.prove("dataFrom.rewrite").map_err(|error| error.to_string())?;
        Ok(rewrites)
    }

    fn values(names: &[&str]) -> BTreeMap<String, SecretBytes> {
        names.iter().map(|name| ((*name).to_owned(), SecretBytes::from(*name))).collect()
    }

    /// The keys, each with the name its value had.
    fn listed(result: Result<BTreeMap<String, SecretBytes>, RenderError>) -> Result<String, String> {
        let pair = |(key, value): (&String, &SecretBytes)| format!("{key}={}", value.expose_text().unwrap_or_default());
        result.map(|named| named.iter().map(pair).collect::<Vec<_>>().join(" ")).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_rewritten_in_order() -> Result<(), String> {
        for (pairs, names, expected) in [
            (vec![], vec!["a", "b"], "a=a b=b"),
            (vec![("^shop/(.*)$", "$1")], vec!["shop/user", "pass"], "pass=pass user=shop/user"),
            (vec![("^(.)", "x-${1}_"), ("_", ".")], vec!["ab"], "x-a.b=ab"),
            (vec![("(?P<first>.)(?P<rest>.*)", "$rest$first")], vec!["abc"], "bca=abc"),
            (vec![("o", "0")], vec!["foo"], "f00=foo"),
        ] {
            assert_eq!(
                listed(rewrites(&pairs)?.apply(values(&names), &Work::default())),
                Ok(expected.to_owned()),
                "{pairs:?}"
            );
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_a_key_is_named() -> Result<(), String> {
        for (pairs, names, expected) in [
            (vec![("^shop/", "")], vec!["shop/a", "a"], vec!["\"a\"", "\"shop/a\""]),
            (vec![("^a$", "")], vec!["a"], vec!["\"\" cannot be a key"]),
            (vec![("a", "a/b")], vec!["a"], vec!["\"a/b\" cannot be a key"]),
            (vec![("", "aaaaaaaaaa"); 16], vec!["a"], vec!["\"a after its rewrites\""]),
        ] {
            let text = listed(rewrites(&pairs)?.apply(values(&names), &Work::default())).err().unwrap_or_default();
            assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_broken_expression_is_refused_with_its_field() {
        let text = rewrites(&[("(", "")]).err().unwrap_or_default();
        assert!(text.starts_with("dataFrom.rewrite[0].regexp.source: \"(\""), "{text}");
        let text = rewrites(&[("(a{1000}){1000}", "")]).err().unwrap_or_default();
        assert!(text.contains("size"), "{text}");
    }

    #[test]
    fn converted_keys_fit_a_secret() -> Result<(), String> {
        use KeyConversion::{Underscore, Unicode};
        let names = ["shop/api-a", "shop/b:1", "ü", "😀", "_U002f_"];
        for (pairs, conversion, names, expected) in [
            (vec![], Underscore, &names[..3], "_=ü shop_api-a=shop/api-a shop_b_1=shop/b:1"),
            (
                vec![],
                Unicode,
                &names,
                "_U002f_=_U002f_ _U00fc_=ü _U1f600_=😀 shop_U002f_api-a=shop/api-a shop_U002f_b_U003a_1=shop/b:1",
            ),
            (vec![("^.*/", "")], Underscore, &names[..1], "api-a=shop/api-a"),
            (vec![("-", "/")], Unicode, &names[..1], "shop_U002f_api_U002f_a=shop/api-a"),
        ] {
            let found = converting(&pairs, conversion)?.apply(values(names), &Work::default());
            assert_eq!(listed(found), Ok(expected.to_owned()), "{pairs:?} {conversion:?}");
        }
        let clash = converting(&[], Underscore)?.apply(values(&["a/b", "a:b"]), &Work::default());
        let text = listed(clash).err().unwrap_or_default();
        assert!(text.contains("\"a/b\"") && text.contains("\"a:b\"") && text.contains("\"a_b\""), "{text}");
        Ok(())
    }

    proptest! {
        #[test]
        fn no_rewrite_leads_to_an_invalid_key(
            names in prop::collection::btree_set("\\PC{0,20}", 0..4),
            pattern in "[a-z.^$*()|]{0,6}",
            replacement in "[a-z/$0-9{}]{0,6}",
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for conversion in [KeyConversion::None, KeyConversion::Underscore, KeyConversion::Unicode] {
                let Ok(rewrites) = converting(&[(&pattern, &replacement)], conversion) else { continue };
                if let Ok(named) = rewrites.apply(values(&names), &Work::default()) {
                    prop_assert_eq!(named.len(), names.len());
                    prop_assert!(named.keys().all(|key| kinds::valid_key(key)));
                }
            }
        }
    }
}
