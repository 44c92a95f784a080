//! A bound on how deep JSON from outside may be nested.

/// The deepest nesting that is read.
const DEEPEST: usize = 32;

/// Whether `text` nests objects and arrays no deeper than allowed. Says nothing about whether it is valid JSON.
pub(crate) fn is_shallow(text: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > DEEPEST {
                    return false;
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_shallow;

    #[test]
    fn depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_shallow(b"{}"));
        assert!(is_shallow(nested(32).as_bytes()));
        assert!(!is_shallow(nested(33).as_bytes()));
        assert!(!is_shallow("{\"a\":".repeat(33).as_bytes()));
        assert!(is_shallow(format!("[\"{}\"]", "[{\\\"".repeat(100)).as_bytes()), "brackets in strings do not count");
        assert!(is_shallow("[],".repeat(100).as_bytes()), "what is closed does not count");
    }
}
