//! What can go wrong, and the one table that says what follows from it.

use std::time::Duration;

use rekey_api::condition::Reason;
use rekey_core::{
    SpecError,
    render::RenderError,
    store::{StoreError, StoreErrorKind},
    summary::Situation,
};
use thiserror::Error;

/// A failed operation, with the object it was about.
#[derive(Debug, Error)]
pub enum Error {
    /// The object asks for something that cannot be.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The object could not be read as its kind.
    #[error("{text}; apply it again with a version of the CRDs that fits")]
    Malformed {
        /// What the parser said.
        text: String,
    },
    /// The namespace is closed to the operator.
    #[error(
        "namespace {namespace:?} is not opened for Rekey; run `kubectl create rolebinding rekey -n {namespace} \
         --clusterrole=rekey-namespace {account}`"
    )]
    NamespaceNotOpened {
        /// The namespace.
        namespace: String,
        /// The flag that names the operator, for example `--serviceaccount=rekey-system:rekey`.
        account: String,
    },
    /// The named store does not exist.
    #[error("{store} does not exist in this namespace; create it, or mend storeRef.name")]
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
    /// The API server refused or did not answer.
    #[error("{operation} {object}: {}", explain(source))]
    Api {
        /// What was tried.
        operation: &'static str,
        /// The object.
        object: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// It took longer than a reconcile may.
    #[error("not finished after {} s; it is tried again", .0.as_secs())]
    Deadline(Duration),
    /// A bug: the reconcile panicked.
    #[error("internal error; please report it with the operator's log")]
    Panic,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Only a change of the object can help.
    Spec,
    /// A change of the object, of the store's content or of somebody else's object can help.
    Data,
    /// Rights are missing.
    Denied,
    /// Time may help.
    Transient,
    /// Somebody else was faster: look again at once.
    Conflict,
    /// Ours.
    Bug,
}

impl Error {
    /// An API failure.
    pub fn api(operation: &'static str, object: impl std::fmt::Display) -> impl FnOnce(kube::Error) -> Self {
        let object = object.to_string();
        move |source| Self::Api { operation, object, source: Box::new(source) }
    }

    /// A store failure.
    pub fn store(operation: &'static str, store: impl std::fmt::Display) -> impl FnOnce(StoreError) -> Self {
        let store = store.to_string();
        move |source| Self::Store { operation, store, source }
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
            Self::Store { source, .. } => match source.kind {
                StoreErrorKind::NotFound => Reason::KeyNotFound,
                StoreErrorKind::Denied => Reason::AccessDenied,
                StoreErrorKind::Throttled => Reason::Throttled,
                StoreErrorKind::Unavailable | StoreErrorKind::Conflict => Reason::Unavailable,
                StoreErrorKind::Invalid => Reason::StoreNotReady,
                StoreErrorKind::Malformed => Reason::InvalidData,
            },
            Self::Api { .. } | Self::Deadline(_) => Reason::ApiError,
            Self::Panic => Reason::InternalError,
        }
    }

    /// See [`Class`].
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Spec(SpecError::Render(RenderError::PropertyNotFound { .. })) | Self::Deadline(_) => Class::Transient,
            Self::Spec(error) if error.is_final() => Class::Spec,
            Self::Spec(_) => Class::Data,
            Self::Malformed { .. } => Class::Spec,
            Self::StoreNotFound { .. } | Self::StoreNotAllowed { .. } | Self::NamespaceNotOpened { .. } => {
                Class::Denied
            }
            Self::Store { source, .. } => match source.kind {
                StoreErrorKind::Denied | StoreErrorKind::Invalid => Class::Denied,
                StoreErrorKind::Conflict => Class::Conflict,
                StoreErrorKind::NotFound
                | StoreErrorKind::Throttled
                | StoreErrorKind::Unavailable
                | StoreErrorKind::Malformed => Class::Transient,
            },
            Self::Api { source, .. } => match status(source) {
                Some(409) => Class::Conflict,
                Some(401 | 403) => Class::Denied,
                _ => Class::Transient,
            },
            Self::Panic => Class::Bug,
        }
    }

    /// The situation of an object whose reconcile failed; `published`: a value was published before.
    #[must_use]
    pub fn situation(&self, published: bool) -> Situation {
        let text = self.to_string();
        match self.class() {
            Class::Spec | Class::Data => Situation::Stalled(self.reason(), text),
            Class::Denied if matches!(self, Self::NamespaceNotOpened { .. }) => Situation::Stalled(self.reason(), text),
            Class::Denied | Class::Transient | Class::Conflict | Class::Bug => {
                if published {
                    Situation::LastKnown(self.reason(), text)
                } else {
                    Situation::NotReady(Reason::DependencyNotReady, text)
                }
            }
        }
    }

    /// How long until the next attempt, by the number of failures in a row (from 1). `None`: wait for a change.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Option<Duration> {
        if let Self::Store { source: StoreError { retry_after: Some(wait), .. }, .. } = self {
            return Some((*wait).min(Duration::from_mins(5)));
        }
        match self.class() {
            Class::Spec => None,
            Class::Data | Class::Denied => Some(Duration::from_secs(30)),
            Class::Conflict => Some(Duration::from_millis(200)),
            Class::Transient | Class::Bug => {
                Some(Duration::from_secs(1 << failures.clamp(1, 6).saturating_sub(1)).min(Duration::from_mins(1)))
            }
        }
    }

    /// Whether status and Event keep quiet about it: it is nothing a user could act on, and gone at the next attempt.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        matches!(self.class(), Class::Conflict) && matches!(self, Self::Api { .. })
    }
}

/// HTTP status of an API answer.
#[must_use]
pub fn status(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// What the API server said, without the object it was about: admission messages and the like are for users, decoded
/// bodies are not.
fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        _ => "the API server did not answer as expected".to_owned(),
    }
}
