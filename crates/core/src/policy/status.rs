//! What the status of a policy says after a decision.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{
    SecretPolicy, SecretPolicyStatus,
    condition::{ConditionType, Reason},
    names,
    policy::{ChangeReason, Held, HeldReason, PolicyHistory, PublishedRotation},
};

use super::{
    Consumers, Fetched, Found, History, PolicySpec, Refresh, Remote, Request, Seen, Source, consumers,
    line::line,
    ownership,
    publish::Decided,
    roll_back, rollback_to, shown, unlock,
    versions::{source_version, versions},
};
use crate::{
    published::{Published, Rotated},
    request,
    store::RemoteValue,
    summary::{Extra, Situation, Truth, conditions},
    time,
};

/// Revisions that the status remembers.
const HISTORY: usize = 10;

/// What a round has led to.
pub struct Outcome<'a> {
    pub decided: Decided,
    /// What was read.
    pub fetched: Option<&'a Fetched>,
    /// When the published value ends.
    pub expires: Option<DateTime<Utc>>,
    /// When an answer that lasts is asked for again.
    pub next: Option<DateTime<Utc>>,
}

impl<'a> Outcome<'a> {
    pub fn of(decided: Decided, fetched: Option<&'a Fetched>) -> Self {
        Self { decided, fetched, expires: None, next: None }
    }
}

pub fn status(policy: &PolicySpec, seen: &Seen, outcome: &Outcome<'_>, now: DateTime<Utc>) -> SecretPolicyStatus {
    let Outcome { decided, fetched, .. } = outcome;
    let mut status = seen.status.clone();
    status.observed_generation = Some(policy.generation);
    status.source = Some(policy.source.text());
    status.secret_name = name(policy, decided);
    status.next_rotation_time.clone_from(&seen.next_rotation);
    status.held = decided.published.as_deref().and_then(|published| held(policy, &seen.history, published));
    if let (Some(revision), Some(Held { reason: HeldReason::RollbackTo, .. })) = (&policy.rollback_to, &status.held) {
        status.last_handled.get_or_insert_default().rollback_to = Some(revision.clone());
    }
    let looked = match &policy.source {
        // What is read once has nothing to answer a later request with.
        Source::Remote(remote) => fetched.is_some() || remote.refresh == Refresh::Once,
        Source::Existing | Source::Generated(_) | Source::Engine(_) => true,
    };
    let is_resting = decided.rests.is_some();
    if looked && !is_resting && decided.wait.as_ref().is_none_or(|wait| wait.reason == Reason::KeyNotFound) {
        status.set_handled_sync(policy.sync_requested.as_deref());
    }
    let is_settled = decided.wait.is_none() && decided.stale.is_none() && !is_resting && decided.withheld.is_none();
    if is_settled || !seen.is_unlocking(policy) {
        status.set_handled_unlock(policy.unlock.as_deref());
    }
    if let Some(fetched) = fetched.filter(|_| is_settled) {
        read(policy, fetched, &mut status);
    }
    expiry(outcome, &mut status);
    // Of a Secret that is not there, what consumers held last says nothing.
    let found = decided.published.as_ref().and_then(|published| consumers(policy, published, &seen.consumers, now));
    if let Some(published) = &decided.published {
        status.rotation = rotation(seen, published, *fetched);
        status.consumers = found.as_ref().map(|found| found.status.clone());
        // Read off the Secret, not remembered: a change whose status write was lost is recorded the next time.
        if status.revision.as_ref() != Some(&published.revision) {
            status.revision = Some(published.revision.clone());
            let time = time::kube(time::parse(&published.changes.time).unwrap_or(now));
            let went_back = status.held.as_ref().map(|_| ChangeReason::RolledBack);
            let reason = decided.reason.or(went_back).unwrap_or_else(|| reason(published));
            status.last_change_time = Some(time.clone());
            status.history.insert(0, PolicyHistory { revision: published.revision.clone(), time, reason });
            status.history.truncate(HISTORY);
        }
    }
    let mut own = own(policy, decided);
    if let (Situation::Synced(text), Some(shared)) = (&mut own, ownership::shared(policy, &seen.secret)) {
        text.extend(["; ", &shared]);
    }
    let published = decided.published.as_deref();
    let wished = rollback_to::told(policy, published).map(|text| (Reason::Held, text));
    let back = || roll_back::told(policy, seen, published).map(|text| (Reason::RolledBack, text));
    if let (Situation::Synced(_), Some((reason, text))) = (&own, wished.or_else(back)) {
        own = Situation::Noted(reason, text);
    }
    if let (Situation::Synced(text) | Situation::Noted(_, text) | Situation::Stalled(_, text), Some(trouble)) =
        (&mut own, seen.plain)
    {
        text.extend(["; ", &trouble.text(policy)]);
    }
    let own = stale(policy, &seen.status, own, now);
    let (situation, extras) = line(own, found.as_ref(), policy.rollout.ready_when);
    status.conditions = conditions(&seen.status.conditions, &situation, &extras, policy.generation, now);
    status
}

/// Which value is held, and why.
fn held(policy: &PolicySpec, history: &History, published: &Published) -> Option<Held> {
    let reason = history.held(policy, published)?;
    Some(Held { revision: published.revision.clone(), reason })
}

/// The Secret that consumers should refer to. A version has no name before there is one.
fn name(policy: &PolicySpec, decided: &Decided) -> Option<String> {
    match &decided.published {
        Some(published) => Some(policy.names.of_revision(&published.revision)),
        None => (!policy.names.is_versioned()).then(|| policy.names.base().to_owned()),
    }
}

/// What the status says of a read.
fn read(policy: &PolicySpec, fetched: &Fetched, status: &mut SecretPolicyStatus) {
    status.source_versions = match (&policy.source, &fetched.answer) {
        (Source::Engine(engine), Some(answer)) => {
            vec![source_version(&engine.call.path, &answer.value.version)]
        }
        (Source::Engine(_) | Source::Remote(_) | Source::Existing | Source::Generated(_), _) => versions(fetched),
    };
}

/// The rotation that was published last, as the record on the Secret has it; for people, and for no decision.
fn rotation(seen: &Seen, published: &Published, fetched: Option<&Fetched>) -> Option<PublishedRotation> {
    let Rotated { id, .. } = published.changes.rotation.as_ref()?;
    let known = seen.status.rotation.as_ref().filter(|known| known.id == *id).cloned();
    let open = seen.rotation.as_ref().filter(|open| open.id == *id && open.is_published(Some(published)));
    let read = open.and_then(|open| {
        let version = |(_, value): (&Request, &RemoteValue)| value.version.clone();
        let read = fetched?.values.iter().find(|(request, _)| open.is_read_by(request)).map(version)?;
        Some(PublishedRotation { id: id.clone(), key: Some(open.from.key.clone()), version: Some(read) })
    });
    Some(read.or(known).unwrap_or_else(|| PublishedRotation { id: id.clone(), ..PublishedRotation::default() }))
}

/// When the published value ends. An answer that lasts counts its time down in whole seconds: a second more or less is
/// no news.
fn expiry(outcome: &Outcome<'_>, status: &mut SecretPolicyStatus) {
    const NO_NEWS: TimeDelta = TimeDelta::seconds(5);
    let issue = outcome.decided.published.as_ref().and_then(|published| published.changes.issue.as_ref());
    let expires = issue.and_then(|issue| time::parse(issue.expires.as_deref()?)).or(outcome.expires);
    if issue.is_none() && outcome.expires.is_none() && outcome.fetched.is_none() {
        return; // nothing was looked at
    }
    let before = status.expiration_time.as_deref().and_then(time::parse);
    if !matches!((before, expires), (Some(before), Some(now)) if (now - before).abs() <= NO_NEWS) {
        status.expiration_time = expires.map(time::text);
    }
}

/// Why the published content came to be, as far as it is still known.
fn reason(published: &Published) -> ChangeReason {
    if published.changes.publication == 1 {
        ChangeReason::Created
    } else if published.changes.rotation.is_some() {
        ChangeReason::Rotated
    } else {
        ChangeReason::SourceChanged
    }
}

/// The situation of the policy, without its consumers.
fn own(policy: &PolicySpec, decided: &Decided) -> Situation {
    if let Some(wait) = &decided.wait {
        return Situation::NotReady(wait.reason, wait.text.clone());
    }
    if let Some(stale) = &decided.stale {
        return Situation::LastKnown(stale.reason, stale.text.clone());
    }
    if let Some(rests) = &decided.rests {
        return Situation::Resting(rests.reason, rests.text.clone());
    }
    if let Some(withheld) = &decided.withheld {
        return Situation::Stalled(withheld.reason, withheld.text.clone());
    }
    let secret = name(policy, decided).unwrap_or_default();
    Situation::Synced(match &policy.source {
        Source::Remote(_) | Source::Engine(_) => {
            format!("Secret {secret} holds the value of {}", policy.source.text())
        }
        Source::Existing if policy.has_original() => {
            format!("Secret {secret} holds the value of Secret {}, which another tool makes", policy.names.base())
        }
        Source::Existing => format!("Rekey governs Secret {secret}, which another tool makes"),
        Source::Generated(_) => format!("Secret {secret} holds generated values"),
    })
}

/// The status of a suspended policy.
#[must_use]
pub fn suspended(policy: &PolicySpec, before: &SecretPolicyStatus, now: DateTime<Utc>) -> SecretPolicyStatus {
    let text = "spec.suspend is true: nothing is read, written or restarted";
    let (kind, reason) = (ConditionType::ConsumersCurrent, Reason::Suspended);
    let extra = Extra { kind, value: Truth::False, reason, message: text.to_owned() };
    let situation = Situation::Resting(reason, text.to_owned());
    let mut status = SecretPolicyStatus {
        observed_generation: Some(policy.generation),
        source: Some(policy.source.text()),
        conditions: conditions(&before.conditions, &situation, &[extra], policy.generation, now),
        ..before.clone()
    };
    unlock::acknowledge(policy, before, None, &mut status);
    status
}

/// What is known of a policy's Secret and of who consumes it, whatever else could not be seen.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What is published; `None`: nothing.
    pub published: Option<&'a Arc<Published>>,
    /// The workloads that consume it.
    pub consumers: &'a Consumers,
    /// What became of the values before.
    pub history: &'a History,
}

/// The status of a policy that could not be brought further: consumers are looked at all the same, since they go on.
#[must_use]
pub fn failed(
    policy: &PolicySpec,
    before: &SecretPolicyStatus,
    known: Known<'_>,
    situation: &Situation,
    now: DateTime<Utc>,
) -> SecretPolicyStatus {
    let mut status = before.clone();
    status.source = Some(policy.source.text());
    unlock::acknowledge(policy, before, known.published.map(AsRef::as_ref), &mut status);
    let found = match known.published {
        Some(published) => consumers(policy, published, known.consumers, now),
        None => before.consumers.clone().map(Found::from),
    };
    status.consumers = found.as_ref().map(|found| found.status.clone());
    if let Some(published) = known.published {
        status.held = held(policy, known.history, published);
    }
    let own = stale(policy, before, situation.clone(), now);
    let (situation, extras) = line(own, found.as_ref(), policy.rollout.ready_when);
    status.conditions = conditions(&before.conditions, &situation, &extras, policy.generation, now);
    status
}

/// The status of a policy whose spec is refused. A token that is there at first sight allows nothing when the spec is fixed.
#[must_use]
pub fn refused(
    object: &SecretPolicy,
    before: &SecretPolicyStatus,
    situation: &Situation,
    now: DateTime<Utc>,
) -> SecretPolicyStatus {
    let generation = object.metadata.generation.unwrap_or_default();
    let mut status = SecretPolicyStatus {
        conditions: conditions(&before.conditions, situation, &[], generation, now),
        source: shown(object),
        ..before.clone()
    };
    if before.is_unseen() {
        let token = request::token(&object.metadata, names::UNLOCK).ok().flatten();
        status.set_handled_unlock(token.as_deref());
    }
    status
}

/// A last known value that is served for longer than the policy allows is no longer good enough. The time runs from the
/// first failed read, which the status shows: `Fresh` has been False since then.
fn stale(policy: &PolicySpec, before: &SecretPolicyStatus, situation: Situation, now: DateTime<Utc>) -> Situation {
    let Source::Remote(Remote { max_staleness: Some(most), keeps_missing, .. }) = &policy.source else {
        return situation;
    };
    if *keeps_missing && matches!(situation, Situation::LastKnown(Reason::KeyNotFound, _)) {
        return situation; // what is gone at the source is kept on purpose
    }
    let fresh = before.conditions.iter().find(|at| at.type_ == ConditionType::Fresh.as_str() && at.status == "False");
    let since = fresh.map(|fresh| time::chrono(&fresh.last_transition_time));
    match (situation, since) {
        (Situation::LastKnown(reason, text), Some(since)) if now - since >= *most => Situation::Stale(reason, text),
        (situation, _) => situation,
    }
}
