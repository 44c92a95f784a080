//! A provider's spec, parsed: what schema and CEL say of it is checked again, since an object may be older than the rule,
//! and its places are known before any credential is read.

use rekey_api::{
    provider::{AwsAuth, AwsProvider, AwsService, Provider, VaultAuth, VaultProvider},
    reference::{NamespaceFrom, StoreKind},
};

use super::place::Place;
use crate::{SpecError, account};

/// What is to be known before a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Whose `ServiceAccount`s it logs in as.
    pub accounts: NamespaceFrom,
    /// Every address that its credentials are sent to, in order, each once.
    pub places: Vec<Place>,
}

/// Whether a slash before a key of the store counts for nothing. AWS has names that begin with one, and others that do not.
#[must_use]
pub fn is_slash_dropped(provider: &Provider) -> bool {
    provider.vault.is_some()
}

/// Checks the provider of a store of this kind. `audiences`: those of the API server beside its usual ones.
///
/// # Errors
/// Names the field that cannot work.
pub fn parse(kind: StoreKind, provider: &Provider, audiences: &[String]) -> Result<Parsed, SpecError> {
    let places = match provider {
        Provider { vault: Some(vault), aws: None } => of_vault(vault)?,
        Provider { vault: None, aws: Some(aws) } => of_aws(aws)?,
        Provider { vault: None, aws: None } | Provider { vault: Some(_), aws: Some(_) } => {
            return Err(SpecError::field("spec.provider", "set exactly one of vault, aws"));
        }
    };
    Ok(Parsed { accounts: account::check(kind, provider, audiences)?, places })
}

fn of_vault(spec: &VaultProvider) -> Result<Vec<Place>, SpecError> {
    if spec.ca_bundle.is_some() && spec.ca_bundle_ref.is_some() {
        return Err(SpecError::field("spec.provider.vault", "set at most one of caBundle, caBundleRef"));
    }
    let VaultAuth { kubernetes, token, app_role, jwt } = &spec.auth;
    let set = [kubernetes.is_some(), token.is_some(), app_role.is_some(), jwt.is_some()];
    if set.into_iter().filter(|set| *set).count() != 1 {
        return Err(SpecError::field("spec.provider.vault.auth", "set exactly one of kubernetes, token, appRole, jwt"));
    }
    Place::of_url("spec.provider.vault.server", &spec.server).map(|place| vec![place])
}

/// STS is always one of the places: each try of a store asks it who we are, and a role is assumed there. An `endpoint`
/// stands for all services.
fn of_aws(spec: &AwsProvider) -> Result<Vec<Place>, SpecError> {
    if let Some(AwsAuth { secret_ref, service_account_ref }) = &spec.auth
        && secret_ref.is_some() == service_account_ref.is_some()
    {
        return Err(SpecError::field("spec.provider.aws.auth", "set exactly one of secretRef, serviceAccountRef"));
    }
    if let Some(endpoint) = &spec.endpoint {
        return Place::of_url("spec.provider.aws.endpoint", endpoint).map(|place| vec![place]);
    }
    let region = &spec.region;
    if region.is_empty() || !region.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-') {
        return Err(SpecError::field("spec.provider.aws.region", "it is not the name of a region, like eu-west-1"));
    }
    let service = match spec.service {
        AwsService::SecretsManager => "secretsmanager",
        AwsService::ParameterStore => "ssm",
    };
    let at = |service: &str| Place::new(format!("{service}.{region}.{}", suffix(region)), 443);
    Ok(vec![at(service), at("sts")])
}

/// The domain of the services in a region, by its partition (<https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>).
/// A test of `rekey-providers` compares with what the SDK connects to.
fn suffix(region: &str) -> &'static str {
    const PARTITIONS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
    ];
    PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("amazonaws.com", |(_, suffix)| suffix)
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
}
