//! What is said of the plain Secret beside versions: why it is not ours to write, and what was repaired.

use rekey_api::condition::Reason;

use super::{LastPlain, Plain, PlainSeen, PolicySpec};
use crate::notice::Notice;

/// Why it is not ours to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Another tool has made it.
    Foreign,
    /// It says that it is the policy's, and nothing proves it.
    Unproven,
    /// It was locked, or another tool has made it immutable.
    Immutable,
}

impl Trouble {
    /// The reason of the Event about it.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Foreign | Self::Unproven => Reason::NoConsent,
            Self::Immutable => Reason::LockedAndChanged,
        }
    }

    /// What the status says of it, and what to do.
    #[must_use]
    pub fn text(self, policy: &PolicySpec) -> String {
        let (name, namespace) = (policy.names.base(), &policy.namespace);
        let what = match self {
            Self::Foreign => "is another tool's",
            Self::Unproven => "says that it is this policy's, and nothing proves it",
            Self::Immutable => "is immutable, since it was Locked before or another tool has made it so",
        };
        format!(
            "Secret {name} beside the versions {what}, so Rekey leaves it alone, and who refers to it does not get later \
             values; to let Rekey make it again, when no pod refers to it: kubectl delete secret {name} -n {namespace}"
        )
    }
}

impl PlainSeen {
    /// What keeps it from being written.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Other(trouble) => Some(*trouble),
            Self::Absent(_) | Self::Going | Self::Ours { .. } | Self::Spoiled { .. } => None,
        }
    }

    /// An immutable one is made anew where the policy is locked; elsewhere a user has to decide that.
    #[must_use]
    pub fn writable(self, policy: &PolicySpec) -> Self {
        match self {
            Self::Ours { immutable: true, .. } | Self::Spoiled { immutable: true, .. } if !policy.locked => {
                Self::Other(Trouble::Immutable)
            }
            Self::Absent(_) | Self::Going | Self::Other(_) | Self::Ours { .. } | Self::Spoiled { .. } => self,
        }
    }
}

impl Plain {
    /// What an Event reports of the write; nothing where it follows the versions. `is_gone`: it was seen to go.
    #[must_use]
    pub fn notice(&self, policy: &PolicySpec, seen: &PlainSeen, is_gone: bool) -> Option<Notice> {
        let name = policy.names.base();
        let repaired = |edited_by: Option<&String>| {
            let text = match edited_by {
                Some(by) => format!("repaired Secret {name}, which {by} had changed"),
                None => format!("repaired the labels, annotations or owner of Secret {name}"),
            };
            Notice::new(Reason::Drifted, "Repair", text)
        };
        match seen {
            PlainSeen::Absent(LastPlain::Deleted) => {
                let text = format!("created Secret {name} anew, with the value of {}", self.copy_of);
                Some(Notice::new(Reason::Synced, "Create", text))
            }
            PlainSeen::Absent(_) if is_gone => {
                let text = format!(
                    "created Secret {name}, which another tool had deleted, with the value of {}",
                    self.copy_of
                );
                Some(Notice::new(Reason::Synced, "Create", text))
            }
            PlainSeen::Absent(_) | PlainSeen::Going | PlainSeen::Other(_) => None,
            PlainSeen::Spoiled { edited_by, .. } => Some(repaired(Some(edited_by))),
            // Nobody has changed anything where the digest key was lost.
            PlainSeen::Ours { published, holds, .. } if !published.digests.comparable(holds) => None,
            PlainSeen::Ours { is_intact, edited_by, .. } => (!is_intact).then(|| repaired(edited_by.as_ref())),
        }
    }
}
