//! What is told in an Event.

use rekey_api::condition::Reason;

/// Whether somebody should look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It went as wanted.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// Something to tell. Who decides what happened decides how severe it is: whoever emits it reads neither reason nor text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How severe it is.
    pub severity: Severity,
    /// Its reason.
    pub reason: Reason,
    /// What was done, or tried.
    pub action: &'static str,
    /// The text.
    pub text: String,
}

impl Notice {
    /// Something that went as wanted.
    #[must_use]
    pub fn normal(reason: Reason, action: &'static str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Normal, reason, action, text: text.into() }
    }

    /// Something that somebody should look at.
    #[must_use]
    pub fn warning(reason: Reason, action: &'static str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, reason, action, text: text.into() }
    }
}
