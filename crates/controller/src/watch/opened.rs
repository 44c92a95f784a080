//! What is followed where the operator is let: Secrets and what consumes them. There is a watch for each namespace and
//! kind, or one for a kind where the operator may watch it in all namespaces.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        batch::v1::CronJob,
        core::v1::{Secret, ServiceAccount},
        networking::v1::Ingress,
    },
};
use kube::{Api, Resource, core::PartialObjectMeta};
use rekey_core::workload::{Kind, Project, Workload, argo_rollout, gateway};
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;

use super::{Feed, Presence, Reach, Watches, boxed::Boxed, extension, named, run};
use crate::{
    cluster::{ObjectName, SecretRow, workload_name},
    error::Right,
    pages::{self, Pages},
};

/// A kind that is followed so.
pub struct Followed {
    pub kind: &'static str,
    /// Its group in the API.
    pub group: &'static str,
    /// Its name in the API.
    pub resource: &'static str,
    /// Whether a namespace is closed without it. The others are only shown, or not every cluster has them.
    pub vital: bool,
    /// Starts a watch, of one namespace or of all.
    start: fn(&Arc<Watches>, Option<&str>) -> AbortHandle,
}

/// Without them there is nothing to do with the others.
pub const SECRETS: Followed = Followed { kind: "Secret", group: "", resource: "secrets", vital: true, start: secrets };

/// Every kind, [`SECRETS`] first.
pub const FOLLOWED: [Followed; 9] = [
    SECRETS,
    Followed {
        kind: "Deployment",
        group: "apps",
        resource: "deployments",
        vital: true,
        start: |ctx, namespace| follow::<Deployment>(ctx, namespace, Kind::Deployment),
    },
    Followed {
        kind: "StatefulSet",
        group: "apps",
        resource: "statefulsets",
        vital: true,
        start: |ctx, namespace| follow::<StatefulSet>(ctx, namespace, Kind::StatefulSet),
    },
    Followed {
        kind: "DaemonSet",
        group: "apps",
        resource: "daemonsets",
        vital: true,
        start: |ctx, namespace| follow::<DaemonSet>(ctx, namespace, Kind::DaemonSet),
    },
    Followed {
        kind: "CronJob",
        group: "batch",
        resource: "cronjobs",
        vital: false,
        start: |ctx, namespace| follow::<CronJob>(ctx, namespace, Kind::CronJob),
    },
    Followed {
        kind: "Ingress",
        group: "networking.k8s.io",
        resource: "ingresses",
        vital: false,
        start: |ctx, namespace| follow::<Ingress>(ctx, namespace, Kind::Ingress),
    },
    Followed {
        kind: "ServiceAccount",
        group: "",
        resource: "serviceaccounts",
        vital: false,
        start: |ctx, namespace| follow::<ServiceAccount>(ctx, namespace, Kind::ServiceAccount),
    },
    Followed {
        kind: "Gateway",
        group: "gateway.networking.k8s.io",
        resource: "gateways",
        vital: false,
        start: |ctx, namespace| {
            extension::follow(ctx, namespace, Kind::Gateway, |object| {
                consumer(gateway(&object.metadata, &object.data["spec"]))
            })
        },
    },
    Followed {
        kind: "Rollout",
        group: "argoproj.io",
        resource: "rollouts",
        vital: false,
        start: |ctx, namespace| {
            extension::follow(ctx, namespace, Kind::Rollout, |object| {
                consumer(argo_rollout(&object.metadata, &object.data))
            })
        },
    },
];

impl Followed {
    /// What it takes to follow it. Where lists come as watches, the right to list is not asked for.
    pub fn rights(&self, pages: &Pages) -> Vec<Right> {
        let verbs: &[&str] = if pages.are_needed() { &["watch", "list"] } else { &["watch"] };
        verbs.iter().map(|verb| Right { verb, group: self.group, resource: self.resource }).collect()
    }

    /// Starts its watch of one namespace.
    pub fn in_namespace(&self, ctx: &Arc<Watches>, namespace: &str) {
        ctx.cluster.namespaces.follow(namespace, self.kind, (self.start)(ctx, Some(namespace)));
    }

    /// Starts its watch of all namespaces, for those that are followed now.
    pub fn everywhere(&self, ctx: &Arc<Watches>) {
        ctx.cluster.namespaces.wide.start(self.kind, ctx.cluster.namespaces.followed());
        ctx.cluster.namespaces.wide.follow(self.kind, (self.start)(ctx, None));
    }
}

fn secrets(ctx: &Arc<Watches>, namespace: Option<&str>) -> AbortHandle {
    let client = ctx.watch_client.clone();
    let secrets: Api<PartialObjectMeta<Secret>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let feed = Feed {
        kind: SECRETS.kind,
        reach: reach(namespace),
        vital: SECRETS.vital,
        presence: Presence::Permanent,
        page: pages::METADATA,
        first: false,
        table: |ctx| &ctx.cluster.secrets,
        row: Box::new(|object: PartialObjectMeta<Secret>| (named(&object), SecretRow::project(object.metadata))),
        notify: Box::new(|ctx, change| ctx.notify.secret(change)),
        listed,
    };
    tokio::spawn(run(Arc::clone(ctx), secrets, feed)).abort_handle()
}

fn follow<K>(ctx: &Arc<Watches>, namespace: Option<&str>, kind: Kind) -> AbortHandle
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Project
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let client = ctx.watch_client.clone();
    let api: Api<Boxed<K>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let row = |object: Boxed<K>| consumer(object.0.project());
    tokio::spawn(run(Arc::clone(ctx), api, consumers(namespace, kind, row))).abort_handle()
}

fn reach(namespace: Option<&str>) -> Reach {
    namespace.map_or(Reach::Followed, |namespace| Reach::Namespace(namespace.to_owned()))
}

fn consumer(workload: Workload) -> (ObjectName, Workload) {
    (workload_name(&workload.id), workload)
}

pub(super) fn consumers<K: 'static>(
    namespace: Option<&str>,
    kind: Kind,
    row: fn(K) -> (ObjectName, Workload),
) -> Feed<K, Workload> {
    Feed {
        kind: kind.as_str(),
        reach: reach(namespace),
        vital: FOLLOWED.iter().any(|followed| followed.kind == kind.as_str() && followed.vital),
        presence: Presence::Permanent,
        page: pages::WHOLE,
        first: false,
        table: |ctx| &ctx.cluster.workloads,
        row: Box::new(row),
        notify: Box::new(|ctx, change| ctx.notify.workload(change)),
        listed,
    }
}

pub(super) fn listed(ctx: &Watches, namespace: Option<&str>, kind: &'static str) {
    if let Some(namespace) = namespace
        && ctx.cluster.namespaces.listed(namespace, kind)
    {
        ctx.notify.whole_namespace(namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_followed_where_the_api_has_it() {
        let kinds = [
            Kind::Deployment,
            Kind::StatefulSet,
            Kind::DaemonSet,
            Kind::CronJob,
            Kind::Ingress,
            Kind::ServiceAccount,
            Kind::Gateway,
            Kind::Rollout,
        ];
        let expected = kinds.map(|kind| {
            let group = kind.api_version().split_once('/').map_or("", |(group, _)| group);
            (kind.as_str(), group)
        });
        let followed: Vec<_> = FOLLOWED.iter().skip(1).map(|followed| (followed.kind, followed.group)).collect();
        assert_eq!(followed, expected);
    }
    #[test]
    fn the_right_to_list_is_needed_only_where_lists_do_not_come_as_watches() {
        let pages = Pages::default();
        let rights = || SECRETS.rights(&pages).iter().map(Right::to_string).collect::<Vec<_>>();
        assert_eq!(rights(), [Right::FIRST.to_string()]);
        pages.need();
        assert_eq!(rights(), ["watch secrets", "list secrets"]);
    }
}
