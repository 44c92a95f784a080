//! Paths inside a server: what users write, checked so that no segment can leave its place.

use rekey_core::store::{StoreError, StoreErrorKind, engine_path};

/// A key, as it is.
///
/// # Errors
/// `Invalid` for a key that a URL would change, so that it named something else.
pub(super) fn key(text: &str) -> Result<String, StoreError> {
    stays(text).then(|| text.to_owned()).ok_or_else(|| {
        let text = format!("{text:?} is not a key: write it like shop/orders-db, without empty, `.` and `..` segments");
        StoreError::new(StoreErrorKind::Invalid, text)
    })
}

/// The path of a mount, without slashes around it.
///
/// # Errors
/// `Invalid`, naming the field.
pub(super) fn mount(field: &str, text: &str) -> Result<String, StoreError> {
    let path = text.trim_matches('/');
    stays(path).then(|| path.to_owned()).ok_or_else(|| {
        let text = format!("{field} is {text:?}: write the path of a mount, like secret or teams/shop");
        StoreError::new(StoreErrorKind::Invalid, text)
    })
}

/// The path of a request to an engine, with its mount.
///
/// Refused is what [`rekey_core::store::engine_path`] refuses; and `values`, the key-value mount of the store, whose keys
/// have a way of their own.
///
/// # Errors
/// `Invalid`, with what to write instead.
pub(super) fn engine(text: &str, values: &str) -> Result<String, StoreError> {
    let refuse = |text: String| StoreError::new(StoreErrorKind::Invalid, text);
    let path = engine_path(text).map_err(|error| refuse(error.to_string()))?;
    if path.strip_prefix(values).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        let field = "spec.source.vaultEngine.path";
        return Err(refuse(format!("{field} is {text:?}, a stored value: read it by spec.source.remote")));
    }
    Ok(path)
}

/// Whether a URL leaves each segment as it is and where it is.
fn stays(text: &str) -> bool {
    text.split('/').all(|segment| !matches!(segment, "" | "." | "..") && !segment.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(key("shop/orders-db").unwrap(), "shop/orders-db");
        assert_eq!(key("grün ?#%2e%2e").unwrap(), "grün ?#%2e%2e");
        for text in ["", "/", "/a", "a/", "a//b", "../sys/seal", "a/../../b", "a/./b", "a\nb", "a\0"] {
            assert_eq!(key(text).unwrap_err().kind, StoreErrorKind::Invalid, "{text:?}");
        }
    }

    #[test]
    fn mounts() {
        assert_eq!(mount("mount", "/teams/shop/").unwrap(), "teams/shop");
        for text in ["", "/", "a//b", ".."] {
            assert!(mount("mount", text).unwrap_err().text.starts_with("mount is"), "{text:?}");
        }
    }

    #[test]
    fn engines() {
        for text in ["database/static-creds/app", "/pki/issue/auth", "team/pki/issue/sys", "secrets/a"] {
            assert_eq!(engine(text, "secret").unwrap(), text.trim_start_matches('/'));
        }
        let table = [
            ("sys/mounts", "leads to sys or auth"),
            ("team/auth/token/lookup-self", "leads to sys or auth"),
            ("pki", "path of an engine"),
            ("pki/../sys/mounts", "is not a path"),
            ("secret/data/shop/db", "read it by spec.source.remote"),
        ];
        for (text, expected) in table {
            let error = engine(text, "secret").unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Invalid, "{text}");
            assert!(error.text.contains(expected), "{text}: {error}");
        }
    }
}
