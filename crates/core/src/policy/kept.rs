//! Earlier values that are kept, as versions or as private copies: what another tool has done to one. Nothing else of it is
//! known than its record, so what was deleted is gone, and what does not say any more what it is can be told again.

use std::{collections::BTreeMap, sync::Arc};

use rekey_api::{condition::Reason, names, policy::OnPolicyDelete};

use super::{Mark, PolicySpec, Tags};
use crate::{notice::Notice, published::Published};

/// What an earlier value was last seen to say of itself, by our own word.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its record.
    pub published: Arc<Published>,
    /// What became of it.
    pub mark: Option<Mark>,
    /// Whether it is a private copy.
    pub is_copy: bool,
}

/// What there is now under its name.
#[derive(Clone, Debug)]
pub enum Now {
    /// Nothing.
    Nothing,
    /// Another tool's Secret, or one that is on its way out.
    Others,
    /// A Secret that our field manager has made; what it says of itself, if that is a record with our label.
    Ours(Option<Kept>),
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is as it was.
    Intact,
    /// It has to be told again what it is, if its content proves it.
    Stripped,
    /// Its value is gone.
    Lost,
}

impl Kept {
    /// What another tool has done to it.
    #[must_use]
    pub fn fate(&self, now: &Now) -> Fate {
        match now {
            Now::Nothing | Now::Others => Fate::Lost,
            Now::Ours(Some(now)) if self.is(now) => Fate::Intact,
            Now::Ours(_) => Fate::Stripped,
        }
    }

    fn is(&self, now: &Self) -> bool {
        let (Published { policy, revision, digests, changes, .. }, other) = (&*self.published, &*now.published);
        let is_same =
            (policy, revision, digests, changes) == (&other.policy, &other.revision, &other.digests, &other.changes);
        // A mark by our own word is newer than what is remembered.
        is_same && self.is_copy == now.is_copy && (self.mark == now.mark || now.mark.is_some())
    }

    /// The labels and annotations by which it is what it is.
    #[must_use]
    pub fn tags(&self, policy: &PolicySpec) -> Tags {
        let record = &self.published;
        let mut annotations: BTreeMap<String, String> = [
            (names::POLICY, policy.name.clone()),
            (names::REVISION, record.revision.clone()),
            (names::DIGESTS, record.digests.to_string()),
            (names::CHANGES, record.changes.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        annotations.extend(record.seed.iter().map(|seed| (names::SEED.to_owned(), seed.to_string())));
        annotations.extend(self.mark.map(|mark| (names::HELD.to_owned(), mark.text().to_owned())));
        annotations.extend(self.is_copy.then(|| (names::COPY.to_owned(), names::COPY_TRUE.to_owned())));
        if policy.on_policy_delete == OnPolicyDelete::Delete {
            annotations.insert(names::ON_POLICY_DELETE.to_owned(), names::ON_POLICY_DELETE_DELETE.to_owned());
        }
        Tags { labels: [(names::MANAGED_BY.to_owned(), names::MANAGED_BY_VALUE.to_owned())].into(), annotations }
    }

    /// What an Event reports of it.
    #[must_use]
    pub fn notice(&self, name: &str, fate: Fate) -> Option<Notice> {
        let what = if self.is_copy { "a copy of an earlier value" } else { "an earlier version" };
        let text = match fate {
            Fate::Intact => return None,
            Fate::Stripped => format!("repaired the labels or annotations of Secret {name}, {what}"),
            Fate::Lost => format!(
                "another tool deleted Secret {name}, {what}, or made another one of its name: the value of revision {} is \
                 not kept any more",
                self.published.revision
            ),
        };
        Some(Notice::new(Reason::Drifted, "Repair", text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(mark: Option<Mark>) -> Kept {
        let metadata = json!({"annotations": {
            names::POLICY: "db", names::REVISION: "bbbbbbbbbb", names::DIGESTS: r#"{"by": "k", "of": {}}"#,
            names::CHANGES: r#"{"publication": 2, "time": "2026-11-30T02:00:00.000Z"}"#,
        }});
        let published = Published::read(&serde_json::from_value(metadata).unwrap()).unwrap();
        Kept { published: Arc::new(published), mark, is_copy: false }
    }

    #[test]
    fn what_is_taken_off_is_told_from_what_is_gone_and_from_our_own_word() {
        let bad = Some(Mark::RolledBack);
        let other = |change: fn(&mut Published)| {
            let mut other = kept(None);
            change(Arc::make_mut(&mut other.published));
            Now::Ours(Some(other))
        };
        for (what, before, now, expected) in [
            ("as it was", None, Now::Ours(Some(kept(None))), Fate::Intact),
            ("marked by us since", None, Now::Ours(Some(kept(bad))), Fate::Intact),
            ("the mark is taken off", bad, Now::Ours(Some(kept(None))), Fate::Stripped),
            ("no record", None, Now::Ours(None), Fate::Stripped),
            ("another policy", None, other(|at| at.policy = "other".to_owned()), Fate::Stripped),
            ("another number", None, other(|at| at.changes.publication = 9), Fate::Stripped),
            ("no copy any more", None, Now::Ours(Some(Kept { is_copy: true, ..kept(None) })), Fate::Stripped),
            ("gone", None, Now::Nothing, Fate::Lost),
            ("another one of its name", None, Now::Others, Fate::Lost),
        ] {
            assert_eq!(kept(before).fate(&now), expected, "{what}");
        }
    }
}
