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

/// How an Event shows up (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It went as planned.
    Normal,
    /// A person should look at it.
    Warning,
}

/// What helps, and so when Rekey retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing has to help: it is no failure, or one that is over.
    Outcome,
    /// Only a change of the object helps.
    Spec,
    /// A change of the object, of the store's content or of another object helps.
    Data,
    /// Rights in a store are missing, or a store that a user has to set up.
    Denied,
    /// Time may help.
    Transient,
    /// Another writer was faster: a new look helps at once.
    Conflict,
    /// A new version of Rekey helps.
    Bug,
}

/// Declares the table of reasons.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $word:ident: $severity:ident, $class:ident;)+ }) => {
        words! { $(#[$meta])* $name { $($(#[$doc])* $word,)+ } }

        impl $name {
            /// How an Event with this reason shows up.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$word => Severity::$severity,)+
                }
            }

            /// What helps. A failure may know better than its reason: see the errors of the operator.
            #[must_use]
            pub const fn class(self) -> Class {
                match self {
                    $(Self::$word => Class::$class,)+
                }
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

reasons! {
    /// Reason of a condition, of an event and of a metric. This is the one table of them: what each says, whether an
    /// Event with it is a warning, and what helps.
    Reason {
        // In order.
        /// Published content equals the source.
        Synced: Normal, Outcome;
        /// Every consumer is on the published revision.
        AllCurrent: Normal, Outcome;
        /// What some consumers held before the first publication is not known; all others are on the published revision.
        Assumed: Normal, Outcome;
        /// The last rotation completed.
        Rotated: Normal, Outcome;
        // On the way.
        /// A change is on its way.
        Progressing: Normal, Outcome;
        /// Something needed is missing; Rekey retries with backoff.
        ProgressingWithRetry: Normal, Outcome;
        /// Consumers are being restarted.
        Restarting: Normal, Outcome;
        /// Some consumers do not run on the published revision.
        ConsumersOutdated: Normal, Outcome;
        /// A rotation is open.
        Rotating: Normal, Outcome;
        // Waiting on purpose.
        /// `spec.suspend` is true.
        Suspended: Normal, Outcome;
        /// Consumers stay on an older value until a window of `spec.rollout.windows` opens, or a rotation waits for one of
        /// `spec.windows`.
        AwaitingWindow: Normal, Outcome;
        /// A rotation waits until a person approves it.
        AwaitingApproval: Normal, Outcome;
        /// You allowed Rekey to replace a locked Secret, and it waits until no pod refers to that.
        Unlocking: Normal, Outcome;
        /// A rotation waits for the end of the old credential for longer than that takes by itself.
        RetirementBlocked: Warning, Outcome;
        /// A value that has leaked was replaced without waiting for whoever uses it.
        Forced: Warning, Outcome;
        /// A consumer stays on an older value, or a step waits because Rekey does not know that it is safe.
        Held: Warning, Outcome;
        // Dependencies.
        /// The source is not responding; Rekey serves the last published value.
        ServingLastKnown: Warning, Transient;
        /// Rekey has served the last value for longer than `maxStaleness`.
        TooStale: Warning, Transient;
        /// The store gives an older version than the published one.
        StoreWentBack: Warning, Transient;
        /// The store object does not exist.
        StoreNotFound: Warning, Denied;
        /// The store object is not ready.
        StoreNotReady: Warning, Denied;
        /// The store does not grant this namespace, key or operation.
        StoreNotAllowed: Warning, Denied;
        /// The store answered that access is denied.
        AccessDenied: Warning, Denied;
        /// The store refused the credentials.
        InvalidCredentials: Warning, Denied;
        /// The Secret or `ServiceAccount` with the credentials does not exist.
        CredentialsNotFound: Warning, Denied;
        /// The key does not exist in the store.
        KeyNotFound: Warning, Transient;
        /// The key exists, the property does not.
        PropertyNotFound: Warning, Transient;
        /// The object in the store has no members, or only nulls; nothing is changed.
        EmptyAnswer: Warning, Transient;
        /// Rekey is rate-limited.
        Throttled: Warning, Transient;
        /// The store or the database is not responding.
        Unavailable: Warning, Transient;
        /// The users that a schedule rotates cannot take turns as they are.
        SlotsNotReady: Warning, Outcome;
        /// The schedule's policy does not exist or is not ready.
        PolicyNotReady: Warning, Outcome;
        /// The Secret that another tool makes does not exist.
        SecretNotFound: Warning, Transient;
        /// The Secret is being deleted; Rekey makes it again when it is gone.
        SecretTerminating: Warning, Transient;
        /// Other policies take so much of the operator's memory or time at the moment that this one waits.
        OperatorBusy: Warning, Transient;
        /// A workload has more pods than Rekey looks at.
        TooManyPods: Warning, Data;
        // Refused.
        /// The spec contradicts itself or breaks a rule.
        InvalidSpec: Warning, Spec;
        /// The spec is valid, but this version cannot do it.
        NotSupportedYet: Warning, Spec;
        /// The template does not parse or does not render.
        TemplateError: Warning, Data;
        /// The data does not fit the type of the Secret.
        InvalidData: Warning, Data;
        /// The Secret has another type than the policy asks for, and Kubernetes cannot change it.
        WrongType: Warning, Data;
        /// The Secret would be larger than 1 MiB, or its annotations than 256 KiB.
        SecretTooLarge: Warning, Data;
        /// The Secret exists and does not have `rekey.dev/adopt-by`, or a credential does not have `rekey.dev/usable-by`.
        NoConsent: Warning, Data;
        /// Another policy publishes the same Secret.
        TargetConflict: Warning, Data;
        /// The Secret is locked, and the source has another value, or the policy another `immutability`.
        LockedAndChanged: Warning, Data;
        /// Another tool changed the Secret; Rekey repaired it.
        Drifted: Warning, Outcome;
        /// The operator has no rights in the namespace, or not all that it needs.
        NamespaceNotOpened: Warning, Data;
        /// The object cannot be decoded.
        MalformedObject: Warning, Spec;
        /// The store's address is refused: not https, or loopback, link-local, metadata, API server.
        AddressNotAllowed: Warning, Data;
        /// Another schedule rotates the same policy or the same role.
        DuplicateSchedule: Warning, Data;
        /// Another tool made an object of its own the owner of the Secret.
        ForeignOwner: Warning, Data;
        // Rotation and rollout.
        /// The rotation is later than `overdueAfter`.
        RotationOverdue: Warning, Outcome;
        /// The new value failed and the old one is back everywhere.
        RolledBack: Warning, Outcome;
        /// Rekey gave the rotation up; it writes no more until the next one.
        Failed: Warning, Outcome;
        /// Another tool changed the properties that this schedule rotates.
        ForeignRotation: Warning, Outcome;
        /// The pending Secret of a rotation does not prove that it is the schedule's: another tool made or changed it, or the
        /// digest key was lost.
        PendingNotProven: Warning, Outcome;
        /// Another tool removed the restart marker twice.
        MarkerReverted: Warning, Outcome;
        /// A consumer did not become healthy before its deadline.
        ConsumerFailed: Warning, Outcome;
        /// The API server refused or failed a request.
        ApiError: Warning, Transient;
        /// A fault of the operator itself.
        InternalError: Warning, Bug;
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
