//! Which restarts wait for a window, and the one change that does not.

use chrono::{DateTime, Utc};
use rekey_api::rotation::{RotationProgress, RotationReason};

use super::{Budget, Input};
use crate::{published::Published, schedule::Opening};

/// What a change asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// What its policy says.
    #[default]
    Usual,
    /// The value before has leaked: nothing is waited for.
    Leaked,
}

/// A consumer waits for a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When all that are asked are open.
    pub until: DateTime<Utc>,
    /// The policy that opens last.
    pub policy: String,
}

/// What a workload that has to be restarted waits for, beside its turn among the consumers of one Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A window.
    Window(Closed),
    /// The end of another rollout, of whatever policy.
    Budget(Budget),
}

/// Whether a restart for the sake of these may start: the strictest of their policies decides. `None`: it may. What goes
/// back to the last value that worked does so at once.
#[must_use]
pub fn closed<'a>(because: impl Iterator<Item = &'a Input> + Clone, now: DateTime<Utc>) -> Option<Closed> {
    if urgent(because.clone()) == Urgency::Leaked {
        return None;
    }
    let mut last: Option<Closed> = None;
    for input in because.filter(|input| !input.goes_back()) {
        if let Opening::At(until) = input.rollout.windows.opening(now)
            && last.as_ref().is_none_or(|last| last.until < until)
        {
            last = Some(Closed { until, policy: input.published.policy.clone() });
        }
    }
    last
}

/// What a restart for the sake of these asks for: one leak is enough, and the other changes go with it.
#[must_use]
pub fn urgent<'a>(because: impl IntoIterator<Item = &'a Input>) -> Urgency {
    let is_leaked = because.into_iter().any(|input| input.urgency == Urgency::Leaked);
    if is_leaked { Urgency::Leaked } else { Urgency::Usual }
}

/// What the change to what is published asks for, by the rotations that are `open` for its policy.
#[must_use]
pub fn urgency<'a>(published: &Published, open: impl IntoIterator<Item = &'a RotationProgress>) -> Urgency {
    let Some(rotation) = &published.changes.rotation else { return Urgency::Usual };
    let is_leaked = |open: &RotationProgress| open.reason == RotationReason::Leaked && open.id == rotation.id;
    if open.into_iter().any(is_leaked) { Urgency::Leaked } else { Urgency::Usual }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use rekey_api::rotation::RotationStep;
    use serde_json::json;

    use super::{
        super::tests::{changed, changed_with, unchanged},
        *,
    };
    use crate::{
        SecretNames,
        published::{Rotated, Versions},
        rollout::{Names, Way},
        schedule::windows,
    };

    fn time(text: &str) -> DateTime<Utc> {
        crate::time::parse(text).unwrap()
    }

    #[test]
    fn the_strictest_policy_decides_and_a_leak_waits_for_nothing() {
        let with = |policy: &str, all: &[(&str, &str, &str)]| {
            let mut input = changed_with(|wish| wish.windows = windows(all));
            Arc::make_mut(&mut input.published).policy = policy.to_owned();
            input
        };
        let (night, noon) =
            (with("night", &[("0 2 * * *", "2h", "UTC")]), with("noon", &[("0 12 * * *", "1h", "UTC")]));
        let leaked = Input { urgency: Urgency::Leaked, ..night.clone() };
        let now = time("2026-11-30T12:10:00Z");
        let is_closed = |because: &[&Input]| {
            closed(because.iter().copied(), now).map(|at| (at.policy, crate::time::text(at.until)))
        };
        let until = |policy: &str, at: &str| Some((policy.to_owned(), at.to_owned()));
        assert_eq!(is_closed(&[&changed("db")]), None);
        assert_eq!(is_closed(&[&noon]), None);
        assert_eq!(is_closed(&[&noon, &night]), until("night", "2026-12-01T02:00:00Z"));
        assert_eq!(is_closed(&[&leaked]), None);
        assert_eq!(is_closed(&[&leaked, &night]), None);
    }

    #[test]
    fn who_goes_back_waits_for_no_window() {
        let object = json!({"apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {"name": "db"},
            "spec": {"source": {"existing": {}}, "immutability": "Versioned", "versions": {"references": "Move"}}});
        let names = SecretNames::of(&serde_json::from_value(object).unwrap());
        let uses = BTreeMap::from([("db-k4v9x2m7qz".to_owned(), changed("db").how)]);
        let moved_from = |publication: u64| {
            let mut input = changed_with(|wish| wish.windows = windows(&[("0 2 * * *", "2h", "UTC")]));
            let mut other = Published::clone(&unchanged("db").published);
            other.changes.publication = publication;
            Arc::make_mut(&mut input.published).changes.publication = 5;
            let current = ("db-k4v9x2m7qx", input.published.as_ref());
            let ours = uses.keys().map(|name| (name.clone(), Arc::new(other.clone()))).collect();
            let versions = Versions { ours, ..Versions::default() };
            input.way = Way::Move(Names::of(&names, &uses, current, &versions));
            input
        };
        let now = time("2026-11-30T12:10:00Z");
        let is_closed = |publication| closed([moved_from(publication)].iter(), now).is_some();
        assert!(is_closed(4), "to a newer value");
        assert!(!is_closed(6), "from one that was rolled back");
    }

    #[test]
    fn a_leak_is_one_while_its_rotation_is_open_and_is_what_is_published() {
        let open = |id: &str, reason| RotationProgress {
            id: id.to_owned(),
            step: RotationStep::RollingOut,
            started_at: crate::time::kube(DateTime::UNIX_EPOCH),
            step_started_at: None,
            attempts: 0,
            next_attempt_time: None,
            reason,
            requested_by: None,
            message: None,
            key: None,
            version: None,
            properties: Vec::new(),
            digest: None,
            retiring_revision: None,
            steps: Vec::new(),
        };
        let published = |rotation: Option<&str>| {
            let mut published = Published::clone(&changed("db").published);
            published.changes.rotation = rotation.map(|id| Rotated { id: id.to_owned(), digest: String::new() });
            published
        };
        for (recorded, open, expected) in [
            (Some("r1"), vec![open("r1", RotationReason::Leaked)], Urgency::Leaked),
            (Some("r1"), vec![open("r1", RotationReason::Requested)], Urgency::Usual),
            (Some("r0"), vec![open("r1", RotationReason::Leaked)], Urgency::Usual),
            (None, vec![open("r1", RotationReason::Leaked)], Urgency::Usual),
            (Some("r1"), vec![], Urgency::Usual),
        ] {
            assert_eq!(urgency(&published(recorded), &open), expected, "{recorded:?} {open:?}");
        }
    }
}
