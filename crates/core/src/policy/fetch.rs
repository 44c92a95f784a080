//! What is read from stores, and when.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::{
    SecretPolicyStatus,
    condition::{ConditionType, Reason},
    policy::HeldReason,
    reference::StoreRef,
};
use sha2::{Digest as _, Sha256};

use super::{Engine, PolicySpec, Refresh, Remote, Scope, Seen, SeenSecret, SetFrom, Source, TemplateRef, dress::Texts};
use crate::{
    store::{Answer, Call, Locator, RemoteValue, Search},
    time,
};

/// One read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// From which store.
    pub store: StoreRef,
    /// What.
    pub locator: Locator,
}

/// One search.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lookup {
    /// In which store.
    pub store: StoreRef,
    /// For what.
    pub search: Search,
}

/// One request to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineCall {
    /// Which store's server.
    pub store: StoreRef,
    /// What.
    pub call: Call,
}

/// What has to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The distinct values.
    pub reads: BTreeSet<Request>,
    /// Searches, whose keys are then read too.
    pub searches: BTreeSet<Lookup>,
    /// The request to an engine.
    pub call: Option<EngineCall>,
    /// Templates of other objects.
    pub templates: BTreeSet<TemplateRef>,
    /// Whether a key that does not exist is news, not a failure.
    pub may_be_missing: bool,
    /// Whether an answer that was asked for before this moment is not good enough.
    pub anew: bool,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// Values.
    pub values: BTreeMap<Request, RemoteValue>,
    /// Keys that do not exist.
    pub missing: BTreeSet<Request>,
    /// The keys that each search has found.
    pub found: BTreeMap<Lookup, Vec<String>>,
    /// What an engine has answered.
    pub answer: Option<Answer>,
    /// Templates.
    pub templates: Texts,
}

impl Fetched {
    /// As if the store held this under the key now.
    #[must_use]
    pub fn with(mut self, store: &StoreRef, key: &str, value: &RemoteValue) -> Self {
        let request = Request { store: store.clone(), locator: Locator { key: key.to_owned(), ..Locator::default() } };
        self.missing.remove(&request);
        self.values.insert(request, value.clone());
        self
    }
}

/// All that a policy of a store reads, afresh; `None`: it reads none.
#[must_use]
pub fn all_reads(policy: &PolicySpec) -> Option<Wanted> {
    let Source::Remote(remote) = &policy.source else { return None };
    // A key that a rotation makes first does not exist yet.
    Some(Wanted { templates: policy.template_refs(), anew: true, may_be_missing: true, ..remote.wanted() })
}

/// A read in the past, by two clocks: the wall clock may be set back meanwhile, the other one never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRead {
    /// When it was, as the wall clock showed it then.
    pub at: DateTime<Utc>,
    /// How long ago that is, by a clock that runs evenly.
    pub age: TimeDelta,
    /// When an answer that lasts was to be asked for again, as it was planned then.
    pub next: Option<DateTime<Utc>>,
}

impl LastRead {
    /// When something is due that was planned for `next` at the time of the read: by whichever clock comes there first.
    /// A wall clock that is set back by hours would put it off by as much.
    #[must_use]
    pub fn due(&self, next: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        next.min(now + (next - self.at) - self.age)
    }
}

/// Whether to read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Read these.
    Due(Box<Wanted>),
    /// Everything known is fresh until then.
    NotBefore(DateTime<Utc>),
    /// Nothing before something changes.
    OnChange,
}

/// Whether the policy's values are due to be read. They are at first sight, when the spec changed, when a user asked,
/// when the Secret is not as it was published, when a rotation waits to be published, and when their time has come.
#[must_use]
pub fn fetch(policy: &PolicySpec, seen: &Seen, now: DateTime<Utc>) -> Fetch {
    if matches!(seen.secret, SeenSecret::Going) || policy.rollback_to.is_some() {
        return Fetch::OnChange; // what is made now could not be published
    }
    let cause = Cause::find(policy, seen);
    let due = |wanted: Wanted| {
        let anew = cause.asked || cause.unpublished;
        Fetch::Due(Box::new(Wanted { templates: policy.template_refs(), anew, ..wanted }))
    };
    match &policy.source {
        // Only templates are read; generated values are in the Secret.
        Source::Generated(_) if cause.any_or_failed() && !policy.template_refs().is_empty() => due(Wanted::default()),
        Source::Existing | Source::Generated(_) => Fetch::OnChange,
        Source::Remote(remote) => match remote.refresh {
            Refresh::Once if matches!(seen.secret, SeenSecret::Ours { .. }) && !seen.is_unlocking(policy) => {
                Fetch::OnChange
            }
            _ if cause.any() => due(remote.wanted()),
            Refresh::OnChange if cause.failed => due(remote.wanted()),
            Refresh::Once | Refresh::OnChange => Fetch::OnChange,
            Refresh::Every(_) => {
                match seen.last_read.and_then(|last| Some(last.due(next_round(policy, last.at)?, now))) {
                    Some(next) if now < next => Fetch::NotBefore(next),
                    Some(_) | None => due(remote.wanted()),
                }
            }
        },
        Source::Engine(engine) => match renewal(policy, engine, seen, now) {
            Renewal::At(time) if now < time && !cause.asked => Fetch::NotBefore(time),
            Renewal::OnRequest if !cause.asked => Fetch::OnChange,
            Renewal::Now | Renewal::At(_) | Renewal::OnRequest => due(engine.wanted()),
        },
    }
}

/// Why something is read outside its time.
#[expect(clippy::struct_excessive_bools, reason = "independent reasons")]
struct Cause {
    asked: bool,
    changed: bool,
    unpublished: bool,
    astray: bool,
    /// The last try came to nothing: what it stopped at may be gone, and no round comes by itself.
    failed: bool,
}

impl Cause {
    fn find(policy: &PolicySpec, seen: &Seen) -> Self {
        let is_unlocking = seen.is_unlocking(policy);
        Self {
            asked: is_asked(policy, &seen.status) || is_unlocking,
            changed: seen.status.observed_generation != Some(policy.generation) || is_released(policy, &seen.status),
            failed: has_failed(&seen.status),
            unpublished: seen.rotation.as_ref().is_some_and(|rotation| !rotation.is_published(seen.secret.published())),
            astray: match &seen.secret {
                SeenSecret::Absent | SeenSecret::Foreign { .. } => true,
                SeenSecret::Going => false,
                SeenSecret::Ours { published, content, dressed, immutable, .. } => {
                    // Another tool has made it immutable: what has to be said of it follows from what is wanted.
                    let is_frozen = *immutable && !policy.is_immutable() && policy.scope == Scope::Whole;
                    // Content that we have not reported may be old content that was put back with its annotations.
                    is_frozen
                        || content.is_some()
                        || !dressed
                        || seen.status.revision.as_ref() != Some(&published.revision)
                }
            },
        }
    }

    fn any(&self) -> bool {
        self.asked || self.changed || self.unpublished || self.astray
    }

    fn any_or_failed(&self) -> bool {
        self.any() || self.failed
    }
}

/// Whether a user has just let go of an earlier value: the source was not asked meanwhile.
fn is_released(policy: &PolicySpec, status: &SecretPolicyStatus) -> bool {
    let held = status.held.as_ref().map(|held| held.reason);
    held == Some(HeldReason::RollbackTo) && policy.rollback_to.is_none()
}

/// Whether nothing is open: the last status is of this spec, reports no failure, and has answered the last request.
#[must_use]
pub fn is_settled(policy: &PolicySpec, status: &SecretPolicyStatus) -> bool {
    let is_seen = status.observed_generation == Some(policy.generation) && !is_released(policy, status);
    is_seen && !has_failed(status) && !is_asked(policy, status)
}

/// A request on an object that Rekey has not looked at yet is recorded, not acted on: it may be from before a backup.
fn is_asked(policy: &PolicySpec, status: &SecretPolicyStatus) -> bool {
    policy.sync_requested.is_some() && policy.sync_requested.as_deref() != status.handled_sync() && !status.is_unseen()
}

/// Whether the last attempt to make the Secret has failed. What consumers do with it is no reason to read again.
fn has_failed(status: &SecretPolicyStatus) -> bool {
    status.conditions.iter().any(|at| {
        at.type_ == ConditionType::Ready.as_str()
            && at.status == "False"
            && at.reason != Reason::ConsumerFailed.as_str()
    })
}

/// When an engine is asked again.
enum Renewal {
    Now,
    At(DateTime<Utc>),
    OnRequest,
}

/// An answer that lasts is asked for at each first sight. Where each request makes something new, the record on the
/// Secret says what it was made for and when it has to be replaced; it is made again only when it is missing or edited,
/// or was made for another request.
fn renewal(policy: &PolicySpec, engine: &Engine, seen: &Seen, now: DateTime<Utc>) -> Renewal {
    let SeenSecret::Ours { published, content, dressed, .. } = &seen.secret else {
        return Renewal::Now;
    };
    let Some(issue) = &published.changes.issue else {
        let same = seen.status.observed_generation == Some(policy.generation) && content.is_none() && *dressed;
        return match seen.last_read.and_then(|last| Some(last.due(last.next?, now))) {
            Some(next) if same => Renewal::At(next),
            Some(_) | None => Renewal::Now,
        };
    };
    let edited = content.as_ref().is_some_and(|content| !content.is_intact);
    if issue.request != policy.fingerprint(engine) || edited {
        return Renewal::Now;
    }
    match &issue.renew {
        None => Renewal::OnRequest,
        Some(time) => crate::time::parse(time).map_or(Renewal::Now, Renewal::At),
    }
}

impl Remote {
    fn wanted(&self) -> Wanted {
        let reads =
            self.reads().map(|(store, locator)| Request { store: store.clone(), locator: locator.clone() }).collect();
        let searches = self.sets.iter().filter_map(|set| match &set.from {
            SetFrom::Find(search) => Some(Lookup { store: set.store.clone(), search: search.clone() }),
            SetFrom::Extract(..) => None,
        });
        Wanted { reads, searches: searches.collect(), may_be_missing: self.delete_when_gone, ..Wanted::default() }
    }
}

impl Engine {
    fn wanted(&self) -> Wanted {
        let call = EngineCall { store: self.store.clone(), call: self.call.clone() };
        Wanted { call: Some(call), ..Wanted::default() }
    }
}

impl PolicySpec {
    /// Names everything that the published data depends on beside the engine's answer.
    pub(super) fn fingerprint(&self, engine: &Engine) -> String {
        // Written out, so that another version of the program gives the same for the same spec.
        engine.fingerprint(&format!("{}\0{}{}", self.kind, self.replace, self.templates_text()))
    }
}

/// The first round of reads after `last`, for policies that have rounds. Rounds of equal intervals are shifted by a
/// hash of store and key: work spreads, and those who read the same key read it together.
#[must_use]
pub fn next_round(policy: &PolicySpec, last: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let Source::Remote(remote) = &policy.source else { return None };
    let Refresh::Every(interval) = remote.refresh else { return None };
    let interval = interval.num_milliseconds().max(1);
    let hash = Sha256::digest(remote.identity());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    let shift = i64::try_from(u64::from_be_bytes(first) % interval.unsigned_abs()).unwrap_or(0);
    let since = (last.timestamp_millis() - shift).rem_euclid(interval);
    Some(time::later(last, TimeDelta::milliseconds(interval - since)))
}
