//! What one line says of a policy and its consumers: whether it is Ready, and why.

use rekey_api::{
    condition::{ConditionType, Reason},
    policy::{ConsumerState, ConsumerStatus, ReadyWhen},
};

use super::{Found, consumers::is_put_back};
use crate::summary::{Extra, Situation, Truth, listed};

/// The state of all consumers together: what needs attention most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Together {
    Failed,
    Moving,
    Held,
    Assumed,
    Current,
}

/// The situation of a policy, its consumers included; `own`: without them. A missing dependency comes before what its
/// consumers do, unless `Ready` waits for them.
pub fn line(own: Situation, consumers: Option<&Found>, wanted: ReadyWhen) -> (Situation, Vec<Extra>) {
    let Some(consumers) = consumers else { return (own, Vec::new()) };
    let (together, extra) = look(consumers);
    let text = extra.message.clone();
    let fresh = match (&own, wanted) {
        (Situation::LastKnown(reason, why), ReadyWhen::ConsumersHealthy) => {
            Some(Extra { kind: ConditionType::Fresh, value: Truth::False, reason: *reason, message: why.clone() })
        }
        _ => None,
    };
    let consumers_decide = match &own {
        Situation::Synced(_) => true,
        Situation::LastKnown(..) => wanted == ReadyWhen::ConsumersHealthy,
        Situation::Noted(..)
        | Situation::Progressing(_)
        | Situation::Resting(..)
        | Situation::NotReady(..)
        | Situation::Stale(..)
        | Situation::Stalled(..)
        | Situation::Late(..) => false,
    };
    let situation = match (together, wanted) {
        _ if !consumers_decide => return (own, vec![extra]),
        (Together::Current | Together::Assumed, _) => return (own, vec![extra]),
        (Together::Moving, _) => Situation::Progressing(text),
        (Together::Failed, ReadyWhen::Published) => Situation::Noted(Reason::ConsumerFailed, text),
        (Together::Failed, ReadyWhen::ConsumersHealthy) => Situation::Stalled(Reason::ConsumerFailed, text),
        (Together::Held, ReadyWhen::Published) => Situation::Noted(extra.reason, text),
        (Together::Held, ReadyWhen::ConsumersHealthy) => Situation::Resting(extra.reason, text),
    };
    (situation, fresh.into_iter().chain([extra]).collect())
}

/// The state of all consumers together, and the condition `ConsumersCurrent`.
fn look(found: &Found) -> (Together, Extra) {
    let consumers = &found.status;
    let of = |state: ConsumerState| consumers.items.iter().filter(move |item| item.state == state);
    let names = |state: ConsumerState| listed(of(state).map(name), ", ");
    let any = |state: ConsumerState| of(state).next().is_some();
    let (current, total) = (consumers.current, consumers.total);
    let (together, value, reason, message) = if any(ConsumerState::Failed) {
        let said = |item: &ConsumerStatus| format!("{}: {}", name(item), item.message.as_deref().unwrap_or_default());
        let text = listed(of(ConsumerState::Failed).map(said), "; ");
        (Together::Failed, Truth::False, Reason::ConsumerFailed, text)
    } else if any(ConsumerState::Progressing) {
        let text = format!("on their way to the current value: {}", names(ConsumerState::Progressing));
        (Together::Moving, Truth::False, Reason::ConsumersOutdated, text)
    } else if any(ConsumerState::Held) && of(ConsumerState::Held).count() == found.awaiting_window {
        let text = format!("wait for a window to restart: {}; see status.consumers", names(ConsumerState::Held));
        (Together::Held, Truth::False, Reason::AwaitingWindow, text)
    } else if consumers.items.iter().any(is_put_back) {
        let back = consumers.items.iter().filter(|item| is_put_back(item));
        let text = format!(
            "another tool puts references back, so Rekey restarts on the plain Secret instead: {}; see status.consumers",
            listed(back.map(name), ", ")
        );
        (Together::Held, Truth::False, Reason::MarkerReverted, text)
    } else if any(ConsumerState::Held) {
        let text = format!("held on an older value: {}; see status.consumers", names(ConsumerState::Held));
        (Together::Held, Truth::False, Reason::Held, text)
    } else if any(ConsumerState::Assumed) {
        let text = format!(
            "{current} of {total} run on the current value; Rekey did not restart the others, since it does not know \
             what they held before the first publication: {}",
            names(ConsumerState::Assumed)
        );
        (Together::Assumed, Truth::Unknown, Reason::Assumed, text)
    } else {
        let text = format!("{current} of {total} run on the current value");
        (Together::Current, Truth::True, Reason::AllCurrent, text)
    };
    (together, Extra { kind: ConditionType::ConsumersCurrent, value, reason, message })
}

fn name(item: &ConsumerStatus) -> String {
    format!("{} {}", item.kind, item.name)
}

#[cfg(test)]
mod tests {
    use ConsumerState::{Assumed, Current, Failed, Held, Outdated, Progressing};
    use chrono::DateTime;
    use rekey_api::policy::ConsumersStatus;

    use super::*;
    use crate::summary::conditions;

    fn consumers(states: &[ConsumerState]) -> Found {
        let item = |(number, state): (usize, &ConsumerState)| ConsumerStatus {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: format!("c{number}"),
            state: *state,
            how: Vec::new(),
            pods: None,
            reason: None,
            message: None,
        };
        let items = states.iter().enumerate().map(item).collect();
        Found::from(ConsumersStatus { items, ..ConsumersStatus::default() })
    }

    /// The conditions of a policy that was Ready before.
    fn shown(own: Situation, states: &[ConsumerState], wanted: ReadyWhen) -> Vec<String> {
        shown_of(own, &consumers(states), wanted)
    }

    fn shown_of(own: Situation, all: &Found, wanted: ReadyWhen) -> Vec<String> {
        let now = DateTime::UNIX_EPOCH;
        let before = conditions(&[], &Situation::Synced(String::new()), &[], 1, now);
        let (situation, extras) = line(own, Some(all).filter(|all| !all.status.items.is_empty()), wanted);
        let found = conditions(&before, &situation, &extras, 1, now);
        found.iter().map(|at| format!("{}={}/{}", at.type_, at.status, at.reason)).collect()
    }

    const FAILED: &str = "ConsumersCurrent=False/ConsumerFailed";
    const MOVING: &str = "ConsumersCurrent=False/ConsumersOutdated";
    const HELD: &str = "ConsumersCurrent=False/Held";

    /// The rows of the table of conditions in which consumers count.
    #[test]
    fn each_standing_of_consumers_has_its_row() {
        use ReadyWhen::{ConsumersHealthy, Published};
        let synced = || Situation::Synced(String::new());
        for (states, wanted, expected) in [
            (&[][..], Published, vec!["Ready=True/Synced"]),
            (&[Current, Current], Published, vec!["Ready=True/Synced", "ConsumersCurrent=True/AllCurrent"]),
            (&[Current, Current], ConsumersHealthy, vec!["Ready=True/Synced", "ConsumersCurrent=True/AllCurrent"]),
            (&[Assumed, Current], Published, vec!["Ready=True/Synced", "ConsumersCurrent=Unknown/Assumed"]),
            (&[Assumed], ConsumersHealthy, vec!["Ready=True/Synced", "ConsumersCurrent=Unknown/Assumed"]),
            (&[Progressing], Published, vec!["Ready=True/Synced", "Reconciling=True/Progressing", MOVING]),
            (&[Progressing], ConsumersHealthy, vec!["Ready=True/Synced", "Reconciling=True/Progressing", MOVING]),
            (&[Failed, Outdated, Progressing], Published, vec!["Ready=True/ConsumerFailed", FAILED]),
            (
                &[Failed, Outdated, Progressing],
                ConsumersHealthy,
                vec!["Ready=False/ConsumerFailed", "Stalled=True/ConsumerFailed", FAILED],
            ),
            (&[Held, Assumed], Published, vec!["Ready=True/Held", HELD]),
            (&[Held, Current], ConsumersHealthy, vec!["Ready=True/Held", HELD]),
        ] {
            assert_eq!(shown(synced(), states, wanted), expected, "{states:?} {wanted:?}");
        }
    }

    #[test]
    fn who_waits_for_a_window_alone_is_told_from_who_waits_for_a_user() {
        let of = |states: &[ConsumerState], awaiting_window, wanted| {
            shown_of(Situation::Synced(String::new()), &Found { awaiting_window, ..consumers(states) }, wanted)
        };
        for wanted in [ReadyWhen::Published, ReadyWhen::ConsumersHealthy] {
            let waits = ["Ready=True/AwaitingWindow", "ConsumersCurrent=False/AwaitingWindow"];
            assert_eq!(of(&[Held, Held, Current], 2, wanted), waits, "{wanted:?}");
            assert_eq!(of(&[Held, Held, Current], 1, wanted), ["Ready=True/Held", HELD], "{wanted:?}");
        }
        let moving = ["Ready=True/Synced", "Reconciling=True/Progressing", MOVING];
        assert_eq!(of(&[Held, Progressing], 1, ReadyWhen::Published), moving, "one has begun");
    }

    #[test]
    fn who_is_put_back_is_told_from_who_is_held() {
        let mut all = consumers(&[Held, Current]);
        all.status.items[0].reason = Some(rekey_api::policy::ConsumerReason::MarkerReverted);
        let expected = ["Ready=True/MarkerReverted", "ConsumersCurrent=False/MarkerReverted"];
        assert_eq!(shown_of(Situation::Synced(String::new()), &all, ReadyWhen::Published), expected);
        all.status.items[0].state = Failed;
        assert_eq!(shown_of(Situation::Synced(String::new()), &all, ReadyWhen::Published)[1], FAILED);
    }

    #[test]
    fn a_store_that_is_away_hides_no_failed_consumer_from_who_waits_for_them() {
        use ReadyWhen::{ConsumersHealthy, Published};
        let away = || Situation::LastKnown(Reason::Unavailable, "away".to_owned());
        let (known, fresh) = ("Ready=True/ServingLastKnown", "Fresh=False/Unavailable");
        assert_eq!(shown(away(), &[Failed], Published), [known, fresh, FAILED]);
        assert_eq!(shown(away(), &[Current], ConsumersHealthy)[..2], [known, fresh]);
        assert_eq!(
            shown(away(), &[Failed], ConsumersHealthy),
            ["Ready=False/ConsumerFailed", "Stalled=True/ConsumerFailed", fresh, FAILED]
        );
        assert_eq!(
            shown(away(), &[Progressing], ConsumersHealthy),
            ["Ready=True/Synced", "Reconciling=True/Progressing", fresh, MOVING]
        );
        let stalled = Situation::Stalled(Reason::InvalidData, String::new());
        assert_eq!(
            shown(stalled, &[Failed], ConsumersHealthy),
            ["Ready=False/InvalidData", "Stalled=True/InvalidData", FAILED]
        );
    }

    #[test]
    fn many_consumers_fit_into_a_text() {
        let (_, extras) =
            line(Situation::Synced(String::new()), Some(&consumers(&[Progressing; 100])), ReadyWhen::Published);
        let text = &extras[0].message;
        assert!(text.chars().count() < 1_024 && text.contains(" … and ") && text.ends_with(" more"), "{text}");
    }
}
