//! What each Secret type requires of its data, checked before anything is written.
//! See <https://kubernetes.io/docs/concepts/configuration/secret/#secret-types>.

mod docker;
mod ssh;
mod tls;

use std::collections::BTreeMap;

use super::RenderError;
use crate::SecretBytes;

/// The most bytes of a Secret's data in all, keys not counted
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
    let form = match kind {
        "kubernetes.io/basic-auth" => basic_auth(data),
        "kubernetes.io/ssh-auth" => ssh::check(data),
        "kubernetes.io/dockercfg" => docker::check(data, ".dockercfg", false),
        "kubernetes.io/dockerconfigjson" => docker::check(data, ".dockerconfigjson", true),
        "kubernetes.io/tls" => tls::check(data),
        _ => Ok(()),
    };
    form.map_err(|(key, fix)| RenderError::WrongForm { kind: kind.to_owned(), key: key.to_owned(), fix })
}

/// The key that is wrong, and what it must be.
type Wrong = (&'static str, String);

fn wrong(key: &'static str, fix: &str) -> Result<(), Wrong> {
    Err((key, fix.to_owned()))
}

/// The value of a key that must exist and not be empty.
fn needed<'a>(data: &'a BTreeMap<String, SecretBytes>, key: &'static str, fix: &str) -> Result<&'a [u8], Wrong> {
    match data.get(key) {
        Some(value) if !value.is_empty() => Ok(value.expose()),
        Some(_) | None => Err((key, fix.to_owned())),
    }
}

fn basic_auth(data: &BTreeMap<String, SecretBytes>) -> Result<(), Wrong> {
    let named = ["username", "password"].iter().any(|key| data.contains_key(*key));
    if named { Ok(()) } else { wrong("username", "map a value to `username` or `password`") }
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

#[cfg(test)]
mod tests;
