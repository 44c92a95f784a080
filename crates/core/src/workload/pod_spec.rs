//! The Secrets a pod template refers to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, PodSpec, Volume, VolumeMount};
use rekey_api::policy::ConsumeForm;

use super::{Keys, Use};

/// Every reference to a Secret, merged by Secret.
#[must_use]
pub fn uses(spec: &PodSpec) -> BTreeMap<String, Use> {
    let mut found = Found::default();
    let containers = containers(spec);
    for container in &containers {
        found.environment(container);
    }
    let by_sub_path: BTreeSet<&str> = containers
        .iter()
        .flat_map(|container| container.mounts)
        .filter(|mount| mount.sub_path.is_some() || mount.sub_path_expr.is_some())
        .map(|mount| mount.name.as_str())
        .collect();
    for volume in spec.volumes.iter().flatten() {
        found.volume(volume, by_sub_path.contains(volume.name.as_str()));
    }
    for reference in spec.image_pull_secrets.iter().flatten() {
        found.add(&reference.name, ConsumeForm::ImagePull, Keys::All);
    }
    found.0
}

/// What containers of every sort have in common.
struct Container<'a> {
    variables: &'a [EnvVar],
    sources: &'a [EnvFromSource],
    mounts: &'a [VolumeMount],
}

/// All containers: init containers, of which some are sidecars, and ephemeral ones, which pods have and templates not.
fn containers(spec: &PodSpec) -> Vec<Container<'_>> {
    let usual = spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|container| Container {
        variables: container.env.as_deref().unwrap_or_default(),
        sources: container.env_from.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| Container {
        variables: container.env.as_deref().unwrap_or_default(),
        sources: container.env_from.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
    });
    usual.chain(ephemeral).collect()
}

/// The Secret that a volume's driver gets its credential from. Volumes by claim are not among them: what they need
/// stands in the `PersistentVolume`.
fn credential(volume: &Volume) -> Option<&str> {
    let azure = volume.azure_file.as_ref().map(|file| file.secret_name.as_str());
    let scale_io = volume.scale_io.as_ref().map(|io| &io.secret_ref);
    let reference = (volume.csi.as_ref().and_then(|csi| csi.node_publish_secret_ref.as_ref()))
        .or_else(|| volume.cephfs.as_ref()?.secret_ref.as_ref())
        .or_else(|| volume.cinder.as_ref()?.secret_ref.as_ref())
        .or_else(|| volume.flex_volume.as_ref()?.secret_ref.as_ref())
        .or_else(|| volume.iscsi.as_ref()?.secret_ref.as_ref())
        .or_else(|| volume.rbd.as_ref()?.secret_ref.as_ref())
        .or_else(|| volume.storageos.as_ref()?.secret_ref.as_ref())
        .or(scale_io);
    azure.or(reference.map(|reference| reference.name.as_str()))
}

#[derive(Default)]
struct Found(BTreeMap<String, Use>);

impl Found {
    fn add(&mut self, secret: &str, form: ConsumeForm, keys: Keys) {
        if secret.is_empty() {
            return;
        }
        let entry = self
            .0
            .entry(secret.to_owned())
            .or_insert_with(|| Use { forms: BTreeSet::new(), keys: Keys::Some(BTreeSet::new()) });
        entry.forms.insert(form);
        entry.keys.add(keys);
    }

    fn environment(&mut self, container: &Container<'_>) {
        for variable in container.variables {
            if let Some(reference) = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref()) {
                self.add(&reference.name, ConsumeForm::Env, Keys::Some([reference.key.clone()].into()));
            }
        }
        for source in container.sources {
            if let Some(reference) = &source.secret_ref {
                self.add(&reference.name, ConsumeForm::EnvFrom, Keys::All);
            }
        }
    }

    fn volume(&mut self, volume: &Volume, sub_path: bool) {
        let form = |plain| if sub_path { ConsumeForm::SubPath } else { plain };
        if let Some(source) = &volume.secret {
            let keys = items(source.items.as_deref().map(|items| items.iter().map(|item| &item.key)));
            self.add(source.secret_name.as_deref().unwrap_or_default(), form(ConsumeForm::Volume), keys);
        }
        let projections = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for source in projections.filter_map(|source| source.secret.as_ref()) {
            let keys = items(source.items.as_deref().map(|items| items.iter().map(|item| &item.key)));
            self.add(&source.name, form(ConsumeForm::Projected), keys);
        }
        self.add(credential(volume).unwrap_or_default(), ConsumeForm::MountCredential, Keys::All);
    }
}

fn items<'a>(named: Option<impl Iterator<Item = &'a String>>) -> Keys {
    named.map_or(Keys::All, |keys| Keys::Some(keys.cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let how = |forms: &[ConsumeForm]| Use { forms: forms.iter().copied().collect(), keys: Keys::All };
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
