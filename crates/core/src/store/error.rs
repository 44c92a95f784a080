//! The only error that a store returns.

use std::{fmt, time::Duration};

use rekey_api::condition::Reason;

/// The kind of a store's failure; decides condition, retry and log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// There is no such key, version or secret.
    NotFound,
    /// The credential is refused, or not allowed to do this.
    Denied,
    /// The store is rate-limited: it asks to slow down.
    Throttled,
    /// The server is not responding, timed out, is sealed, or has an error of its own.
    Unavailable,
    /// Another tool changed it first.
    Conflict,
    /// The store cannot do this as it is configured; its spec or its server must change.
    Invalid,
    /// The store can never have such a key, version or search: the user must write another one, and the text says
    /// which.
    InvalidKey,
    /// Part of the API that the provider does not act on yet. The error's text is the fix.
    NotSupported {
        /// Path of the field, and what of it.
        field: &'static str,
    },
    /// The answer is not in the form the store documents.
    Malformed,
    /// Larger than the caller's [`Allowance`](super::Allowance). It says nothing about the store.
    TooMuch,
}

/// A store's failure. The text is always ours and never quotes a server's answer, which may hold values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// The kind.
    pub kind: StoreErrorKind,
    /// How long the store asked us to wait, capped by the implementation.
    pub retry_after: Option<Duration>,
    /// What happened and how to fix it, in our words.
    pub text: String,
    /// A more exact reason, where the kind does not say it: for the store's owner.
    pub because: Option<Reason>,
}

impl StoreError {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: StoreErrorKind, text: impl Into<String>) -> Self {
        Self { kind, retry_after: None, text: text.into(), because: None }
    }

    /// The same with an exact reason.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        self.because = Some(reason);
        self
    }

    /// The same with the wait that the store asked for.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for StoreError {}
