//! From a spec to a store. Refuses by field name what the API has and this crate does not support yet.

use std::sync::Arc;

use aws_config::Region;
use rekey_api::{
    provider::{AwsAuth, AwsLogin, AwsProvider, AwsRole, AwsService},
    reference::SecretKeyRef,
};
use rekey_core::store::{Credentials, Network, Store, StoreError};

use super::{
    clients::Connection,
    keys::{Place, Places},
    login::{Keys, Role, SESSION, Source},
    parameter_store::ParameterStore,
    secrets_manager::SecretsManager,
};
use crate::{
    address,
    connect::{Stores, invalid},
    http::{self, Client},
    rights::Rights,
};

impl Stores {
    /// Opens a store of AWS.
    ///
    /// # Errors
    /// `Invalid` when the spec cannot work.
    pub(crate) async fn aws(
        &self,
        spec: &AwsProvider,
        rights: Rights,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        open(spec, rights, credentials, &self.network, self.client(None).await?)
    }
}

/// The store that `spec` describes; its calls go over `client`.
fn open(
    spec: &AwsProvider,
    rights: Rights,
    credentials: Arc<dyn Credentials>,
    network: &Network,
    client: Client,
) -> Result<Arc<dyn Store>, StoreError> {
    let source = source(spec.auth.as_ref(), &*credentials, network)?;
    let role = spec.role.as_ref().map(role).transpose()?;
    let region = spec.region.clone();
    if region.is_empty() || !region.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-') {
        return Err(invalid("spec.provider.aws.region is not a region, like eu-west-1"));
    }
    let endpoint = match &spec.endpoint {
        Some(text) => Some(address::check("spec.provider.aws.endpoint", text, network)?),
        None => None,
    };
    let at = endpoint.as_ref().map_or_else(|| region.clone(), |address| address.place.clone());
    let endpoint = endpoint.map(|address| address.url.as_str().trim_end_matches('/').to_owned());
    let connection = Connection { client, region: Region::new(region), endpoint, at };
    let keys = Keys { source, role, credentials, connection };
    Ok(match spec.service {
        AwsService::SecretsManager => Arc::new(SecretsManager::new(rights, keys)),
        AwsService::ParameterStore => Arc::new(ParameterStore::new(rights, keys)),
    })
}

fn source(auth: Option<&AwsAuth>, credentials: &dyn Credentials, network: &Network) -> Result<Source, StoreError> {
    let Some(auth) = auth else {
        if credentials.is_ambient_allowed() {
            return Ok(Source::Own(http::own_client(network)?));
        }
        return Err(invalid(
            "spec.provider.aws without auth would use the operator's own credentials, which this store may not: set \
             auth, or use a ClusterRemoteStore, or run the operator with --allow-ambient-credentials",
        ));
    };
    match auth.chosen() {
        Some(AwsLogin::KeyPair(keys)) => Ok(Source::KeyPair(Places {
            access_key_id: place(&keys.access_key_id),
            secret_access_key: place(&keys.secret_access_key),
            session_token: keys.session_token.as_ref().map(place),
        })),
        Some(AwsLogin::Account(account)) if account.audiences.is_empty() => {
            Err(invalid("spec.provider.aws.auth.serviceAccountRef.audiences must not be empty"))
        }
        Some(AwsLogin::Account(account)) => {
            Ok(Source::Account { name: account.name.clone(), audiences: account.audiences.clone() })
        }
        None => Err(invalid("spec.provider.aws.auth must have exactly one of secretRef, serviceAccountRef")),
    }
}

fn role(role: &AwsRole) -> Result<Role, StoreError> {
    if !role.arn.starts_with("arn:") || !role.arn.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(invalid(
            "spec.provider.aws.role.arn is not the ARN of a role, like arn:aws:iam::123456789012:role/reader",
        ));
    }
    let session = role.session_name.clone().unwrap_or_else(|| SESSION.to_owned());
    Ok(Role { arn: role.arn.clone(), external_id: role.external_id.clone(), session })
}

fn place(reference: &SecretKeyRef) -> Place {
    Place { name: reference.name.clone(), key: reference.key.clone() }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use aws_sdk_secretsmanager::config::endpoint as secrets;
    use aws_sdk_ssm::config::endpoint as parameters;
    use aws_sdk_sts::config::endpoint as sts;
    use rekey_api::store::Access;
    use rekey_core::{
        SecretBytes,
        store::{AccountToken, StoreErrorKind, provider},
    };
    use serde_json::{Value, json};

    use super::*;

    /// Has nothing, and must not be asked while a store is opened.
    struct Nothing {
        ambient: bool,
    }

    #[async_trait]
    impl Credentials for Nothing {
        async fn secret(&self, _: &str, _: &str) -> Result<SecretBytes, StoreError> {
            Err(invalid("asked"))
        }

        async fn config(&self, _: &str, _: &str) -> Result<String, StoreError> {
            Err(invalid("asked"))
        }

        async fn account_token(&self, _: &str, _: &[String]) -> Result<AccountToken, StoreError> {
            Err(invalid("asked"))
        }

        async fn account_annotation(&self, _: &str, _: &str) -> Result<Option<String>, StoreError> {
            Err(invalid("asked"))
        }

        fn is_ambient_allowed(&self) -> bool {
            self.ambient
        }
    }

    fn refusal(changes: &Value, ambient: bool) -> Option<String> {
        let key = json!({ "name": "aws", "key": "id" });
        let auth = json!({ "secretRef": { "accessKeyId": key, "secretAccessKey": key } });
        let mut spec = json!({ "service": "SecretsManager", "region": "eu-west-1", "auth": auth });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let spec: AwsProvider = serde_json::from_value(spec).unwrap();
        let rights = Rights(Access::ReadOnly);
        let opened = open(
            &spec,
            rights,
            Arc::new(Nothing { ambient }),
            &Network::default(),
            http::client(&Network::default(), None).unwrap(),
        );
        let error = opened.err()?;
        assert_eq!(error.kind, StoreErrorKind::Invalid, "{error}");
        Some(error.text)
    }

    #[test]
    fn what_is_built_opens_without_a_login() {
        let account = json!({ "name": "reader", "audiences": ["sts.amazonaws.com"] });
        let role = json!({ "arn": "arn:aws:iam::123456789012:role/r", "externalId": "shop", "sessionName": "shop" });
        let table = [
            json!({}),
            json!({ "endpoint": "https://vpce.example" }),
            json!({ "service": "ParameterStore" }),
            json!({ "role": role }),
            json!({ "auth": { "serviceAccountRef": account } }),
        ];
        for changes in table {
            assert_eq!(refusal(&changes, false), None, "{changes}");
        }
        assert_eq!(refusal(&json!({ "auth": null }), true), None, "the operator's own credentials");
    }

    #[test]
    fn what_cannot_work_is_refused_by_field() {
        let account = json!({ "name": "reader", "audiences": [] });
        let table = [
            (json!({ "auth": null }), "aws without auth"),
            (json!({ "auth": null }), "--allow-ambient-credentials"),
            (json!({ "auth": null }), "ClusterRemoteStore"),
            (json!({ "auth": {} }), "aws.auth must have exactly one"),
            (json!({ "auth": { "serviceAccountRef": account } }), "serviceAccountRef.audiences"),
            (json!({ "role": { "arn": "reader" } }), "aws.role.arn"),
            (json!({ "region": "evil.example/" }), "aws.region"),
            (json!({ "endpoint": "https://[::1]:4566" }), "aws.endpoint is the address"),
        ];
        for (changes, expected) in table {
            let text = refusal(&changes, false).unwrap_or_default();
            assert!(text.contains(expected), "{changes}: {text:?}");
        }
    }

    /// Where the SDK connects to in a region, for each service.
    async fn connected(region: &str) -> [String; 3] {
        use parameters::ResolveEndpoint as _;
        use secrets::ResolveEndpoint as _;
        use sts::ResolveEndpoint as _;
        let of_secrets = secrets::Params::builder().region(region).build().unwrap();
        let of_parameters = parameters::Params::builder().region(region).build().unwrap();
        let of_sts = sts::Params::builder().region(region).build().unwrap();
        [
            secrets::DefaultResolver::new().resolve_endpoint(&of_secrets).await.unwrap(),
            parameters::DefaultResolver::new().resolve_endpoint(&of_parameters).await.unwrap(),
            sts::DefaultResolver::new().resolve_endpoint(&of_sts).await.unwrap(),
        ]
        .map(|endpoint| format!("{}:443", endpoint.url().trim_start_matches("https://")))
    }

    #[tokio::test]
    async fn consent_is_asked_for_the_addresses_that_the_sdk_connects_to() {
        for region in [
            "eu-west-1",
            "us-east-1",
            "ap-southeast-7",
            "mx-central-1",
            "il-central-1",
            "us-gov-west-1",
            "cn-north-1",
            "us-iso-east-1",
            "us-isob-east-1",
            "us-isof-south-1",
            "eu-isoe-west-1",
            "eusc-de-east-1",
        ] {
            let [secrets, parameters, sts] = connected(region).await;
            for (service, expected) in [("SecretsManager", secrets), ("ParameterStore", parameters)] {
                let spec = json!({"aws": {"service": service, "region": region}});
                let kind = rekey_api::reference::StoreKind::RemoteStore;
                let parsed = provider::parse(kind, &serde_json::from_value(spec).unwrap(), &[]).unwrap();
                let places: Vec<String> = parsed.places.iter().map(ToString::to_string).collect();
                assert_eq!(places, [expected, sts.clone()], "{service} {region}");
            }
        }
    }
}
