//! Which namespaces are opened to the operator, and the watches that exist only there.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, api::PostParams};

use crate::{
    cluster::NamespaceAccess,
    error::{Error, Operation},
    watch::{self, Watches},
};

/// A closed namespace is tried again after this time.
const RECHECK: Duration = Duration::from_secs(30);
/// How often the set of namespaces that hold our objects is compared with the watches.
const ROUND: Duration = Duration::from_secs(2);

/// Keeps the watches of namespaces in step with where our objects are. Ends never.
///
/// # Errors
/// Never; failures are tried again.
pub async fn run(ctx: Arc<Watches>) {
    while !ctx.cluster.namespaces.own_known(watch::own_watches(&ctx)) {
        ctx.cluster.namespaces.woken().await;
    }
    loop {
        let wanted = wanted(&ctx);
        retire(&ctx, &wanted);
        ctx.stores.release();
        for namespace in wanted {
            if ctx.cluster.namespaces.is_due(&namespace, RECHECK)
                && let Err(error) = open(&ctx, &namespace).await
            {
                tracing::warn!(namespace, %error, "the namespace could not be asked about");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = ctx.cluster.namespaces.woken() => {}
        }
    }
}

fn wanted(ctx: &Watches) -> BTreeSet<String> {
    let mut wanted = ctx.cluster.policies.namespaces();
    wanted.extend(ctx.cluster.schedules.namespaces());
    wanted.extend(ctx.cluster.stores.namespaces());
    let only = &ctx.settings.namespaces;
    wanted.retain(|namespace| only.is_empty() || only.contains(namespace));
    wanted
}

fn retire(ctx: &Watches, wanted: &BTreeSet<String>) {
    for namespace in ctx.cluster.namespaces.retire(wanted) {
        ctx.cluster.secrets.retain(Some(&namespace), |_| false);
        ctx.cluster.workloads.retain(Some(&namespace), |_| false);
    }
}

/// Asks once whether the namespace is opened, and starts its watches if so.
async fn open(ctx: &Arc<Watches>, namespace: &str) -> Result<(), Error> {
    let allowed = allowed(ctx, namespace).await?;
    let access = if allowed { NamespaceAccess::Pending } else { NamespaceAccess::Closed };
    let was = ctx.cluster.namespaces.access(namespace);
    ctx.cluster.namespaces.asked(namespace, access);
    if allowed {
        let tasks = watch::namespace(ctx, namespace);
        ctx.cluster.namespaces.follow(namespace, tasks);
    } else if was != NamespaceAccess::Closed {
        ctx.notify.whole_namespace(namespace);
    }
    Ok(())
}

/// Asks the API server whether we may watch Secrets there
/// (<https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>).
#[expect(clippy::disallowed_methods, reason = "a question, of which nothing stays")]
async fn allowed(ctx: &Watches, namespace: &str) -> Result<bool, Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some("watch".to_owned()),
                resource: Some("secrets".to_owned()),
                version: Some("v1".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(ctx.client.clone());
    let answer = api
        .create(&PostParams::default(), &review)
        .await
        .map_err(Error::api(Operation::AskForRights, format!("namespace {namespace}")))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
