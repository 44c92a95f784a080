//! `kubectl rekey open`: the objects that give the operator its rights in one namespace.

use clap::Args;
use k8s_openapi::{
    Resource,
    api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    serde::Serialize,
};

const RBAC: &str = "rbac.authorization.k8s.io";
const TOKENS: &str = "rekey-tokens";

/// What to open, and to which operator.
#[derive(Debug, Args)]
pub struct Options {
    /// The namespace to open.
    namespace: String,
    /// Also let the operator create tokens for this ServiceAccount of the namespace (can be given several times).
    #[arg(long = "service-account")]
    service_accounts: Vec<String>,
    /// Also let the operator restart Argo Rollouts. The ClusterRole admin of the namespace is not enough to apply this.
    #[arg(long)]
    rollouts: bool,
    /// Also show Gateways as consumers. The ClusterRole admin of the namespace is not enough to apply this.
    #[arg(long)]
    gateways: bool,
    /// Where the operator runs.
    #[arg(long, default_value = "rekey-system")]
    operator_namespace: String,
    /// The ServiceAccount it runs as.
    #[arg(long, default_value = "rekey")]
    operator_account: String,
}

/// The manifests as YAML.
///
/// # Errors
/// When a name is no Kubernetes name, or the objects cannot be written as YAML.
pub fn manifests(options: &Options) -> Result<String, String> {
    for namespace in [&options.namespace, &options.operator_namespace] {
        if namespace.len() > 63 || namespace.contains('.') || !valid(namespace) {
            let form = "use at most 63 lower-case letters, digits and `-`, with a letter or digit at the start and end";
            return Err(format!("{namespace:?} is no namespace name: {form}"));
        }
    }
    let names = [&options.operator_account];
    if let Some(wrong) = names.into_iter().chain(&options.service_accounts).find(|name| !valid(name)) {
        return Err(format!("{wrong:?} is no Kubernetes name: use lower-case letters, digits, `-` and `.`"));
    }
    if options.namespace == options.operator_namespace {
        let why = "its RoleBinding rekey is the operator's own, and a Role there allows each credential by name";
        return Err(format!(
            "{:?} is the operator's namespace: {why}; see deploy/cluster-store-credentials.yaml",
            options.namespace
        ));
    }
    let mut text = yaml(&binding(options, "rekey", "ClusterRole", "rekey-namespace"))?;
    let others = [
        (options.rollouts, "rekey-rollouts", "rekey-namespace-argo-rollouts"),
        (options.gateways, "rekey-gateways", "rekey-namespace-gateways"),
    ];
    for (is_wanted, name, role) in others {
        if is_wanted {
            text += "---\n";
            text += &yaml(&binding(options, name, "ClusterRole", role))?;
        }
    }
    if !options.service_accounts.is_empty() {
        text += "---\n";
        text += &yaml(&Role {
            metadata: metadata(options, TOKENS),
            rules: Some(vec![PolicyRule {
                api_groups: Some(vec![String::new()]),
                resources: Some(vec!["serviceaccounts/token".to_owned()]),
                resource_names: Some(options.service_accounts.clone()),
                verbs: vec!["create".to_owned()],
                ..PolicyRule::default()
            }]),
        })?;
        text += "---\n";
        text += &yaml(&binding(options, TOKENS, "Role", TOKENS))?;
    }
    Ok(text)
}

/// What to know before applying the manifests.
#[must_use]
pub fn warning(options: &Options) -> Option<String> {
    let is_of_the_system = options.namespace == "default" || options.namespace.starts_with("kube-");
    is_of_the_system.then(|| {
        format!(
            "namespace {:?} belongs to the cluster: once it is open, the operator can read and write every Secret there, and \
             whoever may create a SecretPolicy there uses that",
            options.namespace
        )
    })
}

fn binding(options: &Options, name: &str, kind: &str, role: &str) -> RoleBinding {
    RoleBinding {
        metadata: metadata(options, name),
        role_ref: RoleRef { api_group: RBAC.to_owned(), kind: kind.to_owned(), name: role.to_owned() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: options.operator_account.clone(),
            namespace: Some(options.operator_namespace.clone()),
            api_group: None,
        }]),
    }
}

fn metadata(options: &Options, name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: Some(options.namespace.clone()), ..ObjectMeta::default() }
}

fn yaml<K: Resource + Serialize>(object: &K) -> Result<String, String> {
    serde_saphyr::to_string(object).map_err(|error| error.to_string())
}

/// A DNS subdomain name (RFC 1123).
fn valid(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= 253 && name.bytes().all(inner) && edge(name.bytes().next()) && edge(name.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(namespace: &str, accounts: &[&str]) -> Options {
        Options {
            namespace: namespace.to_owned(),
            service_accounts: accounts.iter().map(|name| (*name).to_owned()).collect(),
            rollouts: false,
            gateways: false,
            operator_namespace: "rekey-system".to_owned(),
            operator_account: "rekey".to_owned(),
        }
    }

    #[test]
    fn a_namespace_is_opened_by_one_binding() {
        let text = manifests(&options("shop", &[])).unwrap();
        for line in ["kind: RoleBinding", "  namespace: shop", "  name: rekey-namespace", "  namespace: rekey-system"] {
            assert!(text.lines().any(|at| at == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("---"), "{text}");
    }

    #[test]
    fn tokens_are_allowed_for_named_accounts_only() {
        let text = manifests(&options("shop", &["reader", "writer"])).unwrap();
        assert_eq!(text.matches("---").count(), 2);
        assert!(text.contains("resourceNames:\n  - reader\n  - writer"), "{text}");
    }

    #[test]
    fn kinds_of_others_have_bindings_of_their_own() {
        let text = manifests(&Options { rollouts: true, gateways: true, ..options("shop", &[]) }).unwrap();
        assert_eq!(text.matches("---").count(), 2);
        for name in ["rekey-namespace", "rekey-namespace-argo-rollouts", "rekey-namespace-gateways"] {
            assert!(text.lines().any(|line| line == format!("  name: {name}")), "{name} is missing in\n{text}");
        }
    }

    #[test]
    fn namespaces_of_the_cluster_are_warned_about_and_that_of_the_operator_is_refused() {
        for (namespace, is_warned) in [("shop", false), ("kube-system", true), ("default", true), ("kubernetes", false)]
        {
            assert_eq!(warning(&options(namespace, &[])).is_some(), is_warned, "{namespace}");
        }
        let said = manifests(&options("rekey-system", &[])).unwrap_err();
        assert!(said.contains("the operator's namespace"), "{said}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["Shop", "a_b", "a.b", "-a", "", "a\nkind: Secret", &"a".repeat(64)] {
            assert!(manifests(&options(name, &[])).is_err(), "{name:?}");
        }
    }
}
