//! Tests of decisions, and what the tests of others make consumers and changes with.

use std::collections::BTreeSet;

use std::collections::BTreeMap;

use rekey_api::policy::ConsumeForm;

use super::*;
use crate::{
    SecretBytes,
    digest::{DigestKey, Digests},
    published::{Changes, Gap, Instead, Versions},
    workload::{Job, Keys, Kind, Places, Reading, Scale, Since, Steady, WorkloadId},
};

pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn digests(secret: &str, value: &str) -> Digests {
    let data = [("password".to_owned(), SecretBytes::from(value))].into();
    DigestKey::new(SecretBytes::from("k")).of_secret("shop", secret, &data)
}

/// A Secret that changed from `1` to `2` at second 100.
pub(crate) fn changed(secret: &str) -> Input {
    let (before, after) = (digests(secret, "1"), digests(secret, "2"));
    let changes = Changes::first(at(0)).next("r1", &before, &after, at(100));
    input(secret, after, changes)
}

pub(crate) fn unchanged(secret: &str) -> Input {
    input(secret, digests(secret, "1"), Changes::first(at(0)))
}

fn input(secret: &str, digests: Digests, changes: Changes) -> Input {
    Input {
        secret: secret.to_owned(),
        how: Use { forms: [ConsumeForm::Env].into(), keys: Keys::All, places: Places::default() },
        published: Arc::new(Published {
            policy: secret.to_owned(),
            revision: "r2".to_owned(),
            digests,
            changes,
            seed: None,
            taken: None,
        }),
        rollout: RolloutSpec::try_from(&Rollout::default()).unwrap(),
        way: Way::Restart,
        urgency: Urgency::Usual,
    }
}

/// Of a Secret that [`changed`], with other settings of its policy.
pub(crate) fn changed_with(wish: impl FnOnce(&mut RolloutSpec)) -> Input {
    let mut input = changed("db");
    wish(&mut input.rollout);
    input
}

pub(crate) fn workload(marker: &str) -> Workload {
    Workload {
        id: WorkloadId { kind: Kind::Deployment, namespace: "shop".to_owned(), name: "web".to_owned() },
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
        generation: 1,
        uses: BTreeMap::new(),
        marker: Marker::parse(Some(marker)),
        has_annotations: !marker.is_empty(),
        progress: Progress::Complete,
        unavailable: None,
        scale: Scale::default(),
        marked: None,
        managers: Vec::new(),
        without_template: None,
        account: None,
        mountable: None,
        selector: "app=web".to_owned(),
        jobs: Vec::new(),
        live_reload: false,
        never_restart: false,
    }
}

/// A pod whose containers started at this second; `None`: its container does not run.
pub(crate) fn pod(started: Option<i64>, marker: &str) -> Pod {
    let since = started.map_or(Since::Unknown, |second| Since::At(at(second)));
    let reading = Reading { since, optional: false };
    Pod {
        name: "web-1".to_owned(),
        marker: Marker::parse(Some(marker)),
        reads: ["db", "cache", "other"].map(|secret| (secret.to_owned(), reading)).into(),
        whole: since,
        created: started.map(at),
        template: Some("a".to_owned()),
        terminating: false,
        steady: started.map_or(Steady::Not(None), |second| Steady::Since { at: at(second), trouble: None }),
        skew: TimeDelta::zero(),
    }
}

fn restarts(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::Restart { because, .. } => because.clone(),
        _ => Vec::new(),
    }
}

#[test]
fn a_pod_older_than_the_change_is_restarted_once() {
    let inputs = [changed("db")];
    assert_eq!(decide(&workload(""), &inputs, None, at(200)), Decision::LookAtPods);
    let decision = decide(&workload(""), &inputs, Some(&[pod(Some(50), "")]), at(200));
    assert_eq!(restarts(&decision), ["db"]);
    let Decision::Restart { change: TemplateChange { marker: Some(marker), .. }, .. } = decision else {
        unreachable!()
    };
    let restarted = workload(&marker.to_string());
    assert_eq!(decide(&restarted, &inputs, None, at(201)), Decision::Leave);
}

#[test]
fn pods_that_read_the_present_value_are_left_alone() {
    let inputs = [changed("db")];
    let wanted = format!("db={}", inputs[0].published.consumed(&Keys::All));
    for (pods, why) in [
        (vec![pod(Some(150), "")], "started after the change"),
        (vec![pod(Some(50), &wanted)], "created with the marker of this value"),
        (vec![Pod { created: Some(at(150)), ..pod(None, "") }], "created after it, and not started yet"),
        (vec![], "no pods"),
    ] {
        assert_eq!(decide(&workload("db=old"), &inputs, Some(&pods), at(200)), Decision::Leave, "{why}");
    }
}

#[test]
fn a_pod_that_does_not_refer_to_the_secret_holds_nothing_of_it() {
    let mut before_the_edit = pod(Some(50), "");
    before_the_edit.reads.clear();
    assert_eq!(decide(&workload(""), &[changed("db")], Some(&[before_the_edit]), at(200)), Decision::Leave);
}

#[test]
fn pods_that_are_being_replaced_do_not_count() {
    let old = pod(Some(50), "");
    let new = Pod { template: Some("b".to_owned()), ..pod(Some(150), "") };
    let going = Pod { terminating: true, ..pod(Some(50), "") };
    let underway = Progress::Underway(String::new());
    for (progress, pods, left, why) in [
        (&underway, vec![old.clone(), new.clone()], vec![new.clone()], "a user's rollout is under way"),
        (&underway, vec![old.clone()], vec![old.clone()], "all are of one template"),
        (&Progress::Complete, vec![old.clone(), new.clone()], vec![old.clone(), new.clone()], "nobody replaces it"),
        (&Progress::Complete, vec![going.clone(), new.clone()], vec![new.clone()], "one is on its way out"),
    ] {
        assert_eq!(staying(progress, pods), left, "{why}");
    }
}

#[test]
fn a_container_that_does_not_run_is_restarted_at_once() {
    let crashing = Pod { created: Some(at(50)), ..pod(None, "") };
    assert_eq!(restarts(&decide(&workload(""), &[changed("db")], Some(&[crashing]), at(200))), ["db"]);
}

#[test]
fn a_repair_restarts_those_that_read_what_was_repaired() {
    let mut input = unchanged("db");
    let gap = Gap::new(Some(at(100)), at(110), Instead::Edit, Keys::All);
    let published = Arc::make_mut(&mut input.published);
    published.changes = published.changes.after(gap);
    let inputs = [input];
    let old = format!("db={}", unchanged("db").published.consumed(&Keys::All));
    for marker in ["", &old] {
        assert_eq!(decide(&workload(marker), &inputs, None, at(200)), Decision::LookAtPods, "{marker:?}");
        let before = [pod(Some(50), marker)];
        assert_eq!(decide(&workload(marker), &inputs, Some(&before), at(200)), Decision::Leave, "{marker:?}");
        let meanwhile = [pod(Some(50), marker), pod(Some(105), marker)];
        let decision = decide(&workload(marker), &inputs, Some(&meanwhile), at(200));
        assert_eq!(restarts(&decision), ["db"], "{marker:?}");
        let Decision::Restart { change: TemplateChange { marker: Some(marker), .. }, .. } = decision else {
            unreachable!()
        };
        assert_eq!(decide(&workload(&marker.to_string()), &inputs, None, at(201)), Decision::Leave);
    }
}

/// The change was at 08:01:40, and the window opens at 12:00.
#[test]
fn outside_of_its_window_nobody_is_restarted_and_each_is_looked_at_once() {
    let rollout: Rollout = serde_json::from_value(serde_json::json!({
        "windows": [{"cron": "0 12 * * *", "duration": "1h"}],
    }))
    .unwrap();
    let mut inputs = [changed("db")];
    inputs[0].rollout = RolloutSpec::try_from(&rollout).unwrap();
    let (old, noon) = ([pod(Some(50), "")], 14_400);
    assert_eq!(decide(&workload(""), &inputs, None, at(200)), Decision::LookAtPods);
    let closed = Closed { until: at(noon), policy: "db".to_owned() };
    for second in [200, noon - 1] {
        assert_eq!(
            decide(&workload(""), &inputs, Some(&old), at(second)),
            Decision::Closed(closed.clone()),
            "{second}"
        );
    }
    assert_eq!(restarts(&decide(&workload(""), &inputs, Some(&old), at(noon))), ["db"]);
    let mut both = [inputs[0].clone(), changed("cache")];
    assert_eq!(decide(&workload(""), &both, Some(&old), at(200)), Decision::Closed(closed), "the strictest decides");
    let current = format!("db={}", inputs[0].published.consumed(&Keys::All));
    assert_eq!(restarts(&decide(&workload(&current), &both, Some(&old), at(200))), ["cache"], "no reason of theirs");
    both[0].urgency = Urgency::Leaked;
    assert_eq!(restarts(&decide(&workload(""), &both, Some(&old), at(200))), ["db", "cache"]);
}

#[test]
fn a_first_publication_restarts_nobody() {
    let decision = decide(&workload(""), &[unchanged("db")], None, at(200));
    assert_eq!(decision, Decision::Leave);
    assert_eq!(standing(&workload(""), &unchanged("db"), None), Standing::Assumed);
}

#[test]
fn changes_that_come_together_cause_one_restart_that_names_both() {
    let inputs = [changed("cache"), changed("db"), unchanged("other")];
    let pods = [pod(Some(50), "")];
    assert_eq!(decide(&workload(""), &inputs, Some(&pods), at(101)), Decision::Gather(at(103)));
    assert_eq!(decide(&workload(""), &inputs, None, at(101)), Decision::Gather(at(103)), "one look will do");
    assert_eq!(decide(&workload(""), &inputs, None, at(103)), Decision::LookAtPods);
    let decision = decide(&workload(""), &inputs, Some(&pods), at(103));
    assert_eq!(restarts(&decision), ["cache", "db"]);
    let Decision::Restart { change: TemplateChange { marker: Some(marker), .. }, .. } = decision else {
        unreachable!()
    };
    let names: BTreeSet<&str> = marker.0.keys().map(String::as_str).collect();
    assert_eq!(names, ["cache", "db", "other"].into(), "entries of unchanged Secrets ride along");
}

#[test]
fn never_and_paused_are_respected_and_live_reload_needs_no_restart() {
    let pods = [pod(Some(50), "")];
    let never = changed_with(|wish| wish.restart = Restart::Never);
    assert_eq!(decide(&workload(""), std::slice::from_ref(&never), None, at(200)), Decision::LookAtPods);
    assert_eq!(decide(&workload(""), &[never], Some(&pods), at(200)), Decision::Leave);
    let mut stubborn = workload("");
    stubborn.never_restart = true;
    assert_eq!(decide(&stubborn, &[changed("db")], Some(&pods), at(200)), Decision::Leave);
    let mut paused = workload("");
    paused.progress = Progress::Waiting(Waiting::Paused);
    assert!(matches!(decide(&paused, &[changed("db")], Some(&pods), at(200)), Decision::Hold(_)));
    let mut reloading = workload("");
    reloading.live_reload = true;
    let mut mounted = changed("db");
    mounted.how.forms = [ConsumeForm::Volume].into();
    assert_eq!(standing(&reloading, &mounted, None), Standing::Reloads);
    mounted.rollout.restart = Restart::Always;
    assert_eq!(standing(&reloading, &mounted, Some(&pods)), Standing::Outdated);
}

#[test]
fn without_a_template_of_its_own_there_is_nothing_to_mark() {
    let mut input = changed("db");
    input.how = Use::of(None, true).unwrap();
    let borrowing = Workload { without_template: Some("it has none".to_owned()), ..workload("") };
    assert_eq!(decide(&borrowing, std::slice::from_ref(&input), None, at(200)), Decision::Leave);
    assert_eq!(decide(&borrowing, &[input], Some(&[pod(Some(50), "")]), at(200)), Decision::Leave);
}

#[test]
fn a_cron_job_is_looked_at_while_jobs_run_and_never_restarted() {
    let mut nightly = workload("");
    nightly.id.kind = Kind::CronJob;
    let (inputs, old, new) = ([changed("db")], [pod(Some(50), "")], [pod(Some(150), "")]);
    assert_eq!(standing(&nightly, &inputs[0], None), Standing::Current, "its next Job reads the current value");
    nightly.jobs = vec![Job { name: "nightly-1".to_owned(), uid: "j".to_owned() }];
    assert_eq!(decide(&nightly, &inputs, None, at(200)), Decision::LookAtPods);
    assert_eq!(standing(&nightly, &inputs[0], Some(&old)), Standing::Outdated);
    assert_eq!(decide(&nightly, &inputs, Some(&old), at(200)), Decision::Leave);
    assert_eq!(standing(&nightly, &inputs[0], Some(&new)), Standing::Current);
}

#[test]
fn who_is_named_is_restarted_without_a_reference() {
    let mut input = changed("db");
    input.how = Use::of(None, true).unwrap();
    let mut unrelated = pod(Some(50), "");
    unrelated.reads.clear();
    assert_eq!(restarts(&decide(&workload(""), &[input], Some(&[unrelated]), at(200))), ["db"]);
}

#[test]
fn certificates_and_pull_secrets_restart_nobody() {
    for form in [ConsumeForm::Tls, ConsumeForm::ImagePull] {
        let mut input = changed_with(|wish| wish.restart = Restart::Always);
        input.how.forms = [form].into();
        assert_eq!(decide(&workload(""), &[input], None, at(200)), Decision::Leave, "{form:?}");
    }
}

#[test]
fn another_digest_key_restarts_nobody_who_runs_on_the_value() {
    let mut input = changed("db");
    Arc::make_mut(&mut input.published).digests = DigestKey::new(SecretBytes::from("new key")).of_secret(
        "shop",
        "db",
        &[("password".to_owned(), SecretBytes::from("2"))].into(),
    );
    let decision =
        decide(&workload("db=00000000.0000"), &[input], Some(&[pod(Some(150), "db=00000000.0000")]), at(200));
    assert_eq!(decision, Decision::Leave);
}

/// It refers to no version: its marker says which one it was restarted for.
#[test]
fn one_that_is_named_leaves_a_later_version_by_a_restart() {
    let good = unchanged("db-r2");
    let later = Arc::new(Published {
        revision: "r3".to_owned(),
        changes: good.published.changes.next("r2", &digests("db", "1"), &digests("db", "3"), at(300)),
        ..(*good.published).clone()
    });
    let versions = Versions { ours: [("db-r3".to_owned(), later)].into(), ..Versions::default() };
    for (marker, expected) in [("db-r3=x", Standing::Outdated), ("db-r1=x", Standing::Assumed), ("", Standing::Assumed)]
    {
        let workload = workload(marker);
        let input = Input { way: Way::named(&workload, &good.published, &versions, Asked::No), ..good.clone() };
        assert_eq!(standing(&workload, &input, None), expected, "{marker}");
        assert_eq!(input.goes_back(), expected == Standing::Outdated, "{marker}");
    }
    let later = Arc::clone(&versions.ours["db-r3"]);
    let versions = Versions {
        ours: [("db-r2".to_owned(), Arc::clone(&good.published)), ("db-r3".to_owned(), Arc::clone(&later))].into(),
        ..versions
    };
    for (asked, expected) in [(Asked::No, Way::Named), (Asked::Yes, Way::NamedBack)] {
        assert_eq!(Way::named(&workload("db-r2=x"), &later, &versions, asked), expected, "to a later one");
    }
    let left = workload("db-r3=x");
    let back = Input { way: Way::NamedBack, ..good.clone() };
    let decision = decide(&left, std::slice::from_ref(&back), None, at(400));
    let Decision::Restart { change, .. } = decision else { panic!("{decision:?}") };
    let restarted = workload(&change.marker.unwrap().to_string());
    for asked in [Asked::No, Asked::Yes] {
        assert_eq!(Way::named(&restarted, &good.published, &versions, asked), Way::Named);
    }
    assert_eq!(decide(&restarted, &[good], None, at(401)), Decision::Leave);
}
