//! Reads that are shared: identical ones in flight are one call, and an answer is good for a moment.
//!
//! # Guarantees
//! - Callers of one client that want the same at the same time cause one call; each gets its answer, an error too.
//! - A value is kept for [`WINDOW`] and wiped then, an error not at all. At most [`HELD_BYTES`] are kept.
//! - A caller that wants the present state never gets an answer that was asked for before it came.
//! - A caller that gives up does not disturb the others; when all have given up, the call is given up.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared, join_all},
};
use rekey_core::store::{Locator, RemoteValue, StoreError, StoreErrorKind};
use tokio::time::{Instant, sleep_until};

use super::client::Client;

/// How long an answer serves others, too.
pub const WINDOW: Duration = Duration::from_secs(1);
/// What the kept values of one client may weigh.
pub const HELD_BYTES: usize = 4 * 1024 * 1024;

type Answers = Arc<[Result<RemoteValue, StoreError>]>;
type Batch = Shared<BoxFuture<'static, Answers>>;

/// See the [module documentation](self).
#[derive(Default)]
pub struct Reads(Mutex<State>);

#[derive(Default)]
struct State {
    entries: HashMap<Locator, Entry>,
    /// Number of the next batch.
    next: u64,
    held_bytes: usize,
    sweeping: bool,
}

enum Entry {
    Flying { batch: WeakShared<BoxFuture<'static, Answers>>, number: u64, position: usize, begun: Arc<AtomicBool> },
    Held { value: RemoteValue, until: Instant },
}

/// Where the answer to one of the asked locators comes from.
enum Place {
    Held(RemoteValue),
    Batch(Batch, usize),
    /// In the batch that is about to begin.
    Own(usize),
}

impl Reads {
    /// Forgets what is known of a key: it is being written.
    pub fn forget(&self, key: &str) {
        self.state().retain(|locator, _| locator.key != key);
    }

    /// How many entries there are, and how many bytes are kept.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        let state = self.state();
        (state.entries.len(), state.held_bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads through `client`. `afresh`: nothing that was asked for earlier is good enough.
pub async fn read_all(
    client: &Arc<Client>,
    locators: &[Locator],
    afresh: bool,
) -> Vec<Result<RemoteValue, StoreError>> {
    let places = places(client, locators, afresh);
    let batches = places.iter().map(|place| async move {
        match place {
            Place::Held(value) => Ok(value.clone()),
            Place::Batch(batch, position) => batch.clone().await.get(*position).cloned().unwrap_or_else(no_answer),
            Place::Own(_) => no_answer(), // none is left after `places`
        }
    });
    join_all(batches).await
}

fn no_answer() -> Result<RemoteValue, StoreError> {
    Err(StoreError::new(StoreErrorKind::Malformed, "the store answered fewer reads than were asked for"))
}

/// Joins what is under way, and begins one call for all the rest.
fn places(client: &Arc<Client>, locators: &[Locator], afresh: bool) -> Vec<Place> {
    let now = Instant::now();
    let mut state = client.reads.state();
    let mut own: Vec<Locator> = Vec::new();
    let mut places: Vec<Place> = locators
        .iter()
        .map(|locator| {
            state.known(locator, afresh, now).unwrap_or_else(|| {
                let position = own.iter().position(|other| other == locator).unwrap_or_else(|| {
                    own.push(locator.clone());
                    own.len() - 1
                });
                Place::Own(position)
            })
        })
        .collect();
    if own.is_empty() {
        return places;
    }
    let batch = state.begin(client, own);
    for place in &mut places {
        if let Place::Own(position) = place {
            *place = Place::Batch(batch.clone(), *position);
        }
    }
    places
}

impl State {
    fn known(&self, locator: &Locator, afresh: bool, now: Instant) -> Option<Place> {
        match self.entries.get(locator)? {
            Entry::Held { value, until } => (!afresh && now < *until).then(|| Place::Held(value.clone())),
            Entry::Flying { batch, position, begun, .. } => {
                let batch = batch.upgrade()?;
                (!afresh || !begun.load(Ordering::Acquire)).then_some(Place::Batch(batch, *position))
            }
        }
    }

    fn begin(&mut self, client: &Arc<Client>, own: Vec<Locator>) -> Batch {
        let (number, begun) = (self.next, Arc::new(AtomicBool::new(false)));
        self.next += 1;
        let call = {
            let (client, begun, own) = (Arc::clone(client), Arc::clone(&begun), own.clone());
            async move {
                let answers: Answers = client.fetch(&own, &begun).await.into();
                settle(&client, &own, number, &answers);
                answers
            }
        };
        let batch = call.boxed().shared();
        for (position, locator) in own.into_iter().enumerate() {
            let Some(weak) = batch.downgrade() else { continue };
            let entry = Entry::Flying { batch: weak, number, position, begun: Arc::clone(&begun) };
            self.put(locator, entry);
        }
        batch
    }

    fn put(&mut self, locator: Locator, entry: Entry) {
        self.held_bytes += entry.bytes();
        if let Some(before) = self.entries.insert(locator, entry) {
            self.held_bytes -= before.bytes();
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&Locator, &Entry) -> bool) {
        self.entries.retain(|locator, entry| keep(locator, entry));
        self.held_bytes = self.entries.values().map(Entry::bytes).sum();
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Flying { .. } => 0,
            Self::Held { value, .. } => value.bytes.len(),
        }
    }
}

/// Keeps what a batch has read, unless somebody asked anew or wrote meanwhile.
fn settle(client: &Arc<Client>, own: &[Locator], number: u64, answers: &Answers) {
    let until = Instant::now() + WINDOW;
    let mut state = client.reads.state();
    for (locator, answer) in own.iter().zip(answers.iter()) {
        let ours = matches!(state.entries.get(locator), Some(Entry::Flying { number: of, .. }) if *of == number);
        match answer {
            Ok(value) if ours && state.held_bytes + value.bytes.len() <= HELD_BYTES => {
                state.put(locator.clone(), Entry::Held { value: value.clone(), until });
            }
            Ok(_) | Err(_) if ours => drop(state.entries.remove(locator)),
            Ok(_) | Err(_) => {}
        }
    }
    if state.held_bytes > 0 && !state.sweeping {
        state.sweeping = true;
        tokio::spawn(sweep(Arc::downgrade(client)));
    }
}

/// Wipes values whose time is over, until there is none.
async fn sweep(client: Weak<Client>) {
    loop {
        let Some(next) = client.upgrade().and_then(|client| swept(&client)) else {
            return;
        };
        sleep_until(next).await;
    }
}

/// Wipes, and tells when there is something to wipe again.
fn swept(client: &Client) -> Option<Instant> {
    let now = Instant::now();
    let mut state = client.reads.state();
    state.retain(|_, entry| match entry {
        Entry::Held { until, .. } => now < *until,
        Entry::Flying { batch, .. } => batch.upgrade().is_some(),
    });
    let next = state.entries.values().filter_map(|entry| match entry {
        Entry::Held { until, .. } => Some(*until),
        Entry::Flying { .. } => None,
    });
    let next = next.min();
    state.sweeping = next.is_some();
    next
}
