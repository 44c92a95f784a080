//! A key pair from Secrets.

use aws_credential_types::Credentials as KeyPair;
use rekey_api::condition::Reason;
use rekey_core::store::{Credentials, StoreError, StoreErrorKind};

/// A key of a Secret.
pub(super) struct Place {
    pub name: String,
    pub key: String,
}

/// Where the parts of a key pair are.
pub(super) struct Places {
    pub access_key_id: Place,
    pub secret_access_key: Place,
    /// The session token, for temporary credentials.
    pub session_token: Option<Place>,
}

impl Places {
    /// Reads the parts afresh.
    ///
    /// # Errors
    /// `Invalid` when a part is not one.
    pub(super) async fn read(&self, credentials: &dyn Credentials) -> Result<KeyPair, StoreError> {
        let id = text(&self.access_key_id, credentials).await?;
        let secret = text(&self.secret_access_key, credentials).await?;
        let token = match &self.session_token {
            Some(place) => Some(text(place, credentials).await?),
            None => None,
        };
        Ok(KeyPair::new(id, secret, token, None, "rekey"))
    }
}

async fn text(place: &Place, credentials: &dyn Credentials) -> Result<String, StoreError> {
    let bytes = credentials.secret(&place.name, &place.key).await?;
    let text = bytes.expose_text().map(str::trim).filter(|text| !text.is_empty() && text.is_ascii());
    text.map(str::to_owned).ok_or_else(|| {
        let text = format!("key {:?} of Secret {} holds no AWS credential", place.key, place.name);
        StoreError::new(StoreErrorKind::Invalid, text).because(Reason::InvalidCredentials)
    })
}
