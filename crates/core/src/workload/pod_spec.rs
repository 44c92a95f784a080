//! The Secrets a pod template refers to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, PodSpec, Volume, VolumeMount};
use rekey_api::policy::ConsumeForm;

use super::{
    Keys, Use,
    place::{ContainerList, Driver, Place, index},
    references::References,
};

/// Every reference to a Secret, merged by Secret.
#[must_use]
pub fn uses(spec: &PodSpec) -> BTreeMap<String, Use> {
    let mut found = References::default();
    let containers = containers(spec);
    for container in &containers {
        container.environment(&mut found);
    }
    let by_sub_path: BTreeSet<&str> = containers
        .iter()
        .flat_map(|container| container.mounts)
        .filter(|mount| mount.sub_path.is_some() || mount.sub_path_expr.is_some())
        .map(|mount| mount.name.as_str())
        .collect();
    for (at, volume) in spec.volumes.iter().flatten().enumerate() {
        mounted(&mut found, volume, index(at), by_sub_path.contains(volume.name.as_str()));
    }
    found.add_pull_secrets(spec.image_pull_secrets.as_deref().unwrap_or_default());
    found.into_uses()
}

/// What containers of every sort have in common.
struct Container<'a> {
    list: ContainerList,
    /// In this list; `None`: out of range.
    index: Option<u16>,
    variables: &'a [EnvVar],
    sources: &'a [EnvFromSource],
    mounts: &'a [VolumeMount],
}

/// All containers: init containers, of which some are sidecars, and ephemeral ones, which pods have and templates not.
fn containers(spec: &PodSpec) -> Vec<Container<'_>> {
    let main = spec.containers.iter().enumerate().map(|(at, container)| (ContainerList::Containers, at, container));
    let init = spec.init_containers.iter().flatten().enumerate();
    let init = init.map(|(at, container)| (ContainerList::InitContainers, at, container));
    let usual = main.chain(init).map(|(list, at, container)| Container {
        list,
        index: index(at),
        variables: container.env.as_deref().unwrap_or_default(),
        sources: container.env_from.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().enumerate().map(|(at, container)| Container {
        list: ContainerList::EphemeralContainers,
        index: index(at),
        variables: container.env.as_deref().unwrap_or_default(),
        sources: container.env_from.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
    });
    usual.chain(ephemeral).collect()
}

impl<'a> Container<'a> {
    fn environment(&self, found: &mut References<'a>) {
        for (at, variable) in self.variables.iter().enumerate() {
            if let Some(reference) = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref()) {
                let keys = Keys::Some([reference.key.clone()].into());
                found.add(&reference.name, ConsumeForm::Env, keys, self.variable(at));
            }
        }
        for (at, source) in self.sources.iter().enumerate() {
            if let Some(reference) = &source.secret_ref {
                found.add(&reference.name, ConsumeForm::EnvFrom, Keys::All, self.source(at));
            }
        }
    }

    fn variable(&self, at: usize) -> Option<Place> {
        Some(Place::Variable { list: self.list, container: self.index?, variable: index(at)? })
    }

    fn source(&self, at: usize) -> Option<Place> {
        Some(Place::Source { list: self.list, container: self.index?, source: index(at)? })
    }
}

/// The references of the volume at the index `at`.
fn mounted<'a>(found: &mut References<'a>, volume: &'a Volume, at: Option<u16>, sub_path: bool) {
    let form = |plain| if sub_path { ConsumeForm::SubPath } else { plain };
    if let Some(source) = &volume.secret {
        let keys = items(source.items.as_deref().map(|items| items.iter().map(|item| &item.key)));
        let name = source.secret_name.as_deref().unwrap_or_default();
        found.add(name, form(ConsumeForm::Volume), keys, at.map(Place::Volume));
    }
    let projections = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()).enumerate();
    for (number, source) in projections.filter_map(|(number, source)| Some((number, source.secret.as_ref()?))) {
        let keys = items(source.items.as_deref().map(|items| items.iter().map(|item| &item.key)));
        let place = at.zip(index(number)).map(|(volume, source)| Place::Projection { volume, source });
        found.add(&source.name, form(ConsumeForm::Projected), keys, place);
    }
    for (driver, name) in credentials(volume) {
        let place = at.map(|volume| Place::Credential { volume, driver });
        found.add(name, ConsumeForm::MountCredential, Keys::All, place);
    }
}

/// The Secrets whose content a volume shows, and whether a pod starts without them.
pub(super) fn secrets_of(volume: &Volume) -> impl Iterator<Item = (&str, Option<bool>)> {
    let whole = volume.secret.iter().map(|source| (source.secret_name.as_deref().unwrap_or_default(), source.optional));
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let parts = sources.filter_map(|source| source.secret.as_ref()).map(|part| (part.name.as_str(), part.optional));
    whole.chain(parts)
}

/// The Secrets that the drivers of a volume get their credentials from; a volume that pods can be made of has one
/// driver. Volumes by claim are not among them: what they need is in the `PersistentVolume`.
pub(super) fn credentials(volume: &Volume) -> impl Iterator<Item = (Driver, &str)> {
    let azure = volume.azure_file.as_ref().map(|file| (Driver::AzureFile, file.secret_name.as_str()));
    let references = [
        (Driver::CephFs, volume.cephfs.as_ref().and_then(|source| source.secret_ref.as_ref())),
        (Driver::Cinder, volume.cinder.as_ref().and_then(|source| source.secret_ref.as_ref())),
        (Driver::Csi, volume.csi.as_ref().and_then(|source| source.node_publish_secret_ref.as_ref())),
        (Driver::FlexVolume, volume.flex_volume.as_ref().and_then(|source| source.secret_ref.as_ref())),
        (Driver::Iscsi, volume.iscsi.as_ref().and_then(|source| source.secret_ref.as_ref())),
        (Driver::Rbd, volume.rbd.as_ref().and_then(|source| source.secret_ref.as_ref())),
        (Driver::ScaleIo, volume.scale_io.as_ref().map(|source| &source.secret_ref)),
        (Driver::StorageOs, volume.storageos.as_ref().and_then(|source| source.secret_ref.as_ref())),
    ];
    let named = references.into_iter().filter_map(|(driver, reference)| Some((driver, reference?.name.as_str())));
    azure.into_iter().chain(named)
}

fn items<'a>(named: Option<impl Iterator<Item = &'a String>>) -> Keys {
    named.map_or(Keys::All, |keys| Keys::Some(keys.cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Places;

    fn spec(value: serde_json::Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_form_is_found_with_its_keys() {
        let found = uses(&spec(serde_json::json!({
            "initContainers": [{"name": "i", "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "init", "key": "a"}}}]}],
            "containers": [{"name": "c",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a"}}},
                        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "b"}}},
                        {"name": "C", "value": "plain"}],
                "envFrom": [{"secretRef": {"name": "all"}}],
                "volumeMounts": [{"name": "sub", "mountPath": "/x", "subPath": "y"}, {"name": "vol", "mountPath": "/v"}]}],
            "volumes": [
                {"name": "vol", "secret": {"secretName": "files", "items": [{"key": "k", "path": "p"}]}},
                {"name": "sub", "secret": {"secretName": "one"}},
                {"name": "pro", "projected": {"sources": [{"secret": {"name": "mixed"}}, {"configMap": {"name": "x"}}]}}],
            "imagePullSecrets": [{"name": "pull"}],
        })));
        let seen: Vec<String> = found
            .iter()
            .map(|(name, how)| {
                let keys = match &how.keys {
                    Keys::All => "*".to_owned(),
                    Keys::Some(keys) => keys.iter().cloned().collect::<Vec<_>>().join("+"),
                };
                format!("{name} {:?} {keys}", how.forms)
            })
            .collect();
        assert_eq!(
            seen,
            [
                "all {EnvFrom} *",
                "db {Env} a+b",
                "files {Volume} k",
                "init {Env} a",
                "mixed {Projected} *",
                "one {SubPath} *",
                "pull {ImagePull} *",
            ]
        );
    }

    #[test]
    fn credentials_of_volumes_are_found() {
        let reference = |name: &str| serde_json::json!({"name": name});
        let found = uses(&spec(serde_json::json!({"containers": [], "volumes": [
            {"name": "a", "csi": {"driver": "d", "nodePublishSecretRef": reference("csi")}},
            {"name": "b", "azureFile": {"secretName": "azure", "shareName": "s"}},
            {"name": "c", "cephfs": {"monitors": [], "secretRef": reference("ceph")}},
            {"name": "d", "cinder": {"volumeID": "v", "secretRef": reference("cinder")}},
            {"name": "e", "flexVolume": {"driver": "d", "secretRef": reference("flex")}},
            {"name": "f", "iscsi": {"iqn": "i", "lun": 0, "targetPortal": "t", "secretRef": reference("iscsi")}},
            {"name": "g", "rbd": {"image": "i", "monitors": [], "secretRef": reference("rbd")}},
            {"name": "h", "scaleIO": {"gateway": "g", "system": "s", "secretRef": reference("scale")}},
            {"name": "i", "storageos": {"secretRef": reference("storageos")}},
            {"name": "j", "emptyDir": {}}]})));
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["azure", "ceph", "cinder", "csi", "flex", "iscsi", "rbd", "scale", "storageos"]);
        let form = [ConsumeForm::MountCredential].into();
        assert!(found.values().all(|how| how.forms == form && !how.refreshes(true) && !how.needs_no_restart()));
    }

    #[test]
    fn an_ephemeral_container_counts() {
        let found = uses(&spec(serde_json::json!({"containers": [], "ephemeralContainers": [
            {"name": "debug", "envFrom": [{"secretRef": {"name": "db"}}]}]})));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["db"]);
    }

    #[test]
    fn only_refreshed_mounts_of_a_reloading_workload_see_a_change_by_themselves() {
        let how = |forms: &[ConsumeForm]| Use {
            forms: forms.iter().copied().collect(),
            keys: Keys::All,
            places: Places::default(),
        };
        for (forms, live_reload, expected) in [
            (vec![ConsumeForm::Volume], true, true),
            (vec![ConsumeForm::Volume], false, false),
            (vec![ConsumeForm::Volume, ConsumeForm::Env], true, false),
            (vec![ConsumeForm::SubPath], true, false),
            (vec![ConsumeForm::Projected], true, true),
        ] {
            assert_eq!(how(&forms).refreshes(live_reload), expected, "{forms:?} {live_reload}");
        }
    }
}
