//! Which namespaces are opened to the operator, and the watches that exist only there: what it may see is what its
//! bindings say.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use http::{Request, StatusCode};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams, client::Body};
use tower::service_fn;

use crate::{
    cluster::Cluster,
    error::{Error, Operation, Right},
    watch::{
        self, Watches,
        opened::{FOLLOWED, Followed, SECRETS},
    },
};

/// A closed namespace is asked about again after this time: one that is opened is served within 30 s, whatever its
/// binding is called.
const RECHECK: Duration = Duration::from_secs(25);
/// How often the set of namespaces that hold our objects is compared with the watches.
const ROUND: Duration = Duration::from_secs(2);
/// After this time a watch of one namespace has brought all that the watch of all namespaces had not.
const MET: Duration = Duration::from_secs(30);
/// A call that is refused is a sign that rights have gone, unless they were asked about this short a time ago: then it
/// is refused for another reason, like a quota. The watches are refused within this time, too: each is opened again
/// every 3 min.
const DOUBT: Duration = Duration::from_mins(3);
/// Namespaces that are asked about at the same time.
const ASKED: usize = 16;

/// Keeps the watches of namespaces in step with where our objects are. Never ends.
///
/// # Errors
/// Never; failures are retried.
pub async fn run(ctx: Arc<Watches>) {
    while !ctx.cluster.namespaces.own_known(watch::own_watches(&ctx)) {
        ctx.cluster.namespaces.woken().await;
    }
    loop {
        let wanted = wanted(&ctx);
        retire(&ctx, &wanted);
        ctx.stores.release();
        round(&ctx, &wanted).await;
        tokio::select! {
            () = tokio::time::sleep(ctx.cluster.namespaces.pause(ROUND)) => {}
            () = ctx.cluster.namespaces.woken() => {}
        }
    }
}

/// The client, with which each call that is refused in a namespace is a sign that it may have been closed.
#[must_use]
pub fn heeding(client: &Client, cluster: &Arc<Cluster>) -> Client {
    let (client, cluster) = (client.clone(), Arc::clone(cluster));
    let default = client.default_namespace().to_owned();
    let service = service_fn(move |request: Request<Body>| {
        let (client, cluster) = (client.clone(), Arc::clone(&cluster));
        async move {
            let namespace = namespace_of(request.uri().path()).map(str::to_owned);
            let answer = client.send(request).await?;
            if let Some(namespace) = namespace.filter(|_| answer.status() == StatusCode::FORBIDDEN) {
                cluster.namespaces.refused(&namespace, DOUBT);
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(service, default)
}

/// The namespace whose object a path of the API names.
fn namespace_of(path: &str) -> Option<&str> {
    let (_, below) = path.split_once("/namespaces/")?;
    below.split_once('/').map(|(namespace, _)| namespace)
}

fn wanted(ctx: &Watches) -> BTreeSet<String> {
    let mut wanted = ctx.cluster.policies.namespaces();
    wanted.extend(ctx.cluster.schedules.namespaces());
    wanted.extend(ctx.cluster.stores.namespaces());
    wanted.extend(ctx.cluster.leaving.namespaces().into_iter().filter(|name| ctx.cluster.namespaces.is_followed(name)));
    let only = &ctx.settings.namespaces;
    wanted.retain(|namespace| only.is_empty() || only.contains(namespace));
    wanted
}

fn retire(ctx: &Watches, wanted: &BTreeSet<String>) {
    for namespace in ctx.cluster.namespaces.retire(wanted) {
        ctx.cluster.secrets.retain(Some(&namespace), |_| false);
        ctx.cluster.workloads.retain(Some(&namespace), |_| false);
        ctx.notify.unseen(&namespace);
    }
}

/// Asks about the namespaces that are due, and follows those that are opened.
async fn round(ctx: &Arc<Watches>, wanted: &BTreeSet<String>) {
    let is_due = |namespace: &&String| ctx.cluster.namespaces.is_due(namespace, RECHECK);
    // Nothing is asked while all that is wanted is open.
    let asks =
        ctx.cluster.namespaces.wide.age().is_none_or(|age| age >= RECHECK && wanted.iter().any(|name| is_due(&name)));
    let (mut wide, mut is_sure) = (Vec::new(), false);
    if asks && !wanted.is_empty() && ctx.settings.namespaces.is_empty() {
        match everywhere(ctx).await {
            Ok(allowed) => (wide, is_sure) = (allowed, true),
            Err(error) => tracing::warn!(%error, "the rights in all namespaces could not be checked"),
        }
    }
    let is_everywhere = |kind: &str| {
        ctx.cluster.namespaces.wide.has(kind) || wide.iter().any(|followed: &&Followed| followed.kind == kind)
    };
    let needed = FOLLOWED.iter().filter(|followed| followed.vital && !is_everywhere(followed.kind));
    let needed: Vec<Right> = needed.flat_map(|followed| followed.rights(&ctx.pages)).collect();
    let ask = async |namespace: &String| {
        // Where one right is there, all are, unless the role is home-made: then its watches are refused.
        let is_in_question = ctx.cluster.namespaces.is_in_question(namespace);
        if is_in_question && needed.is_empty() && !is_sure {
            return; // the rights everywhere may be gone: it stays due until they have been asked about
        }
        // What was missing the last time comes first: as long as it is, one question is enough.
        let known = ctx.cluster.namespaces.missing(namespace);
        let others = needed.iter().copied().filter(|right| Some(*right) != known);
        let asked = if is_in_question { usize::MAX } else { 1 };
        let rights: Vec<Right> = known.into_iter().chain(others).take(asked).collect();
        match missing(ctx, &rights, Some(namespace)).await {
            Ok(missing) => answered(ctx, namespace, missing),
            Err(error) => tracing::warn!(namespace, %error, "the rights in the namespace could not be checked"),
        }
    };
    // Only now: when the rights everywhere have gone, each namespace has to be asked about before it is watched.
    let due: Vec<&String> = wanted.iter().filter(is_due).collect();
    stream::iter(due).for_each_concurrent(ASKED, ask).await;
    for followed in wide {
        followed.everywhere(ctx);
    }
    for namespace in ctx.cluster.namespaces.followed() {
        for followed in &FOLLOWED {
            follow(ctx, followed, &namespace);
        }
    }
}

fn answered(ctx: &Watches, namespace: &str, missing: Option<Right>) {
    if ctx.cluster.namespaces.answered(namespace, missing) {
        ctx.notify.whole_namespace(namespace);
    }
}

/// Sees to it that a watch follows the kind in the namespace.
fn follow(ctx: &Arc<Watches>, followed: &Followed, namespace: &str) {
    let (namespaces, kind) = (&ctx.cluster.namespaces, followed.kind);
    let own = namespaces.has_watch(namespace, kind);
    if !own && !namespaces.wide.covers(kind, namespace) {
        followed.in_namespace(ctx, namespace);
        namespaces.wide.add(kind, namespace);
    } else if own && namespaces.wide.has_met(kind, namespace, MET) {
        namespaces.unfollow(namespace, kind, MET);
    }
}

/// Asks what may be watched in all namespaces. Ends watches that may not be; returns the kinds that have none yet.
async fn everywhere(ctx: &Watches) -> Result<Vec<&'static Followed>, Error> {
    let mut start = Vec::new();
    let mut let_in = true;
    for followed in &FOLLOWED {
        let allowed = let_in && missing(ctx, &followed.rights(&ctx.pages), None).await?.is_none();
        let_in &= allowed || followed.kind != SECRETS.kind;
        if allowed && !ctx.cluster.namespaces.wide.has(followed.kind) {
            start.push(followed);
        } else if !allowed && ctx.cluster.namespaces.wide.end(followed.kind) && followed.vital {
            ctx.cluster.namespaces.doubt();
        }
    }
    ctx.cluster.namespaces.wide.asked();
    Ok(start)
}

/// The first of these rights that we do not have in a namespace, or in all.
async fn missing(ctx: &Watches, rights: &[Right], namespace: Option<&str>) -> Result<Option<Right>, Error> {
    for right in rights {
        if !allowed(ctx, *right, namespace).await? {
            return Ok(Some(*right));
        }
    }
    Ok(None)
}

/// Asks the API server whether we have a right in a namespace, or in all
/// (<https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>).
#[expect(clippy::disallowed_methods, reason = "a question that leaves nothing behind")]
async fn allowed(ctx: &Watches, right: Right, namespace: Option<&str>) -> Result<bool, Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: namespace.map(str::to_owned),
                verb: Some(right.verb.to_owned()),
                group: Some(right.group.to_owned()),
                resource: Some(right.resource.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(ctx.client.clone());
    let place = namespace.map_or_else(|| "all namespaces".to_owned(), |namespace| format!("namespace {namespace}"));
    let answer = api.create(&PostParams::default(), &review).await;
    let answer = answer.map_err(Error::api(Operation::AskForRights, place))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests;
