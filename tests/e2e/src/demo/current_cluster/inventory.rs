//! The objects in a cluster of the kinds that the demo makes, outside of namespaces.

use std::{collections::BTreeSet, fmt::Debug};

use anyhow::{Context as _, Result};
use k8s_openapi::{
    api::{
        core::v1::Namespace,
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{demo::stage::NAMESPACE, shipped};

/// `Kind name`, for each object.
pub type Inventory = BTreeSet<String>;

/// What there is now.
///
/// # Errors
/// When a kind cannot be listed.
pub async fn take(client: &Client) -> Result<Inventory> {
    let mut all = Inventory::new();
    all.extend(names::<Namespace>(client).await?);
    all.extend(names::<ClusterRole>(client).await?);
    all.extend(names::<ClusterRoleBinding>(client).await?);
    all.extend(names::<CustomResourceDefinition>(client).await?);
    Ok(all)
}

/// A namespace that stays when the demo ends.
pub const FOREIGN: &str = "default";

/// What the demo makes outside of its own namespaces, in this order: our definitions, then the shipped objects, then
/// its namespace.
///
/// # Errors
/// When a manifest cannot be read.
pub fn ours() -> Result<Vec<Value>> {
    let stays = |object: &Value| object["metadata"]["namespace"].as_str().is_none_or(|namespace| namespace == FOREIGN);
    let mut all: Vec<Value> = shipped::objects()?.into_iter().filter(stays).collect();
    all.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}));
    Ok(all)
}

/// The name of an object in an [`Inventory`].
#[must_use]
pub fn called(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

async fn names<K>(client: &Client) -> Result<Vec<String>>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let kind = K::kind(&()).into_owned();
    let api = Api::<K>::all(client.clone());
    let list = api.list_metadata(&ListParams::default()).await.with_context(|| format!("list each {kind}"))?;
    Ok(list.iter().map(|object| format!("{kind} {}", object.name_any())).collect())
}
