//! What is asked of the API server.

use std::fmt::{Display, Formatter};

/// A request to the API server, as messages name it: the object follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Of a Secret that a policy publishes or takes a template from.
    ReadSecret,
    /// With a template.
    ReadConfigMap,
    /// Server-side apply of a policy's Secret.
    ApplySecret,
    /// Removes what server-side apply leaves in a policy's Secret.
    TrimSecret,
    /// Writes the record on a Secret that another tool makes.
    RecordSecret,
    /// Deletes a policy's Secret.
    DeleteSecret,
    /// Takes a policy's keys out of a Secret that another tool makes.
    WithdrawFromSecret,
    /// Of a rotation.
    ReadPending,
    /// Of a rotation.
    CreatePending,
    /// Of a rotation.
    DeletePending,
    /// Of the installation.
    ReadDigestKey,
    /// Of the installation.
    CreateDigestKey,
    /// Who has written a policy, and when.
    ReadPolicy,
    /// Of one of our own kinds.
    WriteStatus,
    /// On the pod template of a workload.
    WriteTemplate,
    /// Of mountable Secrets.
    WriteList,
    /// Of a schedule.
    ChangeFinalizer,
    /// Of a workload or a namespace.
    ListPods,
    /// Of a namespace: what may still make a pod that refers to a version.
    ListMakers,
    /// Whether a namespace is opened.
    AskForRights,
}

impl Operation {
    /// Whether the request or its answer holds values. What the API server says about it may be anybody's text
    /// (webhooks, policies) and quote them.
    #[must_use]
    pub fn carries_values(self) -> bool {
        match self {
            Self::ReadSecret
            | Self::ApplySecret
            | Self::TrimSecret
            | Self::RecordSecret
            | Self::DeleteSecret
            | Self::WithdrawFromSecret
            | Self::ReadPending
            | Self::CreatePending
            | Self::DeletePending
            | Self::ReadDigestKey
            | Self::CreateDigestKey => true,
            Self::ReadConfigMap
            | Self::ReadPolicy
            | Self::WriteStatus
            | Self::WriteTemplate
            | Self::WriteList
            | Self::ChangeFinalizer
            | Self::ListPods
            | Self::ListMakers
            | Self::AskForRights => false,
        }
    }
}

impl Display for Operation {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::ReadSecret => "read Secret",
            Self::ReadConfigMap => "read ConfigMap",
            Self::ApplySecret => "apply Secret",
            Self::TrimSecret => "remove what is not wanted from Secret",
            Self::RecordSecret => "write the record of Secret",
            Self::DeleteSecret => "delete Secret",
            Self::WithdrawFromSecret => "withdraw from Secret",
            Self::ReadPending => "read pending Secret",
            Self::CreatePending => "create pending Secret",
            Self::DeletePending => "delete pending Secret",
            Self::ReadDigestKey => "read the digest key from",
            Self::CreateDigestKey => "create the digest key in",
            Self::ReadPolicy => "read",
            Self::WriteStatus => "write the status of",
            Self::WriteTemplate => "change the pod template of",
            Self::WriteList => "change the list of mountable Secrets of",
            Self::ChangeFinalizer => "change the finalizer of",
            Self::ListPods => "list the pods of",
            Self::ListMakers => "list the ReplicaSets, StatefulSets, ControllerRevisions and Jobs of",
            Self::AskForRights => "check the rights in",
        })
    }
}
