//! Whether a policy could publish another value of a key: all of it is done as if the store held that, and nothing is written.

use std::sync::Arc;

use rekey_api::SecretPolicy;
use rekey_core::{
    policy::{self, PolicySpec},
    rotation::Destination,
    store::RemoteValue,
};

use super::{Policies, observe, read};
use crate::error::Error;

impl Policies {
    /// Reads, decodes, renders and checks the Secret as it would be with this value under the key.
    ///
    /// # Errors
    /// What would keep it from being published; or what cannot be read now.
    pub async fn try_out(
        &self,
        object: &SecretPolicy,
        spec: &Arc<PolicySpec>,
        (to, value): (&Destination, &RemoteValue),
    ) -> Result<(), Error> {
        let Some(wanted) = policy::all_reads(spec) else { return Ok(()) };
        let seen = observe::observe(self, object, spec).await?;
        policy::admit(spec, &seen.secret)?;
        let (fetched, room) = read::read(self, spec, &wanted).await?;
        let fetched = fetched.with(&to.store, &to.key, value);
        self.plan(spec, seen, Some((fetched, room))).await.map(drop)
    }
}
