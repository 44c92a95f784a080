//! What can go wrong, and the one table that says what follows from it.

mod operation;
mod right;

use std::time::Duration;

use rekey_api::{
    condition::{Class, Reason},
    reference::StoreKind,
};
use rekey_core::{
    SpecError,
    notice::Notice,
    render::RenderError,
    store::{StoreError, StoreErrorKind},
    summary::Situation,
};
use thiserror::Error;

pub use self::{operation::Operation, right::Right};

/// A failed operation, with the object it was about.
#[derive(Debug, Error)]
pub enum Error {
    /// The object asks for something that cannot be.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The object could not be read as its kind.
    #[error("{text}; install the CRDs of this version of Rekey, then apply the object again")]
    Malformed {
        /// What the parser said.
        text: String,
    },
    /// The namespace is closed to the operator.
    #[error("{}", right::not_opened(namespace, account, *missing))]
    NamespaceNotOpened {
        /// The namespace.
        namespace: String,
        /// The flag that names the operator, for example `--serviceaccount=rekey-system:rekey`.
        account: String,
        /// What is missing, if the namespace is opened in part.
        missing: Option<Right>,
    },
    /// The named store does not exist.
    #[error("{store} does not exist{}; create it, or fix storeRef", place(store))]
    StoreNotFound {
        /// Kind and name.
        store: String,
    },
    /// The store does not allow this.
    #[error("{store}: {text}")]
    StoreNotAllowed {
        /// Kind and name.
        store: String,
        /// What is not allowed, and how to allow it.
        text: String,
    },
    /// Others wait for the store already.
    #[error("{store} is slow to answer others; Rekey retries soon")]
    StoreBusy {
        /// Kind and name.
        store: String,
    },
    /// Other reads take so much that there is no memory for this one now.
    #[error("other reads take all the memory that Rekey has for them; Rekey retries soon")]
    NoRoom,
    /// What the policy reads is too large.
    #[error(
        "{what}: more than {} MiB, which is the most that one policy may read; search below a longer find.path or by \
         find.nameRegexp, or map fewer or smaller keys",
        most / (1024 * 1024)
    )]
    TooMuch {
        /// What was read.
        what: String,
        /// How many bytes may be read.
        most: usize,
    },
    /// There are more pods than are looked at.
    #[error(
        "{object} has more than {most} pods, too many for Rekey to look at, so it is not known whether one of them \
         holds an older value; delete the pods that are not needed"
    )]
    TooManyPods {
        /// Whose they are.
        object: String,
        /// How many are looked at.
        most: usize,
    },
    /// Other policies of the namespace are rendered before this one.
    #[error("namespace {namespace:?} has many policies to render; Rekey retries this one soon")]
    Crowded {
        /// The namespace.
        namespace: String,
    },
    /// No thread to render on.
    #[error("start a thread for rendering: {0}")]
    Thread(std::io::Error),
    /// A list that decides this is not complete yet.
    #[error("not known yet: {what}")]
    NotKnownYet {
        /// What.
        what: String,
    },
    /// A store failed.
    #[error("{operation} {store}: {source}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// Kind and name, and the key.
        store: String,
        /// Why it failed.
        source: StoreError,
    },
    /// The API server refused, or is not responding.
    #[error("{operation} {object}: {}", explain(*operation, source))]
    Api {
        /// What was tried.
        operation: Operation,
        /// The object.
        object: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The Secret that was to be made is there by now.
    #[error("Secret {secret} was created just now; Rekey reads it again")]
    Overtaken {
        /// Namespace and name.
        secret: String,
    },
    /// It has changed since what is known of it, as the API server has said just now.
    #[error("{object} has changed since Rekey has looked at it; Rekey waits for its watch to report the change")]
    Stale {
        /// Kind, namespace and name.
        object: String,
    },
    /// It took longer than a reconcile may.
    #[error("not finished after {} s; Rekey retries", .0.as_secs())]
    Deadline(Duration),
    /// A bug: the reconcile panicked.
    #[error("internal error; please report it with the operator's log")]
    Panic,
}

impl Error {
    /// An API failure.
    pub fn api(operation: Operation, object: impl std::fmt::Display) -> impl FnOnce(kube::Error) -> Self {
        let object = object.to_string();
        move |source| Self::Api { operation, object, source: Box::new(source) }
    }

    /// A store failure. What a provider does not support yet is a matter of the spec, not of the store.
    pub fn store(operation: &'static str, store: impl std::fmt::Display) -> impl FnOnce(StoreError) -> Self {
        let store = store.to_string();
        move |source| match source.kind {
            StoreErrorKind::NotSupported { field } => SpecError::not_yet(field, &source.text).into(),
            _ => Self::Store { operation, store, source },
        }
    }

    /// A use of a store that it does not allow.
    pub fn not_allowed(store: &str, text: impl std::fmt::Display) -> Self {
        Self::StoreNotAllowed { store: store.to_owned(), text: text.to_string() }
    }

    /// The failure of a store, for those who use it: a spec that is refused is the store's, not theirs.
    #[must_use]
    pub fn unusable_store(store: &str, error: Self) -> Self {
        match error {
            Self::Malformed { text } => Self::not_allowed(store, format_args!("the object is malformed: {text}")),
            Self::Spec(refused) => Self::not_allowed(store, refused),
            other => other,
        }
    }

    /// Condition reason, Event reason and metric label at once.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Spec(error) => error.reason(),
            Self::Malformed { .. } => Reason::MalformedObject,
            Self::NamespaceNotOpened { .. } => Reason::NamespaceNotOpened,
            Self::StoreNotFound { .. } => Reason::StoreNotFound,
            Self::StoreNotAllowed { .. } => Reason::StoreNotAllowed,
            Self::StoreBusy { .. } => Reason::Unavailable,
            Self::NoRoom | Self::Crowded { .. } => Reason::OperatorBusy,
            Self::TooMuch { .. } => Reason::SecretTooLarge,
            Self::NotKnownYet { .. } => Reason::Progressing,
            Self::TooManyPods { .. } => Reason::TooManyPods,
            Self::Store { source, .. } => match source.kind {
                StoreErrorKind::NotFound => Reason::KeyNotFound,
                StoreErrorKind::Denied => Reason::AccessDenied,
                StoreErrorKind::Throttled => Reason::Throttled,
                StoreErrorKind::Unavailable | StoreErrorKind::Conflict => Reason::Unavailable,
                StoreErrorKind::Invalid => Reason::StoreNotReady,
                StoreErrorKind::InvalidKey => Reason::InvalidSpec,
                StoreErrorKind::NotSupported { .. } => Reason::NotSupportedYet,
                StoreErrorKind::Malformed => Reason::InvalidData,
                StoreErrorKind::TooMuch => Reason::SecretTooLarge,
            },
            Self::Api { .. } | Self::Overtaken { .. } | Self::Stale { .. } | Self::Deadline(_) => Reason::ApiError,
            Self::Panic | Self::Thread(_) => Reason::InternalError,
        }
    }

    /// Whether the API server has said that nothing has changed. A conflict is none: something has, an earlier attempt of
    /// ours perhaps; nor is 422, as which it answers where a `test` of a patch finds what that attempt has written. Nor is
    /// silence.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        status(source).is_some_and(|code| (400..500).contains(&code) && ![409, 422].contains(&code))
    }

    /// What an Event reports of it; `action` has failed.
    #[must_use]
    pub fn notice(&self, action: &'static str) -> Notice {
        Notice::new(self.reason(), action, self.to_string())
    }

    /// What helps: what the reason says, unless more is known.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Spec(refused) => refused.class(),
            Self::NotKnownYet { .. } => Class::Transient,
            Self::Store { source, .. } => match source.kind {
                StoreErrorKind::Conflict => Class::Conflict,
                // One answer that cannot be used says nothing about the next.
                StoreErrorKind::Malformed | StoreErrorKind::TooMuch => Class::Transient,
                StoreErrorKind::NotFound
                | StoreErrorKind::Denied
                | StoreErrorKind::Throttled
                | StoreErrorKind::Unavailable
                | StoreErrorKind::Invalid
                | StoreErrorKind::InvalidKey
                | StoreErrorKind::NotSupported { .. } => self.reason().class(),
            },
            Self::Api { source, .. } => match status(source) {
                Some(409) => Class::Conflict,
                Some(401 | 403) => Class::Denied,
                _ => Class::Transient,
            },
            Self::Overtaken { .. } | Self::Stale { .. } => Class::Conflict,
            Self::Malformed { .. }
            | Self::NamespaceNotOpened { .. }
            | Self::StoreNotFound { .. }
            | Self::StoreNotAllowed { .. }
            | Self::StoreBusy { .. }
            | Self::NoRoom
            | Self::Crowded { .. }
            | Self::TooMuch { .. }
            | Self::TooManyPods { .. }
            | Self::Deadline(_)
            | Self::Thread(_)
            | Self::Panic => self.reason().class(),
        }
    }

    /// The situation of an object whose reconcile failed; `published`: a value was published before.
    #[must_use]
    pub fn situation(&self, published: bool) -> Situation {
        let text = self.to_string();
        match self.class() {
            Class::Spec | Class::Data => Situation::Stalled(self.reason(), text),
            Class::Outcome | Class::Denied | Class::Transient | Class::Conflict | Class::Bug => {
                if published {
                    Situation::LastKnown(self.reason(), text)
                } else {
                    Situation::NotReady(self.reason(), text)
                }
            }
        }
    }

    /// The situation of a store that cannot be used. What its own spec can never lead to is not shown as if time
    /// helped: it is retried all the same, since a name may resolve to another address, or consent be given.
    #[must_use]
    pub fn situation_of_store(&self) -> Situation {
        let text = self.to_string();
        let Self::Store { source, .. } = self else { return self.situation(false) };
        match (source.because, source.kind) {
            (Some(reason @ (Reason::AddressNotAllowed | Reason::NoConsent)), _)
            | (Some(reason @ Reason::StoreNotReady), StoreErrorKind::Invalid) => Situation::Stalled(reason, text),
            (None, StoreErrorKind::Invalid) => Situation::Stalled(Reason::InvalidSpec, text),
            (Some(reason), StoreErrorKind::Invalid) => Situation::NotReady(reason, text),
            (_, _) => self.situation(false),
        }
    }

    /// How long until the next attempt, by the number of failures in a row (from 1). `None`: wait for a change.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Option<Duration> {
        let delay = match self.class() {
            // A spelling that is only taken for a wrong one may turn out to be right.
            Class::Spec => match self {
                Self::Store { source: StoreError { retry_after, .. }, .. } => return *retry_after,
                _ => return None,
            },
            Class::Data | Class::Denied => Duration::from_secs(30),
            // It is soon over; a conflict that stays (another tool's pending version) is no reason to hurry.
            Class::Conflict if failures <= 5 => Duration::from_millis(200),
            Class::Conflict => doubling(failures - 5),
            Class::Outcome | Class::Transient | Class::Bug => doubling(failures),
        };
        match self {
            // A store may ask for more, never for less.
            Self::Store { source: StoreError { retry_after: Some(wait), .. }, .. } => {
                Some(delay.max(*wait).min(Duration::from_mins(5)))
            }
            // Its watch says when.
            Self::Stale { .. } => Some(doubling(failures)),
            // What was sent away comes next, but only if it comes again in time.
            Self::StoreBusy { .. } | Self::NoRoom | Self::Crowded { .. } => Some(delay.min(Duration::from_secs(4))),
            // It has taken all the time that there is, and most likely will again.
            Self::Spec(SpecError::Render(RenderError::Stopped)) => {
                Some((delay * (1 << failures.clamp(1, 5).saturating_sub(1))).min(Duration::from_mins(5)))
            }
            _ => Some(delay),
        }
    }

    /// Whether status and Event keep quiet about it at first: it is nothing a user could act on, and nearly always gone
    /// at the next attempt.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Api { .. } => matches!(self.class(), Class::Conflict),
            Self::StoreBusy { .. }
            | Self::NoRoom
            | Self::Crowded { .. }
            | Self::NotKnownYet { .. }
            | Self::Overtaken { .. }
            | Self::Stale { .. } => true,
            Self::Spec(_)
            | Self::Malformed { .. }
            | Self::NamespaceNotOpened { .. }
            | Self::StoreNotFound { .. }
            | Self::StoreNotAllowed { .. }
            | Self::Store { .. }
            | Self::TooMuch { .. }
            | Self::TooManyPods { .. }
            | Self::Deadline(_)
            | Self::Thread(_)
            | Self::Panic => false,
        }
    }
}

/// Where a store is looked for.
fn place(store: &str) -> &'static str {
    if store.starts_with(StoreKind::ClusterRemoteStore.as_str()) { "" } else { " in this namespace" }
}

/// 1 s, 2 s, 4 s and so on, at most 32 s.
fn doubling(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.clamp(1, 6).saturating_sub(1))
}

/// HTTP status of an API answer.
#[must_use]
pub fn status(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// What the API server said; where values are at stake, the code, the reason and the fields alone.
fn explain(operation: Operation, error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        return "the API server did not answer as expected".to_owned();
    };
    if !operation.carries_values() {
        return format!("{} ({})", status.message, status.code);
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<&str> = causes.map(|cause| cause.field.as_str()).filter(|field| !field.is_empty()).collect();
    let about = if fields.is_empty() { String::new() } else { format!(", about {}", fields.join(", ")) };
    format!("refused with {} ({}){about}", status.reason, status.code)
}

#[cfg(test)]
mod tests;
