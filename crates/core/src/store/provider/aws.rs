//! AWS Secrets Manager and Systems Manager Parameter Store.

use rekey_api::provider::{AwsAuth, AwsLogin, AwsProvider, AwsService};

use super::{Place, ProviderSpec, Reference};
use crate::SpecError;

impl ProviderSpec for AwsProvider {
    /// STS is always one of the places: each probe of a store asks it who we are, and it gives out roles. An `endpoint`
    /// stands for all services.
    fn places(&self) -> Result<Vec<Place>, SpecError> {
        if self.auth.as_ref().is_some_and(|auth| auth.chosen().is_none()) {
            return Err(SpecError::field("spec.provider.aws.auth", "set exactly one of secretRef, serviceAccountRef"));
        }
        if let Some(endpoint) = &self.endpoint {
            return Place::of_url("spec.provider.aws.endpoint", endpoint).map(|place| vec![place]);
        }
        let region = &self.region;
        if region.is_empty() || !region.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-') {
            return Err(SpecError::field("spec.provider.aws.region", "it is not a region, like eu-west-1"));
        }
        let service = match self.service {
            AwsService::SecretsManager => "secretsmanager",
            AwsService::ParameterStore => "ssm",
        };
        let at = |service: &str| Place::new(format!("{service}.{region}.{}", suffix(region)), 443);
        Ok(vec![at(service), at("sts")])
    }

    fn references(&self) -> Vec<Reference<'_>> {
        match self.auth.as_ref().and_then(AwsAuth::chosen) {
            Some(AwsLogin::KeyPair(keys)) => {
                let all = [Some(&keys.access_key_id), Some(&keys.secret_access_key), keys.session_token.as_ref()];
                all.into_iter().flatten().map(Reference::Credential).collect()
            }
            Some(AwsLogin::Account(account)) => {
                vec![Reference::Account { field: "spec.provider.aws.auth.serviceAccountRef", account }]
            }
            None => Vec::new(),
        }
    }

    /// Some names start with one, others do not.
    fn is_slash_dropped(&self) -> bool {
        false
    }
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
