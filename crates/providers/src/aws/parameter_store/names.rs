//! Names of parameters, in the form that AWS requires.

use rekey_core::store::{Locator, Pin, Respelling, Search, StoreError, StoreErrorKind};

use crate::escapes::resolved;

/// Names below this are secrets of Secrets Manager, which Parameter Store hands on
/// (<https://docs.aws.amazon.com/systems-manager/latest/userguide/integration-ps-secretsmanager.html>).
const REFERENCE: &str = "/aws/reference/secretsmanager/";

fn invalid(text: String) -> StoreError {
    StoreError::new(StoreErrorKind::InvalidKey, text)
}

/// The name in Secrets Manager, for a parameter that is a secret there.
pub(super) fn referenced(key: &str) -> Option<&str> {
    key.strip_prefix(REFERENCE)
}

/// Checks the key of a parameter.
///
/// # Errors
/// `InvalidKey`, with the name to write instead.
pub(super) fn check(key: &str) -> Result<(), StoreError> {
    let refuse = |why: &str, fix: String| Err(invalid(format!("key {key:?}: {why}; write {fix}")));
    let name = match key.strip_prefix("arn:") {
        // A parameter that another account shares.
        Some(arn) => match arn.splitn(5, ':').collect::<Vec<_>>()[..] {
            [_, "ssm", _, _, name] if name.starts_with("parameter/") => name,
            _ => {
                return refuse(
                    "it is not the ARN of a parameter",
                    "arn:aws:ssm:region:account:parameter/name".to_owned(),
                );
            }
        },
        None => key,
    };
    if let Some((name, selector)) = key.rsplit_once(':').filter(|_| name.contains(':')) {
        let is_version = selector.bytes().all(|letter| letter.is_ascii_digit());
        let field = if is_version { "version" } else { "stage" };
        return refuse("a name has no colon", format!("key {name:?} and {field} {selector:?}"));
    }
    let more = if referenced(key).is_some() { "_.-/+=@!" } else { "_.-/" };
    if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter)) {
        let plain = resolved(name.trim()).unwrap_or_else(|| name.trim().to_owned());
        let fix = if plain == name { "another one".to_owned() } else { format!("{plain:?}") };
        return refuse(&format!("the name of a parameter may only have letters, digits and any of {more}"), fix);
    }
    if name != key || referenced(key).is_some_and(|secret| !secret.is_empty()) {
        return Ok(());
    }
    let parts: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
    let right = if key.contains('/') { format!("/{}", parts.join("/")) } else { key.to_owned() };
    if parts.is_empty() {
        return refuse("it names no parameter", "one like /shop/db".to_owned());
    }
    if key != right {
        let why = "the name of a parameter with a path starts with a slash, ends with none and has no empty part";
        return refuse(why, format!("{right:?}"));
    }
    Ok(())
}

/// A parameter at the root is another one with a slash before its name than without.
pub(super) fn respellings(key: &str) -> Vec<Respelling> {
    let other = match key.strip_prefix('/') {
        Some(name) if !name.contains('/') => name.to_owned(),
        None if !key.contains([':', '/']) => format!("/{key}"),
        Some(_) | None => return Vec::new(),
    };
    vec![Respelling::Meant(other)]
}

/// The name of a parameter, with the version or label that is asked for, if any.
///
/// # Errors
/// `InvalidKey` when it is not one.
pub(super) fn named(locator: &Locator) -> Result<String, StoreError> {
    let Locator { key, pin } = locator;
    check(key)?;
    match pin {
        Pin::Current => Ok(key.clone()),
        Pin::Metadata => tagged(key).map(|()| key.clone()),
        Pin::Version(version) if !version.is_empty() && version.bytes().all(|letter| letter.is_ascii_digit()) => {
            Ok(format!("{key}:{version}"))
        }
        Pin::Version(id) if referenced(key).is_some() && is_version_id(id) => Ok(format!("{key}:{id}")),
        Pin::Version(version) => Err(invalid(format!(
            "version {version:?} of {key:?}: versions of a parameter are numbers; name a label in stage"
        ))),
        Pin::Stage(label) if is_label(label) => Ok(format!("{key}:{label}")),
        Pin::Stage(label) => Err(invalid(format!(
            "stage {label:?} of {key:?}: labels of a parameter have letters, digits, \".\", \"-\" and \"_\", and do \
             not start with a digit"
        ))),
    }
}

/// Refuses a parameter whose tags cannot be read.
fn tagged(key: &str) -> Result<(), StoreError> {
    if let Some(secret) = referenced(key) {
        return Err(invalid(format!(
            "tags of {key:?}: it is a secret of Secrets Manager; read key {secret:?} through a store with service \
             SecretsManager"
        )));
    }
    match key.strip_prefix("arn:").and_then(|arn| arn.split_once(":parameter/")) {
        Some((_, name)) => {
            let name = if name.contains('/') { format!("\"/{name}\"") } else { format!("{name:?} or \"/{name}\"") };
            let text =
                format!("tags of {key:?}: AWS gives them by name, in the account of the parameter; write key {name}");
            Err(invalid(text))
        }
        None => Ok(()),
    }
}

/// Whether it may be the id of a version in Secrets Manager.
fn is_version_id(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-')
}

/// AWS would take a label that starts with a digit for a version.
fn is_label(text: &str) -> bool {
    let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b".-_".contains(&letter);
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with(|first: char| first.is_ascii_digit())
}

/// The prefix of the names that a search looks for; `None`: all.
///
/// # Errors
/// `InvalidKey` for a path that no parameter can be below.
pub(super) fn beginning(search: &Search) -> Result<Option<&str>, StoreError> {
    let path = search.path.as_deref().unwrap_or_default();
    match path.trim_end_matches('/') {
        "" => Ok(None),
        _ if !path.starts_with('/') => {
            Err(invalid(format!("find.path {path:?}: paths of parameters start with a slash, write \"/{path}\"")))
        }
        path => Ok(Some(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCED: &str = "/aws/reference/secretsmanager/shop/db+x@1";
    const ID: &str = "0193c2a8-0000-7000-8000-000000000001";

    #[test]
    fn names() {
        let version = |text: &str| Pin::Version(text.into());
        let stage = |text: &str| Pin::Stage(text.into());
        let arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/shop/db";
        let table = [
            ("/shop/db", Pin::Current, Ok("/shop/db".to_owned())),
            ("db", Pin::Current, Ok("db".to_owned())),
            (arn, version("3"), Ok(format!("{arn}:3"))),
            ("/shop/db", version("3"), Ok("/shop/db:3".to_owned())),
            ("/shop/db", stage("live"), Ok("/shop/db:live".to_owned())),
            ("shop/db", Pin::Current, Err("write \"/shop/db\"")),
            ("/shop/db:3", Pin::Current, Err("write key \"/shop/db\" and version \"3\"")),
            ("/shop/db:live", Pin::Current, Err("write key \"/shop/db\" and stage \"live\"")),
            (
                "arn:aws:ssm:eu-west-1:123456789012:parameter/db:3",
                Pin::Current,
                Err("parameter/db\" and version \"3\""),
            ),
            (
                "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db",
                Pin::Current,
                Err("not the ARN of a parameter"),
            ),
            ("/shop/db/", Pin::Current, Err("write \"/shop/db\"")),
            ("/shop//db", Pin::Current, Err("write \"/shop/db\"")),
            ("//shop/db", Pin::Current, Err("write \"/shop/db\"")),
            ("shop//db", Pin::Current, Err("write \"/shop/db\"")),
            ("/", Pin::Current, Err("names no parameter")),
            ("", Pin::Current, Err("names no parameter")),
            (" /shop/db", Pin::Current, Err("write \"/shop/db\"")),
            ("/shop%2Fdb", Pin::Current, Err("write \"/shop/db\"")),
            ("/shop/d b", Pin::Current, Err("write another one")),
            (REFERENCED, Pin::Current, Ok(REFERENCED.to_owned())),
            (REFERENCED, stage("AWSPREVIOUS"), Ok(format!("{REFERENCED}:AWSPREVIOUS"))),
            (REFERENCED, version(ID), Ok(format!("{REFERENCED}:{ID}"))),
            ("/shop/db", version(ID), Err("are numbers")),
            ("/shop/db", version("live"), Err("are numbers")),
            ("/shop/db", version(""), Err("are numbers")),
            ("/shop/db", version("-1"), Err("are numbers")),
            ("/shop/db", stage("3"), Err("start with a digit")),
            ("/shop/db", stage("a:b"), Err("labels")),
            ("/shop/db", stage(""), Err("labels")),
        ];
        for (key, pin, expected) in table {
            let locator = Locator { key: key.to_owned(), pin };
            match (named(&locator), expected) {
                (Ok(name), Ok(expected)) => assert_eq!(name, expected),
                (Err(error), Err(part)) => assert!(error.text.contains(part), "{locator:?}: {error}"),
                (found, _) => panic!("{locator:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn beginnings() {
        let table = [
            (None, Some(None)),
            (Some(""), Some(None)),
            (Some("/"), Some(None)),
            (Some("/shop/"), Some(Some("/shop"))),
            (Some("/shop"), Some(Some("/shop"))),
            (Some("shop/"), None),
        ];
        for (path, expected) in table {
            let search = Search { path: path.map(str::to_owned), ..Search::default() };
            assert_eq!(beginning(&search).ok(), expected, "{path:?}");
        }
    }
}
