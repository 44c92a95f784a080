//! What an Event says.

use rekey_api::condition::Reason;

/// What to report in an Event. How severe it is follows from the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its reason.
    pub reason: Reason,
    /// What was done, or tried.
    pub action: &'static str,
    /// The text.
    pub text: String,
}

impl Notice {
    /// With this text.
    #[must_use]
    pub fn new(reason: Reason, action: &'static str, text: impl Into<String>) -> Self {
        Self { reason, action, text: text.into() }
    }
}
