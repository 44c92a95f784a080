//! What each Secret type requires of its data, checked before anything is written.
//! See <https://kubernetes.io/docs/concepts/configuration/secret/#secret-types>.

use std::collections::BTreeMap;

use serde_json::Value;

use super::RenderError;
use crate::SecretBytes;

/// Data of a Secret may have this many bytes in all, keys not counted
/// (<https://pkg.go.dev/k8s.io/api/core/v1#pkg-constants>, `MaxSecretSize`).
pub const MAX_SIZE: usize = 1024 * 1024;
const MAX_KEY: usize = 253;

/// Checks names, sizes and the form that `kind` requires.
///
/// # Errors
/// Names the key and the fix; never a value.
pub fn check(kind: &str, data: &BTreeMap<String, SecretBytes>) -> Result<(), RenderError> {
    for key in data.keys() {
        if !valid_key(key) {
            return Err(RenderError::InvalidKey { key: key.clone() });
        }
    }
    let size: usize = data.values().map(SecretBytes::len).sum();
    if size > MAX_SIZE {
        return Err(RenderError::TooLarge { size });
    }
    let wrong = |key: &str, fix: &str| {
        Err(RenderError::WrongForm { kind: kind.to_owned(), key: key.to_owned(), fix: fix.to_owned() })
    };
    match kind {
        "kubernetes.io/basic-auth" if !data.contains_key("username") && !data.contains_key("password") => {
            wrong("username", "map a value to `username` or `password`")
        }
        "kubernetes.io/ssh-auth" if empty(data, "ssh-privatekey") => {
            wrong("ssh-privatekey", "map the private key to it")
        }
        "kubernetes.io/dockercfg" if !docker(data, ".dockercfg", false) => {
            wrong(".dockercfg", "it must be a JSON object of registries")
        }
        "kubernetes.io/dockerconfigjson" if !docker(data, ".dockerconfigjson", true) => {
            wrong(".dockerconfigjson", "it must be a JSON object with `auths`")
        }
        "kubernetes.io/tls" => match ["tls.crt", "tls.key"].into_iter().find(|key| !pem(data, key)) {
            Some(key) => wrong(key, "it must hold PEM text (-----BEGIN …)"),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Whether `key` may be a data key: `[-._a-zA-Z0-9]+`, at most 253 characters, not `.` and nothing starting with `..`.
#[must_use]
pub fn valid_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY && key != "." && !key.starts_with("..") && key.chars().all(allowed)
}

/// Whether a data key may have this character.
#[must_use]
pub fn allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

fn empty(data: &BTreeMap<String, SecretBytes>, key: &str) -> bool {
    data.get(key).is_none_or(SecretBytes::is_empty)
}

fn pem(data: &BTreeMap<String, SecretBytes>, key: &str) -> bool {
    data.get(key).and_then(SecretBytes::expose_text).is_some_and(|text| text.contains("-----BEGIN "))
}

fn docker(data: &BTreeMap<String, SecretBytes>, key: &str, auths: bool) -> bool {
    let Some(value) = data.get(key) else {
        return false;
    };
    match serde_json::from_slice::<Value>(value.expose()) {
        Ok(Value::Object(members)) => !auths || members.get("auths").is_some_and(Value::is_object),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretBytes> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect()
    }

    #[test]
    fn each_type_names_the_key_that_is_wrong() {
        for (kind, pairs, key) in [
            ("kubernetes.io/basic-auth", vec![("pass", "x")], Some("username")),
            ("kubernetes.io/basic-auth", vec![("password", "x")], None),
            ("kubernetes.io/ssh-auth", vec![("ssh-privatekey", "")], Some("ssh-privatekey")),
            ("kubernetes.io/ssh-auth", vec![("ssh-privatekey", "x")], None),
            ("kubernetes.io/dockercfg", vec![(".dockercfg", "[]")], Some(".dockercfg")),
            ("kubernetes.io/dockerconfigjson", vec![(".dockerconfigjson", "{}")], Some(".dockerconfigjson")),
            ("kubernetes.io/dockerconfigjson", vec![(".dockerconfigjson", r#"{"auths":{}}"#)], None),
            ("kubernetes.io/tls", vec![("tls.crt", "-----BEGIN X-----")], Some("tls.key")),
            ("Opaque", vec![], None),
        ] {
            let seen = match check(kind, &data(&pairs)) {
                Ok(()) => None,
                Err(RenderError::WrongForm { key, .. }) => Some(key),
                Err(other) => Some(other.to_string()),
            };
            assert_eq!(seen.as_deref(), key, "{kind}");
        }
    }

    #[test]
    fn keys_and_size_are_bounded() {
        for (key, valid) in
            [("a.b-c_D9", true), ("", false), ("a/b", false), (".", false), ("..x", false), (".x", true)]
        {
            assert_eq!(valid_key(key), valid, "{key:?}");
        }
        assert!(!valid_key(&"a".repeat(254)));
        let half = "x".repeat(MAX_SIZE / 2 + 1);
        assert!(matches!(check("Opaque", &data(&[("a", &half), ("b", &half)])), Err(RenderError::TooLarge { .. })));
    }
}
