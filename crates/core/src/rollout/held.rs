//! What a pod holds of a Secret: judged by the marker that it was created with, else by when it has read.

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::policy::{ConsumeForm, PodCounts};

use crate::{
    published::{Instead, Published},
    workload::{Keys, Pod, Reading, Since, Use},
};

/// Start times are whole seconds, the write of a new value takes a moment, and a node learns of it a moment later.
const EDGE: TimeDelta = TimeDelta::seconds(2);
/// The edge grows with the difference of clocks that a pod shows. Of clocks further apart than this the times say
/// nothing.
const WIDEST: TimeDelta = TimeDelta::seconds(10);

/// What a pod holds of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The current value, or nothing that it could ever use.
    Current,
    /// Another one: an older one, one that another tool had written, or none because the Secret was not there.
    Other,
    /// One of both: it read too near to the change, or does not run.
    Unknown,
}

/// How many pods hold what.
#[must_use]
pub fn count(held: impl Iterator<Item = Held>) -> PodCounts {
    let mut counts = PodCounts::default();
    for held in held {
        let count = match held {
            Held::Current => &mut counts.current,
            Held::Other => &mut counts.old,
            Held::Unknown => &mut counts.unknown,
        };
        *count = count.saturating_add(1);
    }
    counts
}

/// Whether each pod is known to hold the current value.
#[must_use]
pub fn are_current(counts: PodCounts) -> bool {
    counts.old == 0 && counts.unknown == 0
}

/// What `pod` holds of the Secret, which it uses in the way of `how`. Of one that does not read it at all, nothing is
/// older.
#[must_use]
pub fn held(pod: &Pod, secret: &str, how: &Use, published: &Published) -> Held {
    // A named workload reads the Secret in a way that its pods do not show.
    let named = how.forms.contains(&ConsumeForm::Named).then_some(Reading { since: pod.whole, optional: false });
    let readings: Vec<Reading> = pod.reads.get(secret).copied().into_iter().chain(named).collect();
    if readings.is_empty() || pod.marker.0.get(secret) == Some(&published.consumed(&how.keys)) {
        return Held::Current;
    }
    let edges = Edges { published, keys: &how.keys, skew: pod.skew };
    let each = readings.into_iter().map(|reading| match reading.since {
        Since::At(read) => edges.held(read, reading.optional),
        Since::Unknown => edges.created(pod.created),
    });
    each.reduce(worse).unwrap_or(Held::Current)
}

/// The same where something is retired afterwards: a pod that has read before the first publication may hold anything.
#[must_use]
pub fn held_for_sure(pod: &Pod, secret: &str, how: &Use, published: &Published) -> Held {
    let found = held(pod, secret, how, published);
    let is_after = |first: DateTime<Utc>| match pod.reads.get(secret).map(|reading| reading.since) {
        Some(Since::At(read)) => read >= first,
        Some(Since::Unknown) => pod.created.is_some_and(|created| created >= first),
        None => true,
    };
    let is_assumed = published.first().is_some_and(|first| !is_after(first));
    if found == Held::Current && is_assumed { Held::Unknown } else { found }
}

fn worse(one: Held, other: Held) -> Held {
    match (one, other) {
        (Held::Other, _) | (_, Held::Other) => Held::Other,
        (Held::Unknown, _) | (_, Held::Unknown) => Held::Unknown,
        (Held::Current, Held::Current) => Held::Current,
    }
}

/// The times by which a reading is judged.
struct Edges<'a> {
    published: &'a Published,
    keys: &'a Keys,
    skew: TimeDelta,
}

impl Edges<'_> {
    /// From when on a reading is surely of what came at `at`.
    fn after(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at + (EDGE + self.skew).min(WIDEST)
    }

    /// Until when a reading is surely of what was there before `at`.
    fn before(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at - self.skew.min(WIDEST)
    }

    fn held(&self, read: DateTime<Utc>, optional: bool) -> Held {
        if self.skew > WIDEST {
            return Held::Unknown;
        }
        let change = self.published.changed(self.keys).map_or(Held::Current, |at| self.since(read, at));
        let gaps = self.published.gaps(self.keys).filter(|gap| gap.instead == Instead::Edit || optional);
        let in_gap = gaps.map(|gap| match (gap.from(), gap.to()) {
            (Some(from), _) if read < self.before(from) => Held::Current,
            (Some(_), Some(to)) if read < self.after(to) => Held::Other,
            (None, Some(to)) if read < self.after(to) => Held::Unknown,
            (_, None) => Held::Unknown,
            (_, Some(_)) => Held::Current,
        });
        in_gap.fold(change, worse)
    }

    fn since(&self, read: DateTime<Utc>, change: DateTime<Utc>) -> Held {
        if read < self.before(change) {
            Held::Other
        } else if read < self.after(change) {
            Held::Unknown
        } else {
            Held::Current
        }
    }

    /// A pod of which a process does not run: it reads the current value if it was created after all edges.
    fn created(&self, created: Option<DateTime<Utc>>) -> Held {
        let last = self.published.edge(self.keys);
        let is_new = created.is_some_and(|created| last.is_none_or(|last| created >= self.after(last)));
        if is_new { Held::Current } else { Held::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{
        super::tests::{at, changed, pod, unchanged},
        *,
    };
    use crate::published::Gap;

    fn published(gap: Gap) -> Published {
        let mut published = Published::clone(&unchanged("db").published);
        published.changes = published.changes.after(gap);
        published
    }

    fn of(pod: &Pod, published: &Published) -> Held {
        held(pod, "db", &unchanged("db").how, published)
    }

    /// The Secret changed at second 100.
    #[test]
    fn a_reading_counts_by_its_time_and_near_the_change_it_is_unknown() {
        let published = changed("db").published;
        for (read, skew, expected) in [
            (99, 0, Held::Other),
            (100, 0, Held::Unknown),
            (101, 0, Held::Unknown),
            (102, 0, Held::Current),
            (99, 3, Held::Unknown),
            (96, 3, Held::Other),
            (104, 3, Held::Unknown),
            (105, 3, Held::Current),
            (110, 11, Held::Unknown),
            (50, 3_600, Held::Unknown),
        ] {
            let pod = Pod { skew: TimeDelta::seconds(skew), ..pod(Some(read), "") };
            assert_eq!(of(&pod, &published), expected, "{read} {skew}");
        }
    }

    #[test]
    fn who_does_not_run_is_unknown_unless_it_was_created_after_the_change() {
        let published = changed("db").published;
        for (created, expected) in [(50, Held::Unknown), (101, Held::Unknown), (102, Held::Current)] {
            let pod = Pod { created: Some(at(created)), ..pod(None, "") };
            assert_eq!(of(&pod, &published), expected, "{created}");
        }
    }

    #[test]
    fn who_read_while_another_tools_edit_was_there_holds_a_value_of_nobody() {
        let edited = published(Gap::new(Some(at(100)), at(110), Instead::Edit, Keys::All));
        for (read, expected) in
            [(50, Held::Current), (99, Held::Current), (100, Held::Other), (111, Held::Other), (112, Held::Current)]
        {
            assert_eq!(of(&pod(Some(read), ""), &edited), expected, "{read}");
        }
        let marker = format!("db={}", edited.consumed(&Keys::All));
        assert_eq!(
            of(&pod(Some(105), &marker), &edited),
            Held::Current,
            "created after the repair, as its marker says"
        );
        let before = unchanged("db").published;
        let marker = format!("db={}", before.consumed(&Keys::All));
        assert_eq!(of(&pod(Some(105), &marker), &edited), Held::Other, "the marker of the same value, before the edit");
    }

    #[test]
    fn before_something_is_retired_what_was_read_before_the_first_publication_is_unknown() {
        let (first, how) = (unchanged("db").published, unchanged("db").how);
        let sure = |read, published: &Published| held_for_sure(&pod(Some(read), ""), "db", &how, published);
        assert_eq!(of(&pod(Some(-50), ""), &first), Held::Current);
        assert_eq!(sure(-50, &first), Held::Unknown);
        assert_eq!(sure(50, &first), Held::Current);
        assert_eq!(sure(50, &changed("db").published), Held::Other);
        assert_eq!(sure(150, &changed("db").published), Held::Current);
    }

    #[test]
    fn who_may_start_without_the_secret_holds_nothing_where_it_was_gone() {
        let with = |from: Option<i64>| published(Gap::new(from.map(at), at(110), Instead::Nothing, Keys::All));
        let optional = |read| {
            let mut pod = pod(Some(read), "");
            pod.reads.values_mut().for_each(|reading| reading.optional = true);
            pod
        };
        assert_eq!(of(&optional(105), &with(Some(100))), Held::Other);
        assert_eq!(of(&optional(50), &with(Some(100))), Held::Current);
        assert_eq!(of(&optional(50), &with(None)), Held::Unknown, "nobody knows since when it was gone");
        assert_eq!(of(&pod(Some(105), ""), &with(None)), Held::Current, "it could not have started");
    }
}
