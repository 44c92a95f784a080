//! How a policy's consumers stand, as its status shows it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rekey_api::{
    policy::{ConsumeForm, ConsumerState, ConsumerStatus, ConsumersStatus, Restart},
    reference::WorkloadRef,
};

use super::Policy;
use crate::{
    SpecError,
    published::Published,
    rollout::{self, Input, Standing, standing},
    workload::{Kind, Progress, Use, Workload, WorkloadId},
};

/// What a look at the pods of a workload has shown. It says something about one value only: the one that was
/// published at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When the consumed keys had last changed.
    pub changed: Option<DateTime<Utc>>,
    /// Whether every pod held that value.
    pub current: bool,
}

/// A workload that consumes the policy's Secret, with what is known about its pods.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// The workload.
    pub workload: Workload,
    /// The last look at its pods, if one was taken.
    pub look: Option<Look>,
    /// Whether its restart marker is not written any more, since somebody takes it off.
    pub reverted: bool,
}

/// How one consumer stands, before the others are considered.
enum State {
    /// As the status shows it.
    Settled(ConsumerState, Option<String>),
    /// It is to be restarted.
    Due,
    /// Its restart has failed.
    Failed(String),
}

impl Policy {
    /// How `workload` consumes the Secret: what it refers to, and whether the policy names it.
    #[must_use]
    pub fn how(&self, workload: &Workload) -> Option<Use> {
        let named = !self.named.is_empty() && self.named.contains(&(workload.id.kind, workload.id.name.clone()));
        Use::of(workload.uses.get(&self.secret), named)
    }

    /// What is published for `workload`, and what the policy wants.
    #[must_use]
    pub fn input(&self, published: &Published, workload: &Workload) -> Option<Input> {
        Some(Input {
            secret: self.secret.clone(),
            how: self.how(workload)?,
            published: published.clone(),
            restart: self.restart,
            deadline: self.progress_deadline,
            grace: self.live_reload_grace,
        })
    }

    /// When time alone changes how a consumer stands.
    #[must_use]
    pub fn recheck(&self, published: &Published, all: &[Consumer], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let inputs = all.iter().filter_map(|at| Some((&at.workload, self.input(published, &at.workload)?)));
        inputs.filter_map(|(workload, input)| rollout::recheck(workload, &input, now)).min()
    }
}

/// The workloads that a policy names.
///
/// # Errors
/// When a kind is not one that can be restarted, or has Jobs.
pub fn named(references: &[WorkloadRef]) -> Result<BTreeSet<(Kind, String)>, SpecError> {
    let parse = |reference: &WorkloadRef| {
        let kind = Kind::named(reference).ok_or_else(|| {
            let known = Kind::NAMED.map(|kind| format!("{} {}", kind.api_version(), kind.as_str())).join(", ");
            let (version, kind) = (&reference.api_version, &reference.kind);
            SpecError::field("spec.rollout.consumers", format!("{version} {kind} cannot be named: use one of {known}"))
        })?;
        Ok((kind, reference.name.clone()))
    };
    references.iter().map(parse).collect()
}

/// The status of all consumers of a policy's Secret, those that are behind first; `None` when there are none.
#[must_use]
pub fn consumers(
    policy: &Policy,
    published: &Published,
    all: &[Consumer],
    now: DateTime<Utc>,
) -> Option<ConsumersStatus> {
    let stands: Vec<(&Consumer, Input, State)> = all
        .iter()
        .filter_map(|consumer| {
            let input = policy.input(published, &consumer.workload)?;
            let state = state(consumer, &input, now);
            Some((consumer, input, state))
        })
        .collect();
    let failed = stands.iter().find(|(_, _, state)| matches!(state, State::Failed(_)));
    let blocking = failed.map(|(consumer, _, _)| text(&consumer.workload.id));
    let mut items: Vec<ConsumerStatus> = stands
        .iter()
        .map(|(consumer, input, state)| status(&consumer.workload.id, &input.how, shown(state, blocking.as_deref())))
        .collect();
    items.extend(policy.named.iter().filter(|named| !all.iter().any(|at| is(&at.workload.id, named))).map(missing));
    items.sort_by(|a, b| (rank(a.state), &a.kind, &a.name).cmp(&(rank(b.state), &b.kind, &b.name)));
    if items.is_empty() {
        return None;
    }
    let count = |state: ConsumerState| {
        u32::try_from(items.iter().filter(|item| item.state == state).count()).unwrap_or(u32::MAX)
    };
    let total = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let [current, assumed, failed] = [ConsumerState::Current, ConsumerState::Assumed, ConsumerState::Failed].map(count);
    let summary = match assumed {
        0 => format!("{current}/{total}"),
        _ => format!("{current}/{total} ({assumed} assumed)"),
    };
    let outdated = total - current - assumed - failed;
    Some(ConsumersStatus { summary, total, current, outdated, failed, assumed, items })
}

/// Those that are behind come first, then those that nobody knows of.
fn rank(state: ConsumerState) -> u8 {
    match state {
        ConsumerState::Outdated
        | ConsumerState::Progressing
        | ConsumerState::Failed
        | ConsumerState::Held
        | ConsumerState::Unknown => 0,
        ConsumerState::Assumed => 1,
        ConsumerState::Current => 2,
    }
}

fn is(id: &WorkloadId, (kind, name): &(Kind, String)) -> bool {
    id.kind == *kind && id.name == *name
}

fn text(id: &WorkloadId) -> String {
    format!("{} {}", id.kind.as_str(), id.name)
}

fn status(id: &WorkloadId, how: &Use, (state, message): (ConsumerState, Option<String>)) -> ConsumerStatus {
    ConsumerStatus {
        api_version: id.kind.api_version().to_owned(),
        kind: id.kind.as_str().to_owned(),
        name: id.name.clone(),
        state,
        how: how.forms.iter().copied().collect(),
        pods: None,
        message,
    }
}

/// A workload that is named and is not there.
fn missing((kind, name): &(Kind, String)) -> ConsumerStatus {
    ConsumerStatus {
        api_version: kind.api_version().to_owned(),
        kind: kind.as_str().to_owned(),
        name: name.clone(),
        state: ConsumerState::Failed,
        how: vec![ConsumeForm::Named],
        pods: None,
        message: Some("does not exist; create it, or take it out of spec.rollout.consumers".to_owned()),
    }
}

/// `blocking`: the consumer whose restart has failed. Steps of one restart share the state `Progressing`, without a text
/// that changes: the way of a change costs one status write at its begin and one at its end.
fn shown(state: &State, blocking: Option<&str>) -> (ConsumerState, Option<String>) {
    match (state, blocking) {
        (State::Settled(state, message), _) => (*state, message.clone()),
        (State::Failed(message), _) => (ConsumerState::Failed, Some(message.clone())),
        (State::Due, None) => (ConsumerState::Progressing, None),
        (State::Due, Some(other)) => (ConsumerState::Outdated, Some(format!("waits for {other}, which has failed"))),
    }
}

fn state(consumer: &Consumer, input: &Input, now: DateTime<Utc>) -> State {
    let workload = &consumer.workload;
    if let Some(reason) = &workload.without_template {
        return State::Settled(ConsumerState::Failed, Some(reason.clone()));
    }
    let changed = input.published.changed(&input.how.keys);
    let looked = consumer.look.filter(|look| look.changed == changed).map(|look| look.current);
    match (standing(workload, input, None), looked) {
        (Standing::Assumed, _) => State::Settled(ConsumerState::Assumed, None),
        (Standing::Reloads, _) => {
            let over = rollout::reloaded(input).is_none_or(|at| at <= now);
            State::Settled(if over { ConsumerState::Current } else { ConsumerState::Progressing }, None)
        }
        // Its pods were seen to hold the value, so a pause is none of our business.
        (Standing::Unknown, Some(true)) if matches!(workload.progress, Progress::Waiting(_)) => {
            State::Settled(ConsumerState::Current, None)
        }
        (Standing::Current, _) | (Standing::Unknown, Some(true)) => restarted(workload, input, now),
        (Standing::Unknown | Standing::Outdated, _) => outdated(consumer, input, looked),
    }
}

/// A consumer that runs on the present value, or will when its rollout is done.
fn restarted(workload: &Workload, input: &Input, now: DateTime<Utc>) -> State {
    let wanted = input.published.consumed(&input.how.keys);
    if let Some(message) = rollout::failure(workload, (&input.secret, &wanted), input.deadline, now) {
        return State::Failed(message);
    }
    match &workload.progress {
        Progress::Complete => State::Settled(ConsumerState::Current, None),
        Progress::Underway(_) | Progress::Stuck(_) => State::Settled(ConsumerState::Progressing, None),
        Progress::Waiting(reason) => held(reason),
    }
}

fn outdated(consumer: &Consumer, input: &Input, looked: Option<bool>) -> State {
    let workload = &consumer.workload;
    match &workload.progress {
        _ if workload.id.kind == Kind::CronJob && looked.is_none() => State::Settled(ConsumerState::Progressing, None),
        _ if workload.id.kind == Kind::CronJob => {
            let names = workload.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>().join(", ");
            held(&format!("a Job still runs on an older value, among {names}; the next one reads the present"))
        }
        _ if input.restart == Restart::Never => held("spec.rollout.restart is Never; restart it by hand"),
        _ if workload.never_restart => held("rekey.dev/restart is Never; restart it by hand"),
        _ if consumer.reverted => held(REVERTED),
        Progress::Waiting(reason) => held(reason),
        Progress::Complete | Progress::Underway(_) | Progress::Stuck(_) => State::Due,
    }
}

/// What is said of a workload whose marker somebody takes off.
const REVERTED: &str = "its restart marker was taken off twice; leave the annotation rekey.dev/consumed on its pod \
                        template alone, or restart it by hand";

fn held(reason: &str) -> State {
    State::Settled(ConsumerState::Held, Some(reason.to_owned()))
}

#[cfg(test)]
mod tests {
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
            consumer.workload.id.kind = Kind::CronJob;
            consumer.workload.jobs = (0..10).map(job).collect();
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

    fn policy(rollout: &serde_json::Value) -> Policy {
        let data = json!([{"secretKey": "password", "remoteRef": {"key": "k"}}]);
        let object = json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"source": {"remote": {"storeRef": {"name": "vault"}, "data": data}}, "rollout": rollout},
        });
        Policy::try_from(&serde_json::from_value::<rekey_api::SecretPolicy>(object).unwrap()).unwrap()
    }

    /// A consumer by env, with this entry in its marker.
    fn consumer(name: &str, marker: &str) -> Consumer {
        let mut workload = workload(marker);
        workload.id.name = name.to_owned();
        workload.uses = [("db".to_owned(), changed("db").how)].into();
        Consumer { workload, look: None, reverted: false }
    }

    fn restarted(name: &str, progress: Progress) -> Consumer {
        let input = changed("db");
        let mut consumer = consumer(name, &format!("db={}", input.published.consumed(&input.how.keys)));
        consumer.workload.completed = progress == Progress::Complete;
        consumer.workload.outlived = progress == Progress::Complete;
        consumer.workload.progress = progress;
        consumer.workload.marked = Some(at(110));
        consumer
    }

    fn shown_at(policy: &Policy, all: &[Consumer], second: i64) -> Vec<String> {
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
        assert_eq!(later[0], "b Failed not healthy 1m after its restart; mend it, or publish another value");
        assert_eq!(later[1], "c Outdated waits for Deployment b, which has failed");
        assert_eq!(policy.recheck(&changed("db").published, &all, at(120)), Some(at(170)));
        let counts = consumers(&policy, &changed("db").published, &all, at(170)).unwrap();
        assert_eq!((counts.summary.as_str(), counts.outdated, counts.failed), ("1/3", 1, 1));
    }

    #[test]
    fn a_consumer_that_fails_shows_in_the_one_line() {
        use rekey_api::policy::ReadyWhen;

        use crate::{policy::failed, summary::Situation};
        let shown = |wanted: ReadyWhen| {
            let policy = Policy { ready_when: wanted, ..policy(&json!({})) };
            let all = [restarted("a", Progress::Stuck("its pod is in a back-off".to_owned()))];
            let (published, synced) = (changed("db").published, Situation::Synced(String::new()));
            let before = rekey_api::SecretPolicyStatus::default();
            let status = failed(&policy, &before, (Some(&published), &all), &synced, at(200));
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
        unrelated.workload.uses.clear();
        let mut by_name = consumer("a", "");
        by_name.workload.uses.clear();
        let shown = shown_at(&policy, &[by_name.clone(), unrelated], 120);
        let missing = "ghost Failed does not exist; create it, or take it out of spec.rollout.consumers";
        assert_eq!(shown, ["a Progressing", missing]);
        assert_eq!(policy.how(&by_name.workload).unwrap().forms, [ConsumeForm::Named].into());
        let both = policy.how(&consumer("a", "").workload).unwrap();
        assert_eq!(both.forms, [ConsumeForm::Env, ConsumeForm::Named].into());
    }

    #[test]
    fn one_without_a_template_is_said_and_stops_nobody() {
        let name = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "a"});
        let mut borrowing = consumer("a", "");
        borrowing.workload.id.kind = Kind::Rollout;
        borrowing.workload.uses.clear();
        borrowing.workload.without_template = Some("it takes its template from Deployment b: name that one".to_owned());
        let shown = shown_at(&policy(&json!({"consumers": [name]})), &[borrowing, consumer("b", "")], 120);
        assert_eq!(shown, ["b Progressing", "a Failed it takes its template from Deployment b: name that one"]);
    }

    #[test]
    fn one_that_reloads_is_current_after_its_grace() {
        let policy = policy(&json!({"liveReloadGrace": "30s"}));
        let mut reloading = consumer("a", "");
        reloading.workload.live_reload = true;
        reloading.workload.uses =
            [("db".to_owned(), Use { forms: [ConsumeForm::Volume].into(), ..changed("db").how })].into();
        assert_eq!(shown_at(&policy, std::slice::from_ref(&reloading), 129), ["a Progressing"]);
        assert_eq!(shown_at(&policy, &[reloading], 130), ["a Current"]);
    }

    #[test]
    fn a_cron_job_is_held_by_a_job_on_an_older_value() {
        let policy = policy(&json!({}));
        let mut nightly = consumer("nightly", "");
        nightly.workload.id.kind = Kind::CronJob;
        assert_eq!(shown_at(&policy, std::slice::from_ref(&nightly), 120), ["nightly Current"]);
        nightly.workload.jobs = vec![Job { name: "nightly-1".to_owned(), uid: "j".to_owned() }];
        assert_eq!(
            shown_at(&policy, std::slice::from_ref(&nightly), 120),
            ["nightly Progressing"],
            "not looked at yet"
        );
        let look = |current| Some(Look { changed: Some(at(100)), current });
        let held = "nightly Held a Job still runs on an older value, among nightly-1; the next one reads the present";
        assert_eq!(shown_at(&policy, &[Consumer { look: look(false), ..nightly.clone() }], 120), [held]);
        assert_eq!(shown_at(&policy, &[Consumer { look: look(true), ..nightly }], 120), ["nightly Current"]);
    }

    #[test]
    fn a_marker_that_is_taken_off_is_held() {
        let all = [Consumer { reverted: true, ..consumer("a", "") }];
        assert_eq!(shown_at(&policy(&json!({})), &all, 120), [format!("a Held {REVERTED}")]);
    }
}
