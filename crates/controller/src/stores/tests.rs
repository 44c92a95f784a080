//! What a client shares, with a store that answers after a while.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rekey_api::store::Limits;
use rekey_core::{
    SecretBytes,
    store::{Allowance, Locator, Pin, Probe, RemoteValue, Store, StoreError, StoreErrorKind, Write},
};
use tokio::time::{Instant, advance, sleep, timeout};

use super::{
    Identity, ObjectName,
    budget::{Budget, ROUND, Room},
    client::Client,
    reads::{self, Sharing, WINDOW},
};
use crate::{in_memory::Ground, metrics::Metrics};

/// How long an answer takes.
const PACE: Duration = Duration::from_secs(3);

/// More than is kept for others.
const HUGE: usize = 3 * 1024 * 1024;

/// Answers with how often the key was read before.
#[derive(Default)]
struct Slow {
    calls: AtomicUsize,
    reads: Mutex<HashMap<String, usize>>,
    failing: Mutex<Option<StoreErrorKind>>,
}

impl Slow {
    fn answer(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        let mut reads = self.reads.lock().unwrap();
        let count = reads.entry(locator.key.clone()).or_default();
        *count += 1;
        if let Some(kind) = *self.failing.lock().unwrap() {
            return Err(StoreError::new(kind, format!("failure {count}")));
        }
        let size = if locator.key.starts_with("huge") { HUGE } else { 1 };
        Ok(RemoteValue { bytes: SecretBytes::new(vec![b'x'; size]), version: count.to_string(), created: None })
    }
}

#[async_trait]
impl Store for Slow {
    async fn probe(&self) -> Result<Probe, StoreError> {
        Ok(Probe { identity: "nobody".to_owned(), capabilities: Vec::new() })
    }

    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        sleep(PACE).await;
        self.answer(locator)
    }

    async fn read_all(&self, locators: &[Locator], allowance: &Allowance) -> Vec<Result<RemoteValue, StoreError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        allowance.count_request();
        sleep(PACE).await;
        let answer = |locator: &Locator| {
            allowance.check()?;
            self.answer(locator)?.within(allowance)
        };
        locators.iter().map(answer).collect()
    }

    fn values_per_request(&self) -> usize {
        20
    }

    async fn write(&self, _write: &Write) -> Result<String, StoreError> {
        sleep(PACE).await;
        Ok("written".to_owned())
    }
}

fn client() -> (Arc<Slow>, Arc<Client>) {
    let store = Arc::new(Slow::default());
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    (store, client_of(shared, &Limits::default()))
}

fn client_of(store: Arc<dyn Store>, limits: &Limits) -> Arc<Client> {
    Arc::new(Client::new(store, limits, Arc::new(Metrics::default()), Arc::new(Budget::default())))
}

async fn room(client: &Client, namespace: &str, bytes: usize) -> Room {
    client.budget.room(namespace, bytes, 16).await.unwrap()
}

fn locators(keys: &[&str]) -> Vec<Locator> {
    keys.iter().map(|key| Locator { key: (*key).to_owned(), pin: Pin::Current }).collect()
}

/// Versions that were read, or the texts of failures.
async fn read(client: &Arc<Client>, keys: &[&str], afresh: bool) -> Vec<String> {
    let sharing = if afresh { Sharing::Afresh } else { Sharing::All };
    let room = Room::new("shop", ROUND, None);
    let answers = reads::read_all(client, &locators(keys), sharing, &room).await;
    answers.into_iter().map(|answer| answer.map_or_else(|error| error.text, |value| value.version)).collect()
}

#[tokio::test(start_paused = true)]
async fn equal_reads_are_one_call_while_it_lasts_and_a_moment_after() {
    let (store, client) = client();
    let answers = futures::future::join_all((0..50).map(|_| read(&client, &["a"], false))).await;
    assert!(answers.iter().all(|answer| answer == &["1"]), "{answers:?}");
    advance(WINDOW / 2).await;
    assert_eq!(read(&client, &["a"], false).await, ["1"]);
    assert_eq!(store.calls.load(Ordering::SeqCst), 1);
    advance(WINDOW / 2).await;
    assert_eq!(read(&client, &["a"], false).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_shared_is_one_batch() {
    let (store, client) = client();
    let (one, two, three) = tokio::join!(
        read(&client, &["a", "b"], false),
        read(&client, &["b", "c", "c", "d"], false),
        read(&client, &["d", "a"], false)
    );
    assert_eq!((one.len(), two.len(), three.len()), (2, 4, 2));
    assert!([one, two, three].concat().iter().all(|version| version == "1"));
    assert_eq!(store.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn clients_share_nothing() {
    let ((one, first), (two, second)) = (client(), client());
    tokio::join!(read(&first, &["a"], false), read(&second, &["a"], false));
    assert_eq!((one.calls.load(Ordering::SeqCst), two.calls.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn versions_of_a_key_are_different_reads() {
    let (store, client) = client();
    let mut locators = locators(&["a", "a"]);
    locators[1].pin = Pin::Version("1".to_owned());
    reads::read_all(&client, &locators, Sharing::All, &Room::single("shop")).await;
    assert_eq!(store.reads.lock().unwrap()["a"], 2);
}

#[tokio::test(start_paused = true)]
async fn who_wants_the_present_state_takes_nothing_that_was_asked_for_before() {
    let (store, client) = client();
    let (early, late) = tokio::join!(read(&client, &["a"], false), async {
        sleep(PACE / 2).await;
        read(&client, &["a"], true).await
    });
    assert_eq!((early, late), (vec!["1".to_owned()], vec!["2".to_owned()]));
    assert_eq!(read(&client, &["a"], false).await, ["2"], "the later answer is the one that is kept");
    assert_eq!(read(&client, &["a"], true).await, ["3"]);
    assert_eq!(store.calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn who_wants_the_present_state_joins_a_call_that_has_not_begun() {
    let store = Arc::new(Slow::default());
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let limits = Limits { requests_per_second: 1, burst: 1 };
    let client = client_of(shared, &limits);
    read(&client, &["other"], false).await;
    read(&client, &["another"], false).await;
    tokio::join!(read(&client, &["a"], false), read(&client, &["b"], false), read(&client, &["b"], true));
    assert_eq!(store.reads.lock().unwrap()["b"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_not_kept() {
    let (store, client) = client();
    *store.failing.lock().unwrap() = Some(StoreErrorKind::Denied);
    let (one, two) = tokio::join!(read(&client, &["a"], false), read(&client, &["a"], false));
    assert_eq!((one, two), (vec!["failure 1".to_owned()], vec!["failure 1".to_owned()]));
    *store.failing.lock().unwrap() = None;
    assert_eq!(read(&client, &["a"], false).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_does_not_disturb_the_others() {
    let (store, client) = client();
    let patience = PACE / 2;
    let (gave_up, stayed) =
        tokio::join!(tokio::time::timeout(patience, read(&client, &["a"], false)), read(&client, &["a"], false));
    assert!(gave_up.is_err());
    assert_eq!(stayed, ["1"]);
    // When all give up, the call does not go on, and the next one starts again.
    assert!(tokio::time::timeout(patience, read(&client, &["b"], false)).await.is_err());
    sleep(PACE * 2).await;
    assert!(!store.reads.lock().unwrap().contains_key("b"));
    assert_eq!(read(&client, &["b"], false).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn values_are_kept_no_longer_than_the_window_and_no_more_than_the_bound() {
    let (store, client) = client();
    read(&client, &["a", "b"], false).await;
    assert_eq!(client.reads.held(), (2, 2));
    sleep(WINDOW + Duration::from_millis(1)).await;
    assert_eq!(client.reads.held(), (0, 0));
    read(&client, &["huge"], false).await;
    assert_eq!(client.reads.held(), (0, 0));
    assert_eq!(read(&client, &["huge"], false).await, ["2"]);
    assert_eq!(store.calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_what_was_known() {
    let (_store, client) = client();
    assert_eq!(read(&client, &["a", "b"], false).await, ["1", "1"]);
    client.reads.forget("a");
    assert_eq!(read(&client, &["a", "b"], false).await, ["2", "1"]);
    // What was asked for before the write is not kept after it.
    let (before, ()) = tokio::join!(read(&client, &["c"], false), async {
        sleep(PACE / 2).await;
        client.reads.forget("c");
    });
    assert_eq!(before, ["1"]);
    assert_eq!(read(&client, &["c"], false).await, ["2"]);
}

/// A caller that joins a call which ends for want of room reads what is left by itself, if it has room.
#[tokio::test(start_paused = true)]
async fn a_small_room_is_not_the_room_of_others() {
    let (store, client) = client();
    let (little, much) = (room(&client, "little", 1).await, room(&client, "much", ROUND).await);
    let wanted = locators(&["a", "huge"]);
    let (one, other) = tokio::join!(
        reads::read_all(&client, &wanted, Sharing::All, &little),
        reads::read_all(&client, &wanted, Sharing::All, &much)
    );
    let sizes = |answers: &[Result<RemoteValue, StoreError>]| -> Vec<Result<usize, StoreErrorKind>> {
        answers
            .iter()
            .map(|answer| answer.as_ref().map(|value| value.bytes.len()).map_err(|error| error.kind))
            .collect()
    };
    assert_eq!(sizes(&one), [Ok(1), Err(StoreErrorKind::TooMuch)]);
    assert_eq!(sizes(&other), [Ok(1), Ok(HUGE)]);
    assert_eq!(store.calls.load(Ordering::SeqCst), 2);
    assert!(little.allowance().is_over() && !much.allowance().is_over());
    // What another has read takes one's own room, too.
    let third = room(&client, "third", ROUND).await;
    let (fourth, wanted) = (room(&client, "fourth", ROUND).await, locators(&["huge1"]));
    let (_, joined) = tokio::join!(
        reads::read_all(&client, &wanted, Sharing::All, &fourth),
        reads::read_all(&client, &wanted, Sharing::All, &third)
    );
    assert_eq!((sizes(&joined), third.allowance().most()), (vec![Ok(HUGE)], HUGE));
    let second = reads::read_all(&client, &locators(&["huge2"]), Sharing::All, &third).await;
    assert_eq!(sizes(&second), [Err(StoreErrorKind::TooMuch)]);
}

/// The room of a call is taken for as long as a caller waits for it.
#[tokio::test(start_paused = true)]
async fn a_call_holds_the_room_of_who_began_it() {
    let (_store, client) = client();
    let start = Instant::now();
    let (first, _more) = (room(&client, "first", ROUND).await, room(&client, "first", ROUND).await);
    let (wanted, second) = (locators(&["a"]), Room::single("second"));
    let ((), joined, ()) = tokio::join!(
        async {
            let gave_up = timeout(PACE / 2, reads::read_all(&client, &wanted, Sharing::All, &first)).await;
            assert!(gave_up.is_err());
            drop(first);
        },
        reads::read_all(&client, &wanted, Sharing::All, &second),
        async {
            sleep(PACE / 4 * 3).await;
            room(&client, "first", ROUND).await;
            assert_eq!(start.elapsed(), PACE, "until the call is over");
        }
    );
    assert!(joined[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_stops_using_a_store_leaves_no_client_behind() {
    let ground = Ground::new();
    let connections = &ground.context.stores;
    let (mut placed, stores) = (Vec::new(), ["vault", "other"].map(|name| ObjectName::new("", name)));
    for (store, consumer) in [(0, Some("shop")), (0, Some("bar")), (1, Some("shop")), (0, None)] {
        let identity = Identity { store: stores[store].clone(), consumer: consumer.map(str::to_owned) };
        let place = connections.place(&identity, "u", 1);
        place.set(client().1).ok();
        placed.push((Arc::downgrade(&place), identity));
    }
    let alive = || placed.iter().map(|(place, _)| place.strong_count() > 0).collect::<Vec<_>>();
    connections.keep_used(|_, _| true);
    assert_eq!(alive(), [true; 4]);
    connections.keep_used(|store, namespace| store.name == "vault" && namespace == "bar");
    assert_eq!(alive(), [false, true, false, true], "a store's own client stays with the store");
    assert!(connections.place(&placed[0].1, "u", 1).get().is_none(), "made again");
}
