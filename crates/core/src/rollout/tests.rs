//! Tests of decisions, and what the tests of others make consumers and changes with.

use std::collections::BTreeSet;

use std::collections::BTreeMap;

use super::*;
use crate::{
    SecretBytes,
    digest::{DigestKey, Digests},
    published::Changes,
    workload::{Job, Keys, Kind, Places, WorkloadId},
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
        rollout: RolloutSpec::from(&Rollout::default()),
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
        progress: Progress::Complete,
        completed: true,
        outlived: true,
        marked: None,
        managers: Vec::new(),
        without_template: None,
        selector: "app=web".to_owned(),
        jobs: Vec::new(),
        live_reload: false,
        never_restart: false,
    }
}

fn pod(started: Option<i64>, marker: &str) -> Pod {
    Pod {
        name: "web-1".to_owned(),
        started: started.map(at),
        marker: Marker::parse(Some(marker)),
        uses: ["db", "cache", "other"].map(str::to_owned).into(),
        created: started.map(at),
        template: Some("a".to_owned()),
        terminating: false,
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
    let Decision::Restart { marker, .. } = decision else { unreachable!() };
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
        (vec![pod(None, "")], "not started yet"),
        (vec![], "no pods"),
    ] {
        assert_eq!(decide(&workload("db=old"), &inputs, Some(&pods), at(200)), Decision::Leave, "{why}");
    }
}

#[test]
fn a_pod_that_does_not_refer_to_the_secret_holds_nothing_of_it() {
    let mut before_the_edit = pod(Some(50), "");
    before_the_edit.uses.clear();
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
    let Decision::Restart { marker, .. } = decision else { unreachable!() };
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
    unrelated.uses.clear();
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
