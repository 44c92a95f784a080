//! Kinds of consumers.

use rekey_api::reference::WorkloadRef;

/// A kind of object that consumes Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1` `Deployment`
    Deployment,
    /// `apps/v1` `StatefulSet`
    StatefulSet,
    /// `apps/v1` `DaemonSet`
    DaemonSet,
    /// `argoproj.io/v1alpha1` `Rollout`
    Rollout,
    /// `batch/v1` `CronJob`: its next Job reads the current value, so it is never restarted.
    CronJob,
    /// `networking.k8s.io/v1` `Ingress`
    Ingress,
    /// `gateway.networking.k8s.io/v1` `Gateway`
    Gateway,
    /// `v1` `ServiceAccount`, for the pull secrets that its pods get.
    ServiceAccount,
}

impl Kind {
    /// The kinds that a policy may name.
    pub const NAMED: [Self; 5] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::CronJob, Self::Rollout];

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Rollout,
        Self::CronJob,
        Self::Ingress,
        Self::Gateway,
        Self::ServiceAccount,
    ];

    /// The kind as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Rollout => "Rollout",
            Self::CronJob => "CronJob",
            Self::Ingress => "Ingress",
            Self::Gateway => "Gateway",
            Self::ServiceAccount => "ServiceAccount",
        }
    }

    /// Its API version.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::Rollout => "argoproj.io/v1alpha1",
            Self::CronJob => "batch/v1",
            Self::Ingress => "networking.k8s.io/v1",
            Self::Gateway => "gateway.networking.k8s.io/v1",
            Self::ServiceAccount => "v1",
        }
    }

    /// The JSON pointer of the pod spec in its objects; `None`: they have none.
    #[must_use]
    pub fn pod_spec(self) -> Option<&'static str> {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::Rollout => Some("/spec/template/spec"),
            Self::CronJob => Some("/spec/jobTemplate/spec/template/spec"),
            Self::Ingress | Self::Gateway | Self::ServiceAccount => None,
        }
    }

    /// Whether its pods are replaced when its pod template changes.
    #[must_use]
    pub fn rolls(self) -> bool {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::Rollout => true,
            Self::CronJob | Self::Ingress | Self::Gateway | Self::ServiceAccount => false,
        }
    }

    /// What a user runs to restart it: kubectl itself does not know Rollouts.
    #[must_use]
    pub fn restart_command(self, name: &str, namespace: &str) -> String {
        match self {
            Self::Rollout => format!("kubectl argo rollouts restart {name} -n {namespace}"),
            Self::Deployment
            | Self::StatefulSet
            | Self::DaemonSet
            | Self::CronJob
            | Self::Ingress
            | Self::Gateway
            | Self::ServiceAccount => {
                format!("kubectl rollout restart {}/{name} -n {namespace}", self.as_str().to_lowercase())
            }
        }
    }

    /// The kind that a policy names.
    #[must_use]
    pub fn named(reference: &WorkloadRef) -> Option<Self> {
        let same = |kind: &Self| kind.as_str() == reference.kind && kind.api_version() == reference.api_version;
        Self::NAMED.into_iter().find(same)
    }
}
