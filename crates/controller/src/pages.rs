//! Lists whose objects tenants make as large as the API server takes: page by page, and a few at a time. A whole answer
//! is in memory at once, as text and as objects, and that room is never given back in full.

use std::{
    fmt::{Debug, Display},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Error, Operation};

/// How much a list asks for at a time.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Objects in one answer.
    pub objects: u32,
    /// What an answer may take of [`ROOM`].
    room: u32,
}

/// Whole objects, each of up to 1.5 MiB. Large pages, since each is a request of the start.
pub const WHOLE: Page = Page { objects: 30, room: 30 };
/// The same where only metadata is asked for, of which annotations are up to 256 KiB.
pub const METADATA: Page = Page { objects: 100, room: 30 };
/// Pods of one workload: mostly a few, and several workloads ask at the same time.
const POD: Page = Page { objects: 15, room: 15 };
/// Objects that come one by one: one as text, as JSON and as object.
pub const SINGLY: Page = Page { objects: 1, room: 3 };
/// Whole objects in the answers that are under way at the same time: 90 MiB of them at worst, as text.
const ROOM: u32 = 60;
/// How long a list waits for its turn. One that is never answered keeps its turn, and must not stop the others for
/// good.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pods, or other objects, that are looked at in one list.
const PODS: usize = 5_000;

/// Lists take turns.
#[derive(Debug)]
pub struct Pages {
    room: Semaphore,
    /// Whether the API server was seen to know no other way. It is not asked again before we start again.
    needed: AtomicBool,
}

impl Default for Pages {
    fn default() -> Self {
        Self { room: Semaphore::new(ROOM as usize), needed: AtomicBool::new(false) }
    }
}

impl Pages {
    /// Waits for a turn, which ends when the answer is dropped; `None`: the wait has been long enough.
    pub async fn turn(&self, page: Page) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(PATIENCE, self.room.acquire_many(page.room)).await.ok()?.ok()
    }

    /// Notes that the API server sends no objects one by one.
    pub fn need(&self) {
        if !self.needed.swap(true, Ordering::Relaxed) {
            tracing::info!("the API server does not stream lists (its feature WatchList is off); they come in pages");
        }
    }

    /// Whether it does not.
    pub fn are_needed(&self) -> bool {
        self.needed.load(Ordering::Relaxed)
    }
}

/// Pods to look at.
#[derive(Clone, Copy, Debug)]
pub struct Pods<'a> {
    pub namespace: &'a str,
    /// Their labels; `None`: all of the namespace.
    pub selector: Option<&'a str>,
}

impl Pods<'_> {
    /// What `of` makes of each, from a fresh list. `object`: whose they are, for messages.
    ///
    /// # Errors
    /// When the API server refuses, or there are more than are looked at.
    pub async fn each<T>(
        self,
        client: &Client,
        pages: &Pages,
        object: impl Display,
        of: impl Fn(&Pod) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let api: Api<Pod> = Api::namespaced(client.clone(), self.namespace);
        let mut params = ListParams::default().limit(POD.objects);
        params.label_selector = self.selector.map(str::to_owned);
        let all = Listed { api, operation: Operation::ListPods, params };
        match all.each(pages, &object, of).await? {
            Reach::All(found) => Ok(found),
            Reach::TooMany => Err(Error::TooManyPods { object: object.to_string(), most: PODS }),
        }
    }
}

/// What a fresh list has shown.
#[derive(Debug)]
pub enum Reach<T> {
    /// Everything that there is.
    All(Vec<T>),
    /// There are more objects than are looked at.
    TooMany,
}

/// Objects to look at in a fresh list.
pub struct Listed<K> {
    api: Api<K>,
    operation: Operation,
    params: ListParams,
}

impl<K: Clone + DeserializeOwned + Debug> Listed<K> {
    /// All of a namespace.
    pub fn all(api: Api<K>, operation: Operation) -> Self {
        Self { api, operation, params: ListParams::default().limit(POD.objects) }
    }

    /// What `of` makes of each. `object`: for messages.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn each<T>(
        mut self,
        pages: &Pages,
        object: impl Display,
        of: impl Fn(&K) -> Option<T>,
    ) -> Result<Reach<T>, Error> {
        let (mut found, mut seen) = (Vec::new(), 0);
        loop {
            let turn = pages.turn(POD).await;
            let page = self.api.list(&self.params).await.map_err(Error::api(self.operation, &object))?;
            seen += page.items.len();
            found.extend(page.items.iter().filter_map(&of));
            self.params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            drop((page.items, turn));
            if self.params.continue_token.is_none() {
                return Ok(Reach::All(found));
            }
            if seen >= PODS {
                return Ok(Reach::TooMany);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kube::{ResourceExt as _, client::Body};
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    /// A client whose server has `pages` pages of pods, and the queries that it was asked.
    fn server(pages: usize) -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let queries = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let page = query.split("continue=p").nth(1).map_or(0, |page| page.parse::<usize>().unwrap());
            queries.lock().unwrap().push(query);
            let next = if page + 1 < pages { format!("p{}", page + 1) } else { String::new() };
            let pods: Vec<_> =
                (0..POD.objects).map(|at| json!({"metadata": {"name": format!("{page}-{at}")}})).collect();
            let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": next}, "items": pods});
            let answer = http::Response::builder().body(Body::from(list.to_string().into_bytes()));
            async move { answer }
        });
        (Client::new(service, "shop"), asked)
    }

    #[tokio::test]
    async fn pods_are_listed_in_pages_to_the_end() {
        let (client, asked) = server(3);
        let list = Pods { namespace: "shop", selector: Some("app=web") };
        let even = |pod: &Pod| Some(pod.name_any()).filter(|name| name.ends_with("-0"));
        let found = list.each(&client, &Pages::default(), "Deployment web", even).await.unwrap();
        assert_eq!(found, ["0-0", "1-0", "2-0"]);
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 3);
        let limit = format!("limit={}", POD.objects);
        assert!(asked.iter().all(|query| query.contains(&limit) && query.contains("labelSelector=app%3Dweb")));
    }

    #[tokio::test]
    async fn more_pods_than_are_looked_at_are_said_to_be_too_many() {
        let (client, asked) = server(10_000);
        let list = Pods { namespace: "shop", selector: None };
        let error = list.each(&client, &Pages::default(), "Deployment web", |_| Some(())).await.unwrap_err();
        assert!(error.to_string().starts_with("Deployment web has more than 5000 pods"), "{error}");
        assert_eq!(asked.lock().unwrap().len(), PODS.div_ceil(POD.objects as usize));
    }

    #[tokio::test(start_paused = true)]
    async fn lists_take_turns_and_none_waits_for_ever() {
        let pages = Pages::default();
        let mut turns = vec![pages.turn(WHOLE).await.unwrap()];
        turns.push(pages.turn(POD).await.unwrap());
        turns.push(pages.turn(POD).await.unwrap());
        let start = Instant::now();
        assert!(pages.turn(POD).await.is_none(), "those before it are not answered");
        assert_eq!(start.elapsed(), PATIENCE);
        drop(turns.pop());
        assert!(pages.turn(POD).await.is_some());
        assert_eq!(start.elapsed(), PATIENCE, "at once");
    }
}
