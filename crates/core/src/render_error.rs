//! Why data is refused. Not part of `render`, since a refused spec may hold it, and `render` refuses parts of specs.

use thiserror::Error;

/// Why Rekey cannot make the data of a Secret. No message holds a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RenderError {
    /// The store has no such key.
    #[error(
        "key {key:?} does not exist in the store, though others that the policy reads do; create it, or remove it from the policy"
    )]
    KeyNotFound {
        /// Remote key.
        key: String,
    },
    /// A search that found nothing.
    #[error(
        "a search of spec.source.remote.dataFrom finds nothing in the store; check find, and what the credential may \
         list"
    )]
    NothingFound,
    /// A template that the `ConfigMap` or Secret named for it does not have.
    #[error("spec.target.template.from: {text}")]
    TemplateMissing {
        /// What is missing, and what to do.
        text: String,
    },
    /// The remote value has no such property.
    #[error(
        "the value at key {key:?} has no property {property:?}; check remoteRef.property or jmesPath, or add it in the store"
    )]
    PropertyNotFound {
        /// Remote key.
        key: String,
        /// Property.
        property: String,
    },
    /// An object that has no members, or none with a value.
    #[error(
        "the object at key {key:?} has no members, or only nulls: what was published from it stays; put its members back in \
         the store, or remove the key from spec.source.remote.dataFrom"
    )]
    EmptyAnswer {
        /// Remote key.
        key: String,
    },
    /// A property of something that is no JSON object.
    #[error(
        "the value at key {key:?} is not a JSON object of at most 32 levels, so Rekey cannot take a property out of \
         it; take it whole, with remoteRef.key alone"
    )]
    NotJson {
        /// Remote key.
        key: String,
    },
    /// A `JMESPath` expression that does not work on the value.
    #[error("remoteRef.jmesPath on the value at key {key:?}: {text}")]
    ExpressionFailed {
        /// Remote key.
        key: String,
        /// What went wrong.
        text: String,
    },
    /// A value that cannot be decoded.
    #[error("the value for {secret_key:?} is not base64; set remoteRef.decoding to None, or fix it in the store")]
    NotBase64 {
        /// Key of the Secret.
        secret_key: String,
    },
    /// A template that does not parse.
    #[error("{at}: {text}")]
    TemplateSyntax {
        /// Where the template is.
        at: String,
        /// Line, column and what is wrong.
        text: String,
    },
    /// A template that failed while running.
    #[error("{at}: {text}")]
    TemplateFailed {
        /// Where the template is.
        at: String,
        /// What went wrong.
        text: String,
    },
    /// A template of another object that does not parse or failed while running: its owner may fix it at any time.
    #[error("{at}: {text}")]
    TemplateElsewhere {
        /// Where the template is.
        at: String,
        /// What is wrong.
        text: String,
    },
    /// A label or annotation that a template has made, and a Secret cannot have.
    #[error("{at}: {text}")]
    WrongTag {
        /// Where the template is.
        at: String,
        /// Which one, and what is wrong with it.
        text: String,
    },
    /// Values that cannot be merged.
    #[error("{at}.merge: {text}")]
    MergeFailed {
        /// Path of the rewrite.
        at: String,
        /// What is wrong with which of them.
        text: String,
    },
    /// A key that a Secret cannot have.
    #[error("{key:?} cannot be a key of a Secret: use letters, digits, `-`, `_` and `.`, at most 253 characters")]
    InvalidKey {
        /// The key.
        key: String,
    },
    /// Two names of a store that would be one key of the Secret.
    #[error("{first:?} and {second:?} would both become the key {key:?}; rename one of them with dataFrom.rewrite")]
    KeyClash {
        /// One name.
        first: String,
        /// The other.
        second: String,
        /// What both became.
        key: String,
    },
    /// Too much data. Rekey has not looked at the rest.
    #[error("the data has {size} bytes or more; a Secret holds at most 1048576 (1 MiB): map fewer or smaller values")]
    TooLarge {
        /// Bytes that were counted.
        size: usize,
    },
    /// More keys than the record of a Secret has room for. Rekey has not kept the rest.
    #[error(
        "the Secret would have {keys} keys or more, while its annotations have room to record about 5,000: split the \
         keys among several policies, or take single ones with spec.source.remote.data"
    )]
    TooManyKeys {
        /// Keys that were counted.
        keys: usize,
    },
    /// More work than one policy may make.
    #[error("{text}")]
    TooMuchWork {
        /// What is too much, and what to do.
        text: &'static str,
    },
    /// It was stopped before its end.
    #[error(
        "rendering the values and templates of the policy took too long, so Rekey stopped it; make the templates \
         smaller, call bcrypt, htpasswd and PKCS#12 functions less often, or make several policies"
    )]
    Stopped,
    /// Data that the Secret type does not allow.
    #[error("spec.target.type {kind}: key {key:?}: {fix}")]
    WrongForm {
        /// Secret type.
        kind: String,
        /// Key.
        key: String,
        /// What it must be.
        fix: String,
    },
}

impl RenderError {
    /// The same, for a template in another object.
    #[must_use]
    pub fn elsewhere(self) -> Self {
        match self {
            Self::TemplateSyntax { at, text } | Self::TemplateFailed { at, text } => {
                Self::TemplateElsewhere { at, text }
            }
            other => other,
        }
    }
}
