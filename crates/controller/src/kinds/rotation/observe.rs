//! What a rotation sees: freshly read wherever a step is decided by it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use rekey_api::{RotationSchedule, RotationScheduleStatus, SecretPolicy, names};
use rekey_core::{
    SecretNames,
    policy::PolicySpec,
    published::Published,
    rotation::{
        self, Due, Owner, Pending, PolicyView, ProofView, Seen, State, StoreView, Stored, TRIES, Task, Trust,
        UsersView, Wait,
    },
    rotator::Values,
    store::StoreErrorKind,
};

use super::{
    Schedules, gate, key_of, pods, policy_of,
    readers::{self, Others},
};
use crate::{
    cluster::{Holder, SecretRow, values},
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
    // Neither a store nor a server has a say in whether a person may let a rotation go.
    let is_let_go = rotation::is_let_go(state, task.spec.let_go.as_deref());
    let (store, proof, users) = if is_let_go {
        (StoreView::NotAsked, ProofView::NotAsked, UsersView::NotAsked)
    } else {
        let (store, proof) = target(ctx, task, state, pending.as_ref(), attempts).await?;
        let users = ctx.users(task, state, pending.as_ref(), (&store, attempts)).await?;
        (store, proof, users)
    };
    let policy = ctx.cluster.policies.get(&policy_of(&task.spec));
    let policy = policy.as_ref().and_then(|row| Some(ThePolicy { object: row.readable()?, spec: row.spec().ok() }));
    let asks_pods = !is_let_go && asks_pods(task, state);
    let published = match (asks_pods, policy) {
        (true, Some(policy)) => published_now(ctx, task, policy).await?,
        (_, Some(policy)) => published(ctx, task, policy),
        (_, None) => None,
    };
    let seen_policy = match policy {
        Some(policy) => {
            let view = PolicyView {
                unable: gate::kept(ctx, task, policy, state, &due).await?,
                ..PolicyView::of(policy.object)
            };
            let record = published.as_ref().and_then(|published| published.changes.rotation.clone());
            let Others { here, elsewhere } = readers::others(ctx, task, state, &store);
            PolicyView { record, others: here, elsewhere, ..view }
        }
        None => PolicyView::missing(),
    };
    let pods = match policy {
        Some(policy) if asks_pods => Some(pods::observe(ctx, task, policy, published.as_deref()).await?),
        Some(_) | None => None,
    };
    Ok(Seen {
        hopeless: gate::hopeless(ctx, task, state, policy),
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

/// Whether the step is decided by pods: they keep the old credential needed, or may have that of the user whose turn it is.
fn asks_pods(task: &Task, state: &State) -> bool {
    match state {
        State::Settling(_) | State::Retiring(_) => true,
        State::Applying(_) => task.spec.rotator.database().is_some(),
        State::Idle
        | State::AwaitingApproval(_)
        | State::AwaitingWindow(_)
        | State::Preparing(_)
        | State::Verifying(_)
        | State::Publishing(_)
        | State::RollingOut(_) => false,
    }
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
    pub fn refusal(self, task: &Task) -> Option<Wait> {
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
