//! An operator with an identity of its own, so that the audit log distinguishes its requests from those of others.

use std::path::PathBuf;

use anyhow::Result;
use rekey_testkit::plane::{Audit, Counts, Mark};
use serde_json::{Value, json};

use crate::{Operator, Scene, operator::Options, shipped::NAMESPACE_ROLES};

const GROUPS: [&str; 2] = ["system:serviceaccounts", "system:serviceaccounts:rekey-system"];

/// A user with the rights of the shipped manifests, and those of the scene's namespace.
pub struct Account {
    /// The name as the audit log has it.
    pub user: String,
    kubeconfig: PathBuf,
    namespace: String,
    directory: PathBuf,
    audit: Audit,
}

impl Account {
    /// Makes it, named after the scene, with the shipped bindings.
    ///
    /// # Errors
    /// When a binding is refused.
    pub async fn new(scene: &Scene) -> Result<Self> {
        let (plane, name) = (&scene.world.plane, scene.namespace.as_str());
        let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": "rekey-system"}]);
        let own = [
            ("ClusterRoleBinding", None, "ClusterRole", "rekey"),
            ("RoleBinding", Some("rekey-system"), "Role", "rekey"),
            ("RoleBinding", Some("default"), "Role", "rekey-api-server"),
        ];
        let opened = NAMESPACE_ROLES.map(|(_, role)| ("RoleBinding", Some(name), "ClusterRole", role));
        for (kind, namespace, role_kind, role) in own.into_iter().chain(opened) {
            let mut metadata = json!({"name": format!("{name}-{role}")});
            if let Some(namespace) = namespace {
                metadata["namespace"] = Value::from(namespace);
            }
            let group = "rbac.authorization.k8s.io";
            let binding = json!({
                "apiVersion": format!("{group}/v1"),
                "kind": kind,
                "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": role_kind, "name": role},
                "subjects": subjects,
            });
            scene.world.apply(binding).await?;
        }
        let user = format!("system:serviceaccount:rekey-system:{name}");
        let kubeconfig = plane.kubeconfig_for(&format!("operator-{name}"), &user, &GROUPS)?;
        let (namespace, directory) = (name.to_owned(), plane.directory().to_owned());
        Ok(Self { user, kubeconfig, namespace, directory, audit: plane.audit()? })
    }

    /// Starts an operator as this user, for the scene's namespace only and without a Lease.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn operator(&self, name: &str) -> Result<Operator> {
        let arguments = vec![format!("--namespaces={}", self.namespace), "--leader-elect=false".to_owned()];
        let options = Options { kubeconfig: self.kubeconfig.clone(), arguments };
        Operator::start(&format!("{}-{name}", self.namespace), &self.directory, &options)
    }

    /// The end of the audit log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn mark(&self) -> Result<Mark> {
        self.audit.mark().await
    }

    /// The requests of this user to the API server since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn since(&self, mark: &Mark) -> Result<Counts> {
        self.audit.counts_since(mark, &self.user).await
    }

    /// How many patches of this user of a resource the API server has accepted since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn patched(&self, resource: &str, mark: &Mark) -> Result<usize> {
        let asked = self.audit.asked_since(mark, &self.user).await?;
        Ok(asked.iter().filter(|at| at.verb == "patch" && at.subject == resource && at.status < 300).count())
    }

    /// How many requests of this user for a resource were answered by 404 since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn not_found(&self, resource: &str, mark: &Mark) -> Result<usize> {
        let asked = self.audit.asked_since(mark, &self.user).await?;
        Ok(asked.iter().filter(|at| at.subject == resource && at.status == 404).count())
    }
}

impl Scene {
    /// Starts an operator for this namespace only, without a Lease: several of them can work in one world.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn operator(&self) -> Result<Operator> {
        self.operator_with(&[])
    }

    /// The same, with more flags.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn operator_with(&self, arguments: &[&str]) -> Result<Operator> {
        let only = format!("--namespaces={}", self.namespace);
        self.world.operator(&self.namespace, &[&[only.as_str(), "--leader-elect=false"], arguments].concat())
    }
}
