//! Consumers of each form and kind, and what their containers hold.

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use rekey_testkit::node::IMAGE;
use serde_json::{Value, json};

use crate::{
    Scene,
    workloads::{Form, workload},
};

/// Where a container of a pod has the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a variable of this container.
    Variable(&'static str, &'static str),
    /// In a file of the first container.
    File(&'static str),
}

/// A workload that consumes the Secret `db`.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Deployment, `StatefulSet` or `DaemonSet`.
    pub kind: &'static str,
    /// The name, which says how it consumes the Secret.
    pub name: &'static str,
    place: Place,
    shape: fn(&mut Value),
}

/// Readers of the key `password`: each form, and each kind with several of them.
pub const READERS: [Reader; 12] = [
    reader("Deployment", "env", Place::Variable("app", "PASSWORD"), env),
    reader("StatefulSet", "env-from", Place::Variable("app", "password"), env_from),
    reader("DaemonSet", "env-from-prefix", Place::Variable("app", "DB_password"), env_from_prefix),
    reader("DaemonSet", "volume", Place::File("/secret/password"), volume),
    reader("Deployment", "items", Place::File("/secret/login"), items),
    reader("StatefulSet", "sub-path", Place::File("/file"), sub_path),
    reader("DaemonSet", "projected", Place::File("/secret/login"), projected),
    reader("Deployment", "projected-whole", Place::File("/secret/password"), projected_whole),
    reader("Deployment", "init", Place::File("/copy/password"), init),
    reader("StatefulSet", "sidecar", Place::Variable("beside", "PASSWORD"), sidecar),
    reader("StatefulSet", "second", Place::Variable("second", "PASSWORD"), second),
    reader("DaemonSet", "init-volume", Place::Variable("app", "PASSWORD"), init_volume),
];

/// Readers of the key `username` only.
pub const OF_ANOTHER_KEY: [Reader; 3] = [
    reader("Deployment", "other-env", Place::Variable("app", "USERNAME"), other_env),
    reader("StatefulSet", "other-items", Place::File("/secret/username"), other_items),
    reader("DaemonSet", "other-projected", Place::File("/secret/username"), other_projected),
];

const fn reader(kind: &'static str, name: &'static str, place: Place, shape: fn(&mut Value)) -> Reader {
    Reader { kind, name, place, shape }
}

impl Reader {
    /// Its manifest, with the plain name of the Secret.
    #[must_use]
    pub fn manifest(&self, namespace: &str) -> Value {
        let mut manifest = workload(self.kind, namespace, self.name, "db", Form::Env);
        let pod = &mut manifest["spec"]["template"]["spec"];
        pod["containers"][0]["env"] = json!([]);
        (self.shape)(pod);
        manifest
    }

    /// What its only pod holds.
    ///
    /// # Errors
    /// When there is no such pod, or it holds nothing.
    pub async fn held(&self, scene: &Scene) -> Result<String> {
        let (pod, node) = (scene.wait_pod(self.name).await?.name_any(), scene.world.node()?);
        match self.place {
            Place::Variable(container, name) => {
                let all = node.environment_of(&scene.namespace, &pod, container).await?;
                all.get(name).cloned().with_context(|| format!("no {name} in {container} of {pod}"))
            }
            Place::File(path) => Ok(String::from_utf8(node.file(&scene.namespace, &pod, path).await?)?),
        }
    }
}

fn password(key: &str) -> Value {
    json!([{"name": key.to_uppercase(), "valueFrom": {"secretKeyRef": {"name": "db", "key": key}}}])
}

/// One more container, with the password in its environment.
fn container(name: &str) -> Value {
    json!({"name": name, "image": IMAGE, "imagePullPolicy": "Never", "env": password("password")})
}

fn mounted(pod: &mut Value, volume: Value) {
    pod["containers"][0]["volumeMounts"] = json!([{"name": "secret", "mountPath": "/secret"}]);
    let mut volume = volume;
    volume["name"] = json!("secret");
    pod["volumes"] = json!([volume]);
}

fn env(pod: &mut Value) {
    pod["containers"][0]["env"] = password("password");
}

fn other_env(pod: &mut Value) {
    pod["containers"][0]["env"] = password("username");
}

fn env_from(pod: &mut Value) {
    pod["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "db"}}]);
}

fn env_from_prefix(pod: &mut Value) {
    pod["containers"][0]["envFrom"] = json!([{"prefix": "DB_", "secretRef": {"name": "db"}}]);
}

fn volume(pod: &mut Value) {
    mounted(pod, json!({"secret": {"secretName": "db"}}));
}

fn items(pod: &mut Value) {
    mounted(pod, json!({"secret": {"secretName": "db", "items": [{"key": "password", "path": "login"}]}}));
}

fn other_items(pod: &mut Value) {
    mounted(pod, json!({"secret": {"secretName": "db", "items": [{"key": "username", "path": "username"}]}}));
}

fn sub_path(pod: &mut Value) {
    mounted(pod, json!({"secret": {"secretName": "db"}}));
    pod["containers"][0]["volumeMounts"] = json!([{"name": "secret", "mountPath": "/file", "subPath": "password"}]);
}

fn projected(pod: &mut Value) {
    let items = json!([{"key": "password", "path": "login"}]);
    mounted(pod, json!({"projected": {"sources": [{"secret": {"name": "db", "items": items}}]}}));
}

fn other_projected(pod: &mut Value) {
    let items = json!([{"key": "username", "path": "username"}]);
    mounted(pod, json!({"projected": {"sources": [{"secret": {"name": "db", "items": items}}]}}));
}

/// Beside another source.
fn projected_whole(pod: &mut Value) {
    let labels = json!({"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}});
    mounted(pod, json!({"projected": {"sources": [labels, {"secret": {"name": "db"}}]}}));
}

/// An init container writes what it has read into a file of the other one.
fn init(pod: &mut Value) {
    let mounts = json!([{"name": "copy", "mountPath": "/copy"}]);
    let mut copies = container("copies");
    copies["args"] = json!(["copy", "/copy/password"]);
    copies["volumeMounts"] = mounts.clone();
    pod["initContainers"] = json!([copies]);
    pod["containers"][0]["volumeMounts"] = mounts;
    pod["volumes"] = json!([{"name": "copy", "emptyDir": {}}]);
}

fn sidecar(pod: &mut Value) {
    let mut beside = container("beside");
    beside["restartPolicy"] = json!("Always");
    pod["initContainers"] = json!([beside]);
}

fn second(pod: &mut Value) {
    let containers = json!([pod["containers"][0], container("second")]);
    pod["containers"] = containers;
}

/// The init container has the Secret as a volume; the other one in its environment.
fn init_volume(pod: &mut Value) {
    env(pod);
    let mut copies = container("copies");
    copies["env"] = json!([{"name": "PASSWORD", "value": ""}]);
    copies["args"] = json!(["copy", "/copy/none"]);
    copies["volumeMounts"] =
        json!([{"name": "secret", "mountPath": "/secret"}, {"name": "copy", "mountPath": "/copy"}]);
    pod["initContainers"] = json!([copies]);
    pod["volumes"] = json!([{"name": "secret", "secret": {"secretName": "db"}}, {"name": "copy", "emptyDir": {}}]);
}
