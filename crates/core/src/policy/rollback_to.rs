//! `rekey.dev/rollback-to`: a user publishes an earlier value again. It is held for as long as the annotation is there, and
//! needs no store.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::{condition::Reason, names};

use super::{
    Earlier, Mark, PolicySpec, Scope, Seen, SeenSecret, Source, Step,
    copies::{record_of, replaced},
    publish::Decided,
    roll_back::repair,
};
use crate::{
    SpecError,
    chance::is_revision,
    notice::Notice,
    published::{Published, order},
    request,
    summary::listed,
};

/// Where the wish stands.
const PATH: &str = "metadata.annotations[rekey.dev/rollback-to]";

/// The revision that the policy is asked to go back to.
///
/// # Errors
/// When the policy has nothing to go back to.
pub fn parse(metadata: &ObjectMeta) -> Result<Option<String>, SpecError> {
    let Some(revision) = request::token(metadata, names::ROLLBACK_TO)? else { return Ok(None) };
    if is_revision(&revision) {
        return Ok(Some(revision));
    }
    Err(SpecError::field(PATH, format!("{revision:?} is no revision; write one of status.history")))
}

/// Refuses what a policy cannot do for want of earlier values.
pub fn check(policy: &PolicySpec) -> Result<(), SpecError> {
    let fix = match policy.source {
        _ if policy.rollback_to.is_none() => return Ok(()),
        Source::Engine(_) => "remove it; a credential that an engine has replaced may be revoked",
        _ if policy.scope != Scope::Whole || matches!(policy.source, Source::Existing) => {
            "remove it; another tool makes the Secret, so go back there"
        }
        _ if policy.locked => "remove it; a locked Secret keeps its value",
        _ if !policy.names.is_versioned() && policy.keep == 0 => {
            "set spec.versions.keep first, or remove it: no earlier value is kept"
        }
        Source::Remote(_) | Source::Existing | Source::Generated(_) => return Ok(()),
    };
    Err(SpecError::field(PATH, fix))
}

/// What brings the policy onto the revision that is asked for. Nothing, if it is there.
///
/// # Errors
/// When that revision is not kept, or may hold a credential that is dead.
pub fn rollback_to(policy: &PolicySpec, seen: &Seen, revision: &str, now: DateTime<Utc>) -> Result<Decided, SpecError> {
    let published = match &seen.secret {
        SeenSecret::Ours { published, .. } => Some(published),
        SeenSecret::Absent => None,
        SeenSecret::Going | SeenSecret::Foreign { .. } => {
            return Ok(Decided::wait(Reason::Progressing, "Rekey waits for the Secret"));
        }
    };
    policy.writable(&seen.secret, "first remove the annotation rekey.dev/rollback-to; then ")?;
    if let Some(there) = published.filter(|there| there.revision == revision) {
        let mut decided = Decided::unchanged(Arc::clone(there));
        decided.steps.extend(repair(policy, seen, there, now));
        return Ok(decided);
    }
    if seen.rotation.is_some() {
        let fix = "remove it until the rotation under way has ended: its value is the one that has to work";
        return Err(SpecError::field(PATH, fix));
    }
    let Some(target) = seen.history.find(revision) else { return Err(not_kept(seen, revision)) };
    if seen.history.may_be_dead(&target.published, published.map(Arc::as_ref)) {
        let fix = format!(
            "remove it: the credential was rotated after revision {revision}, so what that holds may not log in any more"
        );
        return Err(SpecError::field(PATH, fix));
    }
    let is_proven = published.is_none_or(|there| there.digests.comparable(&target.published.digests));
    if !policy.names.is_versioned() && !is_proven {
        let fix = format!("remove it: the copy of revision {revision} cannot be proven, since the digest key was lost");
        return Err(SpecError::field(PATH, fix));
    }
    let steps = if policy.names.is_versioned() {
        marks(policy, seen, target)
    } else {
        restore(seen, published, &target.published, now)
    };
    let text = format!("goes back to {}, as {} asks", policy.value_text(&target.published), names::ROLLBACK_TO);
    let events = vec![Notice::new(Reason::Held, "Rollout", text)];
    let shown = Arc::clone(published.unwrap_or(&target.published));
    Ok(Decided { steps, events, ..Decided::unchanged(shown) })
}

/// The one that is asked for counts as published again, and those after it do not.
fn marks(policy: &PolicySpec, seen: &Seen, target: &Earlier) -> Vec<Step> {
    let step = |of: &Published, mark| Step::Mark {
        name: policy.names.of_revision(&of.revision),
        mark,
        current: Arc::clone(&target.published),
    };
    let freed = target.mark.map(|_| step(&target.published, None));
    let later = seen.history.untried(&target.published);
    let passed = later.into_iter().filter(|at| order(at) > order(&target.published));
    freed.into_iter().chain(passed.map(|at| step(at, Some(Mark::RollbackTo)))).collect()
}

/// The Secret gets the value from its copy, and what it holds now is kept.
fn restore(seen: &Seen, published: Option<&Arc<Published>>, target: &Arc<Published>, now: DateTime<Utc>) -> Vec<Step> {
    let keep = published.map(|there| Step::Keep { published: Arc::clone(there), mark: replaced(seen, there) });
    let over = published.or(seen.last.as_ref()).unwrap_or(target);
    let restore = Step::Restore { copy: Arc::clone(target), record: record_of(target, over, now) };
    keep.into_iter().chain([restore]).collect()
}

fn not_kept(seen: &Seen, revision: &str) -> SpecError {
    let mut kept: Vec<&Published> = seen.history.values.iter().map(|at| at.published.as_ref()).collect();
    kept.sort_by(|one, other| order(other).cmp(&order(one)));
    let kept: Vec<String> = kept.into_iter().map(|at| at.revision.clone()).collect();
    let fix = if kept.is_empty() {
        format!("remove it: revision {revision} is not kept, nor is any other")
    } else {
        format!("revision {revision} is not kept; write one of {}, or remove it", listed(&kept, ", "))
    };
    SpecError::field(PATH, fix)
}

/// What the status says while the revision is held.
pub fn told(policy: &PolicySpec, published: Option<&Published>) -> Option<String> {
    let published = published.filter(|at| policy.rollback_to.as_ref() == Some(&at.revision))?;
    let until = match policy.source {
        // It is the value from now on.
        Source::Generated(_) => "and nothing of it changes; to let it change again".to_owned(),
        Source::Remote(_) | Source::Existing | Source::Engine(_) => {
            format!("whatever {} holds; to follow it again", policy.source.text())
        }
    };
    Some(format!(
        "{} is held, as {} asks, {until}: kubectl annotate secretpolicy {} -n {} {}-",
        policy.value_text(published),
        names::ROLLBACK_TO,
        policy.name,
        policy.namespace,
        names::ROLLBACK_TO,
    ))
}
