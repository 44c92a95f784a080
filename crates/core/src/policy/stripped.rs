//! A Secret of ours whose record another tool has taken off.

use rekey_api::SecretPolicyStatus;

use super::{Content, History, PolicySpec, Tools};
use crate::{
    Seed,
    chance::revision,
    published::{Changes, Published},
};

impl PolicySpec {
    /// A new record for what is there, when nobody knows the one that it had: consumers count as having what it holds, as
    /// after a first publication. It comes after all values that are kept. `seed`: of the salts in it, as far as it says so.
    #[must_use]
    pub fn baseline(
        &self,
        content: &Content,
        status: &SecretPolicyStatus,
        history: &History,
        seed: Option<Seed>,
        tools: Tools<'_>,
    ) -> Published {
        let mut changes = Changes::first(tools.now);
        changes.publication = history.last().saturating_add(1);
        Published {
            policy: self.name.clone(),
            revision: status.revision.clone().unwrap_or_else(|| revision(tools.chance)),
            digests: self.digests_of(tools.key, &content.data, None),
            changes,
            seed,
            taken: None,
        }
    }
}
