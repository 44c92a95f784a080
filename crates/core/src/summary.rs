//! From a situation to the conditions that people and tools read. The only place that knows how they belong together:
//! kstatus (<https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>) understands `Ready`,
//! `Reconciling` and `Stalled`, the last two being absent when not true; `Ready` is never true together with `Stalled`.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rekey_api::{
    bounds::MESSAGE,
    condition::{ConditionType, Reason},
};

use crate::time;

/// Where an object stands, with the text for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Situation {
    /// All is as the spec wants it.
    Synced(String),
    /// On its way; `Ready` keeps its last value.
    Progressing(String),
    /// It rests because somebody wants it to; `Ready` keeps its last value.
    Resting(String),
    /// A dependency is missing and nothing has been published yet.
    NotReady(Reason, String),
    /// A dependency is missing; what was published before still stands.
    LastKnown(Reason, String),
    /// A dependency is missing, and for so long that what was published before is no longer good enough.
    Stale(Reason, String),
    /// Only a change by the user can help.
    Stalled(Reason, String),
    /// Ready is false, and nothing else is said (a rotation that is overdue).
    Late(Reason, String),
}

/// A condition beside the three of kstatus; `None` leaves it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// Its type.
    pub kind: ConditionType,
    /// Its value.
    pub value: bool,
    /// Its reason.
    pub reason: Reason,
    /// Its text.
    pub message: String,
}

impl Situation {
    /// The reason that stands in Events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Synced(_) => Reason::Synced,
            Self::Progressing(_) => Reason::Progressing,
            Self::Resting(_) => Reason::Suspended,
            Self::NotReady(reason, _)
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
            | Self::Progressing(text)
            | Self::Resting(text)
            | Self::NotReady(_, text)
            | Self::LastKnown(_, text)
            | Self::Stale(_, text)
            | Self::Stalled(_, text)
            | Self::Late(_, text) => text,
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
    let last_ready = previous.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    let build = |kind: ConditionType, value: bool, reason: Reason, message: &str| {
        let status = if value { "True" } else { "False" };
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
    let mut found = Vec::new();
    match situation {
        Situation::Synced(text) => found.push(build(ConditionType::Ready, true, Reason::Synced, text)),
        Situation::Progressing(text) => {
            found.push(match last_ready {
                Some(last) => Condition { observed_generation: Some(generation), ..last.clone() },
                None => build(ConditionType::Ready, false, Reason::Progressing, text),
            });
            found.push(build(ConditionType::Reconciling, true, Reason::Progressing, text));
        }
        Situation::Resting(text) => found.push(match last_ready {
            Some(last) => Condition { observed_generation: Some(generation), ..last.clone() },
            None => build(ConditionType::Ready, false, Reason::Suspended, text),
        }),
        Situation::NotReady(reason, text) => {
            found.push(build(ConditionType::Ready, false, *reason, text));
            found.push(build(ConditionType::Reconciling, true, Reason::ProgressingWithRetry, text));
        }
        Situation::LastKnown(reason, text) => {
            found.push(build(ConditionType::Ready, true, Reason::ServingLastKnown, text));
            found.push(build(ConditionType::Fresh, false, *reason, text));
        }
        Situation::Stale(reason, text) => {
            found.push(build(ConditionType::Ready, false, Reason::TooStale, text));
            found.push(build(ConditionType::Reconciling, true, Reason::ProgressingWithRetry, text));
            found.push(build(ConditionType::Fresh, false, *reason, text));
        }
        Situation::Stalled(reason, text) => {
            found.push(build(ConditionType::Ready, false, *reason, text));
            found.push(build(ConditionType::Stalled, true, *reason, text));
        }
        Situation::Late(reason, text) => found.push(build(ConditionType::Ready, false, *reason, text)),
    }
    found.extend(extras.iter().map(|extra| build(extra.kind, extra.value, extra.reason, &extra.message)));
    found
}

/// The beginning of a text, with a mark where something is left out: the schema refuses a status with a longer one, for
/// as long as it is that long. Conditions could carry 32,768 characters; ours stay readable.
#[must_use]
pub fn clip(text: &str, most: u32) -> String {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
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
            (
                Situation::NotReady(Reason::DependencyNotReady, text()),
                vec!["Ready=False/DependencyNotReady", "Reconciling=True/ProgressingWithRetry"],
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
}
