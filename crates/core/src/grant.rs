//! Who may use a `ClusterRemoteStore`, for which keys, and how. What no grant allows is refused.

mod search;

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{Selector, SelectorExt as _};
use rekey_api::store::{Grant, GrantOperation};

use crate::{
    SpecError,
    store::{CallMethod, engine_path},
};

/// Names of remote keys: `*` stands for any characters, `/` among them; every other character stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGlob(String);

impl KeyGlob {
    /// Every text is a glob.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the whole of `key` fits.
    ///
    /// A key with a part `.` or `..` fits nothing: a server may resolve it to another path.
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
    /// Its labels, if they are known.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// A part of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A key of its own mount.
    Key(&'a str),
    /// The path of an engine beside it.
    Engine(&'a str),
}

/// A request to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// The part of the store.
    pub target: Target<'a>,
    /// The operation.
    pub operation: GrantOperation,
}

impl<'a> Wish<'a> {
    /// To do this with a key.
    #[must_use]
    pub fn key(key: &'a str, operation: GrantOperation) -> Self {
        Self { target: Target::Key(key), operation }
    }

    /// The operation of a request to an engine: `Write` for a `POST`, which may change or delete.
    #[must_use]
    pub fn call(path: &'a str, method: CallMethod) -> Self {
        let operation = match method {
            CallMethod::Get => GrantOperation::Read,
            CallMethod::Post => GrantOperation::Write,
        };
        Self { target: Target::Engine(path), operation }
    }
}

/// The decision of the grants.
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
    engine_paths: Vec<KeyGlob>,
    operations: BTreeSet<GrantOperation>,
}

impl Grants {
    /// Reads grants.
    ///
    /// # Errors
    /// For a grant to nobody or of nothing, an empty selector, and a selector that is none.
    pub fn parse(grants: &[Grant]) -> Result<Self, SpecError> {
        grants.iter().enumerate().map(|(index, grant)| Rule::parse(index, grant)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether any grant depends on labels of namespaces.
    #[must_use]
    pub fn ask_for_labels(&self) -> bool {
        self.0.iter().any(|rule| rule.selector.is_some())
    }

    /// Whether `consumer` may do this with any key at all.
    #[must_use]
    pub fn judge_any(&self, consumer: Consumer<'_>, operation: GrantOperation) -> Verdict {
        let fitting = |rule: &&Rule| rule.operations.contains(&operation) && !rule.keys.is_empty();
        verdict(self.0.iter().filter(fitting), consumer)
    }

    /// Those of the keys that `consumer` may read; `None`: it depends on labels that are not known.
    #[must_use]
    pub fn readable(&self, consumer: Consumer<'_>, keys: Vec<String>) -> Option<Vec<String>> {
        let judged = keys.into_iter().map(|key| (self.judge(consumer, Wish::key(&key, GrantOperation::Read)), key));
        judged
            .filter_map(|(verdict, key)| match verdict {
                Verdict::Granted => Some(Some(key)),
                Verdict::Refused => None,
                Verdict::Depends => Some(None),
            })
            .collect()
    }

    /// Whether a grant allows `consumer` this request. One grant is enough.
    #[must_use]
    pub fn judge(&self, consumer: Consumer<'_>, wish: Wish<'_>) -> Verdict {
        let fitting =
            self.0.iter().filter(|rule| rule.operations.contains(&wish.operation) && rule.covers(wish.target));
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
                let refused = |_| {
                    SpecError::field(&format!("{field}.selector"), "the operator and its values do not fit together")
                };
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
        if grant.keys.is_empty() && grant.engine_paths.is_empty() {
            let fix = "set keys or enginePaths; a grant of nothing is a mistake";
            return Err(SpecError::field(&format!("spec.grants[{index}]"), fix));
        }
        Ok(Self {
            names: grant.namespaces.names.iter().cloned().collect(),
            selector,
            keys: grant.keys.iter().map(|key| KeyGlob::new(key)).collect(),
            engine_paths: grant.engine_paths.iter().map(|path| KeyGlob::new(path.trim_start_matches('/'))).collect(),
            operations: grant.operations.iter().copied().collect(),
        })
    }

    /// Whether the grant covers this. No grant opens what is not the path of an engine.
    fn covers(&self, target: Target<'_>) -> bool {
        match target {
            Target::Key(key) => self.keys.iter().any(|glob| glob.matches(key)),
            Target::Engine(path) => {
                engine_path(path).is_ok_and(|path| self.engine_paths.iter().any(|glob| glob.matches(&path)))
            }
        }
    }

    /// Whether the grant covers the namespace; `None`: that depends on labels that are not known.
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

/// The text for a search where no grant lets the namespace read anything.
#[must_use]
pub fn refusal_of_search(consumer: Consumer<'_>, path: Option<&str>) -> String {
    let place = path.filter(|path| !path.is_empty()).map(|path| format!(" below {path:?}")).unwrap_or_default();
    format!(
        "no grant lets namespace {:?} Read any key{place}, so there is nothing to search; an administrator of the \
         store can add one to its spec.grants",
        consumer.namespace
    )
}

/// The text of a refusal. It says what is missing and who can give it, and nothing about grants to others.
#[must_use]
pub fn refusal(consumer: Consumer<'_>, wish: Wish<'_>) -> String {
    let operation = match wish.operation {
        GrantOperation::Read => "Read",
        GrantOperation::Write => "Write",
    };
    let (what, place) = match wish.target {
        Target::Key(key) => (format!("key {key:?}"), "spec.grants"),
        Target::Engine(path) => (format!("engine path {path:?}"), "spec.grants, with enginePaths"),
    };
    format!(
        "no grant lets namespace {:?} {operation} {what}; an administrator of the store can add one to its {place}",
        consumer.namespace
    )
}

#[cfg(test)]
mod tests;
