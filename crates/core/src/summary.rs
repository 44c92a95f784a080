//! From a situation to the conditions that people and tools read. The only place that combines them: kstatus
//! (<https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>) understands `Ready`,
//! `Reconciling` and `Stalled`, the last two being absent when not true; `Ready` is never true together with `Stalled`.

mod listed;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rekey_api::{
    bounds::MESSAGE,
    condition::{ConditionType, Reason},
};

pub use listed::{clip, listed};

use crate::time;

/// The situation of an object, with the text for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Situation {
    /// All is as the spec asks for it.
    Synced(String),
    /// `Ready` is true, and there is something beside it that the user should know.
    Noted(Reason, String),
    /// On its way; `Ready` keeps its last value.
    Progressing(String),
    /// It rests because the user asked for that; `Ready` keeps its last value, and says why it rests.
    Resting(Reason, String),
    /// A dependency is missing and nothing has been published yet.
    NotReady(Reason, String),
    /// A dependency is missing; what was published before stays.
    LastKnown(Reason, String),
    /// A dependency is missing, and for so long that what was published before is no longer good enough.
    Stale(Reason, String),
    /// Only a change by the user can help.
    Stalled(Reason, String),
    /// Ready is false, and nothing else is said (a rotation that is overdue).
    Late(Reason, String),
}

/// The value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is the case.
    True,
    /// It is not.
    False,
    /// It is not known.
    Unknown,
}

impl Truth {
    /// As the status shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition beside the three of kstatus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// Its type.
    pub kind: ConditionType,
    /// Its value.
    pub value: Truth,
    /// Its reason.
    pub reason: Reason,
    /// Its text.
    pub message: String,
}

impl Situation {
    /// Why it is so, in a word.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Synced(_) => Reason::Synced,
            Self::Progressing(_) => Reason::Progressing,
            Self::Noted(reason, _)
            | Self::Resting(reason, _)
            | Self::NotReady(reason, _)
            | Self::LastKnown(reason, _)
            | Self::Stale(reason, _)
            | Self::Stalled(reason, _)
            | Self::Late(reason, _) => *reason,
        }
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Synced(text)
            | Self::Noted(_, text)
            | Self::Progressing(text)
            | Self::Resting(_, text)
            | Self::NotReady(_, text)
            | Self::LastKnown(_, text)
            | Self::Stale(_, text)
            | Self::Stalled(_, text)
            | Self::Late(_, text) => text,
        }
    }

    /// `Ready` in this situation, with its reason; `last`: its value so far.
    fn ready(&self, last: Option<&Condition>) -> (Truth, Reason) {
        let kept = match last.map(|last| last.status.as_str()) {
            Some("True") => Truth::True,
            Some(_) | None => Truth::False, // what has never been Ready is not known to work
        };
        match self {
            Self::Synced(_) => (Truth::True, Reason::Synced),
            Self::Noted(reason, _) => (Truth::True, *reason),
            Self::Progressing(_) => (kept, Reason::Progressing),
            Self::Resting(reason, _) => (kept, *reason),
            Self::LastKnown(..) => (Truth::True, Reason::ServingLastKnown),
            Self::Stale(..) => (Truth::False, Reason::TooStale),
            Self::NotReady(reason, _) | Self::Stalled(reason, _) | Self::Late(reason, _) => (Truth::False, *reason),
        }
    }

    /// The conditions beside `Ready` in this situation.
    fn others(&self) -> Vec<(ConditionType, Truth, Reason)> {
        let retries = (ConditionType::Reconciling, Truth::True, Reason::ProgressingWithRetry);
        match self {
            Self::Synced(_) | Self::Noted(..) | Self::Resting(..) | Self::Late(..) => Vec::new(),
            Self::Progressing(_) => vec![(ConditionType::Reconciling, Truth::True, Reason::Progressing)],
            Self::NotReady(..) => vec![retries],
            Self::LastKnown(reason, _) => vec![(ConditionType::Fresh, Truth::False, *reason)],
            Self::Stale(reason, _) => vec![retries, (ConditionType::Fresh, Truth::False, *reason)],
            Self::Stalled(reason, _) => vec![(ConditionType::Stalled, Truth::True, *reason)],
        }
    }
}

/// The conditions of an object in `situation`. Transition times of conditions whose value has not changed are kept.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    situation: &Situation,
    extras: &[Extra],
    generation: i64,
    now: DateTime<Utc>,
) -> Vec<Condition> {
    let build = |kind: ConditionType, value: Truth, reason: Reason, message: &str| {
        let status = value.as_str();
        let before = previous.iter().find(|before| before.type_ == kind.as_str() && before.status == status);
        Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: clip(message, MESSAGE),
            observed_generation: Some(generation),
            last_transition_time: before.map_or_else(|| time::kube(now), |before| before.last_transition_time.clone()),
        }
    };
    let last = previous.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    let ready = match (situation, last) {
        // While a change is on its way, what was in order before still is. Any other reason is out of date.
        (Situation::Progressing(_), Some(last)) if last.reason == Reason::Synced.as_str() => {
            Condition { observed_generation: Some(generation), ..last.clone() }
        }
        _ => {
            let (value, reason) = situation.ready(last);
            build(ConditionType::Ready, value, reason, situation.message())
        }
    };
    let others = situation.others().into_iter();
    let others = others.map(|(kind, value, reason)| build(kind, value, reason, situation.message()));
    let extras = extras.iter().map(|extra| build(extra.kind, extra.value, extra.reason, &extra.message));
    std::iter::once(ready).chain(others).chain(extras).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn shown(conditions: &[Condition]) -> Vec<String> {
        conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect()
    }

    #[test]
    fn each_situation_has_its_row() {
        let text = String::new;
        for (situation, expected) in [
            (Situation::Synced(text()), vec!["Ready=True/Synced"]),
            (Situation::Progressing(text()), vec!["Ready=False/Progressing", "Reconciling=True/Progressing"]),
            (Situation::Noted(Reason::ConsumerFailed, text()), vec!["Ready=True/ConsumerFailed"]),
            (Situation::Resting(Reason::Suspended, text()), vec!["Ready=False/Suspended"]),
            (
                Situation::NotReady(Reason::KeyNotFound, text()),
                vec!["Ready=False/KeyNotFound", "Reconciling=True/ProgressingWithRetry"],
            ),
            (
                Situation::LastKnown(Reason::Unavailable, text()),
                vec!["Ready=True/ServingLastKnown", "Fresh=False/Unavailable"],
            ),
            (
                Situation::Stale(Reason::Unavailable, text()),
                vec!["Ready=False/TooStale", "Reconciling=True/ProgressingWithRetry", "Fresh=False/Unavailable"],
            ),
            (
                Situation::Stalled(Reason::LockedAndChanged, text()),
                vec!["Ready=False/LockedAndChanged", "Stalled=True/LockedAndChanged"],
            ),
            (Situation::Late(Reason::RotationOverdue, text()), vec!["Ready=False/RotationOverdue"]),
        ] {
            assert_eq!(shown(&conditions(&[], &situation, &[], 1, at(0))), expected, "{situation:?}");
        }
    }

    #[test]
    fn progress_keeps_the_last_ready_and_times_change_only_with_the_value() {
        let first = conditions(&[], &Situation::Synced("a".to_owned()), &[], 1, at(0));
        let second = conditions(&first, &Situation::Progressing("b".to_owned()), &[], 2, at(9));
        assert_eq!(shown(&second), ["Ready=True/Synced", "Reconciling=True/Progressing"]);
        assert_eq!(second[0].observed_generation, Some(2));
        let third = conditions(&second, &Situation::Synced("c".to_owned()), &[], 2, at(20));
        assert_eq!(third[0].last_transition_time, first[0].last_transition_time);
        let fourth = conditions(&third, &Situation::Stalled(Reason::InvalidSpec, "d".to_owned()), &[], 2, at(30));
        assert_ne!(fourth[0].last_transition_time, first[0].last_transition_time);
    }

    #[test]
    fn a_wait_keeps_the_last_value_and_says_why() {
        let rest = |reason: Reason| Situation::Resting(reason, format!("{reason}"));
        let synced = conditions(&[], &Situation::Synced("a".to_owned()), &[], 1, at(0));
        let waits = conditions(&synced, &rest(Reason::Suspended), &[], 2, at(9));
        assert_eq!(shown(&waits), ["Ready=True/Suspended"]);
        assert_eq!((waits[0].message.as_str(), waits[0].observed_generation), ("Suspended", Some(2)));
        assert_eq!(waits[0].last_transition_time, synced[0].last_transition_time, "the value is the same");
        let stalled = conditions(&synced, &Situation::Stalled(Reason::InvalidSpec, "b".to_owned()), &[], 2, at(9));
        assert_eq!(shown(&conditions(&stalled, &rest(Reason::Suspended), &[], 3, at(20))), ["Ready=False/Suspended"]);
    }

    /// A reason of the past is no reason of today.
    #[test]
    fn progress_keeps_no_reason_but_that_all_is_well() {
        let moving = Situation::Progressing("moving".to_owned());
        for (before, ready) in [
            (Situation::Synced("a".to_owned()), "Ready=True/Synced"),
            (Situation::Noted(Reason::ConsumerFailed, "a".to_owned()), "Ready=True/Progressing"),
            (Situation::Resting(Reason::Suspended, "a".to_owned()), "Ready=False/Progressing"),
            (Situation::LastKnown(Reason::Unavailable, "a".to_owned()), "Ready=True/Progressing"),
            (Situation::Stalled(Reason::LockedAndChanged, "a".to_owned()), "Ready=False/Progressing"),
        ] {
            let first = conditions(&[], &before, &[], 1, at(0));
            let second = conditions(&first, &moving, &[], 1, at(9));
            assert_eq!(shown(&second), [ready, "Reconciling=True/Progressing"], "{before:?}");
        }
    }
}
