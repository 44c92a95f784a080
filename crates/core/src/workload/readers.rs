//! Which processes of a pod read a Secret, and when they did: a container that starts again reads again, and what is
//! read once per pod is as old as the pod.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Pod as KubePod, PodSpec, Volume, VolumeMount};

use super::pod_spec::{credentials, secrets_of};

/// Who reads a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader<'a> {
    /// What runs once per pod: an init container that is no sidecar, or the driver of a volume.
    Pod,
    /// The container of this name. Names are unique among all containers of a pod
    /// (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container>).
    Container(&'a str),
}

/// The readers of one Secret.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Readers<'a> {
    /// Who.
    pub all: BTreeSet<Reader<'a>>,
    /// Whether one of them starts without the Secret, too.
    pub optional: bool,
}

/// The readers of each Secret that a pod refers to. A volume that no container mounts is read by nobody, and a pull
/// secret by kubelet alone.
#[must_use]
pub fn readers(pod: &KubePod) -> BTreeMap<&str, Readers<'_>> {
    let mut found: BTreeMap<&str, Readers<'_>> = BTreeMap::new();
    let Some(spec) = &pod.spec else { return found };
    let containers = containers(spec);
    let mut add = |secret, reader, optional: Option<bool>| {
        let readers: &mut Readers<'_> = found.entry(secret).or_default();
        readers.all.insert(reader);
        readers.optional |= optional == Some(true);
    };
    for container in &containers {
        for reference in container.variables.iter().filter_map(|at| at.value_from.as_ref()?.secret_key_ref.as_ref()) {
            add(&reference.name, container.reader, reference.optional);
        }
        for reference in container.sources.iter().filter_map(|at| at.secret_ref.as_ref()) {
            add(&reference.name, container.reader, reference.optional);
        }
    }
    for volume in spec.volumes.iter().flatten() {
        for (secret, optional) in secrets_of(volume) {
            for container in containers.iter().filter(|container| container.mounts(volume)) {
                add(secret, container.reader, optional);
            }
        }
        for (_, secret) in credentials(volume) {
            add(secret, Reader::Pod, None);
        }
    }
    found
}

/// What matters of a container of any sort.
struct Container<'a> {
    reader: Reader<'a>,
    variables: &'a [EnvVar],
    sources: &'a [EnvFromSource],
    mounts: &'a [VolumeMount],
}

impl Container<'_> {
    fn mounts(&self, volume: &Volume) -> bool {
        self.mounts.iter().any(|mount| mount.name == volume.name)
    }
}

fn containers(spec: &PodSpec) -> Vec<Container<'_>> {
    let main = spec.containers.iter().map(|container| (Reader::Container(&container.name), container));
    let init = spec.init_containers.iter().flatten().map(|container| {
        // https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        (if is_sidecar { Reader::Container(&container.name) } else { Reader::Pod }, container)
    });
    let usual = main.chain(init).map(|(reader, container)| Container {
        reader,
        variables: container.env.as_deref().unwrap_or_default(),
        sources: container.env_from.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| Container {
        reader: Reader::Container(&container.name),
        variables: container.env.as_deref().unwrap_or_default(),
        sources: container.env_from.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
    });
    usual.chain(ephemeral).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_secret_has_the_readers_that_hold_what_they_read_of_it() {
        let by_env = |secret: &str, optional: bool| json!({"valueFrom": {"secretKeyRef": {"name": secret, "key": "k", "optional": optional}}, "name": "A"});
        let mount = |volume: &str| json!({"name": volume, "mountPath": "/x"});
        let pod: KubePod = serde_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "once", "env": [by_env("db", false)], "volumeMounts": [mount("files")]},
                {"name": "sidecar", "restartPolicy": "Always", "envFrom": [{"secretRef": {"name": "all", "optional": true}}]}],
            "containers": [
                {"name": "app", "env": [by_env("db", true), by_env("cache", false)], "volumeMounts": [mount("mixed")]},
                {"name": "other"}],
            "ephemeralContainers": [{"name": "debug", "volumeMounts": [mount("files")]}],
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "files", "secret": {"secretName": "files"}},
                {"name": "mixed", "projected": {"sources": [{"secret": {"name": "part", "optional": true}}]}},
                {"name": "nobody", "secret": {"secretName": "unread"}},
                {"name": "disk", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "driver"}}}],
        }}))
        .unwrap();
        let shown = |(secret, readers): (&str, Readers<'_>)| {
            let optional = if readers.optional { " optional" } else { "" };
            format!("{secret} {:?}{optional}", readers.all)
        };
        let found: Vec<String> = readers(&pod).into_iter().map(shown).collect();
        assert_eq!(
            found,
            [
                r#"all {Container("sidecar")} optional"#,
                r#"cache {Container("app")}"#,
                r#"db {Pod, Container("app")} optional"#,
                "driver {Pod}",
                r#"files {Pod, Container("debug")}"#,
                r#"part {Container("app")} optional"#,
            ]
        );
    }
}
