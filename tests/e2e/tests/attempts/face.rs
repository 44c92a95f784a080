//! What counts of a Secret, and of the pods that run on it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{ResourceExt as _, api::ListParams};
use rekey_api::names;
use rekey_e2e::Scene;

/// What has to be as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    pub data: BTreeMap<String, String>,
    kind: Option<String>,
    is_immutable: bool,
    label: Option<String>,
    annotations: BTreeMap<String, String>,
    is_owned: bool,
}

impl From<Secret> for Face {
    fn from(secret: Secret) -> Self {
        let ours = secret.annotations().iter().filter(|(name, _)| name.starts_with("rekey.dev/"));
        // When each key changed may be said anew.
        let text = |name: &str, text: &String| if name == names::CHANGES { String::new() } else { text.clone() };
        let data = secret.data.iter().flatten();
        Self {
            annotations: ours.map(|(name, value)| (name.clone(), text(name, value))).collect(),
            label: secret.labels().get(names::MANAGED_BY).cloned(),
            is_owned: secret.owner_references().iter().any(|owner| owner.kind == "SecretPolicy"),
            is_immutable: secret.immutable == Some(true),
            data: data.map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned())).collect(),
            kind: secret.type_,
        }
    }
}

/// That of a Secret; `None`: there is none that stays.
pub async fn face(scene: &Scene, name: &str) -> Result<Option<Face>> {
    let found = scene.api::<Secret>().get_opt(name).await?;
    Ok(found.filter(|found| found.metadata.deletion_timestamp.is_none()).map(Face::from))
}

/// The live pods, with how often their containers were started again. None may wait for a Secret.
pub async fn pods(scene: &Scene) -> Result<BTreeMap<String, i32>> {
    let mut found = BTreeMap::new();
    for pod in scene.api::<Pod>().list(&ListParams::default()).await? {
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = pod.name_any();
        let containers = pod.status.unwrap_or_default().container_statuses.unwrap_or_default();
        for container in &containers {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
            ensure!(waiting != Some("CreateContainerConfigError"), "{name} misses its Secret");
        }
        found.insert(name, containers.iter().map(|container| container.restart_count).sum());
    }
    Ok(found)
}
