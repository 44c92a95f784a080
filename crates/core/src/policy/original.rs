//! `source.existing` with `immutability: Versioned`: versions of ours are made of what another tool's Secret holds. That Secret
//! keeps the plain name, and nothing of it is ever written, its metadata neither.

use rekey_api::condition::Reason;

use super::{
    Content, PolicySpec, Seen, Source, is_reserved,
    publish::{Decided, Wait},
    values::{Gathered, Values, content, kept},
};
use crate::{SpecError, notice::Notice, render::kinds};

/// What was found of the Secret that versions are made of.
#[derive(Clone, Debug)]
pub enum Original {
    /// It is not there.
    Absent,
    /// It has not changed since what it holds was published.
    Copied,
    /// It may hold something else than what is published.
    Read(Box<Content>),
}

impl PolicySpec {
    /// Whether versions are made of another tool's Secret, which has the plain name.
    #[must_use]
    pub fn has_original(&self) -> bool {
        matches!(self.source, Source::Existing) && self.names.is_versioned()
    }

    /// Whether a mutable Secret of ours with the plain name stays beside the versions.
    #[must_use]
    pub fn keeps_plain(&self) -> bool {
        self.moves_references() && !self.has_original()
    }
}

/// The values of the next version: those of the original, of its type. Labels and annotations are its maker's.
pub fn copied(policy: &PolicySpec, seen: &Seen) -> Result<Values, SpecError> {
    let original = match &seen.original {
        Some(Original::Read(content)) if !content.data.is_empty() => content,
        // The version that is there may have to be told again what it is, which takes all of its data.
        Some(Original::Absent | Original::Copied | Original::Read(_)) | None => {
            let version = content(&seen.secret).filter(|_| !seen.is_lost(policy));
            return Ok(version.map_or(Values::Unread, |version| Values::Here(kept(policy, seen, version))));
        }
    };
    let Content { kind, data, .. } = &**original;
    if is_reserved(kind) {
        let fix = format!(
            "Secret {:?} has type {kind:?}, a credential of the cluster itself, which Rekey never copies; create the \
             policy again with another name",
            policy.names.base()
        );
        return Err(SpecError::field("spec.target.name", fix));
    }
    kinds::check(kind, data)?;
    Ok(Values::Here(Gathered { kind: Some(kind.clone()), ..Gathered::of(data.clone()) }))
}

/// A decision, with what keeps it from following the original: what is published stays meanwhile.
pub fn noted(policy: &PolicySpec, seen: &Seen, decided: Decided) -> Decided {
    let Some(Wait { reason, text }) = lack(policy, seen) else { return decided };
    let Some(published) = &decided.published else { return Decided::wait(reason, text) };
    let text = format!("{text}; Secret {} stays", policy.names.of_revision(&published.revision));
    let is_told = seen.status.conditions.iter().any(|at| at.reason == reason.as_str() && at.message == text);
    let mut decided = Decided { stale: Some(Wait { reason, text: text.clone() }), ..decided };
    decided.events.extend((!is_told).then(|| Notice::new(reason, "Sync", text)));
    decided
}

/// Why nothing can be made of the original.
fn lack(policy: &PolicySpec, seen: &Seen) -> Option<Wait> {
    let (name, namespace) = (policy.names.base().to_owned(), policy.namespace.clone());
    match &seen.original {
        Some(Original::Absent) => {
            let text = SpecError::SecretNotFound { name, namespace }.to_string();
            Some(Wait { reason: Reason::SecretNotFound, text })
        }
        Some(Original::Read(content)) if content.data.is_empty() => {
            let text = format!("Secret {name:?} holds nothing; the policy waits until another tool fills it");
            Some(Wait { reason: Reason::EmptyAnswer, text })
        }
        Some(Original::Copied | Original::Read(_)) | None => None,
    }
}
