//! The requests to the API server: its audit log, counted.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use http::Request;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use serde::Deserialize;

use crate::wait;

/// A policy that records every request once it is answered, without bodies.
pub(super) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{ "level": "Metadata" }]
}
"#;

/// No audit event is longer, in bytes.
const LONGEST_LINE: u64 = 256 * 1024;

/// Reads the audit log of one plane.
pub struct Audit {
    pub(super) log: PathBuf,
    pub(super) client: kube::Client,
}

/// A place in the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// A request of a user, once it was answered (a watch: once it was opened).
#[derive(Clone, Debug)]
pub struct Asked {
    /// The verb, as `Counts` has it.
    pub verb: String,
    /// The resource, as `Counts` has it.
    pub subject: String,
    /// Name of the object, if the request is about one that has a name.
    pub name: Option<String>,
    /// When it was answered.
    pub at: Timestamp,
    /// The API group; empty for the core group.
    pub group: String,
    /// The HTTP status of the answer; 0 when the log has none.
    pub status: u16,
    /// Why it was allowed or not, in the words of the authorizer.
    pub reason: String,
    /// The user agent of the client.
    pub agent: String,
}

/// How often one user requested what: by verb and resource (`pods`, `secretpolicies/status`), or the path of a request
/// that is not about a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(String, String), u64>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    stage_timestamp: MicroTime,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<Object>,
    response_status: Option<Answer>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// A request without valid credentials has no user.
#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    api_group: Option<String>,
    resource: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

impl Audit {
    /// The end of the log so far: requests that were answered before are before it.
    ///
    /// # Errors
    /// When the API server is not responding or the log cannot be read.
    pub async fn mark(&self) -> Result<Mark> {
        self.settle().await?;
        self.end()
    }

    /// Counts the requests of a user that were answered after `mark` and before this call; a watch counts when it
    /// opens. The name is exact, as in `system:serviceaccount:<namespace>:<name>`.
    ///
    /// # Errors
    /// When the API server is not responding, or the log cannot be read or holds something else than audit events.
    pub async fn counts_since(&self, mark: &Mark, user: &str) -> Result<Counts> {
        self.settle().await?;
        let mut counts = Counts::default();
        for event in self.events(*mark)? {
            if event.user.username == user && event.counts() {
                counts.add(&event.verb, &event.subject());
            }
        }
        Ok(counts)
    }

    /// The requests of a user after `mark` that are recorded by now, and the mark to go on from: for tests that follow
    /// the log meanwhile. It sends no request to the API server.
    ///
    /// # Errors
    /// When the log cannot be read or holds something else than audit events.
    pub fn follow(&self, mark: &Mark, user: &str) -> Result<(Vec<Asked>, Mark)> {
        let end = self.end()?;
        let events = self.events_between(*mark, end)?.into_iter();
        let of_user = events.filter(|event| event.user.username == user && event.counts());
        Ok((of_user.map(Event::asked).collect(), end))
    }

    /// As [`Audit::follow`], but with every request that was answered before this call.
    ///
    /// # Errors
    /// As [`Audit::counts_since`].
    pub async fn asked_since(&self, mark: &Mark, user: &str) -> Result<Vec<Asked>> {
        self.settle().await?;
        Ok(self.follow(mark, user)?.0)
    }

    /// The API server writes an event when the handler of the request ends, which may be just after the client has its
    /// answer. So send a request of our own and wait until that is recorded, and a moment for those beside it.
    async fn settle(&self) -> Result<()> {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let own = format!("/version?mark={}-{}", std::process::id(), ASKED.fetch_add(1, Ordering::Relaxed));
        let start = self.end()?;
        let request = Request::get(&own).body(Vec::new()).context("build the request that marks the audit log")?;
        self.client.request_text(request).await.context("mark the audit log")?;
        wait::until("the own request in the audit log", Duration::from_secs(10), async || {
            Ok(self.events(start)?.iter().any(|event| event.uri == own).then_some(()))
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }

    fn events(&self, mark: Mark) -> Result<Vec<Event>> {
        self.events_between(mark, self.end()?)
    }

    fn events_between(&self, mark: Mark, end: Mark) -> Result<Vec<Event>> {
        let mut log = self.open()?;
        log.seek(SeekFrom::Start(mark.0))?;
        let mut events = Vec::new();
        for line in BufReader::new(log.take(end.0.saturating_sub(mark.0))).lines() {
            let line = line?;
            events.push(serde_json::from_str(&line).with_context(|| format!("read the audit event {line}"))?);
        }
        Ok(events)
    }

    /// The end of the last whole line: the API server may be writing the next one.
    fn end(&self) -> Result<Mark> {
        let mut log = self.open()?;
        let length = log.metadata()?.len();
        let start = length.saturating_sub(LONGEST_LINE);
        log.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        log.take(length - start).read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
        Ok(Mark(start + u64::try_from(whole)?))
    }

    fn open(&self) -> Result<File> {
        File::open(&self.log).with_context(|| format!("open {}", self.log.display()))
    }
}

impl Event {
    /// Requests that stay open are recorded when they open and again when they end; each request counts once.
    fn counts(&self) -> bool {
        let stays_open = self.verb == "watch"
            || self.verb == "proxy"
            || self
                .object_ref
                .as_ref()
                .and_then(|object| object.subresource.as_deref())
                .is_some_and(|name| matches!(name, "attach" | "exec" | "log" | "portforward" | "proxy"));
        self.stage == if stays_open { "ResponseStarted" } else { "ResponseComplete" } || self.stage == "Panic"
    }

    fn asked(self) -> Asked {
        let (subject, at) = (self.subject(), self.stage_timestamp.0);
        let (group, name) = self.object_ref.map_or((None, None), |object| (object.api_group, object.name));
        Asked {
            verb: self.verb,
            subject,
            name,
            at,
            group: group.unwrap_or_default(),
            status: self.response_status.map_or(0, |answer| answer.code),
            agent: self.user_agent,
            reason: self.annotations.get("authorization.k8s.io/reason").cloned().unwrap_or_default(),
        }
    }

    fn subject(&self) -> String {
        match &self.object_ref {
            Some(Object { resource: Some(resource), subresource: Some(part), .. }) => format!("{resource}/{part}"),
            Some(Object { resource: Some(resource), .. }) => resource.clone(),
            _ => self.uri.split('?').next().unwrap_or_default().to_owned(),
        }
    }
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, verb: &str, subject: &str) {
        *self.0.entry((verb.to_owned(), subject.to_owned())).or_default() += 1;
    }

    /// The requests with this verb for this resource.
    #[must_use]
    pub fn of(&self, verb: &str, resource: &str) -> u64 {
        self.0.get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or_default()
    }

    /// The requests that change something, refused ones included. Reviews (`subjectaccessreviews` and the like) are
    /// created but change nothing: they are no writes.
    #[must_use]
    pub fn writes(&self) -> u64 {
        let writes = self.0.iter().filter(|((verb, resource), _)| changes(verb) && !resource.ends_with("reviews"));
        writes.map(|(_, count)| count).sum()
    }

    /// All requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// All but the watches: the client ends each after three minutes and opens it again, which no work causes.
    #[must_use]
    pub fn besides_watches(&self) -> u64 {
        self.iter().filter(|(verb, ..)| *verb != "watch").map(|(.., count)| count).sum()
    }

    /// Every requested verb and resource, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.0.iter().map(|((verb, resource), count)| (verb.as_str(), resource.as_str(), *count))
    }
}

impl Asked {
    /// Whether its verb changes something.
    #[must_use]
    pub fn changes(&self) -> bool {
        changes(&self.verb)
    }
}

fn changes(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection")
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (verb, resource, count) in self.iter() {
            writeln!(formatter, "{count:>7}  {verb:<16}  {resource}")?;
        }
        write!(formatter, "{:>7}  in all, {} of them writes", self.total(), self.writes())
    }
}
