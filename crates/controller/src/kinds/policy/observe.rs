//! What is seen of a policy's surroundings: from the tables, and from the API server where they do not know.

mod backups;
mod history;
pub(super) mod marks;
mod original;
pub(super) mod place;
pub(super) mod referrers;
mod stripped;

use std::sync::Arc;

use chrono::TimeDelta;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, ResourceExt as _};
use rekey_api::{RotationSchedule, SecretPolicy, names, rotation::RotationStep};
use rekey_core::{
    SecretNames,
    policy::{
        self, Claims, Content, Desired, LastRead, ObjectVersion, OpenRotation, PolicySpec, Scope, Seen, SeenSecret,
    },
    published::Published,
    rotation::{self, Destination, PolicySource},
    time,
};
use tokio::time::Instant;

use self::{
    marks::{adopt_by, controller, dressed, is_owned, is_whole, may_read, orphan},
    place::{Place, plain_name},
};
pub use backups::prove;
pub use history::{history, went_back};
pub use original::copied;

use super::{Policies, consumers};
use crate::{
    cluster::{
        Cluster, Holder, Managed, Object, ObjectName, SecretRow, Version, other_annotations, own_tags, policy_name,
        values,
    },
    error::{Error, Operation},
    memory::{Read, Verified},
};

pub async fn observe(ctx: &Policies, object: &SecretPolicy, policy: &PolicySpec) -> Result<Seen, Error> {
    let schedules = ctx.cluster.schedules_of(&policy.namespace, &policy.name);
    let before = object.status.clone().unwrap_or_default();
    let open = schedules.iter().find_map(|schedule| rotation(schedule, policy));
    let first = schedules.first().and_then(|schedule| schedule.readable()?.status.as_ref());
    let next = first.and_then(|status| status.next_rotation_time.clone());
    let is_settled = policy::is_settled(policy, &before);
    let place = place::find(ctx, policy).await?;
    let row = place.over(ctx, policy);
    let over = row.as_ref().map(|row| row.object_version());
    let secret = match &place {
        Place::Plain => match stripped::find(ctx, policy, row.as_deref(), &before).await? {
            Some(found) => found,
            None => secret(ctx, policy, row.as_deref(), is_settled).await?,
        },
        Place::Version(version) => place::version(ctx, policy, version, is_settled).await?,
        Place::Damaged(version) => place::repaired(ctx, policy, version).await?,
        Place::Elsewhere(version) => place::elsewhere(ctx, policy, version, over.as_ref()).await?,
        Place::Nothing => SeenSecret::Absent,
        Place::Taken(other) => SeenSecret::Foreign { adopt_by: None, policy: Some(other.clone()), content: None },
    };
    let unlock = referrers::unlock(ctx, policy, &before, &secret).await;
    let read = ctx.memory.fetched(&policy.uid);
    let name = plain_name(policy);
    let last = ctx.memory.published(&name).or_else(|| original::before(ctx, policy));
    // An earlier version in the place of one that was deleted does not make that one unknown.
    if let SeenSecret::Ours { published, .. } = &secret
        && published.may_be_ours(last.as_deref(), &ctx.digest_key)
        && !policy.has_lost(last.as_deref(), published)
    {
        ctx.memory.set_published(&name, published);
    }
    let content = match &secret {
        SeenSecret::Foreign { content, .. } => content.as_ref(),
        SeenSecret::Ours { .. } | SeenSecret::Absent | SeenSecret::Going => None,
    };
    let managed = row.as_deref().and_then(SecretRow::managed).map(|managed| managed.other_annotations);
    let gone = history::gone(ctx, object, policy).await?;
    Ok(Seen {
        other_annotations: content.map(|content| content.other_annotations).or(managed).unwrap_or_default(),
        original: original::find(ctx, policy, &secret).await?,
        secret,
        // What refers to a version has it, or does not start: no pod runs without.
        gone,
        over,
        taken: place::names(ctx, policy),
        is_elsewhere: matches!(place, Place::Elsewhere(_)),
        last,
        attempted: ctx.memory.attempted(&name),
        last_read: read.map(last_read),
        rotation: open,
        overwrites: place.overwrites(ctx, policy),
        history: history::recalled(ctx, policy).await?,
        unlock,
        next_rotation: next,
        plain: ctx.plain_trouble(policy).await?,
        consumers: consumers::observe(ctx, policy, &before).await,
        status: before,
    })
}

fn last_read(Read { at, moment, next }: Read) -> LastRead {
    LastRead { at, age: since(moment), next }
}

fn since(moment: Instant) -> TimeDelta {
    TimeDelta::from_std(moment.elapsed()).unwrap_or_default()
}

/// The Secret, as it was read, has been found to hold what it should.
pub fn verified(ctx: &Policies, policy: &PolicySpec, seen: &Seen) {
    if let SeenSecret::Ours { content: Some(content), .. } = &seen.secret
        && let Some(verified) = looked(content, seen.over.as_ref())
    {
        ctx.memory.verify(&ObjectName::new(policy.namespace.as_str(), seen.secret_name(policy)), verified);
    }
}

/// A Secret is about to be written. If it is deleted or changed afterwards before it is looked at again, it comes back as it
/// was: not by its row, which may show by then what others have made of it. If the answer is lost, it is tried again as it is.
pub fn attempt(ctx: &Policies, policy: &PolicySpec, desired: &Desired) {
    let annotations = Some(desired.annotations.clone());
    let metadata = ObjectMeta { annotations, ..ObjectMeta::default() };
    if let Some(published) = Published::read(&metadata) {
        ctx.memory.set_attempted(&plain_name(policy), published);
    }
}

/// What is known by a content that was read; nothing if it is that of another version than its record, which is from
/// `row`: the watch is about to bring that one.
fn looked(content: &Content, row: Option<&ObjectVersion>) -> Option<Verified> {
    (row == Some(&content.version)).then(|| Verified {
        version: Version::new(&content.version.resource_version),
        immutable: content.immutable,
        kind: content.kind.as_str().into(),
    })
}

/// Whether the Secret of the policy is there with a value of ours: only then is a last known value served.
pub fn served(cluster: &Cluster, object: &SecretPolicy) -> bool {
    let policy = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
    cluster.published(&policy, &SecretNames::of(object)).is_some()
}

async fn secret(
    ctx: &Policies,
    policy: &PolicySpec,
    row: Option<&SecretRow>,
    is_settled: bool,
) -> Result<SeenSecret, Error> {
    let Some(row) = row else {
        return Ok(SeenSecret::Absent);
    };
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let foreign = |adopt_by, policy| SeenSecret::Foreign { adopt_by, policy, content: None };
    let name = &plain_name(policy);
    let content = async || content(ctx, policy, name).await;
    let is_whole = row.managed().is_some_and(|managed| is_whole(policy, managed));
    let is_restored = match row.managed() {
        Some(managed) if !is_whole && policy.scope == Scope::Whole => {
            is_restored(ctx, policy, name, row, managed).await?
        }
        Some(_) | None => false,
    };
    match &row.holder {
        Holder::Rotation { .. } => Ok(foreign(None, None)),
        Holder::Other { adopt_by, .. } if may_read(policy, adopt_by.as_deref()) => {
            let content = content().await?;
            Ok(SeenSecret::Foreign { adopt_by: text(adopt_by), policy: None, content })
        }
        Holder::Other { adopt_by, .. } => Ok(foreign(text(adopt_by), None)),
        Holder::Policy(managed) if managed.is_going => Ok(SeenSecret::Going),
        Holder::Policy(managed) if managed.published.policy != policy.name => {
            let owner = ObjectName::new(policy.namespace.as_str(), managed.published.policy.as_str());
            let alive = ctx.cluster.policies.get(&owner).is_some();
            if alive {
                return Ok(foreign(None, Some(managed.published.policy.clone())));
            }
            let adopt_by = adopt_by(managed);
            let content = if may_read(policy, adopt_by.as_deref()) { content().await? } else { None };
            Ok(SeenSecret::Foreign { adopt_by, policy: None, content })
        }
        Holder::Policy(managed) if orphan(managed, policy) => Ok(SeenSecret::Going),
        Holder::Policy(managed) if policy.scope == Scope::Whole && !is_whole && !is_restored => {
            let adopt_by = adopt_by(managed);
            let content = if may_read(policy, adopt_by.as_deref()) { content().await? } else { None };
            Ok(SeenSecret::Foreign { adopt_by, policy: None, content })
        }
        Holder::Policy(managed) => {
            let published = recorded(ctx, policy, managed);
            let dressed = dressed(policy, managed, &published);
            // A write of the only copy needs that copy.
            let needs_content = policy.is_only_copy(&published) && !(dressed && is_settled);
            let own = Own { name, row, managed, published, dressed, needs_content };
            ours(ctx, policy, own).await
        }
    }
}

/// A Secret of the policy's, as its row shows it.
struct Own<'a> {
    name: &'a ObjectName,
    row: &'a SecretRow,
    managed: &'a Managed,
    /// What it says about its content.
    published: Arc<Published>,
    /// Whether labels, annotations and owner are as they should be.
    dressed: bool,
    /// Whether a decision needs its content.
    needs_content: bool,
}

async fn ours(ctx: &Policies, policy: &PolicySpec, own: Own<'_>) -> Result<SeenSecret, Error> {
    let Own { name, row, managed, published, dressed, needs_content } = own;
    let ours = |content, Verified { immutable, kind, .. }| SeenSecret::Ours {
        published: Arc::clone(&published),
        content,
        dressed,
        immutable,
        kind: kind.to_string(),
        adopt_by: adopt_by(managed),
        controller: controller(policy, managed),
    };
    if let Some(verified) = ctx.memory.verified(name, &row.version).filter(|_| !needs_content) {
        return Ok(ours(None, verified));
    }
    let Some(mut content) = content(ctx, policy, name).await? else {
        return Ok(SeenSecret::Absent);
    };
    let digests = policy.digests_of(&ctx.digest_key, &content.data, Some(&published));
    let recorded = &published.digests;
    let is_as_recorded = digests == *recorded;
    // Digests of a key that was lost prove nothing: that is no reason to take the content for edited.
    let may_be_ours = || published.may_be_ours(ctx.memory.published(&plain_name(policy)).as_deref(), &ctx.digest_key);
    content.is_intact = is_as_recorded || !digests.comparable(recorded) && may_be_ours();
    let is_reserved = policy::is_reserved(&content.kind);
    if managed.published.changes.issue.is_some() && policy.makes_tags() {
        // What was issued once cannot be rendered again: it is made again with the labels that others have changed.
        content.is_intact &= policy.made_of(&content.tags).mark() == managed.published.changes.tags;
    }
    let version = row.version.clone();
    let found = Verified { version, immutable: content.immutable, kind: content.kind.as_str().into() };
    if is_as_recorded
        && !is_reserved
        && let Some(verified) = looked(&content, Some(&row.object_version()))
    {
        ctx.memory.verify(name, verified);
    }
    // `policy::admit` needs the type of a Secret that is never written.
    let is_told = needs_content || !is_as_recorded || is_reserved;
    Ok(ours(Some(content).filter(|_| is_told), found))
}

/// What the Secret says about its content, with the seed that it is known to have had: a tool that removes it, or
/// writes another, changes nothing by that.
fn recorded(ctx: &Policies, policy: &PolicySpec, managed: &Managed) -> Arc<Published> {
    let before = original::before(ctx, policy).filter(|at| at.is_later_than(&managed.published));
    let published = before.as_ref().unwrap_or(&managed.published);
    let known = ctx.memory.published(&plain_name(policy)).filter(|known| known.revision == published.revision);
    match known.and_then(|known| known.seed.clone()) {
        Some(seed) if policy.has_templates() && published.seed.as_ref() != Some(&seed) => {
            Arc::new(Published { seed: Some(seed), ..Published::clone(published) })
        }
        Some(_) | None => Arc::clone(published),
    }
}

/// Whether a Secret that our field manager has not made is one of ours that was put back, from a backup for example: it
/// carries our mark, and holds just what its record says, by digests of its place that only the digest key can make.
pub(super) async fn is_restored(
    ctx: &Policies,
    policy: &PolicySpec,
    name: &ObjectName,
    row: &SecretRow,
    managed: &Managed,
) -> Result<bool, Error> {
    let published = &managed.published;
    let is_marked = published.policy == policy.name && (managed.is_labelled || is_owned(policy, managed));
    if !is_marked || managed.is_going || published.digests.is_empty() {
        return Ok(false);
    }
    if ctx.memory.verified(name, &row.version).is_some() {
        return Ok(true);
    }
    let content = content(ctx, policy, name).await?;
    Ok(content.is_some_and(|content| is_as_recorded(ctx, policy, &content, published)))
}

/// Whether a content is what its record says, by digests that only the digest key can make.
pub(super) fn is_as_recorded(ctx: &Policies, policy: &PolicySpec, content: &Content, published: &Published) -> bool {
    let digests = policy.digests_of(&ctx.digest_key, &content.data, Some(published));
    digests.comparable(&published.digests) && digests == published.digests
}

pub(super) async fn content(ctx: &Policies, policy: &PolicySpec, name: &ObjectName) -> Result<Option<Content>, Error> {
    Ok(found(ctx, name).await?.map(|secret| read(secret, policy)))
}

/// A Secret, afresh.
pub(super) async fn found(ctx: &Policies, name: &ObjectName) -> Result<Option<Secret>, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &name.namespace);
    api.get_opt(&name.name).await.map_err(Error::api(Operation::ReadSecret, name))
}

pub(super) fn read(secret: Secret, policy: &PolicySpec) -> Content {
    let others = || {
        let entries = secret.managed_fields().iter().filter(|entry| entry.manager.as_deref() != Some(names::MANAGER));
        entries.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:data").is_some()))
    };
    let edited_by = others().filter_map(|entry| entry.manager.clone()).collect();
    let created = secret.creation_timestamp().as_ref().map(time::chrono);
    let edited_at = others().filter_map(|entry| entry.time.as_ref()).map(time::chrono).max();
    let other_annotations = other_annotations(&secret.metadata);
    let claims = Claims::of(&secret.metadata, &policy.uid);
    let tags = own_tags(&secret.metadata);
    Content {
        version: ObjectVersion {
            uid: secret.uid().unwrap_or_default(),
            resource_version: secret.resource_version().unwrap_or_default(),
        },
        data: values(secret.data),
        kind: secret.type_.unwrap_or_else(|| "Opaque".to_owned()),
        immutable: secret.immutable == Some(true),
        edited_by,
        edited_at,
        created,
        other_annotations,
        claims,
        tags,
        is_intact: false,
    }
}

/// What the policy's Secret says about its content, if there is one of ours.
pub fn published(cluster: &Cluster, policy: &PolicySpec) -> Option<Arc<Published>> {
    cluster.published(&policy_name(policy), &policy.names)
}

fn rotation(schedule: &Object<RotationSchedule>, policy: &PolicySpec) -> Option<OpenRotation> {
    let status = schedule.readable()?.status.as_ref();
    let status = status.filter(|status| !matches!(rotation::state(status), rotation::State::Idle))?;
    let task = schedule.spec().ok()?.task(PolicySource::Known(&policy.source)).ok()?;
    let open = status.rotation.as_ref()?;
    let live = matches!(
        open.step,
        RotationStep::Publishing | RotationStep::RollingOut | RotationStep::Settling | RotationStep::Retiring
    );
    let rotation = OpenRotation {
        id: open.id.clone(),
        from: Destination { key: open.key.clone()?, ..task.to },
        properties: open.properties.iter().cloned().collect(),
        digest: open.digest.clone()?,
        since: open.step_started_at.as_ref().map(time::chrono),
    };
    Some(rotation).filter(|_| live && open.version.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_content_is_known_in_the_version_that_was_read_and_in_no_other() {
        let object = json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {"name": "db", "namespace": "shop", "uid": "u"},
            "spec": {"source": {"existing": {}}},
        });
        let object: SecretPolicy = serde_json::from_value(object).unwrap();
        let secret = json!({"metadata": {"name": "db", "uid": "s", "resourceVersion": "7"}, "immutable": true});
        let content = read(serde_json::from_value(secret).unwrap(), &PolicySpec::try_from(&object).unwrap());
        let row = |uid: &str, version: &str| {
            Some(ObjectVersion { uid: uid.to_owned(), resource_version: version.to_owned() })
        };
        let found = |row: Option<ObjectVersion>| looked(&content, row.as_ref()).map(|known| known.version);
        assert_eq!(found(row("s", "7")), Some(Version::new("7")));
        assert!(looked(&content, row("s", "7").as_ref()).unwrap().immutable);
        for other in [row("s", "6"), row("s", "8"), row("another", "7"), None] {
            assert_eq!(found(other), None, "the record that it was compared with is not its own");
        }
    }
}
