//! The events of one watch. Its first objects come one by one where the API server sends them so
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>): one request instead of a list and
//! a watch, and one object in memory at a time instead of a page. An API server that refuses that is asked for lists.

use std::fmt::Debug;

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Error, Event, watcher},
    },
};
use rekey_core::health::WATCH;
use serde::de::DeserializeOwned;
use tokio::sync::SemaphorePermit;

use crate::pages::{Page, Pages, SINGLY};

/// See the [module documentation](self).
pub struct Events<'a, K> {
    api: Api<K>,
    pages: &'a Pages,
    /// Of its lists.
    page: Page,
    stream: BoxStream<'static, Result<Event<K>, Error>>,
    mode: Mode,
    /// The only name that is asked for.
    name: Option<&'static str>,
    /// Held until the first objects are known.
    turn: Option<SemaphorePermit<'a>>,
}

/// How the first objects come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Singly,
    InPages,
}

impl<'a, K> Events<'a, K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Waits for its turn. `name`: objects of this name only.
    pub async fn of(api: Api<K>, pages: &'a Pages, page: Page, name: Option<&'static str>) -> Self {
        let mode = if pages.are_needed() { Mode::InPages } else { Mode::Singly };
        let turn = match mode {
            Mode::Singly => pages.turn(SINGLY).await,
            Mode::InPages => None,
        };
        Self { stream: stream(&api, mode, page, name), api, pages, page, mode, name, turn }
    }

    /// The next one. A watch that fails is started again, later and later.
    pub async fn next(&mut self) -> Result<Event<K>, Error> {
        loop {
            let event = self.stream.next().await.unwrap_or(Err(Error::NoResourceVersion)); // it does not end
            match &event {
                Err(error) if self.mode == Mode::Singly && is_refusal(error) => {
                    self.pages.need();
                    self.turn = None; // those who hold one while they wait for a larger one keep each other waiting
                    self.mode = Mode::InPages;
                    self.stream = stream(&self.api, self.mode, self.page, self.name);
                    continue;
                }
                // The list starts when the stream is asked for more.
                Ok(Event::Init) if self.mode == Mode::InPages => {
                    drop(event); // else each watch has room for an object all its life
                    self.turn = self.pages.turn(self.page).await;
                    return Ok(Event::Init);
                }
                Ok(Event::InitDone) | Err(_) => self.turn = None,
                Ok(Event::Init | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_)) => {}
            }
            return event;
        }
    }
}

fn stream<K>(api: &Api<K>, mode: Mode, page: Page, name: Option<&str>) -> BoxStream<'static, Result<Event<K>, Error>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut config = Config::default().timeout(WATCH);
    config.field_selector = name.map(|name| format!("metadata.name={name}"));
    let config = match mode {
        Mode::Singly => config.streaming_lists(),
        Mode::InPages => config.page_size(page.objects),
    };
    watcher(api.clone(), config).default_backoff().boxed()
}

/// Whether the API server does not know this kind of watch: its feature `WatchList` is off.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::WatchStartFailed(source) if matches!(crate::error::status(source), Some(400 | 422)))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Client, ResourceExt as _, client::Body};
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::pages::WHOLE;

    /// A client of an API server that holds one object and whose watches end when they have reported it, and what it
    /// was asked.
    fn server(streams: bool) -> (Api<ConfigMap>, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let queries = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let (code, body) = answer(&query, streams);
            queries.lock().unwrap().push(query);
            let answer = Response::builder().status(code).body(Body::from(body.into_bytes()));
            async move { answer }
        });
        (Api::namespaced(Client::new(service, "shop"), "shop"), asked)
    }

    fn answer(query: &str, streams: bool) -> (u16, String) {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "7"}});
        let lines = |events: &[Value]| events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n";
        match (query.contains("watch=true"), query.contains("sendInitialEvents=true")) {
            (true, true) if streams => {
                let end = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
                    "resourceVersion": "8", "creationTimestamp": null,
                    "annotations": {"k8s.io/initial-events-end": "true"}}});
                (200, lines(&[json!({"type": "ADDED", "object": object}), json!({"type": "BOOKMARK", "object": end})]))
            }
            (true, true) => {
                let message = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": message, "reason": "Invalid", "code": 422});
                (422, status.to_string())
            }
            (true, false) => (200, lines(&[json!({"type": "MODIFIED", "object": object})])),
            (false, _) => {
                let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "8"},
                    "items": [object]});
                (200, list.to_string())
            }
        }
    }

    /// The first events, up to the one after the first objects.
    async fn first(api: Api<ConfigMap>, pages: &Pages) -> Vec<String> {
        let mut events = Events::of(api, pages, WHOLE, None).await;
        let mut seen = Vec::new();
        while seen.len() < 4 {
            seen.push(match events.next().await.unwrap() {
                Event::Init => "init".to_owned(),
                Event::InitApply(object) => format!("first {}", object.name_any()),
                Event::InitDone => "done".to_owned(),
                Event::Apply(object) => format!("then {}", object.name_any()),
                Event::Delete(object) => format!("gone {}", object.name_any()),
            });
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn first_objects_come_with_the_watch_itself() {
        let (api, asked) = server(true);
        let pages = Pages::default();
        assert_eq!(first(api, &pages).await, ["init", "first a", "done", "then a"]);
        let asked = asked.lock().unwrap();
        assert!(asked[0].contains("sendInitialEvents=true") && !asked[1].contains("sendInitialEvents"), "{asked:?}");
        assert!(asked.iter().all(|query| query.contains("watch=true")), "no list: {asked:?}");
        assert!(!pages.are_needed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_refuses_that_is_asked_for_lists_and_not_again_by_the_next_watch() {
        let (api, asked) = server(false);
        let pages = Pages::default();
        assert_eq!(first(api.clone(), &pages).await, ["init", "first a", "done", "then a"]);
        assert_eq!(first(api, &pages).await, ["init", "first a", "done", "then a"]);
        let asked = asked.lock().unwrap();
        let tried = asked.iter().filter(|query| query.contains("sendInitialEvents=true")).count();
        assert_eq!(tried, 1, "{asked:?}");
        let lists = asked.iter().filter(|query| query.contains(&format!("limit={}", WHOLE.objects))).count();
        assert_eq!(lists, 2, "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn watches_that_are_refused_at_the_same_time_do_not_keep_each_other_from_their_lists() {
        let (api, _) = server(false);
        let (pages, start) = (Pages::default(), Instant::now());
        // More than there is room for, had each of them a turn already.
        let all = futures::future::join_all((0..25).map(|_| first(api.clone(), &pages))).await;
        assert!(all.iter().all(|seen| *seen == ["init", "first a", "done", "then a"]), "{all:?}");
        assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
    }
}
