//! A plain Secret beside versions that is immutable and has to hold another value: it is deleted when nothing refers to it,
//! and made again when no pod is left that may have read it
//! ([ADR 005](../../../../../docs/adr/005-locked-secret-that-was-deleted.md)).

use std::{collections::BTreeSet, time::Duration};

use rekey_api::{SecretPolicy, condition::Reason};
use rekey_core::{
    notice::Notice,
    policy::{Look, ObjectVersion, Plain, PolicySpec},
};

use super::{
    Policies,
    observe::{place::plain_name, referrers},
    plain::Follower,
};
use crate::error::Error;

impl Policies {
    /// Deletes it; when to look again, if something refers to it.
    pub(super) async fn delete_once_unused(
        &self,
        object: &SecretPolicy,
        policy: &PolicySpec,
        over: &ObjectVersion,
    ) -> Result<Option<Duration>, Error> {
        let name = plain_name(policy);
        if self.is_watched(&policy.namespace, &name.name) {
            self.memory.clearings.forget(&name);
            return Ok(None); // a change of theirs queues the policy
        }
        if let Some(wait) = self.wait(policy, &referrers::look_there(self, policy).await) {
            return Ok(Some(wait));
        }
        // What may make a pod, too.
        if !self.referred(&policy.namespace, &BTreeSet::from([name.name.clone()])).await?.is_empty() {
            return Ok(self.wait(policy, &Look::Referred(Vec::new())));
        }
        self.memory.plains.deleted(&name, over);
        self.write.remove(&name, over).await?;
        let text = format!(
            "deleted Secret {}, which is immutable and to which nothing refers any more; Rekey makes it anew with the \
             current value",
            name.name
        );
        self.write.event(object, &Notice::new(Reason::Unlocking, "Unlock", text)).await;
        Ok(None) // its watch queues the policy again
    }

    /// Makes it; when to look again, if a pod is left that may have read the one before.
    pub(super) async fn write_once_forgotten(
        &self,
        follower: &Follower<'_>,
        plain: Plain,
    ) -> Result<Option<Duration>, Error> {
        let wait = self.wait(follower.policy, &referrers::look_gone(self, follower.policy).await);
        if wait.is_none() {
            self.write_plain(follower, plain).await?;
            self.memory.clearings.forget(&plain_name(follower.policy));
        }
        Ok(wait)
    }

    fn wait(&self, policy: &PolicySpec, look: &Look) -> Option<Duration> {
        if let Look::Failed(why) = look
            && self.memory.collected.tell(&policy.namespace)
        {
            tracing::warn!(secret = %plain_name(policy), why, "a Secret that is immutable is not made anew");
        }
        look.again(self.clock.now()).map(|wait| wait.to_std().unwrap_or_default())
    }
}
