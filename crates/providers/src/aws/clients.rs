//! Clients of the SDK that sign with one credential.

use aws_config::{
    BehaviorVersion, Region, SdkConfig, identity::IdentityCache, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;

use super::transport::Transport;
use crate::http::{Client, DEADLINE};

/// Where requests go.
pub(super) struct Connection {
    /// What they go over.
    pub client: Client,
    pub region: Region,
    /// An address other than those of AWS, for all services.
    pub endpoint: Option<String>,
    /// The region or the host, for texts.
    pub at: String,
}

impl Connection {
    /// Settings of clients that sign with this credential, or not at all.
    pub(super) fn config(&self, credential: Option<SharedCredentialsProvider>) -> SdkConfig {
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(Transport(self.client.clone()))
            .region(self.region.clone())
            .identity_cache(IdentityCache::lazy().load_timeout(DEADLINE).build())
            .timeout_config(TimeoutConfig::builder().operation_timeout(DEADLINE).build())
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            // Bodies are read and bounded by the transport, so the SDK need not watch them.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(self.endpoint.clone());
        config.set_credentials_provider(credential);
        config.build()
    }
}

/// Clients that sign with one credential.
pub(super) struct Clients {
    /// Secrets Manager.
    pub secrets: aws_sdk_secretsmanager::Client,
    /// Parameter Store, a part of Systems Manager.
    pub parameters: aws_sdk_ssm::Client,
    /// Says who we are.
    pub sts: aws_sdk_sts::Client,
}

impl Clients {
    /// With these settings.
    pub(super) fn new(config: &SdkConfig) -> Self {
        Self {
            secrets: aws_sdk_secretsmanager::Client::new(config),
            parameters: aws_sdk_ssm::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
        }
    }
}
