//! The Secret with the plain name that stays beside versions.

use std::{sync::Arc, time::Duration};

use rekey_api::{SecretPolicy, SecretPolicyStatus, names};
use rekey_core::{
    digest::Digests,
    policy::{self, Content, Copied, Following, Plain, PlainSeen, PolicySpec, Trouble},
    published::{Published, Versions, order},
};

use super::{
    Policies,
    observe::{
        content, found, history, is_as_recorded, is_restored,
        marks::{is_ours_still, orphan},
        place::plain_name,
        read,
    },
};
use crate::{
    cluster::{Managed, ObjectName, own_tags, values, versions_of},
    error::Error,
    memory::Verified,
    notify,
};

/// What a write of the plain Secret is made from.
#[derive(Clone, Copy)]
pub(super) struct Follower<'a> {
    pub object: &'a SecretPolicy,
    pub policy: &'a PolicySpec,
    pub versions: &'a Versions,
    pub seen: &'a PlainSeen,
}

impl Policies {
    /// Brings the plain Secret to the revision that it has to hold. When to look again, if something stands in the way.
    pub(super) async fn follow(
        &self,
        object: &SecretPolicy,
        policy: &PolicySpec,
        status: &SecretPolicyStatus,
        published: Option<&Published>,
    ) -> Result<Option<Duration>, Error> {
        let Some(published) = published.filter(|_| policy.keeps_plain()) else { return Ok(None) };
        let history = history(self, policy);
        let versions = versions_of(&self.cluster, policy);
        let seen = self.plain(policy, &versions).await?;
        let follower = Follower { object, policy, versions: &versions, seen: &seen };
        match policy::plain(policy, status, published, &versions, &history, &seen) {
            Some(Following::Write(plain)) => self.write_plain(&follower, plain).await.map(|()| None),
            Some(Following::WriteOnceForgotten(plain)) => self.write_once_forgotten(&follower, plain).await,
            Some(Following::DeleteOnceUnused(over)) => self.delete_once_unused(object, policy, &over).await,
            None => Ok(None),
        }
    }

    pub(super) async fn write_plain(&self, follower: &Follower<'_>, plain: Plain) -> Result<(), Error> {
        let Follower { object, policy, versions, seen } = *follower;
        let Some(copied) = versions.ours.get(&plain.copy_of) else { return Ok(()) };
        let name = ObjectName::new(policy.namespace.as_str(), plain.copy_of.as_str());
        let Some(version) = found(self, &name).await? else { return Ok(()) }; // its watch queues the policy again
        let tags = own_tags(&version.metadata);
        let content = Copied { kind: version.type_, data: values(version.data) };
        let notice = plain.notice(policy, seen, self.memory.gone(&plain_name(policy)).is_some());
        let desired = plain.desired(policy, content, tags, copied, self.clock.now());
        let change = self.write.secret(&policy.namespace, &desired).await?;
        if change.as_ref().is_some_and(notify::has_new_values) {
            self.notify.workloads_of(&policy.namespace, &desired.name); // those whose references another tool puts back
        }
        if let Some(notice) = notice {
            self.write.event(object, &notice).await;
        }
        Ok(())
    }

    /// What keeps it from being written.
    pub(super) async fn plain_trouble(&self, policy: &PolicySpec) -> Result<Option<Trouble>, Error> {
        if !policy.keeps_plain() {
            return Ok(None);
        }
        Ok(self.plain(policy, &versions_of(&self.cluster, policy)).await?.trouble())
    }

    /// What there is of it.
    async fn plain(&self, policy: &PolicySpec, versions: &Versions) -> Result<PlainSeen, Error> {
        let name = plain_name(policy);
        let absent = || PlainSeen::Absent(self.memory.plains.last(&name));
        let Some(row) = self.cluster.secrets.get(&name) else { return Ok(absent()) };
        let Some(managed) = row.managed().filter(|at| at.published.policy == policy.name) else {
            let foreign = PlainSeen::Other(Trouble::Foreign);
            return if row.is_made_by_us() { self.stripped(policy, versions).await } else { Ok(foreign) };
        };
        if managed.is_going {
            return Ok(PlainSeen::Going);
        }
        if !managed.is_made_by_us && !is_restored(self, policy, &name, &row, managed).await? {
            return Ok(PlainSeen::Other(Trouble::Unproven));
        }
        let (published, version) = (&managed.published, row.object_version());
        self.memory.plains.seen(&name, &version, published);
        // One that was put back is written once, so that it counts as ours from there on.
        let is_dressed = managed.is_labelled && managed.is_made_by_us;
        if let Some(known) = self.memory.verified(&name, &row.version) {
            let (published, holds) = (Arc::clone(published), published.digests.clone());
            let immutable = known.immutable;
            let seen = PlainSeen::Ours { published, is_intact: is_dressed, edited_by: None, immutable, holds, version };
            return Ok(seen.writable(policy));
        }
        let Some(found) = content(self, policy, &name).await? else { return Ok(absent()) };
        let is_recorded = is_as_recorded(self, policy, &found, published);
        if is_recorded && is_dressed && found.version == row.object_version() {
            let kind = found.kind.as_str().into();
            self.memory.verify(&name, Verified { version: row.version.clone(), immutable: found.immutable, kind });
        }
        let seen = PlainSeen::Ours {
            published: Arc::clone(published),
            is_intact: is_recorded && is_dressed,
            edited_by: (!is_recorded).then(|| found.editors()),
            immutable: found.immutable,
            holds: self.digests_of(policy, &found, published),
            version,
        };
        Ok(seen.writable(policy))
    }

    fn digests_of(&self, policy: &PolicySpec, found: &Content, published: &Published) -> Digests {
        policy.digests_of(&self.digest_key, &found.data, Some(published))
    }

    /// A plain Secret that our field manager has made, and that does not say any more what it holds: the version with its
    /// content does.
    async fn stripped(&self, policy: &PolicySpec, versions: &Versions) -> Result<PlainSeen, Error> {
        let name = plain_name(policy);
        let Some(found) = found(self, &name).await? else {
            return Ok(PlainSeen::Absent(self.memory.plains.last(&name)));
        };
        let newest = || versions.ours.values().max_by(|one, other| order(one).cmp(&order(other)));
        let Some(any) = newest() else { return Ok(PlainSeen::Other(Trouble::Unproven)) };
        let managed = Managed::new(found.metadata.clone(), Published::clone(any));
        let named = found.metadata.annotations.as_ref().and_then(|all| all.get(names::POLICY));
        if managed.is_going {
            return Ok(PlainSeen::Going);
        }
        if !is_ours_still(self, policy, &managed, named.map(String::as_str)) || orphan(&managed, policy) {
            return Ok(PlainSeen::Other(Trouble::Unproven));
        }
        let content = read(found, policy);
        let holds = |at: &&Arc<Published>| is_as_recorded(self, policy, &content, at);
        let held = versions.ours.values().filter(holds).max_by(|one, other| order(one).cmp(&order(other)));
        let (version, immutable) = (content.version.clone(), content.immutable);
        let seen = match held.cloned() {
            Some(published) => {
                let holds = self.digests_of(policy, &content, &published);
                PlainSeen::Ours { published, is_intact: false, edited_by: None, immutable, holds, version }
            }
            None => PlainSeen::Spoiled { edited_by: content.editors(), immutable, version },
        };
        Ok(seen.writable(policy))
    }
}
