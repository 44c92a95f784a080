//! The one type a secret value has.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

/// A secret value. It compares in constant time, and has no text form: the only way to its content is
/// [`SecretBytes::expose`], so every place that handles a value is found by that name. Clones share the one copy there is
/// in memory, which is wiped when the last of them is dropped.
#[derive(Clone, Default)]
pub struct SecretBytes(Arc<Zeroizing<Vec<u8>>>);

impl SecretBytes {
    /// Takes over `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The content. Whoever calls this must not let it reach a log, an error, an Event, a status or a metric.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The content as text, if it is UTF-8. The same care as with [`SecretBytes::expose`].
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretBytes([hidden])")
    }
}

impl PartialEq for SecretBytes {
    /// Compares without an early exit, so that the time taken tells nothing but the length.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.0.iter().zip(other.0.iter()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl Eq for SecretBytes {}

impl From<String> for SecretBytes {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<&str> for SecretBytes {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::SecretBytes;

    #[test]
    fn debug_hides_the_content() {
        let text = format!("{:?}", Some(SecretBytes::from("hunter2")));
        assert_eq!(text, "Some(SecretBytes([hidden]))");
    }

    #[test]
    fn equality_is_by_content() {
        assert_eq!(SecretBytes::from("a"), SecretBytes::from("a"));
        assert_ne!(SecretBytes::from("a"), SecretBytes::from("b"));
        assert_ne!(SecretBytes::from("a"), SecretBytes::from("ab"));
    }
}
