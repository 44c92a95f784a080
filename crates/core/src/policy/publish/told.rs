//! What is said of a write.

use rekey_api::{condition::Reason, policy::ChangeReason};

use super::{
    super::{Original, Source, seen::Content},
    Comparison, Found, Publishing,
};
use crate::notice::Notice;

impl Publishing<'_> {
    /// Edits of generated values stay: there is no other copy to go back to.
    pub(super) fn edited(&self, found: &Found<'_>) -> Option<String> {
        let content = found.content.filter(|content| !content.is_intact)?;
        let asked = self.seen.status.observed_generation != Some(self.policy.generation);
        (matches!(self.policy.source, Source::Generated(_)) && !asked).then(|| {
            let (by, name) = (content.editors(), self.seen.secret_name(self.policy));
            format!(
                "{by} changed generated values of Secret {name}; Rekey kept what is there now and generated what was \
                 missing"
            )
        })
    }

    /// What is repaired, when it is others who have changed the Secret.
    pub(super) fn repair(&self, found: &Found<'_>, compared: &Comparison) -> Option<String> {
        let (policy, name) = (self.policy, self.seen.secret_name(self.policy));
        if let Some(content) = found.content.filter(|_| !compared.is_intact) {
            return Some(format!("repaired Secret {name}, which {} had changed", content.editors()));
        }
        let asked = self.seen.status.observed_generation != Some(policy.generation);
        (!found.dressed && !asked && !self.is_made_again(found))
            .then(|| format!("repaired the labels, annotations or owner of Secret {name}"))
    }

    /// Whether the Secret has gone, and its value is known from another one of the policy's.
    fn is_made_again(&self, found: &Found<'_>) -> bool {
        let was_seen = self.seen.status.observed_generation == Some(self.policy.generation);
        was_seen && self.seen.is_elsewhere && self.over(found.published).is_none()
    }

    /// `name`: that of the Secret as it will be.
    pub(super) fn explain(&self, found: &Found<'_>, compared: &Comparison, name: &str) -> (ChangeReason, String) {
        let (policy, status) = (self.policy, &self.seen.status);
        if self.is_acknowledgement(found.published) {
            (ChangeReason::Rotated, format!("published the rotated value in Secret {name}"))
        } else if compared.is_same && self.is_made_again(found) {
            (ChangeReason::Created, format!("created Secret {name}, which another tool had deleted, with its value"))
        } else if compared.is_same && compared.is_intact && !found.immutable && policy.locked {
            (ChangeReason::SpecChanged, format!("locked Secret {name}"))
        } else if status.observed_generation != Some(policy.generation) {
            (ChangeReason::SpecChanged, format!("updated Secret {name} after a change of the policy"))
        } else {
            match &policy.source {
                Source::Existing if policy.has_original() => {
                    let by = match &self.seen.original {
                        Some(Original::Read(content)) => content.editors(),
                        Some(Original::Absent | Original::Copied) | None => "another tool".to_owned(),
                    };
                    let text = format!("{by} changed Secret {}; made Secret {name} of it", policy.names.base());
                    (ChangeReason::SourceChanged, text)
                }
                Source::Existing => {
                    let by = found.content.map_or_else(|| "another tool".to_owned(), Content::editors);
                    (ChangeReason::SourceChanged, format!("{by} changed Secret {name}"))
                }
                Source::Engine(_) if self.gathered.issue.is_some() => {
                    (ChangeReason::Renewed, format!("renewed Secret {name} from {}", policy.source.text()))
                }
                Source::Engine(_) | Source::Remote(_) | Source::Generated(_) => {
                    (ChangeReason::SourceChanged, format!("updated Secret {name} from {}", policy.source.text()))
                }
            }
        }
    }
}

pub(super) fn action(reason: Option<ChangeReason>) -> &'static str {
    match reason {
        Some(ChangeReason::Created) => "Create",
        Some(ChangeReason::Adopted) => "Adopt",
        Some(ChangeReason::Rotated) => "Rotate",
        Some(ChangeReason::SourceChanged | ChangeReason::Renewed | ChangeReason::RolledBack) => "Update",
        Some(ChangeReason::SpecChanged) | None => "Conform",
    }
}

/// What is said of a value whose Secret has got another name than `wanted`; nothing, if it has that.
pub(super) fn taken(wanted: &str, name: &str) -> Option<Notice> {
    let text = || format!("another tool has made a Secret {wanted}, so its value is in Secret {name} now");
    (wanted != name).then(|| Notice::new(Reason::Drifted, "Repair", text()))
}
