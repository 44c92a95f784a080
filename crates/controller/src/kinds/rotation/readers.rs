//! Policies beside the schedule's own that read what it rotates.

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

/// Policies beside the schedule's own that read the key and do not show that their consumers run on what it holds now: before a
/// credential ends, or another one takes its place, theirs count like ours.
pub fn others(ctx: &Schedules, task: &Task, state: &State, store: &StoreView) -> Others {
    let ((State::Retiring(_), StoreView::Holds(Stored::Ours { version }))
    | (State::Applying(_), StoreView::Holds(Stored::Before { version: Some(version) }))) = (state, store)
    else {
        return Others::default();
    };
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
            has_read && rotation::is_all_current(object)
        };
        row.policy().is_some_and(|policy| reads(&policy)) && !row.readable().is_some_and(is_current)
    });
    let (here, elsewhere): (Vec<ObjectName>, Vec<_>) =
        behind.map(|(_, name)| name).partition(|name| name.namespace == task.spec.namespace);
    let here = here.into_iter().map(|name| format!("SecretPolicy {}", name.name)).collect();
    Others { here, elsewhere: elsewhere.len() }
}
