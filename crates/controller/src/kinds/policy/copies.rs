//! Private copies of earlier values, and a Secret that gets one of them again.

use rekey_core::{
    policy::{Copied, Mark, PolicySpec, Seen},
    published::Published,
};

use super::{
    Policies,
    observe::{content, is_as_recorded, place::plain_name},
};
use crate::{
    cluster::{ObjectName, SecretRow, policy_name},
    error::Error,
    notify,
};

impl Policies {
    /// Copies what the Secret holds, before another value replaces it, and says what became of it.
    pub(super) async fn keep_copy(
        &self,
        policy: &PolicySpec,
        published: &Published,
        mark: Option<Mark>,
    ) -> Result<(), Error> {
        let name = ObjectName::new(policy.namespace.as_str(), policy.names.version(&published.revision));
        if let Some(row) = self.cluster.secrets.get(&name) {
            return self.mark_copy(policy, &name, &row, published, mark).await;
        }
        let found = content(self, policy, &plain_name(policy)).await?;
        match found.filter(|found| is_as_recorded(self, policy, found, published)) {
            Some(found) => {
                let copied = Copied { kind: Some(found.kind), data: found.data };
                self.write.secret(&policy.namespace, &policy.copy(copied, published, mark)).await?;
                Ok(())
            }
            // Another tool has changed it: what is repaired first can be copied then.
            None if mark == Some(Mark::RolledBack) => Err(Error::Overtaken { secret: plain_name(policy).to_string() }),
            None => {
                tracing::info!(secret = %plain_name(policy), "no copy is kept: another tool has changed the value");
                Ok(())
            }
        }
    }

    /// It was copied before, when it was published for the first time.
    async fn mark_copy(
        &self,
        policy: &PolicySpec,
        name: &ObjectName,
        row: &SecretRow,
        published: &Published,
        mark: Option<Mark>,
    ) -> Result<(), Error> {
        let copies = self.cluster.versions_and_copies(&policy_name(policy), &policy.names);
        let Some(copy) = copies.iter().find(|copy| copy.name == name.name) else {
            return Err(Error::Overtaken { secret: name.to_string() }); // another tool's, or on its way out
        };
        if copy.mark() == mark && copy.published.changes == published.changes {
            return Ok(());
        }
        self.memory.kept.let_go(&policy_name(policy), &name.name);
        self.write.mark(name, &row.object_version(), mark, Some(published)).await
    }

    /// Publishes the value of a copy again.
    pub(super) async fn restore(
        &self,
        policy: &PolicySpec,
        seen: &Seen,
        copy: &Published,
        record: &Published,
    ) -> Result<(), Error> {
        let name = ObjectName::new(policy.namespace.as_str(), policy.names.version(&copy.revision));
        let found = content(self, policy, &name).await?;
        let Some(found) = found.filter(|found| is_as_recorded(self, policy, found, copy)) else {
            return Err(Error::Overtaken { secret: name.to_string() }); // it has just gone, or is not what we have copied
        };
        let plain = content(self, policy, &plain_name(policy)).await?;
        let own = plain.map(|plain| plain.tags).unwrap_or_default();
        let copied = Copied { kind: Some(found.kind), data: found.data };
        let desired = policy.restored(copied, record, own, seen.over.clone());
        let change = self.write.secret(&policy.namespace, &desired).await?;
        if change.as_ref().is_some_and(notify::has_new_values) {
            self.notify.workloads_of(&policy.namespace, &desired.name);
        }
        Ok(())
    }
}
