//! The certificates by which we trust a store's server.

use k8s_openapi::ByteString;
use rekey_api::reference::{CaBundleKind, CaBundleRef};
use rekey_core::store::{Credentials, StoreError};

use crate::connect::invalid;

/// The certificates to trust, if not the system's.
pub(crate) async fn roots(
    inline: Option<&ByteString>,
    reference: Option<&CaBundleRef>,
    credentials: &dyn Credentials,
) -> Result<Option<String>, StoreError> {
    let bytes = match (inline, reference) {
        (None, None) => return Ok(None),
        (Some(bundle), None) => bundle.0.clone(),
        (None, Some(CaBundleRef { kind: CaBundleKind::ConfigMap, name, key })) => {
            return credentials.config(name, key).await.map(Some);
        }
        (None, Some(CaBundleRef { kind: CaBundleKind::Secret, name, key })) => {
            credentials.secret(name, key).await?.expose().to_vec()
        }
        (Some(_), Some(_)) => return Err(invalid("caBundle and caBundleRef exclude each other")),
    };
    String::from_utf8(bytes).map(Some).map_err(|_| invalid("the CA bundle is not PEM"))
}
