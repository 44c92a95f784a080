//! Earlier values that are kept, as versions or as private copies: what another tool takes off one is put back, and what is
//! gone is reported.

use std::{collections::BTreeMap, sync::Arc};

use rekey_api::{SecretPolicy, names};
use rekey_core::{
    policy::{Fate, Kept, Now, ObjectVersion, PolicySpec, Tags},
    published::Published,
};

use super::{
    Policies,
    observe::{content, is_as_recorded, place::plain_name},
};
use crate::{
    cluster::{ObjectName, SecretRow, SecretVersion, policy_name},
    error::Error,
};

impl Policies {
    /// Looks at those that were there before.
    pub(super) async fn guard(&self, object: &SecretPolicy, policy: &PolicySpec) -> Result<(), Error> {
        let key = policy_name(policy);
        for (secret, kept) in self.memory.kept.of(&key) {
            let name = ObjectName::new(policy.namespace.as_str(), secret.as_str());
            let row = self.cluster.secrets.get(&name);
            let fate = kept.fate(&now(row.as_deref()));
            let is_done = match (fate, row) {
                (Fate::Intact, _) => continue,
                (Fate::Stripped, Some(row)) => self.tell_again(policy, &name, &row, &kept).await?,
                (Fate::Stripped | Fate::Lost, _) => true,
            };
            self.memory.kept.let_go(&key, &secret);
            if let Some(notice) = kept.notice(&secret, fate).filter(|_| is_done) {
                self.write.event(object, &notice).await;
            }
        }
        Ok(())
    }

    /// Tells one again what it is. Not if its content does not prove it: then it is not known what it holds.
    async fn tell_again(
        &self,
        policy: &PolicySpec,
        name: &ObjectName,
        row: &SecretRow,
        kept: &Kept,
    ) -> Result<bool, Error> {
        let found = content(self, policy, name).await?.filter(|found| found.version == row.object_version());
        if !found.is_some_and(|found| is_as_recorded(self, policy, &found, &kept.published)) {
            return Ok(false);
        }
        self.write.tags(name, &row.object_version(), &kept.tags(policy)).await?;
        Ok(true)
    }

    /// Says of a Secret what it holds by digests of the digest key of now.
    pub(super) async fn rebase(
        &self,
        policy: &PolicySpec,
        secret: &str,
        over: &ObjectVersion,
        record: &Arc<Published>,
    ) -> Result<(), Error> {
        self.memory.kept.let_go(&policy_name(policy), secret);
        let annotations = [(names::DIGESTS.to_owned(), record.digests.to_string())].into();
        let name = ObjectName::new(policy.namespace.as_str(), secret);
        self.write.tags(&name, over, &Tags { annotations, ..Tags::default() }).await?;
        let is_current = self.memory.published(&plain_name(policy)).is_some_and(|at| at.revision == record.revision);
        if is_current {
            self.memory.set_published(&plain_name(policy), record);
        }
        Ok(())
    }

    /// Remembers those that are there now, but for the current one.
    pub(super) fn remember(&self, policy: &PolicySpec, current: Option<&str>) {
        let key = policy_name(policy);
        let all = self.cluster.versions_and_copies(&key, &policy.names);
        let is_earlier = |at: &SecretVersion| current != Some(&*at.published.revision) || at.is_copy();
        let all = all.into_iter().filter(is_earlier).filter(SecretVersion::is_our_word);
        let values: BTreeMap<String, Kept> = all.filter_map(|at| Some((at.name, kept(&at.row)?))).collect();
        self.memory.kept.set(&key, values);
    }
}

fn now(row: Option<&SecretRow>) -> Now {
    match row {
        None => Now::Nothing,
        Some(row) if !row.is_made_by_us() || row.managed().is_some_and(|managed| managed.is_going) => Now::Others,
        Some(row) => Now::Ours(kept(row)),
    }
}

fn kept(row: &SecretRow) -> Option<Kept> {
    let managed = row.managed().filter(|managed| managed.is_labelled)?;
    Some(Kept { published: Arc::clone(&managed.published), mark: managed.mark(), is_copy: managed.is_copy() })
}
