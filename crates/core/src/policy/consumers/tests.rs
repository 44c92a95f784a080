use rekey_api::policy::ConsumeForm;
use serde_json::json;

use super::*;
use crate::{
    rollout::{
        Budget, Closed, Health, Held, count,
        tests::{at, changed, unchanged, workload},
    },
    workload::{Job, Progress},
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
        consumer.look = Some(look(published.edge(&crate::workload::Keys::All), Held::Other));
        consumer
    };
    let (all, policy) = ((0..300).map(nightly).collect::<Vec<_>>(), policy(&json!({})));
    let found = consumers(&policy, &published, &these(&all), at(200)).unwrap().status;
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
    Consumer {
        workload: Arc::new(workload),
        look: None,
        settled: Settled::NotYet,
        counted: None,
        reverted: false,
        before: Before::Healthy,
        waits: None,
        set_held_by: None,
    }
}

/// A look that has shown one pod, which ran on.
fn look(edge: Option<DateTime<Utc>>, held: Held) -> Look {
    Look { edge, pods: count([held].into_iter()), health: Health::Stable }
}

/// The workload, to change it.
fn of(consumer: &mut Consumer) -> &mut Workload {
    Arc::make_mut(&mut consumer.workload)
}

fn restarted(name: &str, progress: Progress) -> Consumer {
    let input = changed("db");
    let mut consumer = consumer(name, &format!("db={}", input.published.consumed(&input.how.keys)));
    consumer.settled = if progress == Progress::Complete { Settled::Yes } else { Settled::NotYet };
    of(&mut consumer).progress = progress;
    of(&mut consumer).marked = Some(at(110));
    consumer
}

fn these(workloads: &[Consumer]) -> Consumers {
    Consumers { workloads: workloads.to_vec(), ..Consumers::default() }
}

fn shown_at(policy: &PolicySpec, all: &[Consumer], second: i64) -> Vec<String> {
    let found = consumers(policy, &changed("db").published, &these(all), at(second)).unwrap();
    let line = |item: &ConsumerStatus| {
        format!("{} {:?} {}", item.name, item.state, item.message.as_deref().unwrap_or_default()).trim().to_owned()
    };
    found.status.items.iter().map(line).collect()
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
    let ill = [all[0].clone(), Consumer { before: Before::Unhealthy, ..all[1].clone() }];
    assert_eq!(shown_at(&policy, &ill, 170)[1], "c Progressing", "it was unhealthy before");
    assert_eq!(policy.recheck(&changed("db").published, &these(&all), at(120)), Some(at(170)));
    let counts = consumers(&policy, &changed("db").published, &these(&all), at(170)).unwrap().status;
    assert_eq!((counts.summary.as_str(), counts.outdated, counts.failed), ("1/3", 1, 1));
}

#[test]
fn a_consumer_that_fails_shows_in_the_one_line() {
    use rekey_api::policy::ReadyWhen;

    use crate::{
        policy::{History, Known, failed},
        summary::Situation,
    };
    let shown = |wanted: ReadyWhen| {
        let mut policy = policy(&json!({}));
        policy.rollout.ready_when = wanted;
        let all = [restarted("a", Progress::Stuck("its pod is in a back-off".to_owned()))];
        let (published, synced) = (changed("db").published, Situation::Synced(String::new()));
        let before = rekey_api::SecretPolicyStatus::default();
        let status = failed(
            &policy,
            &before,
            Known { published: Some(&published), consumers: &these(&all), history: &History::default() },
            &synced,
            at(200),
        );
        let line = |at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            format!("{}={}/{} {}", at.type_, at.status, at.reason, at.message)
        };
        status.conditions.into_iter().map(line).collect::<Vec<_>>()
    };
    let text = "ConsumerFailed Deployment a: not healthy after its restart: its pod is in a back-off; \
                fix it, or publish another value";
    let consumers = format!("ConsumersCurrent=False/{text}");
    assert_eq!(shown(ReadyWhen::Published), [format!("Ready=True/{text}"), consumers.clone()]);
    assert_eq!(
        shown(ReadyWhen::ConsumersHealthy),
        [format!("Ready=False/{text}"), format!("Stalled=True/{text}"), consumers]
    );
}

/// The value changed at 08:01:40; the window opens at 12:00.
#[test]
fn who_waits_for_a_window_is_held_and_says_when_it_opens() {
    let policy = policy(&json!({"windows": [{"cron": "0 12 * * *", "duration": "1h"}]}));
    let (published, noon) = (changed("db").published, 14_400);
    let said = |all: &Consumers, second| {
        let found = consumers(&policy, &published, all, at(second)).unwrap();
        let item = &found.status.items[0];
        format!("{:?} {} {}", item.state, found.awaiting_window, item.message.as_deref().unwrap_or_default())
    };
    let all = these(&[consumer("a", "")]);
    let text = "Held 1 waits for the next window of spec.rollout.windows, which opens at 2027-01-15T12:00:00Z; to \
                restart it now: kubectl rollout restart deployment/a -n shop";
    assert_eq!(said(&all, 101), text, "also before its pods were looked at");
    assert_eq!(said(&all, noon - 1), text);
    assert_eq!(said(&all, noon), "Progressing 0 ");
    assert_eq!(policy.recheck(&published, &all, at(200)), Some(at(noon)));
    assert_eq!(policy.recheck(&published, &all, at(noon)), None);
    let leaked = Consumers { urgency: Urgency::Leaked, ..all };
    assert_eq!(said(&leaked, 200), "Progressing 0 ");
    assert_eq!(policy.recheck(&published, &leaked, at(200)), None);
    let begun = these(&[restarted("a", Progress::Underway("x".to_owned()))]);
    assert_eq!(said(&begun, 200), "Progressing 0 ", "one that has begun goes on");
}

#[test]
fn who_waits_for_a_window_of_another_policy_says_whose() {
    let waits = |policy: &str, second| {
        let closed = Closed { until: at(second), policy: policy.to_owned() };
        these(&[Consumer { waits: Some(Wait::Window(closed)), ..consumer("a", "") }])
    };
    let shown = |all: &Consumers| shown_at(&policy(&json!({})), &all.workloads, 200);
    let text = "a Held waits for the next window of spec.rollout.windows of SecretPolicy cache, which opens at \
                2027-01-15T08:05:00Z; to restart it now: kubectl rollout restart deployment/a -n shop";
    assert_eq!(shown(&waits("cache", 300)), [text]);
    assert_eq!(shown(&waits("cache", 199)), ["a Progressing"], "it has opened since");
    assert_eq!(shown(&waits("db", 300)), ["a Progressing"], "this policy's windows are known");
}

#[test]
fn who_waits_for_rollouts_of_others_says_so_while_none_of_its_policy_is_under_way() {
    let waiting = Consumer { waits: Some(Wait::Budget(Budget::Namespace(10))), ..consumer("a", "") };
    let text = "a Progressing waits for its turn: 10 of 10 rollouts of namespace shop are under way \
                (--rollouts-per-namespace)";
    let shown = |all: &[Consumer]| shown_at(&policy(&json!({})), all, 200);
    assert_eq!(shown(std::slice::from_ref(&waiting)), [text]);
    let moving = restarted("b", Progress::Underway("x".to_owned()));
    assert_eq!(shown(&[waiting.clone(), moving]), ["a Progressing", "b Progressing"]);
    let begun = Consumer { waits: waiting.waits, ..restarted("a", Progress::Underway("x".to_owned())) };
    assert_eq!(shown(&[begun]), ["a Progressing"]);
}

#[test]
fn who_is_assumed_is_not_counted_as_current() {
    let (published, all) = (unchanged("db").published, ["a", "b", "c"].map(|name| consumer(name, "")));
    let found = consumers(&policy(&json!({})), &published, &these(&all), at(200)).unwrap().status;
    assert_eq!(found.summary, "0/3 (3 assumed)");
    assert_eq!((found.total, found.current, found.outdated, found.failed), (3, 0, 0, 0));
    let mut marked = consumer("d", &format!("db={}", published.consumed(&changed("db").how.keys)));
    marked.settled = Settled::Yes;
    let mixed = consumers(&policy(&json!({})), &published, &these(&[marked, all[0].clone()]), at(200)).unwrap().status;
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
    let right = "bind the ClusterRole rekey-namespace-argo-rollouts"; // as the chart calls it
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
    let look = |held| Some(look(Some(at(100)), held));
    let held = "nightly Held a Job still runs on an older value, among nightly-1; the next one reads the current value";
    assert_eq!(shown_at(&policy, &[Consumer { look: look(Held::Other), ..nightly.clone() }], 120), [held]);
    assert_eq!(shown_at(&policy, &[Consumer { look: look(Held::Current), ..nightly }], 120), ["nightly Current"]);
}

#[test]
fn a_marker_that_is_taken_off_is_held() {
    let all = [Consumer { reverted: true, ..consumer("a", "") }];
    assert_eq!(shown_at(&policy(&json!({})), &all, 120), [format!("a Held {}", state::REVERTED)]);
}

#[test]
fn a_pod_of_nobodys_is_listed_while_it_may_hold_another_value() {
    use crate::rollout::{Stray, StrayId, tests::pod};
    let published = changed("db").published;
    let stray = |kind: &str, name: &str, started, marker: &str| Stray {
        id: StrayId { kind: kind.to_owned(), name: name.to_owned(), api_version: "v1".to_owned() },
        pod: crate::workload::Pod { name: format!("{name}-pod"), ..pod(Some(started), marker) },
        uses: [("db".to_owned(), changed("db").how), ("other".to_owned(), changed("db").how)].into(),
    };
    let digest = format!("db={}", published.consumed(&crate::workload::Keys::All));
    let strays = [
        stray("Job", "twice", 150, ""),
        stray("Job", "twice", 50, ""),
        stray("Pod", "near", 101, ""),
        stray("Pod", "new", 150, ""),
        stray("Pod", "confirmed", 50, &digest),
    ];
    let all = Consumers { strays: strays.into(), ..Consumers::default() };
    let policy = policy(&json!({}));
    let found = consumers(&policy, &published, &all, at(200)).unwrap().status;
    let line = |item: &ConsumerStatus| {
        let pods = item.pods.unwrap_or_default();
        format!("{} {} {:?} {}/{}/{}", item.kind, item.name, item.state, pods.current, pods.old, pods.unknown)
    };
    assert_eq!(found.items.iter().map(line).collect::<Vec<_>>(), ["Job twice Held 1/1/0", "Pod near Held 0/0/1"]);
    assert_eq!((found.summary.as_str(), found.outdated), ("0/2", 2));
    let said = found.items[0].message.as_deref().unwrap();
    assert!(said.ends_with(&format!("kubectl annotate pod twice-pod -n shop --overwrite rekey.dev/consumed={digest}")));
    let first = consumers(&policy, &unchanged("db").published, &all, at(200));
    assert!(first.is_none(), "what they held before the first publication nobody knows");
}

#[test]
fn what_waits_for_a_canary_says_so_and_what_the_canary_waits_for() {
    let mut policy = policy(&json!({"progressDeadline": "60s"}));
    policy.rollout.canary = Some(rollout::Canary { kind: Kind::Deployment, name: "a".to_owned() });
    let shown = |first: &[Consumer], second| {
        let all: Vec<Consumer> = first.iter().cloned().chain([consumer("b", "")]).collect();
        shown_at(&policy, &all, second)
    };
    let waits = "b Progressing waits for the canary Deployment a";
    assert_eq!(shown(&[consumer("a", "")], 120), ["a Progressing", waits]);
    let underway = restarted("a", Progress::Underway("x".to_owned()));
    assert_eq!(shown(std::slice::from_ref(&underway), 120), ["a Progressing", waits]);
    assert_eq!(shown(&[restarted("a", Progress::Complete)], 120), ["b Progressing", "a Current"]);
    for before in [Before::Healthy, Before::Unhealthy] {
        let failed = shown(&[Consumer { before, ..underway.clone() }], 170);
        assert_eq!(failed[1], "b Outdated waits for Deployment a, which has failed");
    }
    let mut never = consumer("a", "");
    of(&mut never).never_restart = true;
    assert_eq!(
        shown(&[never], 120)[1],
        "b Outdated waits for the canary Deployment a, which is held: rekey.dev/restart is Never; restart it by hand"
    );
    for mut idle in [consumer("a", ""), restarted("a", Progress::Underway(String::new()))] {
        of(&mut idle).scale = crate::workload::Scale::Zero;
        let idle = shown(&[idle], 500);
        for line in &idle {
            let text =
                "it is scaled to 0, so it proves nothing, and nobody gets a new value before it does: scale it up";
            assert!(line.contains(text), "{idle:?}");
        }
        assert!(idle[0].starts_with("a Held ") && idle[1].starts_with("b Outdated waits for the canary"), "{idle:?}");
    }
    let absent = shown(&[], 120);
    assert!(absent[0].starts_with("a Failed does not exist, or refers to no version of the Secret"), "{absent:?}");
    assert_eq!(absent[1], "b Outdated waits for the canary Deployment a, which is no consumer of the Secret");
}
