//! `HashiCorp` Vault and `OpenBao`.

use rekey_api::provider::{VaultLogin, VaultProvider};

use super::{Place, ProviderSpec, Reference};
use crate::SpecError;

impl ProviderSpec for VaultProvider {
    fn places(&self) -> Result<Vec<Place>, SpecError> {
        if self.ca_bundle.is_some() && self.ca_bundle_ref.is_some() {
            return Err(SpecError::field("spec.provider.vault", "set at most one of caBundle, caBundleRef"));
        }
        if self.auth.chosen().is_none() {
            let fix = "set exactly one of kubernetes, token, appRole, jwt";
            return Err(SpecError::field("spec.provider.vault.auth", fix));
        }
        Place::of_url("spec.provider.vault.server", &self.server).map(|place| vec![place])
    }

    fn references(&self) -> Vec<Reference<'_>> {
        let login = self.auth.chosen().map(|login| match login {
            VaultLogin::Kubernetes(login) => Reference::Account {
                field: "spec.provider.vault.auth.kubernetes.serviceAccountRef",
                account: &login.service_account_ref,
            },
            VaultLogin::Token(token) => Reference::Credential(&token.secret_ref),
            VaultLogin::AppRole(role) => Reference::Credential(&role.secret_ref),
            VaultLogin::Jwt(login) => Reference::Account {
                field: "spec.provider.vault.auth.jwt.serviceAccountRef",
                account: &login.service_account_ref,
            },
        });
        login.into_iter().chain(self.ca_bundle_ref.as_ref().map(Reference::Roots)).collect()
    }

    fn is_slash_dropped(&self) -> bool {
        true
    }
}
