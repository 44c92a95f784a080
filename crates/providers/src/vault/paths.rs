//! Paths inside a server, as users write them, checked so that no segment leaves its place.

use rekey_api::provider::KvVersion;
use rekey_core::store::{Respelling, StoreError, StoreErrorKind, engine_path};

use super::Mount;
use crate::escapes::resolved;

/// A key without its leading slash, otherwise as it is.
///
/// # Errors
/// `InvalidKey`, with the key to write, for one that a URL would change into another one.
pub(super) fn key(text: &str) -> Result<String, StoreError> {
    let path = text.strip_prefix('/').unwrap_or(text);
    if stays(path) && path.trim() == path {
        return Ok(path.to_owned());
    }
    let parts: Vec<&str> = text.split('/').map(str::trim).filter(|part| !matches!(*part, "" | ".")).collect();
    let tidy = parts.join("/");
    let fix = if !tidy.is_empty() && stays(&tidy) {
        format!("write {tidy:?}")
    } else {
        "write it like shop/orders-db, without empty, `.` and `..` segments".to_owned()
    };
    Err(StoreError::new(StoreErrorKind::InvalidKey, format!("{text:?} is not a key: {fix}")))
}

/// The key that the author probably means by one that carries parts of a request: `v1/`, the mount, `data/`, or escapes
/// of a URL. A key may really have such a name, so ask only if there is no such key.
pub(super) fn meant(key: &str, mount: &Mount) -> Option<String> {
    let path = key.strip_prefix('/').unwrap_or(key);
    let rest = path.strip_prefix("v1/").unwrap_or(path);
    let rest = rest.strip_prefix(&mount.path).and_then(|rest| rest.strip_prefix('/')).unwrap_or(rest);
    let rest = match mount.version {
        KvVersion::V1 => rest,
        KvVersion::V2 => rest.strip_prefix("data/").or_else(|| rest.strip_prefix("metadata/")).unwrap_or(rest),
    };
    let rest = resolved(rest).unwrap_or_else(|| rest.to_owned());
    (rest != path && stays(&rest)).then_some(rest)
}

/// As [`meant`], for who asks for it.
pub(super) fn respellings(key: &str, mount: &Mount) -> Vec<Respelling> {
    meant(key, mount).map(Respelling::Meant).into_iter().collect()
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
/// Refuses what [`rekey_core::store::engine_path`] refuses, and `values`, the key-value mount of the store: `remote`
/// reads its keys.
///
/// # Errors
/// `InvalidKey`, with what to write instead.
pub(super) fn engine(text: &str, values: &str) -> Result<String, StoreError> {
    let refuse = |text: String| StoreError::new(StoreErrorKind::InvalidKey, text);
    let path = engine_path(text).map_err(|error| refuse(error.to_string()))?;
    if path.strip_prefix(values).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        let field = "spec.source.vaultEngine.path";
        return Err(refuse(format!("{field} is {text:?}, a stored value: read it with spec.source.remote")));
    }
    Ok(path)
}

/// Whether a URL leaves each segment as it is and where it is.
pub(super) fn stays(text: &str) -> bool {
    text.split('/').all(|segment| !matches!(segment, "" | "." | "..") && !segment.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(key("shop/orders-db").unwrap(), "shop/orders-db");
        assert_eq!(key("/shop/orders-db").unwrap(), "shop/orders-db");
        assert_eq!(key("grün ?#%2e%2e").unwrap(), "grün ?#%2e%2e");
        for (text, fix) in [
            ("", "write it like"),
            ("/", "write it like"),
            ("//", "write it like"),
            ("//a", "write \"a\""),
            ("a/", "write \"a\""),
            ("a//b", "write \"a/b\""),
            (" a/b", "write \"a/b\""),
            ("a/b\n", "write \"a/b\""),
            ("a/./b", "write \"a/b\""),
            ("../sys/seal", "write it like"),
            ("a/../../b", "write it like"),
            ("a\nb", "write it like"),
            ("a\0", "write it like"),
        ] {
            let error = key(text).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::InvalidKey, "{text:?}");
            assert!(error.text.contains(fix), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_was_meant() {
        let mount = |path: &str, version| Mount { path: path.to_owned(), version };
        let (kv, plain, deep) =
            (mount("secret", KvVersion::V2), mount("secret", KvVersion::V1), mount("a/b", KvVersion::V2));
        for (key, mount, meant) in [
            ("secret/data/shop/db", &kv, Some("shop/db")),
            ("/v1/secret/data/shop/db", &kv, Some("shop/db")),
            ("secret/metadata/shop/db", &kv, Some("shop/db")),
            ("secret/shop/db", &kv, Some("shop/db")),
            ("data/shop/db", &kv, Some("shop/db")),
            ("shop%2Fdb", &kv, Some("shop/db")),
            ("shop%2F..%2Fdb", &kv, None),
            ("shop/db", &kv, None),
            ("/shop/db", &kv, None),
            ("secrets/db", &kv, None),
            ("secret", &kv, None),
            ("secret/data/", &kv, None),
            ("secret/db", &plain, Some("db")),
            ("data/db", &plain, None),
            ("a/b/data/db", &deep, Some("db")),
            ("a/b/c", &deep, Some("c")),
        ] {
            assert_eq!(super::meant(key, mount).as_deref(), meant, "{key} of {}", mount.path);
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
            ("secret/data/shop/db", "read it with spec.source.remote"),
        ];
        for (text, expected) in table {
            let error = engine(text, "secret").unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::InvalidKey, "{text}");
            assert!(error.text.contains(expected), "{text}: {error}");
        }
    }
}
