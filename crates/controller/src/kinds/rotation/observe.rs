//! What a rotation sees: freshly read wherever a step is decided by it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use rekey_api::{
    RotationSchedule, RotationScheduleStatus, SecretPolicy, condition::Reason, names, reference::StoreKind,
};
use rekey_core::{
    SecretNames,
    policy::{PolicySpec, Source},
    published::Published,
    rotation::{
        self, Due, Owner, Pending, PolicyView, ProofView, Readiness, Seen, State, StoreView, Stored, TRIES, Task,
        Trust, Wait,
    },
    rotator::Values,
    store::StoreErrorKind,
};

use super::{Schedules, key_of, pods, policy_of};
use crate::{
    cluster::{Holder, ObjectName, SecretRow, values},
    error::{Error, Operation, status},
};

pub async fn observe(
    ctx: &Schedules,
    object: &RotationSchedule,
    task: &Task,
    state: &State,
    due: Due,
) -> Result<Seen, Error> {
    let status = &object.status.clone().unwrap_or_default();
    let finalizer = object.finalizers().iter().any(|name| name == names::FINALIZER);
    let pending = match state.open() {
        Some(_) if matches!(state, State::AwaitingApproval(_) | State::AwaitingWindow(_)) => None, // nothing is made yet
        Some(open) => pending(ctx, &task.spec.owner(), &Pending::name(&open.id)).await?,
        None if !finalizer => None, // without the finalizer there is no pending Secret
        None => leftover(ctx, task, status).await?,
    };
    let attempts = status.rotation.as_ref().map_or(0, |open| open.attempts);
    let (store, proof) = target(ctx, task, state, pending.as_ref(), attempts).await?;
    let users = ctx.users(task, state, pending.as_ref(), (&store, attempts)).await?;
    let policy = ctx.cluster.policies.get(&policy_of(&task.spec));
    let policy = policy.as_ref().and_then(|row| Some(ThePolicy { object: row.readable()?, spec: row.spec().ok() }));
    let asks_pods = matches!(state, State::Settling(_) | State::Retiring(_))
        || matches!(state, State::Applying(_)) && task.spec.rotator.database().is_some();
    let published = match (asks_pods, policy) {
        (true, Some(policy)) => published_now(ctx, task, policy).await?,
        (_, Some(policy)) => published(ctx, task, policy),
        (_, None) => None,
    };
    let seen_policy = match policy {
        Some(policy) => {
            let view =
                PolicyView { unable: kept(ctx, task, policy, state, &due).await?, ..PolicyView::of(policy.object) };
            let record = published.as_ref().and_then(|published| published.changes.rotation.clone());
            let behind = view.behind.clone().map(|behind| [behind, other_readers(ctx, task, state, &store)].concat());
            PolicyView { record, behind, ..view }
        }
        None => PolicyView::missing(),
    };
    let pods = match (asks_pods, policy, &published) {
        (true, Some(policy), Some(published)) => Some(pods::observe(ctx, task, policy, published).await?),
        _ => None,
    };
    Ok(Seen {
        hopeless: hopeless(ctx, task, state, policy),
        due,
        new_id: ctx.new_id(),
        pending_ended: pending.as_ref().is_some_and(|pending| rotation::ended(status, &pending.id)),
        is_named: pending.as_ref().is_some_and(|pending| pending.is_named_by(task)),
        pending,
        finalizer,
        store,
        users,
        proof,
        policy: seen_policy,
        pods,
        attempts,
        begun: rotation::begun(status),
        spec: Arc::clone(&task.spec),
    })
}

/// The policy of a schedule.
#[derive(Clone, Copy)]
pub struct ThePolicy<'a> {
    pub object: &'a SecretPolicy,
    /// What it asks for; `None`: that is refused.
    pub spec: Option<&'a Arc<PolicySpec>>,
}

impl ThePolicy<'_> {
    /// What in its spec keeps it from publishing a new value.
    fn refusal(self, task: &Task) -> Option<Wait> {
        rotation::refusal(task, self.spec.map(Arc::as_ref))
    }
}

/// What the store holds, and whether the new credential works, as far as the step is decided by them.
async fn target(
    ctx: &Schedules,
    task: &Task,
    state: &State,
    pending: Option<&Pending>,
    attempts: u32,
) -> Result<(StoreView, ProofView), Error> {
    let store = match (state, pending) {
        (State::Idle | State::AwaitingApproval(_) | State::AwaitingWindow(_) | State::Preparing(_), _) | (_, None) => {
            StoreView::NotAsked
        }
        (_, Some(pending)) => store(ctx, task, pending, attempts).await?,
    };
    let proof = match (state, &store, pending) {
        (
            State::Verifying(_) | State::Publishing(_) | State::Retiring(_),
            StoreView::Holds(stored),
            Some(Pending { id, values, trust: Trust::Proven, .. }),
        ) if has_to_work(task, stored) => match proof(ctx, task, id, values).await {
            // As with a store: a deletion does not wait for a server without end.
            Err(error) if task.spec.deleted && attempts >= TRIES => ProofView::Refused(error.to_string()),
            proof => proof?,
        },
        _ => ProofView::NotAsked,
    };
    Ok((store, proof))
}

/// Whether the next step relies on the new credential: it comes into use, or the old one ends.
fn has_to_work(task: &Task, stored: &Stored) -> bool {
    match stored {
        Stored::Applied { .. } => true,
        Stored::Before { .. } | Stored::Ours { .. } => task.spec.rotator.database().is_some(),
        Stored::Retired | Stored::Foreign | Stored::Elsewhere => false,
    }
}

/// How the store's value relates to the pending one. A schedule that is being deleted does not wait without end for a
/// store that cannot be read, and not at all once nothing is left to be written.
async fn store(ctx: &Schedules, task: &Task, pending: &Pending, attempts: u32) -> Result<StoreView, Error> {
    let looked = match ctx.read(task).await {
        Ok(read) => rotation::stored(task, pending, read.as_ref(), &ctx.digest_key).map_err(Error::from),
        Err(error) => Err(error),
    };
    match looked {
        Ok(stored) => Ok(StoreView::Holds(stored)),
        Err(Error::StoreNotFound { .. }) if task.spec.deleted => Ok(StoreView::Gone),
        // No time helps, and what is being deleted cannot be edited.
        Err(Error::Store { source, .. }) if task.spec.deleted && source.kind == StoreErrorKind::InvalidKey => {
            Ok(StoreView::Refused)
        }
        // The status has said why, each time.
        Err(_) if task.spec.deleted && attempts >= TRIES => Ok(StoreView::Refused),
        Err(error) => Err(error),
    }
}

/// Tries the new credential. What a server has not learned yet, or refuses, is waited for; what cannot be asked is an
/// error. A refusal is not repeated at each look: servers and their guards count failed logins.
async fn proof(ctx: &Schedules, task: &Task, id: &str, made: &Values) -> Result<ProofView, Error> {
    let Some(proof) = ctx.proof_of(task, made).await? else { return Ok(ProofView::Proven) };
    let name = key_of(&task.spec);
    if let Some(refusal) = ctx.memory.refusal(&name, id, ctx.clock.now()) {
        return Ok(ProofView::Refused(refusal));
    }
    match ctx.prove.prove(&proof).await {
        Ok(()) => Ok(ProofView::Proven),
        Err(error) if error.kind == StoreErrorKind::Denied => {
            ctx.memory.set_refusal(&name, id, &error.text, ctx.clock.now());
            Ok(ProofView::Refused(error.text))
        }
        Err(error) => {
            Err(Error::store("prove", format_args!("the new {} credential", task.spec.rotator.name()))(error))
        }
    }
}

/// Policies beside the schedule's own that read the key and do not show that their consumers run on what it holds now:
/// before the old credential ends, theirs count like ours. Those of other namespaces are given as a number.
fn other_readers(ctx: &Schedules, task: &Task, state: &State, store: &StoreView) -> Vec<String> {
    let (State::Retiring(_), StoreView::Holds(Stored::Ours { version })) = (state, store) else { return Vec::new() };
    let namespace = (task.to.store.kind == StoreKind::RemoteStore).then_some(task.spec.namespace.as_str());
    let users = ctx.cluster.users(task.to.store.kind, Some(&task.to.store.name), namespace).policies;
    let own = policy_of(&task.spec);
    let rows =
        users.into_iter().filter(|name| *name != own).filter_map(|name| Some((ctx.cluster.policies.get(&name)?, name)));
    let behind = rows.filter(|(row, _)| {
        let reads = |policy: &PolicySpec| match &policy.source {
            Source::Remote(remote) => remote.follows(&task.to.store, &task.to.key).is_some(),
            Source::Existing | Source::Generated(_) | Source::Engine(_) => false,
        };
        let is_current = |object: &SecretPolicy| {
            let versions = object.status.iter().flat_map(|status| &status.source_versions);
            let has_read = versions.into_iter().any(|at| at.key == task.to.key && at.version == *version);
            has_read && PolicyView::of(object).behind.is_some_and(|behind| behind.is_empty())
        };
        row.policy().is_some_and(|policy| reads(&policy)) && !row.readable().is_some_and(is_current)
    });
    let (here, elsewhere): (Vec<ObjectName>, Vec<_>) =
        behind.map(|(_, name)| name).partition(|name| name.namespace == task.spec.namespace);
    let count = (!elsewhere.is_empty()).then(|| format!("{} policies of other namespaces", elsewhere.len()));
    here.into_iter().map(|name| format!("SecretPolicy {}", name.name)).chain(count).collect()
}

/// The pending Secret with this name, whoever made it.
async fn pending(ctx: &Schedules, owner: &Owner<'_>, name: &str) -> Result<Option<Pending>, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), owner.namespace);
    let found = api.get_opt(name).await.map_err(Error::api(Operation::ReadPending, name))?;
    Ok(found.map(|secret| as_pending(ctx, owner, secret)))
}

/// Whether the Secrets of the namespace may not even be read.
pub fn is_shut_out(error: &Error) -> bool {
    matches!(error, Error::Api { operation: Operation::ReadPending, source, .. } if status(source) == Some(403))
}

fn as_pending(ctx: &Schedules, owner: &Owner<'_>, secret: Secret) -> Pending {
    Pending::read(owner, &secret.metadata, values(secret.data), &ctx.digest_key)
}

/// The pending Secrets that are proven to be this schedule's: that of the rotation that it knows of, and those that the
/// watch has seen with its label. Read one at a time: anybody can put that label on Secrets of any size.
pub async fn left(ctx: &Schedules, owner: &Owner<'_>, known: Option<&str>) -> Result<Vec<Pending>, Error> {
    let is_labelled = |row: &SecretRow| match &row.holder {
        Holder::Rotation { schedule } => schedule.as_ref() == owner.uid,
        Holder::Policy(_) | Holder::Other { .. } => false,
    };
    let rows = ctx.cluster.secrets.in_namespace(owner.namespace).into_iter();
    let labelled = rows.filter(|(_, row)| is_labelled(row)).map(|(name, _)| name);
    let mut found = Vec::new();
    for name in rotation::candidates(known, labelled) {
        let pending = pending(ctx, owner, &name).await?;
        found.extend(pending.filter(|pending| pending.trust == Trust::Proven));
    }
    Ok(found)
}

/// A pending Secret of the schedule's own that is there although no rotation is open: that of the last one, or one
/// whose status was lost.
async fn leftover(ctx: &Schedules, task: &Task, status: &RotationScheduleStatus) -> Result<Option<Pending>, Error> {
    let last = status.history.first().map(|last| last.id.as_str());
    left(ctx, &task.spec.owner(), last).await.map(rotation::first)
}

/// What keeps a rotation from its start, or a new value that the store has from being published.
async fn kept(
    ctx: &Schedules,
    task: &Task,
    policy: ThePolicy<'_>,
    state: &State,
    due: &Due,
) -> Result<Option<Wait>, Error> {
    match (state, due) {
        (State::Idle, Due::Now { .. }) | (State::AwaitingApproval(_) | State::AwaitingWindow(_), _)
            if !task.spec.deleted =>
        {
            unable(ctx, task, policy).await
        }
        (State::Idle, Due::Now { .. } | Due::At(_) | Due::OnRequest)
        | (State::AwaitingApproval(_) | State::AwaitingWindow(_) | State::Preparing(_), _) => Ok(None),
        (
            State::Applying(_)
            | State::Verifying(_)
            | State::Publishing(_)
            | State::RollingOut(_)
            | State::Settling(_)
            | State::Retiring(_),
            _,
        ) => Ok(policy.refusal(task)),
    }
}

/// Why no rotation can come to its end as things are. What comes and goes by itself is left to when one is due.
fn hopeless(ctx: &Schedules, task: &Task, state: &State, policy: Option<ThePolicy<'_>>) -> Option<Wait> {
    if !matches!(state, State::Idle | State::AwaitingApproval(_) | State::AwaitingWindow(_)) || task.spec.deleted {
        return None;
    }
    let Some(policy) = policy else {
        return (!rotation::is_new(task, ctx.clock.now())).then(rotation::no_policy);
    };
    match ctx.stores.may_write(&task.spec.namespace, &task.to.store, &task.to.key) {
        Err(error @ Error::StoreNotAllowed { .. }) => Some(Wait::new(Reason::StoreNotAllowed, error.to_string())),
        Ok(()) | Err(_) => policy.spec.and_then(|spec| rotation::lasting(task, spec)),
    }
}

/// Why a new value could not be written and published now: all that would keep the rotation from its end is asked
/// before it starts.
async fn unable(ctx: &Schedules, task: &Task, policy: ThePolicy<'_>) -> Result<Option<Wait>, Error> {
    match ctx.stores.may_write(&task.spec.namespace, &task.to.store, &task.to.key) {
        Ok(()) | Err(Error::StoreNotAllowed { .. }) => {} // no rotation can come to its end: see `hopeless`
        Err(error) => return Err(error),
    }
    if let Some(wait) = policy.refusal(task) {
        return Ok(Some(wait));
    }
    match rotation::readiness(policy.object) {
        Readiness::Ready => ctx.users_unable(task).await,
        Readiness::NotReady(wait) => Ok(Some(wait)),
        Readiness::Unpublished(wait) => {
            let read = ctx.read(task).await?;
            if rotation::lacks(task, read.as_ref())? { ctx.users_unable(task).await } else { Ok(Some(wait)) }
        }
    }
}

/// What the policy's Secret says of its content, as far as it is known here.
fn published(ctx: &Schedules, task: &Task, policy: ThePolicy<'_>) -> Option<Arc<Published>> {
    ctx.cluster.published(&policy_of(&task.spec), &SecretNames::of(policy.object))
}

/// The same from the API server, where it counts only if the content is what it says: the end of a rotation rests on
/// it.
async fn published_now(ctx: &Schedules, task: &Task, policy: ThePolicy<'_>) -> Result<Option<Arc<Published>>, Error> {
    let Some(spec) = policy.spec else { return Ok(None) };
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &task.spec.namespace);
    let name = ctx.cluster.current(&policy_of(&task.spec), &spec.names);
    let Some(secret) = api.get_opt(&name.name).await.map_err(Error::api(Operation::ReadSecret, &name))? else {
        return Ok(None);
    };
    let Some(published) = Published::read(&secret.metadata).filter(|at| at.policy == task.spec.policy) else {
        return Ok(None);
    };
    let is_as_recorded = spec.digests_of(&ctx.digest_key, &values(secret.data), Some(&published)) == published.digests;
    Ok(is_as_recorded.then(|| Arc::new(published)))
}
