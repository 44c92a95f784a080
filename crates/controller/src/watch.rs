//! Watches: they keep the tables up to date and say what has to be looked at because of a change.

pub mod opened;

mod bindings;
mod boxed;
mod events;
mod extension;
mod parts;

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace};
use kube::{
    Api, Resource, ResourceExt as _,
    core::{DeserializeGuard, PartialObjectMeta, object::HasStatus},
    runtime::watcher::{self, Event},
};
use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy, reference::StoreKind};
use rekey_core::Parse;
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::{AbortHandle, JoinHandle};

use self::events::Events;
pub use self::parts::Watches;
use crate::{
    cluster::{
        Change, NamespaceRow, Object, ObjectName, Refers, Row, Table,
        listings::{CLUSTER_STORES, Listing, NAMESPACES},
    },
    pages::{self, Page},
    pulse::Running,
    queue::{Lane, Queue},
};

/// What is done with the events of one watch.
struct Feed<K, T> {
    kind: &'static str,
    reach: Reach,
    /// Whether we can do nothing without it: its namespace is closed to us when it is refused.
    vital: bool,
    presence: Presence,
    page: Page,
    /// Whether nothing starts before its first list.
    first: bool,
    table: fn(&Watches) -> &Table<T>,
    row: Box<dyn Fn(K) -> (ObjectName, T) + Send + Sync>,
    notify: Told<T>,
    listed: fn(&Watches, Option<&str>, &'static str),
}

/// Which objects a watch answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    /// Those of one namespace.
    Namespace(String),
    /// All that there are.
    Cluster,
    /// All come, and those of namespaces that hold objects of ours are kept.
    Followed,
}

type Told<T> = Box<dyn Fn(&Watches, &Change<T>) + Send + Sync>;

/// Whether a cluster has a kind for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It comes with Kubernetes, or with us.
    Permanent,
    /// Its CRD belongs to another tool and may be removed: then there is nothing to watch.
    Removable,
}

/// How many watches of our own namespaced kinds there are: three in each scope.
pub fn own_watches(ctx: &Watches) -> usize {
    3 * ctx.settings.namespaces.len().max(1)
}

/// Starts the watches of our own kinds, and that of the bindings which open namespaces.
pub fn own_kinds(ctx: &Arc<Watches>) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![follow_own::<ClusterRemoteStore>(
        ctx,
        Api::all(ctx.watch_client.clone()),
        None,
        CLUSTER_STORES,
        |ctx| &ctx.cluster.cluster_stores,
        |ctx| &ctx.queues.cluster_stores,
        |ctx, change| ctx.notify.store(change),
    )];
    tasks.push(bindings::follow(ctx));
    let scopes: Vec<Option<String>> = match ctx.settings.namespaces.as_slice() {
        [] => vec![None],
        named => named.iter().cloned().map(Some).collect(),
    };
    for scope in scopes {
        tasks.push(follow_own::<SecretPolicy>(
            ctx,
            api(ctx, scope.as_deref()),
            scope.clone(),
            "SecretPolicy",
            |ctx| &ctx.cluster.policies,
            |ctx| &ctx.queues.policies,
            |ctx, change| ctx.notify.policy(change),
        ));
        tasks.push(follow_own::<RotationSchedule>(
            ctx,
            api(ctx, scope.as_deref()),
            scope.clone(),
            "RotationSchedule",
            |ctx| &ctx.cluster.schedules,
            |ctx| &ctx.queues.schedules,
            |ctx, change| ctx.notify.schedule(change),
        ));
        tasks.push(follow_own::<RemoteStore>(
            ctx,
            api(ctx, scope.as_deref()),
            scope.clone(),
            "RemoteStore",
            |ctx| &ctx.cluster.stores,
            |ctx| &ctx.queues.stores,
            |ctx, change| ctx.notify.store(change),
        ));
    }
    tasks
}

/// Starts the watch of namespaces, of which only the labels are kept.
pub fn labels(ctx: &Arc<Watches>) -> AbortHandle {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(ctx.watch_client.clone());
    let feed = Feed {
        kind: NAMESPACES,
        reach: Reach::Cluster,
        vital: false,
        presence: Presence::Permanent,
        page: pages::METADATA,
        first: false,
        table: |ctx| &ctx.cluster.labels,
        row: Box::new(|object: PartialObjectMeta<Namespace>| (named(&object), NamespaceRow::project(object.metadata))),
        notify: Box::new(|ctx, change| ctx.notify.namespace(change)),
        listed: |ctx, _, kind| {
            ctx.cluster.listings.set(kind, Listing::Done);
            ctx.notify.users_of(StoreKind::ClusterRemoteStore, None, None);
        },
    };
    tokio::spawn(run(Arc::clone(ctx), namespaces, feed)).abort_handle()
}

fn api<K>(ctx: &Watches, scope: Option<&str>) -> Api<DeserializeGuard<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(ctx.watch_client.clone(), namespace),
        None => Api::all(ctx.watch_client.clone()),
    }
}

fn follow_own<K>(
    ctx: &Arc<Watches>,
    api: Api<DeserializeGuard<K>>,
    namespace: Option<String>,
    kind: &'static str,
    table: fn(&Watches) -> &Table<Object<K>>,
    queue: fn(&Watches) -> &Queue<ObjectName>,
    notify: fn(&Watches, &Change<Object<K>>),
) -> JoinHandle<()>
where
    K: Parse
        + HasStatus<Status: PartialEq + Serialize>
        + Refers
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let known = Arc::clone(ctx);
    let row = move |object: DeserializeGuard<K>| {
        let name = named(&object);
        let before = table(&known).get(&name);
        (name, Object::from_guard(object, before.as_deref()))
    };
    let feed = Feed {
        kind,
        reach: namespace.map_or(Reach::Cluster, Reach::Namespace),
        vital: kind != CLUSTER_STORES,
        presence: Presence::Permanent,
        page: pages::WHOLE,
        first: true,
        table,
        row: Box::new(row),
        notify: Box::new(move |ctx, change| {
            notify(ctx, change);
            if is_rewritten(change) {
                queue(ctx).add(change.name.clone(), Lane::Routine);
            }
        }),
        listed: |ctx, namespace, kind| {
            ctx.cluster.listings.set(kind, Listing::Done);
            ctx.cluster.namespaces.listed_own(namespace, kind);
        },
    };
    tokio::spawn(run(Arc::clone(ctx), api, feed))
}

/// Whether another tool has written into a status. Nothing relies on what it says, but people read it.
fn is_rewritten<K: Parse + HasStatus<Status: PartialEq + Serialize>>(change: &Change<Object<K>>) -> bool {
    let (Some(before), Some(now)) = (&change.before, &change.now) else { return false };
    match (before.readable(), now.readable()) {
        (Some(one), Some(other)) => one.status() != other.status() && !now.is_ours(),
        // With the same spec it is the status that can be read again, or no longer.
        (Some(_), None) | (None, Some(_)) => true,
        (None, None) => false,
    }
}

fn named<K: Resource>(object: &K) -> ObjectName {
    ObjectName::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// Feeds one watch into its table. Ends only when the kind is removed from the cluster, which only some can be.
async fn run<K, T: Row>(ctx: Arc<Watches>, api: Api<K>, feed: Feed<K, T>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let running = ctx.pulse.watch(api.resource_url(), feed.kind, feed.first);
    let mut events = Events::of(api, &ctx.pages, feed.page, None).await;
    let table = feed.table;
    let mut present = BTreeSet::new();
    loop {
        match events.next().await {
            Ok(Event::Init) => {
                present.clear();
                feed.lists(&ctx);
            }
            Ok(Event::InitApply(object)) if feed.keeps(&ctx, &object) => {
                let (name, row) = (feed.row)(object);
                present.insert(name.clone());
                if let Some(change) = table(&ctx).set(&name, row) {
                    (feed.notify)(&ctx, &change);
                }
            }
            Ok(Event::InitDone) => {
                feed.forget(&ctx, &present);
                present.clear();
                running.listed();
                feed.complete(&ctx);
            }
            Ok(Event::Apply(object)) if feed.keeps(&ctx, &object) => {
                let (name, row) = (feed.row)(object);
                if let Some(change) = table(&ctx).set(&name, row) {
                    (feed.notify)(&ctx, &change);
                }
            }
            Ok(Event::Delete(object)) if feed.keeps(&ctx, &object) => {
                let (name, row) = (feed.row)(object);
                if let Some(change) = table(&ctx).remove(&name, row.version()) {
                    (feed.notify)(&ctx, &change);
                }
            }
            Ok(Event::InitApply(_) | Event::Apply(_) | Event::Delete(_)) => {}
            Err(error) if feed.presence == Presence::Removable && code(&error) == Some(404) => {
                feed.forget(&ctx, &BTreeSet::new());
                ctx.cluster.namespaces.wide.pauses(feed.kind);
                return;
            }
            Err(error) => failed(&ctx, &feed, &running, &error),
        }
    }
}

impl<K, T: Row> Feed<K, T> {
    /// A list starts.
    fn lists(&self, ctx: &Watches) {
        if self.reach == Reach::Followed {
            ctx.cluster.namespaces.wide.lists(self.kind, ctx.cluster.namespaces.followed());
        }
    }

    /// A list is complete.
    fn complete(&self, ctx: &Watches) {
        match &self.reach {
            Reach::Namespace(namespace) => (self.listed)(ctx, Some(namespace), self.kind),
            Reach::Cluster => (self.listed)(ctx, None, self.kind),
            Reach::Followed => {
                ctx.cluster.namespaces.wide.listed(self.kind);
                for namespace in ctx.cluster.namespaces.covered(self.kind) {
                    (self.listed)(ctx, Some(&namespace), self.kind);
                }
            }
        }
    }

    /// Whether this object gets a row.
    fn keeps(&self, ctx: &Watches, object: &K) -> bool
    where
        K: Resource,
    {
        let namespace = || object.meta().namespace.as_deref().unwrap_or_default();
        self.reach != Reach::Followed || ctx.cluster.namespaces.is_followed(namespace())
    }

    /// Removes the rows that a new list no longer has. Workloads of several kinds share a table: each watch answers for
    /// its own.
    fn forget(&self, ctx: &Watches, present: &BTreeSet<ObjectName>) {
        let own = |name: &ObjectName| match name.name.split_once('/') {
            Some((kind, _)) => kind == self.kind,
            None => true,
        };
        let (only, covered) = match &self.reach {
            Reach::Namespace(namespace) => (Some(namespace.as_str()), None),
            Reach::Cluster => (None, None),
            Reach::Followed => (None, Some(ctx.cluster.namespaces.covered(self.kind))),
        };
        let answers = |name: &ObjectName| covered.as_ref().is_none_or(|covered| covered.contains(&name.namespace));
        let kept = |name: &ObjectName| present.contains(name) || !own(name) || !answers(name);
        for change in (self.table)(ctx).retain(only, kept) {
            (self.notify)(ctx, &change);
        }
    }
}

/// The HTTP status that a watch failed with, if the API server answered.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => crate::error::status(source),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::NoResourceVersion => None,
    }
}

fn failed<K, T>(ctx: &Watches, feed: &Feed<K, T>, running: &Running, error: &watcher::Error) {
    let code = code(error);
    let namespace = match &feed.reach {
        Reach::Namespace(namespace) => Some(namespace.as_str()),
        Reach::Cluster | Reach::Followed => None,
    };
    tracing::warn!(kind = feed.kind, namespace, code, "a watch failed; Rekey starts it again");
    if code == Some(403) && !feed.vital {
        running.refused();
    }
    match (code, &feed.reach) {
        // Its objects are looked at when it is known what is missing.
        (Some(403), Reach::Namespace(namespace)) if feed.vital => ctx.cluster.namespaces.close(namespace),
        // Nothing waits for it.
        (Some(403), Reach::Namespace(namespace)) => (feed.listed)(ctx, Some(namespace), feed.kind),
        // An operator without the right to a cluster-wide kind does without, and reports it where it is needed.
        (Some(403), Reach::Cluster) => ctx.cluster.listings.set(feed.kind, Listing::Refused),
        // It may be followed namespace by namespace.
        (Some(403), Reach::Followed) => {
            ctx.cluster.namespaces.wide.doubt();
            ctx.cluster.namespaces.wake();
        }
        (Some(_) | None, _) => {}
    }
}

#[cfg(test)]
mod tests;
