//! Which namespaces are opened to the operator, and the watches that exist only there.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, api::PostParams};

use crate::{
    cluster::NamespaceAccess,
    connections,
    context::Context,
    error::{Error, Operation},
    notify, watch,
};

/// A closed namespace is tried again after this time.
const RECHECK: Duration = Duration::from_secs(30);
/// How often the set of namespaces that hold our objects is compared with the watches.
const ROUND: Duration = Duration::from_secs(2);

/// Keeps the watches of namespaces in step with where our objects are. Ends never.
///
/// # Errors
/// Never; failures are tried again.
pub async fn run(ctx: Arc<Context>) {
    while !ctx.namespaces.own_known(watch::own_watches(&ctx)) {
        ctx.namespaces.woken().await;
    }
    loop {
        let wanted = wanted(&ctx);
        retire(&ctx, &wanted);
        connections::release(&ctx);
        for namespace in wanted {
            if ctx.namespaces.is_due(&namespace, RECHECK)
                && let Err(error) = open(&ctx, &namespace).await
            {
                tracing::warn!(namespace, %error, "the namespace could not be asked about");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = ctx.namespaces.woken() => {}
        }
    }
}

fn wanted(ctx: &Context) -> BTreeSet<String> {
    let mut wanted = ctx.known.policies.namespaces();
    wanted.extend(ctx.known.schedules.namespaces());
    wanted.extend(ctx.known.stores.namespaces());
    let only = &ctx.settings.namespaces;
    wanted.retain(|namespace| only.is_empty() || only.contains(namespace));
    wanted
}

fn retire(ctx: &Context, wanted: &BTreeSet<String>) {
    for namespace in ctx.namespaces.retire(wanted) {
        ctx.known.secrets.retain(Some(&namespace), |_| false);
        ctx.known.workloads.retain(Some(&namespace), |_| false);
    }
}

/// Asks once whether the namespace is opened, and starts its watches if so.
async fn open(ctx: &Arc<Context>, namespace: &str) -> Result<(), Error> {
    let allowed = allowed(ctx, namespace).await?;
    let access = if allowed { NamespaceAccess::Pending } else { NamespaceAccess::Closed };
    let was = ctx.namespaces.access(namespace);
    ctx.namespaces.asked(namespace, access);
    if allowed {
        let tasks = watch::namespace(ctx, namespace);
        ctx.namespaces.follow(namespace, tasks);
    } else if was != NamespaceAccess::Closed {
        notify::whole_namespace(ctx, namespace);
    }
    Ok(())
}

/// Asks the API server whether we may watch Secrets there
/// (<https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>).
async fn allowed(ctx: &Context, namespace: &str) -> Result<bool, Error> {
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
