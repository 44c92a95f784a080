//! Memory of workloads: how long it holds.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use rekey_api::policy::{ConsumeForm, Rollout};
use rekey_core::{
    digest::Digests,
    published::{Changes, Published},
    rollout::{Health, Held, RolloutSpec, Urgency, Way, count},
    workload::{Keys, Marker, Places, Project as _, Use},
};

use super::*;

/// A Secret that has not changed since it was published.
fn unchanged() -> Input {
    Input {
        secret: "db".to_owned(),
        how: Use { forms: [ConsumeForm::Env].into(), keys: Keys::All, places: Places::default() },
        published: Arc::new(Published {
            policy: "db".to_owned(),
            revision: "r".to_owned(),
            digests: Digests::default(),
            changes: Changes::default(),
            seed: None,
            taken: None,
        }),
        rollout: RolloutSpec::try_from(&Rollout::default()).unwrap(),
        way: Way::Restart,
        urgency: Urgency::Usual,
    }
}

/// A look that has shown one pod.
fn look(held: Held, health: Health) -> Look {
    Look { edge: None, pods: count([held].into_iter()), health }
}

fn unsteady() -> Health {
    Health::Unsteady { until: None, trouble: None }
}

#[test]
fn a_look_holds_while_the_workload_stays_as_it_was() {
    let before = Deployment::default().project();
    let memory = WorkloadMemory::default();
    let outdated = look(Held::Other, Health::Stable);
    assert!(memory.set_look(&before, "db", outdated.clone()));
    assert!(!memory.set_look(&before, "db", outdated.clone()), "no news");
    assert_eq!(memory.still_shows(&before, "db"), Some(outdated));
    assert_eq!(memory.still_shows(&before, "cache"), None);
    let restarted = Workload { generation: 2, ..before.clone() };
    assert_eq!(memory.still_shows(&restarted, "db"), None, "by hand");
    let replacing = Workload { progress: Progress::Underway("0 of 1".to_owned()), ..before };
    assert_eq!(memory.still_shows(&replacing, "db"), None, "pods come and go");
}

#[test]
fn who_was_settled_on_a_value_stays_so_until_it_changes() {
    let workload = Deployment::default().project();
    let memory = WorkloadMemory::default();
    let settled = |edge| memory.settled(&workload.uid, "db", edge, Settled::NotYet);
    memory.set_look(&workload, "db", look(Held::Current, unsteady()));
    assert_eq!(settled(None), Settled::NotYet);
    memory.set_look(&workload, "db", look(Held::Current, Health::Stable));
    assert_eq!(settled(None), Settled::Yes);
    memory.set_look(&workload, "db", look(Held::Current, unsteady()));
    assert_eq!(settled(None), Settled::Yes, "a pod that fails later");
    let edge = Some(DateTime::UNIX_EPOCH);
    assert_eq!(settled(edge), Settled::NotYet, "another value");
    memory.set_look(&workload, "db", Look { edge, ..look(Held::Current, unsteady()) });
    assert_eq!(settled(edge), Settled::NotYet);
    let before = || memory.settled(&workload.uid, "db", edge, Settled::Yes);
    assert_eq!(before(), Settled::Yes, "another process has seen it");
    memory.count_mark(&workload.uid, &TemplateChange::default(), Before::Healthy);
    assert_eq!(before(), Settled::NotYet, "this one has restarted it");
}

#[test]
fn who_was_restarted_unhealthy_is_so_until_it_is_restarted_again() {
    let workload = Deployment::default().project();
    let memory = WorkloadMemory::default();
    let input = unchanged();
    let change = |of: &Workload| TemplateChange { marker: Some(of.marker.clone()), ..TemplateChange::default() };
    assert_eq!(memory.before(&workload, &input), Before::Healthy);
    memory.count_mark(&workload.uid, &change(&workload), Before::Unhealthy);
    assert_eq!(memory.before(&workload, &input), Before::Unhealthy);
    let again = Workload { marker: Marker::parse(Some("db=b")), ..workload };
    assert_eq!(memory.before(&again, &input), Before::Healthy);
    memory.count_mark(&again.uid, &change(&again), Before::Healthy);
    assert_eq!(memory.before(&again, &input), Before::Healthy);
}

#[test]
fn a_workload_waits_for_its_set_since_that_was_first_asked_about() {
    let memory = WorkloadMemory::default();
    let waits_since = |second| memory.waits_for_set("u", DateTime::from_timestamp(second, 0).unwrap()).timestamp();
    assert_eq!([1, 2, 9].map(waits_since), [1; 3], "however often it is asked");
    memory.set_alone("u");
    assert_eq!(waits_since(12), 12, "another time");
}

#[test]
fn who_is_brought_onto_a_value_once_more_is_not_settled_on_it() {
    let workload = Deployment::default().project();
    let memory = WorkloadMemory::default();
    memory.set_look(&workload, "db-r2", look(Held::Current, Health::Stable));
    memory.count_mark(&workload.uid, &TemplateChange::default(), Before::Healthy);
    let settled = || memory.settled(&workload.uid, "db-r2", None, Settled::NotYet);
    assert_eq!(settled(), Settled::Yes);
    memory.forget_looks(&workload.uid, [&"db-r2".to_owned()].into_iter());
    assert_eq!(settled(), Settled::NotYet);
}

#[test]
fn a_marker_that_is_taken_off_is_told_once() {
    let memory = WorkloadMemory::default();
    let marker = |digest: &str| TemplateChange {
        marker: Some(Marker::parse(Some(&format!("db={digest}")))),
        ..TemplateChange::default()
    };
    assert!(!memory.tell_reverted("u", &marker("a")), "it was not written");
    memory.count_mark("u", &marker("a"), Before::Healthy);
    memory.count_mark("u", &marker("a"), Before::Healthy);
    assert!(memory.tell_reverted("u", &marker("a")));
    assert!(!memory.tell_reverted("u", &marker("a")));
    memory.count_mark("u", &marker("b"), Before::Healthy);
    assert!(memory.tell_reverted("u", &marker("b")), "another marker is another matter");
}
