//! What the spec lets us do with a store, whatever the credential allows.

use rekey_api::store::{Access, Capability};
use rekey_core::store::{StoreError, StoreErrorKind};

/// The rights of a store object.
#[derive(Clone, Copy)]
pub(crate) struct Rights(pub(crate) Access);

impl Rights {
    /// What can be done through the store.
    pub(crate) fn capabilities(self) -> Vec<Capability> {
        match self.0 {
            Access::ReadOnly => vec![Capability::Read],
            Access::ReadWrite => vec![Capability::Read, Capability::Write],
        }
    }

    /// Stops a write that the spec does not allow.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub(crate) fn write(self) -> Result<(), StoreError> {
        self.change("a rotation that writes to it")
    }

    /// Stops a `Post` to an engine that the spec does not allow.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub(crate) fn post(self) -> Result<(), StoreError> {
        self.change("a Post to an engine")
    }

    fn change(self, what: &str) -> Result<(), StoreError> {
        match self.0 {
            Access::ReadOnly => {
                let text = format!("spec.access of the store is ReadOnly; {what} needs ReadWrite");
                Err(StoreError::new(StoreErrorKind::Invalid, text))
            }
            Access::ReadWrite => Ok(()),
        }
    }
}
