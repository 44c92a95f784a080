//! The path of a request to a Vault engine, in the one form that grants check and that requests use.

use crate::SpecError;

const FIELD: &str = "spec.source.vaultEngine.path";

/// Checks the path of an engine, with its mount, and removes the slashes around it.
///
/// `sys` and `auth` are no engines, also those of a namespace below: they show the caller's token and change the
/// server. Refuses them in upper and lower case, though Vault tells the two apart. Also refuses any path that a server
/// or a proxy in between might read as another one (`%`, `\`, `.`, `..`, empty parts, white space).
///
/// # Errors
/// With what to write instead.
pub fn engine_path(text: &str) -> Result<String, SpecError> {
    let refused = |why: &str| Err(SpecError::field(FIELD, format!("{text:?} {why}")));
    let path = text.trim_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let is_odd = |letter: char| matches!(letter, '%' | '\\') || letter.is_whitespace() || letter.is_control();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..") || part.contains(is_odd)) {
        return refused(
            "is not a path: write it like database/static-creds/app, without empty, `.` and `..` parts, `%` and `\\`",
        );
    }
    let is_closed = |part: &str| part.eq_ignore_ascii_case("sys") || part.eq_ignore_ascii_case("auth");
    // As the last of three it can only be the name of a role.
    let places = if parts.len() > 2 { parts.len() - 1 } else { parts.len() };
    if parts[..places].iter().any(|part| is_closed(part)) {
        return refused("leads to sys or auth, which are no engines and are never opened");
    }
    if parts.len() < 2 {
        return refused(
            "is not the path of an engine: write its mount and the path below it, like database/static-creds/app",
        );
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_engines_have_one_form() {
        for text in
            ["database/static-creds/app", "/pki/issue/auth", "team/pki/issue/sys/", "secrets/data/a", "system/x"]
        {
            assert_eq!(engine_path(text).as_deref(), Ok(text.trim_matches('/')));
        }
    }

    #[test]
    fn sys_and_auth_are_closed_in_every_writing() {
        for text in [
            "sys/mounts",
            "/sys/mounts",
            "//sys/mounts",
            "sys//mounts",
            "SYS/mounts",
            "Sys/policies/acl/x",
            "sys",
            "auth",
            "auth/token/lookup-self",
            "/auth/token/lookup-self",
            "AUTH/token/create",
            "team/sys/mounts",
            "team/sys",
            "team/auth/token/lookup-self",
            "a/b/sys/mounts",
            "%73ys/mounts",
            "s%79s/mounts",
            "sys%2fmounts",
            "pki/../sys/mounts",
            "./sys/mounts",
            "pki/%2e%2e/sys/mounts",
            r"pki\..\sys\mounts",
            r"sys\mounts",
            " sys/mounts",
            "sys /mounts",
            "sys\t/mounts",
            "pki//../sys/mounts",
            "sys\u{a0}/mounts",
        ] {
            let refused = engine_path(text).unwrap_err().to_string();
            assert!(refused.starts_with("spec.source.vaultEngine.path: "), "{refused}");
        }
        for text in ["", "/", "pki", "pki//ca", "a/\nb"] {
            assert!(engine_path(text).is_err(), "{text:?}");
        }
    }
}
