//! Policies that read what a schedule rotates, beside its own and together with it.

use rekey_api::{SecretPolicy, reference::StoreKind};
use rekey_core::{
    policy::{PolicySpec, Source},
    rotation::{self, State, StoreView, Stored, Task},
};

use super::{Schedules, policy_of};
use crate::cluster::ObjectName;

/// Policies beside the schedule's own that read the key, and that keep a credential needed.
#[derive(Default)]
pub struct Others {
    /// Those of its namespace.
    pub here: Vec<String>,
    /// How many there are in others.
    pub elsewhere: usize,
}

/// Policies that read the key and do not show that their consumers run on what it holds now: before a credential ends, or another one
/// takes its place, theirs count like those of the schedule's own policy.
pub fn others(ctx: &Schedules, task: &Task, state: &State, store: &StoreView) -> Others {
    let ((State::Retiring(_), StoreView::Holds(Stored::Ours { version }))
    | (State::Applying(_), StoreView::Holds(Stored::Before { version: Some(version) }))) = (state, store)
    else {
        return Others::default();
    };
    let namespace = (task.to.store.kind == StoreKind::RemoteStore).then_some(task.spec.namespace.as_str());
    let users = ctx.cluster.users(task.to.store.kind, Some(&task.to.store.name), namespace).policies;
    let own = policy_of(&task.spec);
    // Its own pods are looked at one by one; but they are judged by what it has published, which may be older than the store.
    let counts = |name: &ObjectName| *name != own || matches!(state, State::Applying(_));
    let rows = users.into_iter().filter(counts).filter_map(|name| Some((ctx.cluster.policies.get(&name)?, name)));
    let behind = rows.filter(|(row, name)| {
        let reads = |policy: &PolicySpec| match &policy.source {
            Source::Remote(remote) => remote.follows(&task.to.store, &task.to.key).is_some(),
            Source::Existing | Source::Generated(_) | Source::Engine(_) => false,
        };
        let is_current = |object: &SecretPolicy| {
            let versions = object.status.iter().flat_map(|status| &status.source_versions);
            let has_read = versions.into_iter().any(|at| at.key == task.to.key && at.version == *version);
            has_read && (*name == own || rotation::is_all_current(object))
        };
        row.policy().is_some_and(|policy| reads(&policy)) && !row.readable().is_some_and(is_current)
    });
    let (here, elsewhere): (Vec<ObjectName>, Vec<_>) =
        behind.map(|(_, name)| name).partition(|name| name.namespace == task.spec.namespace);
    let here = here.into_iter().map(|name| format!("SecretPolicy {}", name.name)).collect();
    Others { here, elsewhere: elsewhere.len() }
}
