//! Leaves a cluster as it was: deletes what the demo made, in an order in which nothing gets stuck, and compares.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rekey_api::{RotationSchedule, names};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::inventory::{self, Inventory};
use crate::shipped;

/// How long the operator gets to end an open rotation.
const GRACE: Duration = Duration::from_secs(15);
/// How long an object may take to go.
const PATIENCE: Duration = Duration::from_mins(2);

/// Deletes the schedules while the operator runs, which holds a finalizer on them as long as a rotation is open; also
/// those that a user has made in other namespaces, since their kind goes. Takes the finalizers off if the operator does
/// not.
///
/// # Errors
/// When the API server refuses.
pub async fn schedules(client: &Client) -> Result<()> {
    let everywhere: Api<RotationSchedule> = Api::all(client.clone());
    let Ok(found) = everywhere.list(&ListParams::default()).await else {
        return Ok(()); // the kind is not there yet
    };
    let namespaces: BTreeSet<String> = found.iter().filter_map(ResourceExt::namespace).collect();
    let all = ListParams::default();
    for namespace in &namespaces {
        let api: Api<RotationSchedule> = Api::namespaced(client.clone(), namespace);
        api.delete_collection(&DeleteParams::default(), &all).await?;
    }
    let end = Instant::now() + GRACE;
    while Instant::now() < end && !everywhere.list(&all).await?.items.is_empty() {
        sleep(Duration::from_millis(100)).await;
    }
    for namespace in &namespaces {
        release(&Api::<RotationSchedule>::namespaced(client.clone(), namespace)).await?;
        release(&Api::<Secret>::namespaced(client.clone(), namespace)).await?;
    }
    Ok(())
}

/// Deletes everything else, the definitions last, and waits until it is gone; then reports what is different from
/// before.
///
/// # Errors
/// When something of ours is left; the message names it.
pub async fn all(client: &Client, before: &Inventory) -> Result<(String, ())> {
    let ours = inventory::ours()?;
    // Definitions are first in the list, and namespaces hold what the others refer to.
    let (definitions, others): (Vec<&Value>, Vec<&Value>) =
        ours.iter().partition(|object| object["kind"] == "CustomResourceDefinition");
    let (namespaces, others): (Vec<&Value>, Vec<&Value>) =
        others.into_iter().partition(|object| object["kind"] == "Namespace");
    for group in [namespaces, others, definitions] {
        for object in &group {
            delete(client, object).await?;
        }
        for object in group {
            gone(client, object).await?;
        }
    }
    let after = inventory::take(client).await?;
    let names: Vec<String> = ours.iter().map(inventory::called).collect();
    let left: Vec<&String> = after.difference(before).filter(|name| names.contains(name)).collect();
    if !left.is_empty() {
        bail!("left behind: {left:?}");
    }
    let others = after.symmetric_difference(before).count();
    let counted = format!("{} namespaces, roles, bindings and definitions as before", after.len());
    Ok((if others == 0 { counted } else { format!("nothing of ours is left; others changed {others} objects") }, ()))
}

async fn delete(client: &Client, object: &Value) -> Result<()> {
    let (api, named) = shipped::located(client, object.clone())?;
    match api.delete(&named.name_any(), &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("delete {}", inventory::called(object))),
    }
}

async fn gone(client: &Client, object: &Value) -> Result<()> {
    let (api, named) = shipped::located(client, object.clone())?;
    let end = Instant::now() + PATIENCE;
    while let Some(found) = api.get_metadata_opt(&named.name_any()).await? {
        if Instant::now() >= end {
            bail!("{} is still there after {PATIENCE:?}: {:?}", inventory::called(object), found.metadata.finalizers);
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Takes our finalizer off whatever still has it.
async fn release<K>(api: &Api<K>) -> Result<()>
where
    K: kube::Resource<Scope = NamespaceResourceScope> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    for held in api.list(&ListParams::default()).await?.items {
        let others: Vec<&String> = held.finalizers().iter().filter(|at| *at != names::FINALIZER).collect();
        if others.len() < held.finalizers().len() {
            let body = json!({"metadata": {"finalizers": others}});
            api.patch(&held.name_any(), &PatchParams::default(), &Patch::Merge(&body)).await?;
        }
    }
    Ok(())
}
