//! Condition types and reasons: the words with which status, events and metrics say what is the case.

use std::fmt;

/// Declares an enum of names that are written as they are spelt, with `as_str`, `ALL` and `Display`.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $word:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $word,)+
        }

        impl $name {
            /// Every member, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$word,)+];

            /// The name as it stands in status.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }

            /// The member with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Type of a condition in status.
    ConditionType {
        /// The object does what its spec asks for.
        Ready,
        /// A change is on its way (kstatus); absent when not true.
        Reconciling,
        /// Nothing happens until the spec or the cluster changes (kstatus); absent when not true.
        Stalled,
        /// Every consumer runs on the published revision.
        ConsumersCurrent,
        /// The published value was confirmed by its source recently enough.
        Fresh,
        /// The last rotation that was due has completed.
        Rotated,
    }
}

words! {
    /// Reason of a condition, of an event and of a metric.
    Reason {
        // In order.
        /// Published content equals the source.
        Synced,
        /// Every consumer is on the published revision.
        AllCurrent,
        /// Nobody knows what some consumers held before the first publication; all others are on the published revision.
        Assumed,
        /// The last rotation completed.
        Rotated,
        // On the way.
        /// A change is on its way.
        Progressing,
        /// Something needed is missing; Rekey retries with backoff.
        ProgressingWithRetry,
        /// Consumers are being restarted.
        Restarting,
        /// Some consumers do not run on the published revision.
        ConsumersOutdated,
        /// A rotation is open.
        Rotating,
        // Waiting on purpose.
        /// `spec.suspend` is true.
        Suspended,
        /// A consumer stays on an older value, or a step waits because Rekey does not know that it is safe.
        Held,
        // Dependencies.
        /// The source is not responding; Rekey serves the last published value.
        ServingLastKnown,
        /// Rekey has served the last value for longer than `maxStaleness`.
        TooStale,
        /// The store gives an older version than the published one.
        StoreWentBack,
        /// The store object does not exist.
        StoreNotFound,
        /// The store object is not ready.
        StoreNotReady,
        /// The store does not grant this namespace, key or operation.
        StoreNotAllowed,
        /// The store answered that access is denied.
        AccessDenied,
        /// The store refused the credentials.
        InvalidCredentials,
        /// The Secret or `ServiceAccount` with the credentials does not exist.
        CredentialsNotFound,
        /// The key does not exist in the store.
        KeyNotFound,
        /// The key exists, the property does not.
        PropertyNotFound,
        /// The object in the store has no members, or only nulls; nothing is changed.
        EmptyAnswer,
        /// Rekey is rate-limited.
        Throttled,
        /// The store or the database is not responding.
        Unavailable,
        /// The schedule's policy does not exist or is not ready.
        PolicyNotReady,
        /// The Secret that another tool makes does not exist.
        SecretNotFound,
        /// The Secret is being deleted; Rekey makes it again when it is gone.
        SecretTerminating,
        /// Other policies take so much of the operator's memory or time at the moment that this one waits.
        OperatorBusy,
        /// A workload has more pods than Rekey looks at.
        TooManyPods,
        // Refused.
        /// The spec contradicts itself or breaks a rule.
        InvalidSpec,
        /// The spec is valid, but this version cannot do it.
        NotSupportedYet,
        /// The template does not parse or does not render.
        TemplateError,
        /// The data does not fit the type of the Secret.
        InvalidData,
        /// The Secret has another type than the policy asks for, and Kubernetes cannot change it.
        WrongType,
        /// The Secret would be larger than 1 MiB, or its annotations than 256 KiB.
        SecretTooLarge,
        /// The Secret exists and does not have `rekey.dev/adopt-by`, or a credential does not have `rekey.dev/usable-by`.
        NoConsent,
        /// Another policy publishes the same Secret.
        TargetConflict,
        /// The Secret is locked and the source has another value.
        LockedAndChanged,
        /// Another tool changed the Secret; Rekey repaired it.
        Drifted,
        /// The operator has no rights in the namespace.
        NamespaceNotOpened,
        /// The object cannot be decoded.
        MalformedObject,
        /// The store's address is refused: not https, or loopback, link-local, metadata, API server.
        AddressNotAllowed,
        /// Another schedule rotates the same policy or the same role.
        DuplicateSchedule,
        /// Another tool made an object of its own the owner of the Secret.
        ForeignOwner,
        // Rotation and rollout.
        /// The rotation is later than `overdueAfter`.
        RotationOverdue,
        /// The new value failed and the old one is back everywhere.
        RolledBack,
        /// Rekey gave the rotation up; it writes no more until the next one.
        Failed,
        /// Another tool changed the properties that this schedule rotates.
        ForeignRotation,
        /// The pending Secret of a rotation does not prove that it is the schedule's: another tool made or changed it, or the
        /// digest key was lost.
        PendingNotProven,
        /// Another tool removed the restart marker twice.
        MarkerReverted,
        /// A consumer did not become healthy before its deadline.
        ConsumerFailed,
        /// The API server refused or failed a request.
        ApiError,
        /// A fault of the operator itself.
        InternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(*reason));
        }
        for kind in ConditionType::ALL {
            assert_eq!(ConditionType::from_name(kind.as_str()), Some(*kind));
        }
    }
}
