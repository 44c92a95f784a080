//! Where an object has the name of a Secret, so that a JSON patch can test and replace it there.

#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};

use super::Kind;

/// How many places of one Secret are kept. The API server takes JSON patches of at most 10,000 operations, and a place
/// needs two, a test and a replacement: a patch for more places than these, with room for what else it has to say,
/// would be refused.
pub const MOST: usize = 4_096;

/// One place in one version of an object. Written out it is a JSON pointer (RFC 6901) to the name of the Secret,
/// relative to the pod spec; in kinds without one, to the object. A pointer has nothing to escape: it is made of field
/// names and of indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An environment variable of a container.
    Variable {
        /// The list that the container is in.
        list: ContainerList,
        /// Its index there.
        container: u16,
        /// The index in `env`.
        variable: u16,
    },
    /// A whole Secret as environment variables of a container.
    Source {
        /// The list that the container is in.
        list: ContainerList,
        /// Its index there.
        container: u16,
        /// The index in `envFrom`.
        source: u16,
    },
    /// The volume of this index, which is the Secret.
    Volume(u16),
    /// A source of a projected volume.
    Projection {
        /// The index of the volume.
        volume: u16,
        /// The index in its sources.
        source: u16,
    },
    /// The credential of a volume's driver.
    Credential {
        /// The index of the volume.
        volume: u16,
        /// The driver.
        driver: Driver,
    },
    /// The entry of this index in `imagePullSecrets`, of a pod spec or of a `ServiceAccount`.
    PullSecret(u16),
    /// The entry of this index in the `spec.tls` of an `Ingress`.
    IngressTls(u16),
    /// A certificate of a listener of a `Gateway`.
    Certificate {
        /// The index of the listener.
        listener: u16,
        /// The index in its `certificateRefs`.
        reference: u16,
    },
}

impl Place {
    /// The JSON pointer from the root of an object of this kind, which is the kind that the place was found in.
    #[must_use]
    pub fn pointer(self, kind: Kind) -> String {
        format!("{}{self}", kind.pod_spec().unwrap_or_default())
    }
}

impl Display for Place {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable { list, container, variable } => {
                write!(formatter, "/{}/{container}/env/{variable}/valueFrom/secretKeyRef/name", list.as_str())
            }
            Self::Source { list, container, source } => {
                write!(formatter, "/{}/{container}/envFrom/{source}/secretRef/name", list.as_str())
            }
            Self::Volume(volume) => write!(formatter, "/volumes/{volume}/secret/secretName"),
            Self::Projection { volume, source } => {
                write!(formatter, "/volumes/{volume}/projected/sources/{source}/secret/name")
            }
            Self::Credential { volume, driver } => write!(formatter, "/volumes/{volume}/{}", driver.name()),
            Self::PullSecret(secret) => write!(formatter, "/imagePullSecrets/{secret}/name"),
            Self::IngressTls(tls) => write!(formatter, "/spec/tls/{tls}/secretName"),
            Self::Certificate { listener, reference } => {
                write!(formatter, "/spec/listeners/{listener}/tls/certificateRefs/{reference}/name")
            }
        }
    }
}

/// A list of containers in a pod spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerList {
    /// `containers`
    Containers,
    /// `initContainers`
    InitContainers,
    /// `ephemeralContainers`
    EphemeralContainers,
}

impl ContainerList {
    fn as_str(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::InitContainers => "initContainers",
            Self::EphemeralContainers => "ephemeralContainers",
        }
    }
}

/// What mounts a volume with a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// `azureFile`
    AzureFile,
    /// `cephfs`
    CephFs,
    /// `cinder`
    Cinder,
    /// `csi`
    Csi,
    /// `flexVolume`
    FlexVolume,
    /// `iscsi`
    Iscsi,
    /// `rbd`
    Rbd,
    /// `scaleIO`
    ScaleIo,
    /// `storageos`
    StorageOs,
}

impl Driver {
    /// Where the volume has the name of the Secret.
    fn name(self) -> &'static str {
        match self {
            Self::AzureFile => "azureFile/secretName",
            Self::CephFs => "cephfs/secretRef/name",
            Self::Cinder => "cinder/secretRef/name",
            Self::Csi => "csi/nodePublishSecretRef/name",
            Self::FlexVolume => "flexVolume/secretRef/name",
            Self::Iscsi => "iscsi/secretRef/name",
            Self::Rbd => "rbd/secretRef/name",
            Self::ScaleIo => "scaleIO/secretRef/name",
            Self::StorageOs => "storageos/secretRef/name",
        }
    }
}

/// All places of one Secret in one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// These, in ascending order and each once; none, if the object does not refer to the Secret.
    Known(Box<[Place]>),
    /// More than [`MOST`], or one with an index that a [`Place`] has no room for. An object may have it: what etcd
    /// takes of one, 1.5 MiB, is enough for 300,000 pull secrets. No patch can move such a reference.
    TooMany,
}

impl Default for Places {
    fn default() -> Self {
        Self::Known(Box::default())
    }
}

/// `None` among them: a place whose index is out of range.
impl FromIterator<Option<Place>> for Places {
    fn from_iter<I: IntoIterator<Item = Option<Place>>>(found: I) -> Self {
        let known: Option<Vec<Place>> = found.into_iter().take(MOST + 1).collect();
        let Some(mut places) = known.filter(|places| places.len() <= MOST) else {
            return Self::TooMany;
        };
        places.sort_unstable();
        Self::Known(places.into())
    }
}

/// An index as places hold it; `None` when it is out of range.
pub(super) fn index(at: usize) -> Option<u16> {
    u16::try_from(at).ok()
}
