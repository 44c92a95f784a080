//! Who may use a `ClusterRemoteStore`, for which keys, and how. Nobody may what no grant allows.

mod search;

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{Selector, SelectorExt as _};
use rekey_api::store::{Grant, GrantOperation};

use crate::SpecError;

/// Names of remote keys: `*` stands for any characters, `/` among them; every other character stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGlob(String);

impl KeyGlob {
    /// From its text; every text is a glob.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the whole of `key` fits.
    ///
    /// A key with a part `.` or `..` fits nothing: what walks along it may arrive somewhere else than it seems.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        if key.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
            return false;
        }
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = key.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            // The leftmost place leaves the most for the parts that follow.
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

/// The namespace of the policy or schedule that uses a store.
#[derive(Clone, Copy, Debug)]
pub struct Consumer<'a> {
    /// Its name.
    pub namespace: &'a str,
    /// Its labels, where they are known.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// What is wanted of a store.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// With which key, or path of an engine.
    pub key: &'a str,
    /// What.
    pub operation: GrantOperation,
}

/// What the grants say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A grant allows it.
    Granted,
    /// No grant allows it.
    Refused,
    /// It depends on the labels of the namespace, which are not known.
    Depends,
}

/// The parsed grants of a store.
#[derive(Clone, Debug)]
pub struct Grants(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    names: BTreeSet<String>,
    selector: Option<Selector>,
    keys: Vec<KeyGlob>,
    operations: BTreeSet<GrantOperation>,
}

impl Grants {
    /// Reads grants.
    ///
    /// # Errors
    /// For a grant to nobody, an empty selector, and a selector that is none.
    pub fn parse(grants: &[Grant]) -> Result<Self, SpecError> {
        grants.iter().enumerate().map(|(index, grant)| Rule::parse(index, grant)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether any grant goes by labels of namespaces.
    #[must_use]
    pub fn ask_for_labels(&self) -> bool {
        self.0.iter().any(|rule| rule.selector.is_some())
    }

    /// Whether `consumer` may do this with any key at all.
    #[must_use]
    pub fn judge_any(&self, consumer: Consumer<'_>, operation: GrantOperation) -> Verdict {
        verdict(self.0.iter().filter(|rule| rule.operations.contains(&operation)), consumer)
    }

    /// Those of the keys that `consumer` may read; `None`: it depends on labels that are not known.
    #[must_use]
    pub fn readable(&self, consumer: Consumer<'_>, keys: Vec<String>) -> Option<Vec<String>> {
        let judged = keys.into_iter().map(|key| {
            let wish = Wish { key: &key, operation: GrantOperation::Read };
            (self.judge(consumer, wish), key)
        });
        judged
            .filter_map(|(verdict, key)| match verdict {
                Verdict::Granted => Some(Some(key)),
                Verdict::Refused => None,
                Verdict::Depends => Some(None),
            })
            .collect()
    }

    /// Whether `consumer` may do what it wishes. One grant that fits is enough.
    #[must_use]
    pub fn judge(&self, consumer: Consumer<'_>, wish: Wish<'_>) -> Verdict {
        let fitting = self.0.iter().filter(|rule| {
            rule.operations.contains(&wish.operation) && rule.keys.iter().any(|glob| glob.matches(wish.key))
        });
        verdict(fitting, consumer)
    }
}

fn verdict<'r>(rules: impl Iterator<Item = &'r Rule>, consumer: Consumer<'_>) -> Verdict {
    let mut verdict = Verdict::Refused;
    for rule in rules {
        match rule.selects(consumer) {
            Some(true) => return Verdict::Granted,
            Some(false) => {}
            None => verdict = Verdict::Depends,
        }
    }
    verdict
}

impl Rule {
    fn parse(index: usize, grant: &Grant) -> Result<Self, SpecError> {
        let field = format!("spec.grants[{index}].namespaces");
        let selector = match &grant.namespaces.selector {
            None => None,
            Some(selector) => {
                let refused =
                    |_| SpecError::field(&format!("{field}.selector"), "an operator or its values do not fit");
                let selector = Selector::try_from(selector.clone()).map_err(refused)?;
                if selector.selects_all() {
                    let fix = "it is empty and would select every namespace; add matchLabels or matchExpressions";
                    return Err(SpecError::field(&format!("{field}.selector"), fix));
                }
                Some(selector)
            }
        };
        if grant.namespaces.names.is_empty() && selector.is_none() {
            return Err(SpecError::field(&field, "set names or selector; a grant to nobody is a mistake"));
        }
        Ok(Self {
            names: grant.namespaces.names.iter().cloned().collect(),
            selector,
            keys: grant.keys.iter().map(|key| KeyGlob::new(key)).collect(),
            operations: grant.operations.iter().copied().collect(),
        })
    }

    /// Whether the namespace is meant; `None`: its labels would tell.
    fn selects(&self, consumer: Consumer<'_>) -> Option<bool> {
        if self.names.contains(consumer.namespace) {
            return Some(true);
        }
        match &self.selector {
            None => Some(false),
            Some(selector) => consumer.labels.map(|labels| selector.matches(labels)),
        }
    }
}

/// The text for a search of somebody who may read nothing there.
#[must_use]
pub fn refusal_of_search(consumer: Consumer<'_>, path: Option<&str>) -> String {
    let place = path.filter(|path| !path.is_empty()).map(|path| format!(" below {path:?}")).unwrap_or_default();
    format!(
        "no grant lets namespace {:?} Read any key{place}, so there is nothing to search; whoever administers the store \
         can add one to its spec.grants",
        consumer.namespace
    )
}

/// The text for who is refused. It says what is missing and who can give it, and nothing of what others were granted.
#[must_use]
pub fn refusal(consumer: Consumer<'_>, wish: Wish<'_>) -> String {
    let operation = match wish.operation {
        GrantOperation::Read => "Read",
        GrantOperation::Write => "Write",
    };
    format!(
        "no grant lets namespace {:?} {operation} key {:?}; whoever administers the store can add one to its spec.grants",
        consumer.namespace, wish.key
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_does() {
        for (glob, key, expected) in [
            ("shop/db", "shop/db", true),
            ("shop/db", "shop/db2", false),
            ("shop/db", "a/shop/db", false),
            ("shop/*", "shop/db", true),
            ("shop/*", "shop/orders/db", true),
            ("shop/*", "shop/", true),
            ("shop/*", "shop", false),
            ("shop/*", "shopping/db", false),
            ("shop*", "shopping/db", true),
            ("*/db", "shop/orders/db", true),
            ("*/db", "db", false),
            ("*", "", true),
            ("*", "anything/at all", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
            ("a?c", "abc", false),
            ("a?c", "a?c", true),
            ("a[bc]", "ab", false),
            ("Shop/*", "shop/db", false),
            ("shop/*", "shop/../admin", false),
            ("shop/*", "shop/./db", false),
            ("shop/*", r"shop\..\admin", false),
            ("shop/*", "shop/..db", true),
            ("", "", true),
            ("", "a", false),
            ("grün/*", "grün/ß", true),
        ] {
            assert_eq!(KeyGlob::new(glob).matches(key), expected, "{glob:?} {key:?}");
        }
    }

    fn grants(value: Value) -> Result<Grants, SpecError> {
        let grants: Vec<Grant> = serde_json::from_value(value).unwrap();
        Grants::parse(&grants)
    }

    fn judge(
        grants: &Grants,
        namespace: &str,
        labels: Option<&[(&str, &str)]>,
        wish: (&str, GrantOperation),
    ) -> Verdict {
        let labels: Option<BTreeMap<String, String>> =
            labels.map(|all| all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        let (key, operation) = wish;
        grants.judge(Consumer { namespace, labels: labels.as_ref() }, Wish { key, operation })
    }

    #[test]
    fn nobody_may_what_no_grant_allows() {
        use GrantOperation::{Read, Write};
        use Verdict::{Depends, Granted, Refused};
        let none = grants(json!([])).unwrap();
        assert_eq!(judge(&none, "shop", Some(&[]), ("shop/db", Read)), Refused);
        let some = grants(json!([
            {"namespaces": {"names": ["shop"]}, "keys": ["shop/*"], "operations": ["Read", "Write"]},
            {"namespaces": {"names": ["ops"], "selector": {"matchLabels": {"team": "pay"},
                "matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["test"]}]}},
                "keys": ["pay/*", "shared"], "operations": ["Read"]},
        ]))
        .unwrap();
        assert!(some.ask_for_labels());
        let pay: &[(&str, &str)] = &[("team", "pay")];
        for (namespace, labels, wish, expected) in [
            ("shop", None, ("shop/db", Read), Granted),
            ("shop", None, ("shop/db", Write), Granted),
            ("shop", Some([].as_slice()), ("pay/db", Read), Refused),
            ("shop", None, ("pay/db", Read), Depends),
            ("shop", None, ("pay/db", Write), Refused),
            ("shop", None, ("other", Read), Refused),
            ("ops", None, ("pay/db", Read), Granted),
            ("ops", None, ("pay/db", Write), Refused),
            ("a", Some(pay), ("pay/db", Read), Granted),
            ("a", Some(pay), ("shared", Read), Granted),
            ("a", Some(pay), ("shop/db", Read), Refused),
            ("a", Some(&[("team", "pay"), ("stage", "test")]), ("pay/db", Read), Refused),
            ("a", Some(&[("team", "other")]), ("pay/db", Read), Refused),
        ] {
            assert_eq!(judge(&some, namespace, labels, wish), expected, "{namespace} {labels:?} {wish:?}");
        }
    }

    #[test]
    fn a_search_shows_only_what_may_be_read() {
        let some = grants(json!([
            {"namespaces": {"names": ["shop"]}, "keys": ["shop/*"], "operations": ["Read"]},
            {"namespaces": {"names": ["shop"]}, "keys": ["drop/*"], "operations": ["Write"]},
            {"namespaces": {"selector": {"matchLabels": {"team": "pay"}}}, "keys": ["pay/*"], "operations": ["Read"]},
        ]))
        .unwrap();
        let consumer = |labels| Consumer { namespace: "shop", labels };
        let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let none = BTreeMap::new();
        let found = keys(&["drop/a", "other", "pay/a", "shop/a", "shop/b"]);
        assert_eq!(some.readable(consumer(Some(&none)), found.clone()), Some(keys(&["shop/a", "shop/b"])));
        assert_eq!(some.readable(consumer(None), found), None);
        assert_eq!(some.readable(consumer(None), keys(&["drop/a", "shop/a"])), Some(keys(&["shop/a"])));
        assert_eq!(some.judge_any(consumer(None), GrantOperation::Write), Verdict::Granted);
        let stranger = Consumer { namespace: "x", labels: Some(&none) };
        assert_eq!(some.judge_any(stranger, GrantOperation::Read), Verdict::Refused);
    }

    #[test]
    fn grants_to_nobody_and_to_everybody_are_refused() {
        for (namespaces, expected) in [
            (json!({}), "spec.grants[0].namespaces: set names or selector"),
            (json!({"selector": {}}), "spec.grants[0].namespaces.selector: it is empty"),
            (
                json!({"names": ["a"], "selector": {"matchLabels": {}}}),
                "spec.grants[0].namespaces.selector: it is empty",
            ),
            (
                json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}),
                "spec.grants[0].namespaces.selector: an operator",
            ),
        ] {
            let grant = json!([{"namespaces": namespaces, "keys": ["*"], "operations": ["Read"]}]);
            let text = grants(grant).unwrap_err().to_string();
            assert!(text.starts_with(expected), "{namespaces}: {text}");
        }
    }

    #[test]
    fn a_refusal_tells_what_is_missing() {
        let consumer = Consumer { namespace: "shop", labels: None };
        let text = refusal(consumer, Wish { key: "pay/db", operation: GrantOperation::Write });
        assert!(text.contains(r#"namespace "shop" Write key "pay/db""#) && text.contains("spec.grants"), "{text}");
    }
}
