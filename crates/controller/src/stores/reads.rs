//! Reads that are shared: identical ones in flight are one call, and an answer is good for a moment.
//!
//! # Guarantees
//! - Callers of one client that ask for the same at the same time cause one call; each gets its answer, an error too.
//! - A value is kept for [`WINDOW`] and wiped then, an error not at all; and only while the [`budget`](super::budget)
//!   has room for it.
//! - A call reads into the room of the caller that started it. When that is too small, the others read what is left by
//!   themselves.
//! - A caller that asks for the current state never gets an answer that was asked for before it came.
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

use super::{budget::Room, client::Client};
use crate::pool::Share;

/// How long an answer serves others, too.
pub const WINDOW: Duration = Duration::from_secs(1);
/// What a kept value takes beside its bytes: where it was read, and its version.
const AROUND: usize = 256;

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
    sweeping: bool,
}

enum Entry {
    Flying { batch: WeakShared<BoxFuture<'static, Answers>>, number: u64, position: usize, begun: Arc<AtomicBool> },
    Held { value: RemoteValue, until: Instant, _share: Share },
}

/// Where the answer to one of the asked locators comes from.
enum Place {
    Held(RemoteValue),
    /// In a batch that another started.
    Others(Batch, usize),
    /// In the batch that is about to start.
    Own(usize),
}

/// Which answers that others have asked for are good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All.
    All,
    /// Those of calls that have not started.
    Afresh,
    /// None.
    Alone,
}

impl Reads {
    /// Forgets what is known of a key: it is being written.
    pub fn forget(&self, key: &str) {
        self.state().entries.retain(|locator, _| locator.key != key);
    }

    /// How many entries there are, and how many bytes are kept.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        let state = self.state();
        let bytes = state.entries.values().map(|entry| match entry {
            Entry::Held { value, .. } => value.bytes.len(),
            Entry::Flying { .. } => 0,
        });
        (state.entries.len(), bytes.sum())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads through `client` into `room`.
pub async fn read_all(
    client: &Arc<Client>,
    locators: &[Locator],
    sharing: Sharing,
    room: &Room,
) -> Vec<Result<RemoteValue, StoreError>> {
    let mut answers = attempt(client, locators, sharing, room).await;
    let is_left = |answer: &Result<RemoteValue, StoreError>| {
        answer.as_ref().is_err_and(|error| error.kind == StoreErrorKind::TooMuch) && !room.allowance().is_over()
    };
    let left: Vec<usize> = (0..answers.len()).filter(|position| is_left(&answers[*position])).collect();
    if !left.is_empty() {
        let locators: Vec<Locator> = left.iter().map(|position| locators[*position].clone()).collect();
        let again = attempt(client, &locators, Sharing::Alone, room).await;
        for (position, answer) in left.into_iter().zip(again) {
            answers[position] = answer;
        }
    }
    answers
}

async fn attempt(
    client: &Arc<Client>,
    locators: &[Locator],
    sharing: Sharing,
    room: &Room,
) -> Vec<Result<RemoteValue, StoreError>> {
    let (places, own) = places(client, locators, sharing, room);
    let own = own.as_ref();
    let answers = places.iter().map(|place| async move {
        match place {
            Place::Held(value) => value.clone().within(room.allowance()),
            Place::Others(batch, position) => answer(batch, *position).await?.within(room.allowance()),
            // It was counted while it was read.
            Place::Own(position) => match own {
                Some(batch) => answer(batch, *position).await,
                None => no_answer(),
            },
        }
    });
    join_all(answers).await
}

async fn answer(batch: &Batch, position: usize) -> Result<RemoteValue, StoreError> {
    batch.clone().await.get(position).cloned().unwrap_or_else(no_answer)
}

fn no_answer() -> Result<RemoteValue, StoreError> {
    Err(StoreError::new(StoreErrorKind::Malformed, "the store answered fewer reads than were asked for"))
}

/// Joins what is under way, and starts one call for all the rest.
fn places(client: &Arc<Client>, locators: &[Locator], sharing: Sharing, room: &Room) -> (Vec<Place>, Option<Batch>) {
    let now = Instant::now();
    let mut state = client.reads.state();
    let mut own: Vec<Locator> = Vec::new();
    let places: Vec<Place> = locators
        .iter()
        .map(|locator| {
            state.known(locator, sharing, now).unwrap_or_else(|| {
                let position = own.iter().position(|other| other == locator).unwrap_or_else(|| {
                    own.push(locator.clone());
                    own.len() - 1
                });
                Place::Own(position)
            })
        })
        .collect();
    let batch = (!own.is_empty()).then(|| state.begin(client, own, room));
    (places, batch)
}

impl State {
    fn known(&self, locator: &Locator, sharing: Sharing, now: Instant) -> Option<Place> {
        match self.entries.get(locator)? {
            Entry::Held { value, until, .. } => {
                (sharing == Sharing::All && now < *until).then(|| Place::Held(value.clone()))
            }
            Entry::Flying { batch, position, begun, .. } => {
                let batch = batch.upgrade()?;
                let is_good = match sharing {
                    Sharing::All => true,
                    Sharing::Afresh => !begun.load(Ordering::Acquire),
                    Sharing::Alone => false,
                };
                is_good.then_some(Place::Others(batch, *position))
            }
        }
    }

    fn begin(&mut self, client: &Arc<Client>, own: Vec<Locator>, room: &Room) -> Batch {
        let (number, begun) = (self.next, Arc::new(AtomicBool::new(false)));
        self.next += 1;
        let call = {
            let (client, begun, own, room) = (Arc::clone(client), Arc::clone(&begun), own.clone(), room.clone());
            async move {
                let answers: Answers = client.fetch(&own, &room, &begun).await.into();
                settle(&client, &own, number, &answers, &room);
                answers
            }
        };
        let batch = call.boxed().shared();
        for (position, locator) in own.into_iter().enumerate() {
            let Some(weak) = batch.downgrade() else { continue };
            let entry = Entry::Flying { batch: weak, number, position, begun: Arc::clone(&begun) };
            self.entries.insert(locator, entry);
        }
        batch
    }
}

/// Keeps what a batch has read, unless another caller asked again or wrote meanwhile.
fn settle(client: &Arc<Client>, own: &[Locator], number: u64, answers: &Answers, room: &Room) {
    let until = Instant::now() + WINDOW;
    let mut state = client.reads.state();
    let mut is_held = false;
    for (locator, answer) in own.iter().zip(answers.iter()) {
        let ours = matches!(state.entries.get(locator), Some(Entry::Flying { number: of, .. }) if *of == number);
        if !ours {
            continue;
        }
        let kept = answer.as_ref().ok().and_then(|value| {
            let share = client.budget.keep(room.namespace(), value.bytes.len() + AROUND)?;
            Some(Entry::Held { value: value.clone(), until, _share: share })
        });
        is_held |= kept.is_some();
        match kept {
            Some(entry) => drop(state.entries.insert(locator.clone(), entry)),
            None => drop(state.entries.remove(locator)),
        }
    }
    if is_held && !state.sweeping {
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

/// Wipes, and returns when there is something to wipe again.
fn swept(client: &Client) -> Option<Instant> {
    let now = Instant::now();
    let mut state = client.reads.state();
    state.entries.retain(|_, entry| match entry {
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
