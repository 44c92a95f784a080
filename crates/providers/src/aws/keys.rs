//! The credential: a key pair from a Secret, read afresh every minute and when it is refused.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_credential_types::Credentials as KeyPair;
use aws_sdk_secretsmanager::config::{
    BehaviorVersion, Region, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use rekey_core::store::{Credentials, StoreError, StoreErrorKind};

use super::transport::Transport;
use crate::{
    http::DEADLINE,
    session::{Granted, Login},
};

/// How long a key pair is used before the Secret is looked at again.
const FRESH: Duration = Duration::from_mins(1);

/// A key of a Secret.
pub(crate) struct Place {
    /// The Secret.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// Where the parts of the credential are.
pub(crate) struct Places {
    /// The access key id.
    pub access_key_id: Place,
    /// The secret access key.
    pub secret_access_key: Place,
    /// The session token, for temporary credentials.
    pub session_token: Option<Place>,
}

/// Makes clients that sign with the credential.
pub(crate) struct Keys {
    /// Where the credential is.
    pub places: Places,
    /// From where it is read.
    pub credentials: Arc<dyn Credentials>,
    /// What requests go over.
    pub client: reqwest::Client,
    /// The region.
    pub region: String,
    /// An address other than that of AWS.
    pub endpoint: Option<String>,
}

/// Clients that sign with one credential.
pub(crate) struct Clients {
    /// Secrets Manager.
    pub secrets: aws_sdk_secretsmanager::Client,
    /// The service that tells who we are.
    pub sts: aws_sdk_sts::Client,
}

impl Keys {
    async fn text(&self, place: &Place) -> Result<String, StoreError> {
        let bytes = self.credentials.secret(&place.name, &place.key).await?;
        let text = bytes.expose_text().map(str::trim).filter(|text| !text.is_empty() && text.is_ascii());
        text.map(str::to_owned).ok_or_else(|| {
            let text = format!("key {:?} of Secret {} holds no AWS credential", place.key, place.name);
            StoreError::new(StoreErrorKind::Invalid, text)
        })
    }

    async fn read(&self) -> Result<KeyPair, StoreError> {
        let id = self.text(&self.places.access_key_id).await?;
        let secret = self.text(&self.places.secret_access_key).await?;
        let token = match &self.places.session_token {
            Some(place) => Some(self.text(place).await?),
            None => None,
        };
        Ok(KeyPair::new(id, secret, token, None, "rekey"))
    }

    fn clients(&self, keys: KeyPair) -> Clients {
        // Bodies are read and bounded by the transport, so the SDK need not watch them.
        let timeouts = TimeoutConfig::builder().operation_timeout(DEADLINE).build();
        let retries = RetryConfig::standard().with_max_attempts(2);
        let mut secrets = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(Transport(self.client.clone()))
            .region(Region::new(self.region.clone()))
            .credentials_provider(keys.clone())
            .timeout_config(timeouts.clone())
            .retry_config(retries.clone())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        secrets.set_endpoint_url(self.endpoint.clone());
        let mut sts = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(Transport(self.client.clone()))
            .region(Region::new(self.region.clone()))
            .credentials_provider(keys)
            .timeout_config(timeouts)
            .retry_config(retries)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        sts.set_endpoint_url(self.endpoint.clone());
        Clients {
            secrets: aws_sdk_secretsmanager::Client::from_conf(secrets.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
        }
    }
}

#[async_trait]
impl Login for Keys {
    type Session = Clients;

    async fn login(&self) -> Result<Granted<Clients>, StoreError> {
        let session = self.clients(self.read().await?);
        Ok(Granted { session, renew_after: Some(FRESH), ends_after: None })
    }
}
