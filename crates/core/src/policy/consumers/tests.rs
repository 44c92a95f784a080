use serde_json::json;

use super::*;
use crate::{
    rollout::tests::{at, changed, unchanged, workload},
    workload::Job,
};

/// A whole status with more than it has room for, as it is written.
#[test]
fn what_many_consumers_say_is_cut_to_what_the_status_takes() {
    let job = |number: usize| Job { name: format!("{number:0250}"), uid: number.to_string() };
    let published = changed("db").published;
    let nightly = |number: usize| {
        let mut consumer = consumer(&format!("{number:0253}"), "");
        of(&mut consumer).id.kind = Kind::CronJob;
        of(&mut consumer).jobs = (0..10).map(job).collect();
        consumer.look = Some(Look { changed: published.changed(&crate::workload::Keys::All), current: false });
        consumer
    };
    let (all, policy) = ((0..300).map(nightly).collect::<Vec<_>>(), policy(&json!({})));
    let found = consumers(&policy, &published, &all, at(200)).unwrap();
    let status = rekey_api::SecretPolicyStatus { consumers: Some(found), ..Default::default() };
    let written = crate::bounds::fit::<rekey_api::SecretPolicy>(&status).unwrap().consumers.unwrap();
    let message = written.items[0].message.as_deref().unwrap();
    assert!(message.starts_with("a Job still runs") && message.ends_with('…'), "{message}");
    assert_eq!((message.chars().count(), written.items.len(), written.total), (1_024, 100, 300));
}

fn policy(rollout: &serde_json::Value) -> PolicySpec {
    let data = json!([{"secretKey": "password", "remoteRef": {"key": "k"}}]);
    let object = json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"source": {"remote": {"storeRef": {"name": "vault"}, "data": data}}, "rollout": rollout},
    });
    PolicySpec::try_from(&serde_json::from_value::<rekey_api::SecretPolicy>(object).unwrap()).unwrap()
}

/// A consumer by env, with this entry in its marker.
fn consumer(name: &str, marker: &str) -> Consumer {
    let mut workload = workload(marker);
    workload.id.name = name.to_owned();
    workload.uses = [("db".to_owned(), changed("db").how)].into();
    Consumer { workload: Arc::new(workload), look: None, reverted: false }
}

/// The workload, to change it.
fn of(consumer: &mut Consumer) -> &mut Workload {
    Arc::make_mut(&mut consumer.workload)
}

fn restarted(name: &str, progress: Progress) -> Consumer {
    let input = changed("db");
    let mut consumer = consumer(name, &format!("db={}", input.published.consumed(&input.how.keys)));
    of(&mut consumer).completed = progress == Progress::Complete;
    of(&mut consumer).outlived = progress == Progress::Complete;
    of(&mut consumer).progress = progress;
    of(&mut consumer).marked = Some(at(110));
    consumer
}

fn shown_at(policy: &PolicySpec, all: &[Consumer], second: i64) -> Vec<String> {
    let found = consumers(policy, &changed("db").published, all, at(second)).unwrap();
    let line = |item: &ConsumerStatus| {
        format!("{} {:?} {}", item.name, item.state, item.message.as_deref().unwrap_or_default()).trim().to_owned()
    };
    found.items.iter().map(line).collect()
}

#[test]
fn a_failed_one_stops_those_that_wait() {
    let policy = policy(&json!({"progressDeadline": "60s"}));
    let all =
        [consumer("c", ""), restarted("b", Progress::Underway("x".to_owned())), restarted("a", Progress::Complete)];
    assert_eq!(shown_at(&policy, &all, 169), ["b Progressing", "c Progressing", "a Current"]);
    let later = shown_at(&policy, &all, 170);
    assert_eq!(later[0], "b Failed not healthy 1m after its restart; fix it, or publish another value");
    assert_eq!(later[1], "c Outdated waits for Deployment b, which has failed");
    assert_eq!(policy.recheck(&changed("db").published, &all, at(120)), Some(at(170)));
    let counts = consumers(&policy, &changed("db").published, &all, at(170)).unwrap();
    assert_eq!((counts.summary.as_str(), counts.outdated, counts.failed), ("1/3", 1, 1));
}

#[test]
fn a_consumer_that_fails_shows_in_the_one_line() {
    use rekey_api::policy::ReadyWhen;

    use crate::{
        policy::{Known, failed},
        summary::Situation,
    };
    let shown = |wanted: ReadyWhen| {
        let mut policy = policy(&json!({}));
        policy.rollout.ready_when = wanted;
        let all = [restarted("a", Progress::Stuck("its pod is in a back-off".to_owned()))];
        let (published, synced) = (changed("db").published, Situation::Synced(String::new()));
        let before = rekey_api::SecretPolicyStatus::default();
        let status = failed(&policy, &before, Known { published: Some(&published), consumers: &all }, &synced, at(200));
        let line = |at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            format!("{}={}/{} {}", at.type_, at.status, at.reason, at.message)
        };
        status.conditions.into_iter().map(line).collect::<Vec<_>>()
    };
    let text = "ConsumerFailed Deployment a: not healthy after its restart: its pod is in a back-off";
    let consumers = format!("ConsumersCurrent=False/{text}");
    assert_eq!(shown(ReadyWhen::Published), [format!("Ready=True/{text}"), consumers.clone()]);
    assert_eq!(
        shown(ReadyWhen::ConsumersHealthy),
        [format!("Ready=False/{text}"), format!("Stalled=True/{text}"), consumers]
    );
}

#[test]
fn who_is_assumed_is_not_counted_as_current() {
    let (published, all) = (unchanged("db").published, ["a", "b", "c"].map(|name| consumer(name, "")));
    let found = consumers(&policy(&json!({})), &published, &all, at(200)).unwrap();
    assert_eq!(found.summary, "0/3 (3 assumed)");
    assert_eq!((found.total, found.current, found.outdated, found.failed), (3, 0, 0, 0));
    let marked = consumer("d", &format!("db={}", published.consumed(&changed("db").how.keys)));
    let mixed = consumers(&policy(&json!({})), &published, &[marked, all[0].clone()], at(200)).unwrap();
    assert_eq!(mixed.summary, "1/2 (1 assumed)");
    assert_eq!(mixed.items[0].state, ConsumerState::Assumed, "those that are not current first");
}

#[test]
fn one_that_is_named_and_missing_is_said_and_stops_nobody() {
    let named = |kind: &str, name: &str| json!({"apiVersion": "apps/v1", "kind": kind, "name": name});
    let policy = policy(&json!({"consumers": [named("Deployment", "a"), named("StatefulSet", "ghost")]}));
    let mut unrelated = consumer("b", "");
    of(&mut unrelated).uses.clear();
    let mut by_name = consumer("a", "");
    of(&mut by_name).uses.clear();
    let shown = shown_at(&policy, &[by_name.clone(), unrelated], 120);
    let missing = "ghost Failed does not exist; create it, or remove it from spec.rollout.consumers";
    assert_eq!(shown, ["a Progressing", missing]);
    assert_eq!(policy.how(&by_name.workload).unwrap().forms, [ConsumeForm::Named].into());
    let both = policy.how(&consumer("a", "").workload).unwrap();
    assert_eq!(both.forms, [ConsumeForm::Env, ConsumeForm::Named].into());
}

#[test]
fn one_that_may_be_hidden_says_by_which_right_it_is_shown() {
    let name = |kind: &str, version: &str| json!({"apiVersion": version, "kind": kind, "name": "ghost"});
    let rollout = policy(&json!({"consumers": [name("Rollout", "argoproj.io/v1alpha1")]}));
    let right = "bind the ClusterRole rekey-namespace-rollouts"; // as the chart calls it
    assert!(shown_at(&rollout, &[], 120)[0].contains(right), "{:?}", shown_at(&rollout, &[], 120));
    let deployment = policy(&json!({"consumers": [name("Deployment", "apps/v1")]}));
    assert!(!shown_at(&deployment, &[], 120)[0].contains("ClusterRole"));
}

#[test]
fn one_without_a_template_is_said_and_stops_nobody() {
    let name = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "a"});
    let mut borrowing = consumer("a", "");
    of(&mut borrowing).id.kind = Kind::Rollout;
    of(&mut borrowing).uses.clear();
    of(&mut borrowing).without_template = Some("it takes its template from Deployment b: name that one".to_owned());
    let shown = shown_at(&policy(&json!({"consumers": [name]})), &[borrowing, consumer("b", "")], 120);
    assert_eq!(shown, ["b Progressing", "a Failed it takes its template from Deployment b: name that one"]);
}

#[test]
fn one_that_reloads_is_current_after_its_grace() {
    let policy = policy(&json!({"liveReloadGrace": "30s"}));
    let mut reloading = consumer("a", "");
    of(&mut reloading).live_reload = true;
    of(&mut reloading).uses =
        [("db".to_owned(), Use { forms: [ConsumeForm::Volume].into(), ..changed("db").how })].into();
    assert_eq!(shown_at(&policy, std::slice::from_ref(&reloading), 129), ["a Progressing"]);
    assert_eq!(shown_at(&policy, &[reloading], 130), ["a Current"]);
}

#[test]
fn a_cron_job_is_held_by_a_job_on_an_older_value() {
    let policy = policy(&json!({}));
    let mut nightly = consumer("nightly", "");
    of(&mut nightly).id.kind = Kind::CronJob;
    assert_eq!(shown_at(&policy, std::slice::from_ref(&nightly), 120), ["nightly Current"]);
    of(&mut nightly).jobs = vec![Job { name: "nightly-1".to_owned(), uid: "j".to_owned() }];
    assert_eq!(shown_at(&policy, std::slice::from_ref(&nightly), 120), ["nightly Progressing"], "not looked at yet");
    let look = |current| Some(Look { changed: Some(at(100)), current });
    let held = "nightly Held a Job still runs on an older value, among nightly-1; the next one reads the current value";
    assert_eq!(shown_at(&policy, &[Consumer { look: look(false), ..nightly.clone() }], 120), [held]);
    assert_eq!(shown_at(&policy, &[Consumer { look: look(true), ..nightly }], 120), ["nightly Current"]);
}

#[test]
fn a_marker_that_is_taken_off_is_held() {
    let all = [Consumer { reverted: true, ..consumer("a", "") }];
    assert_eq!(shown_at(&policy(&json!({})), &all, 120), [format!("a Held {REVERTED}")]);
}
