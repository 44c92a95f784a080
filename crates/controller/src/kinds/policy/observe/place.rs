//! Where the content is that a decision starts from. Most often in the Secret that is written; not so when the policy has
//! just got another `immutability`, or another tool has changed what a version says of itself.

use std::{collections::BTreeSet, sync::Arc};

use rekey_core::{
    policy::{Content, ObjectVersion, PolicySpec, Scope, SeenSecret},
    published::{Published, order},
};

use super::{
    super::Policies,
    Own, content, is_as_recorded, is_restored,
    marks::{dressed, is_whole, orphan},
    original, ours, recorded,
};
use crate::{
    cluster::{ObjectName, SecretRow, SecretVersion, backups, policy_name},
    error::Error,
    memory::Verified,
};

/// Versions that are looked into for one that was put back. After a restore the newest one is.
const PUT_BACK: usize = 3;

/// See the [module documentation](self).
pub enum Place {
    /// The policy's plain Secret, whether it is there or not.
    Plain,
    /// The current version.
    Version(SecretVersion),
    /// A version of ours that does not say any more what it is.
    Damaged(SecretVersion),
    /// A Secret of another mode: its content goes into one of the policy's mode now.
    Elsewhere(SecretVersion),
    /// There is no version yet.
    Nothing,
    /// Another policy makes versions with this plain name.
    Taken(String),
}

/// The plain Secret. By its name is remembered what a policy has published, whichever Secret it was in.
pub fn plain_name(policy: &PolicySpec) -> ObjectName {
    ObjectName::new(policy.namespace.as_str(), policy.names.base())
}

/// Finds it.
///
/// # Errors
/// When a Secret that has to be read cannot be.
pub async fn find(ctx: &Policies, policy: &PolicySpec) -> Result<Place, Error> {
    if policy.scope != Scope::Whole {
        return Ok(Place::Plain);
    }
    if let Some(other) = original::taken(ctx, policy) {
        return Ok(Place::Taken(other));
    }
    let all = ctx.cluster.all_versions(&policy_name(policy), &policy.names);
    let newest = all.iter().find(|version| !version.is_passed_over()).cloned();
    let plain = ctx.cluster.secrets.get(&plain_name(policy));
    if !policy.names.is_versioned() {
        return Ok(of_plain(ctx, policy, newest, plain.as_ref()));
    }
    if let Some(damaged) = damaged(ctx, policy, newest.as_ref()).await? {
        return Ok(Place::Damaged(damaged));
    }
    // The Secret that versions are made of is no earlier one of ours, whatever it says of itself.
    let plain = plain.filter(|_| !policy.has_original()).and_then(|row| own(policy, &row));
    // Nor does it count as published while its version does not.
    let is_passed_over = |plain: &SecretVersion| {
        all.iter().any(|at| at.published.revision == plain.published.revision && at.is_passed_over())
    };
    let plain = plain.filter(|plain| !is_passed_over(plain));
    match (newest, plain) {
        (Some(version), Some(plain)) if plain.published.is_later_than(&version.published) => {
            Ok(Place::Elsewhere(plain))
        }
        (Some(version), _) => Ok(Place::Version(version)),
        (None, Some(plain)) => Ok(Place::Elsewhere(plain)),
        (None, None) => Ok(match (put_back(ctx, policy).await?, taken(ctx, policy)) {
            (Some(version), _) => Place::Version(version),
            (None, Some(other)) => Place::Taken(other),
            (None, None) => Place::Nothing,
        }),
    }
}

/// Where the content of a plain Secret is: in a version, if that was published after it.
fn of_plain(
    ctx: &Policies,
    policy: &PolicySpec,
    newest: Option<SecretVersion>,
    plain: Option<&Arc<SecretRow>>,
) -> Place {
    let last = ctx.memory.published(&plain_name(policy));
    // Of a plain Secret that was deleted more may be known than any version says.
    let newest = newest.filter(|newest| !last.is_some_and(|last| last.is_later_than(&newest.published)));
    match (newest, plain) {
        (Some(version), None) => Place::Elsewhere(version),
        // What is locked keeps its value.
        (Some(version), Some(row)) if !policy.locked => match own(policy, row) {
            Some(plain) if version.published.is_later_than(&plain.published) => Place::Elsewhere(version),
            Some(_) | None => Place::Plain,
        },
        (Some(_) | None, _) => Place::Plain,
    }
}

/// The plain Secret, if it is the policy's own.
fn own(policy: &PolicySpec, row: &Arc<SecretRow>) -> Option<SecretVersion> {
    let managed = row.managed().filter(|managed| {
        managed.published.policy == policy.name
            && is_whole(policy, managed)
            && !managed.is_going
            && !orphan(managed, policy)
    })?;
    let published = Arc::clone(&managed.published);
    Some(SecretVersion { name: policy.names.base().to_owned(), row: Arc::clone(row), published })
}

/// The version that was published last, if it is there and another tool has changed what it says of itself. What it says
/// was seen here before, and its content proves it.
async fn damaged(
    ctx: &Policies,
    policy: &PolicySpec,
    newest: Option<&SecretVersion>,
) -> Result<Option<SecretVersion>, Error> {
    let last = ctx.memory.published(&plain_name(policy));
    let Some(published) = last.filter(|last| newest.is_none_or(|newest| last.is_later_than(&newest.published))) else {
        return Ok(None);
    };
    let name = ObjectName::new(policy.namespace.as_str(), policy.names.of_revision(&published.revision));
    let Some(row) = ctx.cluster.secrets.get(&name).filter(|row| row.is_made_by_us()) else {
        return Ok(None);
    };
    let version = SecretVersion { name: name.name.clone(), row: Arc::clone(&row), published: Arc::clone(&published) };
    if version.is_passed_over() {
        return Ok(None);
    }
    let found = content(ctx, policy, &name).await?;
    let is_it = found.is_some_and(|found| is_as_recorded(ctx, policy, &found, &published));
    Ok(is_it.then_some(version))
}

/// A version that our field manager has not made: one that was put back, from a backup for example. Where there is one of
/// ours, none of these counts, since whoever may write Secrets can make a copy of an older one with another number.
async fn put_back(ctx: &Policies, policy: &PolicySpec) -> Result<Option<SecretVersion>, Error> {
    let mut found = backups(&ctx.cluster, policy, |_, _| true);
    found.sort_by(|one, other| order(&other.published).cmp(&order(&one.published)));
    for version in found.into_iter().take(PUT_BACK) {
        let name = ObjectName::new(policy.namespace.as_str(), version.name.as_str());
        if let Some(managed) = version.row.managed()
            && is_restored(ctx, policy, &name, &version.row, managed).await?
        {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// The policy that has the plain name, or versions of it.
fn taken(ctx: &Policies, policy: &PolicySpec) -> Option<String> {
    let is_others = |name: &str, row: &SecretRow| {
        let is_name = name == policy.names.base() || policy.names.revision_in(name).is_some();
        let other = row.managed().filter(|managed| managed.is_made_by_us).map(|managed| &managed.published.policy);
        is_name && other.is_some_and(|other| is_policys(ctx, policy, other))
    };
    let rows = ctx.cluster.secrets.starting(&policy.namespace, policy.names.base(), is_others);
    rows.into_iter().find_map(|(_, row)| Some(row.managed()?.published.policy.clone()))
}

/// Whether this is the name of another policy that is there.
pub fn is_policys(ctx: &Policies, policy: &PolicySpec, other: &str) -> bool {
    *other != policy.name && ctx.cluster.policies.get(&ObjectName::new(policy.namespace.as_str(), other)).is_some()
}

impl Place {
    /// The object that a write is for; `None`: there is none yet.
    pub fn over(&self, ctx: &Policies, policy: &PolicySpec) -> Option<Arc<SecretRow>> {
        match self {
            Self::Version(version) | Self::Damaged(version) => Some(Arc::clone(&version.row)),
            Self::Elsewhere(_) if policy.names.is_versioned() => None,
            Self::Plain | Self::Elsewhere(_) => ctx.cluster.secrets.get(&plain_name(policy)),
            Self::Nothing | Self::Taken(_) => None,
        }
    }

    /// What the plain Secret says of itself, if another content is written over its own.
    pub fn overwrites(&self, ctx: &Policies, policy: &PolicySpec) -> Option<Arc<Published>> {
        let is_over = matches!(self, Self::Elsewhere(_)) && !policy.names.is_versioned();
        let row = ctx.cluster.secrets.get(&plain_name(policy)).filter(|_| is_over)?;
        own(policy, &row).map(|plain| plain.published)
    }
}

/// A version, as it is.
pub async fn version(
    ctx: &Policies,
    policy: &PolicySpec,
    SecretVersion { name, row, .. }: &SecretVersion,
    is_settled: bool,
) -> Result<SeenSecret, Error> {
    let Some(managed) = row.managed() else { return Ok(SeenSecret::Absent) };
    let name = &ObjectName::new(policy.namespace.as_str(), name.as_str());
    let published = recorded(ctx, policy, managed);
    let dressed = managed.is_made_by_us && dressed(policy, managed, &published);
    let needs_content = policy.is_only_copy(&published) && !(dressed && is_settled);
    ours(ctx, policy, Own { name, row, managed, published, dressed, needs_content }).await
}

/// A version that has to be told again what it is.
pub async fn repaired(ctx: &Policies, policy: &PolicySpec, version: &SecretVersion) -> Result<SeenSecret, Error> {
    let name = ObjectName::new(policy.namespace.as_str(), version.name.as_str());
    let Some(mut found) = content(ctx, policy, &name).await? else { return Ok(SeenSecret::Absent) };
    found.is_intact = true;
    let known =
        Verified { version: version.row.version.clone(), immutable: found.immutable, kind: found.kind.as_str().into() };
    Ok(seen(&version.published, found, &known))
}

/// The content of a Secret of another mode. Nothing of it is changed; it is written as the policy's mode says.
pub async fn elsewhere(
    ctx: &Policies,
    policy: &PolicySpec,
    version: &SecretVersion,
    over: Option<&ObjectVersion>,
) -> Result<SeenSecret, Error> {
    let name = ObjectName::new(policy.namespace.as_str(), version.name.as_str());
    let Some(mut found) = content(ctx, policy, &name).await? else { return Ok(SeenSecret::Absent) };
    let recorded = &version.published;
    let digests = policy.digests_of(&ctx.digest_key, &found.data, Some(recorded));
    found.is_intact = digests == recorded.digests || !digests.comparable(&recorded.digests);
    // Whether a write is possible follows from the Secret that is written.
    let target = match over {
        Some(_) => content(ctx, policy, &plain_name(policy)).await?,
        None => None,
    };
    let kind = match &target {
        Some(target) => target.kind.as_str().into(),
        None if policy.names.is_versioned() => found.kind.as_str().into(),
        None => policy.kind.as_str().into(),
    };
    let immutable = target.is_some_and(|target| target.immutable);
    let known = Verified { version: version.row.version.clone(), immutable, kind };
    Ok(seen(recorded, found, &known))
}

fn seen(published: &Arc<Published>, content: Content, known: &Verified) -> SeenSecret {
    SeenSecret::Ours {
        published: Arc::clone(published),
        content: Some(content),
        dressed: false,
        immutable: known.immutable,
        kind: known.kind.to_string(),
        adopt_by: None,
        controller: None,
    }
}

/// Names that a new version cannot have.
pub fn names(ctx: &Policies, policy: &PolicySpec) -> BTreeSet<String> {
    if !policy.names.is_versioned() {
        return BTreeSet::new();
    }
    let is_version = |name: &str, _: &SecretRow| policy.names.revision_in(name).is_some();
    let rows = ctx.cluster.secrets.starting(&policy.namespace, &policy.names.version_prefix(), is_version);
    rows.into_iter().map(|(name, _)| name).collect()
}
