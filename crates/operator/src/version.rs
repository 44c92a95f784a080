//! Which build this is.

/// Version and commit, as `--version` shows them.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("REKEY_BUILT_FROM"), ")");
/// Our user agent, as logs of API servers and stores show it.
pub const AGENT: &str = concat!("rekey/", env!("CARGO_PKG_VERSION"), " (", env!("REKEY_BUILT_FROM"), ")");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_names_its_commit_in_a_form_that_headers_take() {
        let commit = VERSION.split_once(" (").and_then(|(_, rest)| rest.strip_suffix(')')).unwrap();
        let is_commit = commit.len() >= 12 && commit.chars().all(|letter| letter.is_ascii_hexdigit());
        assert!(is_commit || commit == "unknown", "{VERSION}");
        assert_eq!(AGENT, format!("rekey/{VERSION}"));
        assert!(http::HeaderValue::from_static(AGENT).to_str().is_ok());
    }
}
