//! Names of parameters as AWS wants them.

use rekey_core::store::{Locator, Pin, Search, StoreError, StoreErrorKind};

fn invalid(text: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, text)
}

/// Checks the key of a parameter.
///
/// # Errors
/// `Invalid`, with the name to write instead.
pub(super) fn check(key: &str) -> Result<(), StoreError> {
    if key.starts_with("arn:") {
        return Ok(()); // a parameter that another account shares
    }
    if key.contains('/') && !key.starts_with('/') {
        return Err(invalid(format!(
            "key {key:?}: the name of a parameter with a path starts with a slash, write \"/{key}\""
        )));
    }
    if key.contains(':') {
        return Err(invalid(format!(
            "key {key:?}: the name of a parameter has no colon; a version or label stands in version or stage"
        )));
    }
    Ok(())
}

/// The name of a parameter, with the version or label that is asked for.
///
/// # Errors
/// `Invalid` when it is not one.
pub(super) fn named(locator: &Locator) -> Result<String, StoreError> {
    let Locator { key, pin } = locator;
    check(key)?;
    match pin {
        Pin::Current => Ok(key.clone()),
        Pin::Version(version) if !version.is_empty() && version.bytes().all(|letter| letter.is_ascii_digit()) => {
            Ok(format!("{key}:{version}"))
        }
        Pin::Version(version) => Err(invalid(format!(
            "version {version:?} of {key:?}: versions of a parameter are numbers; a label stands in stage"
        ))),
        Pin::Stage(label) if is_label(label) => Ok(format!("{key}:{label}")),
        Pin::Stage(label) => Err(invalid(format!(
            "stage {label:?} of {key:?}: labels of a parameter have letters, digits, \".\", \"-\" and \"_\", and begin with no digit"
        ))),
    }
}

/// A label that begins with a digit would be taken for a version.
fn is_label(text: &str) -> bool {
    let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b".-_".contains(&letter);
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with(|first: char| first.is_ascii_digit())
}

/// The beginning of the names that a search is for; `None`: all.
///
/// # Errors
/// `Invalid` for a path that no parameter can be below.
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
            ("/shop/db:3", Pin::Current, Err("no colon")),
            ("/shop/db", version("live"), Err("are numbers")),
            ("/shop/db", version(""), Err("are numbers")),
            ("/shop/db", version("-1"), Err("are numbers")),
            ("/shop/db", stage("3"), Err("no digit")),
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
