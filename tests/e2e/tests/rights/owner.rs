//! The admin of one namespace, without other rights, opens it from a repository of his own, and works with our kinds
//! there.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use rekey_e2e::{Scene, World, shipped, wait::until};
use serde_json::{Value, json};

const OWNER: &str = "owner-of-a-namespace";
const EDITOR: &str = "editor-of-a-namespace";

/// Whether the owner may apply it; an answer other than yes or forbidden is an error.
async fn may(client: &Client, object: &Value) -> Result<bool> {
    match shipped::apply(client, "owner", object.clone()).await {
        Ok(_) => Ok(true),
        Err(error) if is_forbidden(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<kube::Error>()).any(|cause| match cause {
        kube::Error::Api(status) => status.code == 403,
        _ => false,
    })
}

/// The admin of the namespace may approve what cannot be undone, and an editor may not.
async fn approves(scene: &Scene, owner: &Client) -> Result<()> {
    let mut edit = shipped::binding(&scene.namespace, ("editor", "edit"));
    edit["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": EDITOR}]);
    scene.world.apply(edit).await?;
    let editor = scene.world.plane.client_for(EDITOR, &[]).await?;
    for resource in ["secretpolicies", "rotationschedules"] {
        let asks = async |client: &Client, verb: &str| -> Result<bool> {
            let asked = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(scene.namespace.clone()),
                    group: Some("rekey.dev".to_owned()),
                    resource: Some(resource.to_owned()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec: asked, ..SelfSubjectAccessReview::default() };
            let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
            Ok(answer.status.is_some_and(|status| status.allowed))
        };
        ensure!(asks(owner, "approve").await?, "the owner may not approve {resource}");
        ensure!(asks(&editor, "update").await?, "an editor may not change {resource}");
        ensure!(!asks(&editor, "approve").await?, "an editor may approve {resource}");
    }
    Ok(())
}

pub async fn a_namespaces_admin_opens_it_and_works_there(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "owned").await?;
    let mut admin = shipped::binding(&scene.namespace, ("owner", "admin"));
    admin["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": OWNER}]);
    world.apply(admin).await?;
    let owner = world.plane.client_for(OWNER, &[]).await?;
    let policy = |name: &str| {
        json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": name, "namespace": scene.namespace},
            "spec": {"source": {"generated": {"fields": [{"key": "password", "password": {}}]}}},
        })
    };
    // The roles for people are part of admin as soon as they are aggregated.
    until("our kinds are part of the role admin", || async { Ok(may(&owner, &policy("db")).await?.then_some(())) })
        .await?;
    let _operator =
        world.operator(&scene.namespace, &[&format!("--namespaces={}", scene.namespace), "--leader-elect=false"])?;
    scene.wait_policy("db", "Stalled=True/NamespaceNotOpened").await?;
    let [whole, others @ ..] = shipped::NAMESPACE_ROLES;
    ensure!(may(&owner, &shipped::binding(&scene.namespace, whole)).await?, "the owner cannot open the namespace");
    scene.wait_synced("db").await?;
    let tokens = shipped::documents(&shipped::file("open-namespace.yaml")?)?;
    for mut object in tokens.into_iter().filter(|object| object["metadata"]["name"] == "rekey-tokens") {
        object["metadata"]["namespace"] = json!(scene.namespace);
        ensure!(may(&owner, &object).await?, "{}", object["kind"]);
    }
    // The admin cannot give rights that it does not have.
    for other in others {
        ensure!(!may(&owner, &shipped::binding(&scene.namespace, other)).await?, "{other:?}");
    }
    ensure!(may(&owner, &shipped::binding(&scene.namespace, ("rekey-jobs", "rekey-namespace-jobs"))).await?, "Jobs");
    approves(&scene, &owner).await?;
    let cluster_store = json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "ClusterRemoteStore",
        "metadata": {"name": scene.namespace},
        "spec": {"provider": {"vault": {"server": "https://bao.infra:8200", "mount": "secret",
            "auth": {"token": {"secretRef": {"name": "vault-token", "key": "token"}}}}}},
    });
    ensure!(!may(&owner, &cluster_store).await?, "a store for everybody");
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("rekey.dev", "v1alpha1", "SecretPolicy"));
    let read: Api<DynamicObject> = Api::namespaced_with(owner.clone(), &scene.namespace, &kind);
    let found = read.list(&ListParams::default()).await.context("the owner cannot list policies")?;
    ensure!(found.items.len() == 1, "{}", found.items.len());
    Ok(())
}
