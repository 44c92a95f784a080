//! Names of secrets, in the form that AWS requires.

use rekey_core::store::{Respelling, StoreError, StoreErrorKind};

use crate::escapes::resolved;

/// What a name may have beside letters and digits.
const MORE: &str = "/_+=.@-!";

/// Checks the key of a secret: a name, or an ARN.
///
/// # Errors
/// `InvalidKey`, with the name to write instead.
pub(super) fn check(key: &str) -> Result<(), StoreError> {
    let refuse = |why: &str, fix: &str| {
        let text = format!("key {key:?}: {why}; write {fix}");
        Err(StoreError::new(StoreErrorKind::InvalidKey, text))
    };
    let is_name = |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || MORE.contains(letter));
    if let Some(arn) = key.strip_prefix("arn:") {
        return match arn.splitn(6, ':').collect::<Vec<_>>()[..] {
            [_, "secretsmanager", _, _, "secret", name] if !name.is_empty() && is_name(name) => Ok(()),
            _ => refuse("it is not the ARN of a secret", "arn:aws:secretsmanager:region:account:secret:name"),
        };
    }
    if key.chars().all(|letter| letter == '/') {
        return refuse("it names no secret", "one like shop/orders-db");
    }
    if let Some((name, _)) = key.split_once(':').filter(|(name, _)| is_name(name)) {
        let fix = format!("key {name:?}; name a member in property, a version in version, a stage in stage");
        return refuse("the name of a secret has no colon", &fix);
    }
    if !is_name(key) {
        let plain = resolved(key.trim()).unwrap_or_else(|| key.trim().to_owned());
        let fix = if plain != key && is_name(&plain) { format!("{plain:?}") } else { "another one".to_owned() };
        return refuse(&format!("the name of a secret may only have letters, digits and any of {MORE}"), &fix);
    }
    Ok(())
}

/// Other ways to write a name. A name may start with a slash: the slash is ignored only if there is no secret of that
/// name.
pub(super) fn respellings(key: &str) -> Vec<Respelling> {
    if key.starts_with("arn:") {
        return Vec::new();
    }
    let bare = key.strip_prefix('/').filter(|bare| !bare.is_empty());
    let parts: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
    let tidy = Some(parts.join("/")).filter(|tidy| tidy != key && Some(tidy.as_str()) != bare && !tidy.is_empty());
    let bare = bare.map(|bare| Respelling::Same(bare.to_owned()));
    bare.into_iter().chain(tidy.map(Respelling::Meant)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for key in [
            "shop/db",
            "/shop/db",
            "shop/db/",
            "a+b=c.d@e-f_g!h",
            "rds!db-1",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/db-AbCdEf",
            "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:/db-AbCdEf",
        ] {
            assert_eq!(check(key), Ok(()), "{key}");
        }
        for (key, fix) in [
            ("", "write one like"),
            ("//", "write one like"),
            ("shop/db:AWSPREVIOUS", "write key \"shop/db\""),
            ("shop/db:password::", "name a member in property"),
            (" shop/db ", "write \"shop/db\""),
            ("shop%2Fdb", "write \"shop/db\""),
            ("shop db", "write another one"),
            ("gr\u{fc}n", "write another one"),
            ("arn:aws:ssm:eu-west-1:123456789012:parameter/db", "not the ARN of a secret"),
            ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:", "not the ARN of a secret"),
            ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf:password::", "not the ARN of a secret"),
        ] {
            let error = check(key).unwrap_err();
            assert!(error.kind == StoreErrorKind::InvalidKey && error.text.contains(fix), "{key}: {error}");
        }
    }

    #[test]
    fn other_spellings() {
        let (same, meant) = (|key: &str| Respelling::Same(key.into()), |key: &str| Respelling::Meant(key.into()));
        for (key, expected) in [
            ("shop/db", vec![]),
            ("/shop/db", vec![same("shop/db")]),
            ("shop/db/", vec![meant("shop/db")]),
            ("shop//db", vec![meant("shop/db")]),
            ("//shop/db", vec![same("/shop/db"), meant("shop/db")]),
            ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:/db//x-AbCdEf", vec![]),
        ] {
            assert_eq!(respellings(key), expected, "{key}");
        }
    }
}
