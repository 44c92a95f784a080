//! From an object to what it asks for. This happens once, where a row is set; all others read what came of it.

use std::fmt::Debug;

use rekey_api::{
    ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy, reference::StoreKind, store::RemoteStoreSpec,
};

use crate::{SpecError, StoreSpec, bounds::Bounded, policy::PolicySpec, rotation::ScheduleSpec};

/// An object of ours whose spec can be parsed.
pub trait Parse: Bounded + Clone {
    /// What it asks for: valid, so that nothing after this can refuse it.
    type Spec: Debug + Send + Sync + 'static;

    /// Parses the spec, and those annotations by which people ask for something.
    ///
    /// # Errors
    /// Names the field that cannot work.
    fn parse(&self) -> Result<Self::Spec, SpecError>;
}

impl Parse for SecretPolicy {
    type Spec = PolicySpec;

    fn parse(&self) -> Result<PolicySpec, SpecError> {
        PolicySpec::try_from(self)
    }
}

impl Parse for RotationSchedule {
    type Spec = ScheduleSpec;

    fn parse(&self) -> Result<ScheduleSpec, SpecError> {
        ScheduleSpec::try_from(self)
    }
}

impl Parse for RemoteStore {
    type Spec = StoreSpec;

    fn parse(&self) -> Result<StoreSpec, SpecError> {
        StoreSpec::parse(StoreKind::RemoteStore, self.spec.clone(), &[])
    }
}

impl Parse for ClusterRemoteStore {
    type Spec = StoreSpec;

    fn parse(&self) -> Result<StoreSpec, SpecError> {
        let spec = &self.spec;
        let connection =
            RemoteStoreSpec { access: spec.access, limits: spec.limits.clone(), provider: spec.provider.clone() };
        StoreSpec::parse(StoreKind::ClusterRemoteStore, connection, &spec.grants)
    }
}
