//! Secrets that are copied as they are: the plain one beside versions, private copies of earlier values, and a Secret that
//! gets an earlier value again.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use rekey_api::{
    names,
    policy::{ConsumerState, OnPolicyDelete},
};

use super::{Claims, Desired, Kept, Mark, ObjectVersion, PolicySpec, Scope, Seen, Surplus, Tags, plain::runs};
use crate::{
    SecretBytes,
    published::{Gap, Instead, Published},
    workload::Keys,
};

/// What was read of a Secret, to be written elsewhere.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Its type.
    pub kind: Option<String>,
    /// Its data.
    pub data: BTreeMap<String, SecretBytes>,
}

impl Copied {
    /// A Secret of the policy's with this content.
    pub(super) fn desired(self, policy: &PolicySpec, name: &str, tags: Tags, over: Option<ObjectVersion>) -> Desired {
        Desired {
            scope: Scope::Whole,
            name: name.to_owned(),
            kind: self.kind,
            data: self.data,
            labels: tags.labels,
            annotations: tags.annotations,
            immutable: false,
            owner: (policy.on_policy_delete == OnPolicyDelete::Delete).then(|| policy.itself()),
            over,
            surplus: Surplus::Others,
            claims: Claims::default(),
        }
    }
}

impl PolicySpec {
    /// A private copy of what the Secret holds, before another value replaces it. It has none of the labels and annotations
    /// by which other tools find the Secret.
    #[must_use]
    pub fn copy(&self, content: Copied, published: &Published, mark: Option<Mark>) -> Desired {
        let kept = Kept { published: Arc::new(published.clone()), mark, is_copy: true };
        let desired = content.desired(self, &self.names.version(&published.revision), kept.tags(self), None);
        Desired { immutable: true, owner: None, ..desired }
    }

    /// The Secret with an earlier value again. Labels and annotations that templates have made stay as they are: the copy has
    /// none. `own`: those that it has from us.
    #[must_use]
    pub fn restored(&self, content: Copied, record: &Published, own: Tags, over: Option<ObjectVersion>) -> Desired {
        let Tags { mut labels, mut annotations } = if self.makes_tags() { own } else { Tags::default() };
        labels.extend(self.secret_labels());
        annotations.extend(self.secret_annotations(record));
        annotations.insert(names::DIGESTS.to_owned(), record.digests.to_string());
        annotations.insert(names::CHANGES.to_owned(), record.changes.to_string());
        content.desired(self, self.names.base(), Tags { labels, annotations }, over)
    }
}

/// What is said of a value that another one replaces: it is good only if all consumers ran on it, now or when it was
/// published before.
pub fn replaced(seen: &Seen, published: &Published) -> Option<Mark> {
    let is_told = seen.status.revision.as_ref() == Some(&published.revision);
    // Of what the Secret held from the start it is only assumed that they ran on it.
    let runs = runs(&seen.status, &[ConsumerState::Current, ConsumerState::Assumed]);
    let is_good = || seen.history.find(&published.revision).is_some_and(|copy| copy.mark.is_none());
    (!(is_told && runs || is_good())).then_some(Mark::Untried)
}

/// The keys that two values have not in common.
fn differing(one: &Published, other: &Published) -> Keys {
    let named = one.digests.named().zip(other.digests.named());
    named.map_or(Keys::All, |(ones, others)| {
        Keys::Some(ones.chain(others).filter(|key| one.digests.differs(&other.digests, key)).cloned().collect())
    })
}

/// The record of a Secret that gets an earlier value again: a new publication, of content that is known.
pub fn record_of(earlier: &Published, over: &Published, now: DateTime<Utc>) -> Arc<Published> {
    let was = &earlier.changes;
    let is_next = over.changes.previous.as_ref() == Some(&earlier.revision);
    let mut changes = match over.time() {
        // Who read the value before it was replaced holds it still, and who read it since holds another one.
        Some(since) if is_next => {
            was.back(over, Gap::new(Some(since), now, Instead::Edit, differing(earlier, over)), now)
        }
        Some(_) | None => over.changes.next(&over.revision, &over.digests, &earlier.digests, now),
    };
    changes.origins.clone_from(&was.origins);
    changes.rotation.clone_from(&was.rotation);
    changes.inputs.clone_from(&was.inputs);
    changes.issue.clone_from(&was.issue);
    changes.tags.clone_from(&over.changes.tags);
    changes.restored = true;
    Arc::new(Published { changes, taken: None, ..Published::clone(earlier) })
}
