//! A provider's spec, parsed: checks again what schema and CEL say, since an object may be older than the rule, and
//! finds its addresses and the objects that it needs before we read any credential. One file a provider.

mod aws;
mod vault;

use rekey_api::{
    provider::{Chosen, Provider},
    reference::{CaBundleKind, CaBundleRef, NamespaceFrom, SecretKeyRef, ServiceAccountRef, StoreKind},
};

use super::place::Place;
use crate::{SpecError, account};

/// What we must know before we open a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Whose `ServiceAccount`s it logs in as.
    pub accounts: NamespaceFrom,
    /// Every address that gets its credentials, in order, each once.
    pub places: Vec<Place>,
}

/// Another object that a store needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A key of a Secret with a credential.
    Credential(&'a SecretKeyRef),
    /// A key of a Secret or a `ConfigMap` with the certificates to trust.
    Roots(&'a CaBundleRef),
    /// A `ServiceAccount` to log in as, and the path of the field that names it.
    Account {
        /// Of the object, for messages.
        field: &'static str,
        /// The account, and the audiences of its tokens.
        account: &'a ServiceAccountRef,
    },
}

impl<'a> Reference<'a> {
    /// The name of the Secret, if it is one.
    #[must_use]
    pub fn secret(self) -> Option<&'a str> {
        match self {
            Self::Credential(key) => Some(&key.name),
            Self::Roots(CaBundleRef { kind: CaBundleKind::Secret, name, .. }) => Some(name),
            Self::Roots(CaBundleRef { kind: CaBundleKind::ConfigMap, .. }) | Self::Account { .. } => None,
        }
    }
}

/// What the spec of one provider says.
trait ProviderSpec {
    /// Every address that gets its credentials, in order, each once.
    ///
    /// # Errors
    /// Names the field that cannot work.
    fn places(&self) -> Result<Vec<Place>, SpecError>;

    /// Every object that we read to open it or to log in.
    fn references(&self) -> Vec<Reference<'_>>;

    /// Whether a slash before a key is ignored.
    fn is_slash_dropped(&self) -> bool;
}

/// One arm a provider.
fn spec(provider: &Provider) -> Option<&dyn ProviderSpec> {
    Some(match provider.chosen()? {
        Chosen::Vault(vault) => vault,
        Chosen::Aws(aws) => aws,
    })
}

/// Whether a slash before a key of the store is ignored.
#[must_use]
pub fn is_slash_dropped(provider: &Provider) -> bool {
    spec(provider).is_some_and(ProviderSpec::is_slash_dropped)
}

/// Every object that a store needs to open and to log in. None for a provider that [`parse()`] refuses because it has
/// none or several members: its store is never opened.
#[must_use]
pub fn references(provider: &Provider) -> Vec<Reference<'_>> {
    spec(provider).map(ProviderSpec::references).unwrap_or_default()
}

/// Checks the provider of a store of this kind. `audiences`: those of the API server beside its usual ones.
///
/// # Errors
/// Names the field that cannot work.
pub fn parse(kind: StoreKind, provider: &Provider, audiences: &[String]) -> Result<Parsed, SpecError> {
    let Some(spec) = spec(provider) else {
        return Err(SpecError::field("spec.provider", "set exactly one of vault, aws"));
    };
    let places = spec.places()?;
    Ok(Parsed { accounts: accounts(kind, provider, audiences)?, places })
}

/// Checks the `ServiceAccount`s of a store: see [`parse()`].
///
/// # Errors
/// Names the field that cannot work.
pub fn accounts(kind: StoreKind, provider: &Provider, audiences: &[String]) -> Result<NamespaceFrom, SpecError> {
    let accounts = references(provider).into_iter().filter_map(|reference| match reference {
        Reference::Account { field, account } => Some((field, account)),
        Reference::Credential(_) | Reference::Roots(_) => None,
    });
    account::check(kind, accounts, audiences)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn places(provider: Value) -> Result<Vec<String>, String> {
        let provider: Provider = serde_json::from_value(provider).unwrap();
        let parsed = parse(StoreKind::RemoteStore, &provider, &[]).map_err(|error| error.to_string())?;
        Ok(parsed.places.iter().map(Place::to_string).collect())
    }

    #[test]
    fn every_address_is_known_before_a_credential_is_read() {
        let token = json!({"token": {"secretRef": {"name": "a", "key": "b"}}});
        let vault = |server: &str| json!({"vault": {"server": server, "auth": token}});
        let aws = |more: Value| {
            let mut aws = json!({"service": "SecretsManager", "region": "eu-west-1"});
            for (name, value) in more.as_object().unwrap() {
                aws[name] = value.clone();
            }
            json!({"aws": aws})
        };
        for (provider, expected) in [
            (vault("https://bao.infra:8200"), vec!["bao.infra:8200"]),
            (vault("https://Bao.infra/prefix"), vec!["bao.infra:443"]),
            (aws(json!({})), vec!["secretsmanager.eu-west-1.amazonaws.com:443", "sts.eu-west-1.amazonaws.com:443"]),
            (
                aws(json!({"service": "ParameterStore", "region": "cn-north-1"})),
                vec!["ssm.cn-north-1.amazonaws.com.cn:443", "sts.cn-north-1.amazonaws.com.cn:443"],
            ),
            (aws(json!({"endpoint": "https://vpce-1.vpce.amazonaws.com"})), vec!["vpce-1.vpce.amazonaws.com:443"]),
        ] {
            assert_eq!(places(provider.clone()), Ok(expected.into_iter().map(str::to_owned).collect()), "{provider}");
        }
    }

    fn checked(kind: StoreKind, account: &Value) -> Result<NamespaceFrom, String> {
        let login = json!({"role": "shop", "serviceAccountRef": account});
        let vault = json!({"vault": {"server": "https://bao", "auth": {"kubernetes": login}}});
        let parsed = parse(kind, &serde_json::from_value(vault).unwrap(), &[]);
        parsed.map(|parsed| parsed.accounts).map_err(|error| error.to_string())
    }

    #[test]
    fn accounts_are_of_the_operator_or_the_consumer() {
        let account = |from: Option<&str>| json!({"name": "reader", "audiences": ["vault"], "namespaceFrom": from});
        let cluster = StoreKind::ClusterRemoteStore;
        assert_eq!(checked(cluster, &account(None)), Ok(NamespaceFrom::Operator));
        assert_eq!(checked(cluster, &account(Some("Operator"))), Ok(NamespaceFrom::Operator));
        assert_eq!(checked(cluster, &account(Some("Consumer"))), Ok(NamespaceFrom::Consumer));
        assert_eq!(checked(StoreKind::RemoteStore, &account(None)), Ok(NamespaceFrom::Operator));
        let refused = checked(StoreKind::RemoteStore, &account(Some("Consumer"))).unwrap_err();
        assert!(
            refused.starts_with("spec.provider.vault.auth.kubernetes.serviceAccountRef.namespaceFrom: "),
            "{refused}"
        );
    }

    #[test]
    fn a_token_for_the_api_server_is_refused_by_field() {
        let account = json!({"name": "reader", "audiences": ["vault", "https://kubernetes.default.svc"]});
        let refused = checked(StoreKind::RemoteStore, &account).unwrap_err();
        assert!(refused.starts_with("spec.provider.vault.auth.kubernetes.serviceAccountRef.audiences: "), "{refused}");
    }

    #[test]
    fn every_provider_names_what_it_refers_to() {
        let key = |name: &str| json!({"name": name, "key": "k"});
        let account = json!({"name": "reader", "audiences": ["store"]});
        let vault =
            |auth: Value, roots: Value| json!({"vault": {"server": "https://bao", "auth": auth, "caBundleRef": roots}});
        let roots = |kind: &str| json!({"kind": kind, "name": "roots", "key": "ca.crt"});
        let aws = |auth: Value| json!({"aws": {"service": "ParameterStore", "region": "eu-west-1", "auth": auth}});
        let login = |method: &str| json!({method: {"role": "shop", "serviceAccountRef": account}});
        for (provider, expected) in [
            (vault(json!({"token": {"secretRef": key("token")}}), roots("Secret")), "Secret token, Secret roots"),
            (
                vault(json!({"appRole": {"roleId": "r", "secretRef": key("id")}}), roots("ConfigMap")),
                "Secret id, ConfigMap roots",
            ),
            (vault(login("kubernetes"), json!(null)), "spec.provider.vault.auth.kubernetes.serviceAccountRef reader"),
            (vault(login("jwt"), json!(null)), "spec.provider.vault.auth.jwt.serviceAccountRef reader"),
            (
                aws(
                    json!({"secretRef": {"accessKeyId": key("a"), "secretAccessKey": key("b"), "sessionToken": key("c")}}),
                ),
                "Secret a, Secret b, Secret c",
            ),
            (aws(json!({"serviceAccountRef": account})), "spec.provider.aws.auth.serviceAccountRef reader"),
            (aws(json!(null)), ""),
            (json!({}), ""),
        ] {
            let parsed: Provider = serde_json::from_value(provider.clone()).unwrap();
            let all = references(&parsed).into_iter().map(|reference| match (reference, reference.secret()) {
                (_, Some(name)) => format!("Secret {name}"),
                (Reference::Account { field, account }, None) => format!("{field} {}", account.name),
                (Reference::Roots(bundle), None) => format!("ConfigMap {}", bundle.name),
                (Reference::Credential(key), None) => format!("not a Secret: {}", key.name),
            });
            assert_eq!(all.collect::<Vec<_>>().join(", "), expected, "{provider}");
        }
    }
}
