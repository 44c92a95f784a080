//! Names in a store become keys of a Secret.

use std::collections::BTreeMap;

use regex::Regex;
use rekey_api::policy::Rewrite;

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

/// Changes of keys, one after the other. They are compiled where they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrites(Vec<(NamePattern, String)>);

impl Rewrites {
    /// The rewrites of an entry.
    #[must_use]
    pub fn new(rewrites: &[Rewrite]) -> Self {
        Self(rewrites.iter().map(|at| (NamePattern::new(&at.regexp), at.replacement.clone())).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks at the expressions. `field` is the path of the rewrites, for example `spec.source.remote.dataFrom.rewrite`.
    ///
    /// # Errors
    /// Names the expression that is wrong.
    pub fn prove(&self, field: &str) -> Result<(), SpecError> {
        self.0.iter().try_for_each(|(pattern, _)| pattern.prove(&format!("{field}.regexp")))
    }

    /// Gives each value its new key: every match of the first expression is replaced, then of the second, and so on.
    ///
    /// # Errors
    /// `InvalidKey` for a result that a Secret cannot have, `KeyClash` when two keys become one.
    pub fn apply(
        &self,
        values: BTreeMap<String, SecretBytes>,
        work: &Work,
    ) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
        let steps = self.steps(work)?;
        renamed(values, |name| rewrite(&steps, name, work))
    }

    fn steps(&self, work: &Work) -> Result<Vec<(Regex, &str)>, RenderError> {
        let compile = |pattern: &NamePattern| {
            work.go_on()?;
            // What does not compile was refused when the policy was proven.
            pattern.compile().map_err(|key| RenderError::InvalidKey { key })
        };
        self.0.iter().map(|(pattern, replacement)| Ok((compile(pattern)?, replacement.as_str()))).collect()
    }
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

/// Values that a search found, by their remote key, become keys of the Secret: the whole remote key is rewritten, then
/// each character that a Secret's key cannot have becomes `_`, as in External Secrets: `shop/api-a` is `shop_api-a`.
///
/// # Errors
/// As for [`Rewrites::apply`].
pub fn found(
    values: BTreeMap<String, SecretBytes>,
    rewrites: &Rewrites,
    work: &Work,
) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
    let steps = rewrites.steps(work)?;
    renamed(values, |name| {
        let key = rewrite(&steps, name, work)?;
        Ok(key.chars().map(|character| if kinds::allowed(character) { character } else { '_' }).collect())
    })
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
        let pairs: Vec<Rewrite> = pairs
            .iter()
            .map(|(regexp, replacement)| Rewrite {
                regexp: (*regexp).to_owned(),
                replacement: (*replacement).to_owned(),
            })
            .collect();
        let rewrites = Rewrites::new(&pairs);
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
        assert!(text.starts_with("dataFrom.rewrite.regexp: \"(\""), "{text}");
        let text = rewrites(&[("(a{1000}){1000}", "")]).err().unwrap_or_default();
        assert!(text.contains("size"), "{text}");
    }

    #[test]
    fn found_keys_fit_a_secret() -> Result<(), String> {
        let plain = rewrites(&[])?;
        let names = ["shop/api-a", "shop/b:1", "ü"];
        assert_eq!(
            listed(found(values(&names), &plain, &Work::default())),
            Ok("_=ü shop_api-a=shop/api-a shop_b_1=shop/b:1".to_owned())
        );
        let base = rewrites(&[("^.*/", "")])?;
        assert_eq!(listed(found(values(&["shop/api-a"]), &base, &Work::default())), Ok("api-a=shop/api-a".to_owned()));
        let text = listed(found(values(&["a/b", "a:b"]), &plain, &Work::default())).err().unwrap_or_default();
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
            if let Ok(rewrites) = rewrites(&[(&pattern, &replacement)]) {
                for named in [rewrites.apply(values(&names), &Work::default()), found(values(&names), &rewrites, &Work::default())].into_iter().flatten() {
                    prop_assert_eq!(named.len(), names.len());
                    prop_assert!(named.keys().all(|key| kinds::valid_key(key)));
                }
            }
        }
    }
}
