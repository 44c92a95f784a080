//! What the proxy knows: its rules, and the calls that it has seen.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::request::Parts;
use tokio::time::sleep;

use super::{
    call::{Call, Fault},
    filter,
    gate::{Gate, Life, Ticket},
    serve::Upstream,
};

type Filter = dyn Fn(&Parts) -> bool + Send + Sync;

pub(super) struct Shared {
    pub(super) upstream: Upstream,
    pub(super) gate: Gate,
    pub(super) others: AtomicU64,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) filter: Arc<Filter>,
    pub(super) calls: Vec<Call>,
    /// What breaks the next watch of each path, and the paths where it has.
    pub(super) watches: Option<(Fault, BTreeSet<String>)>,
}

impl Shared {
    pub(super) fn new(upstream: Upstream) -> Self {
        let state = State { filter: Arc::new(filter::mutating), calls: Vec::new(), watches: None };
        Self { upstream, gate: Gate::new(), others: AtomicU64::new(0), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Gate::admit`], by the rules.
    pub(super) fn admit(&self, parts: &Parts, life: &Life) -> Option<Ticket> {
        self.gate.admit(life, |next| {
            let mut state = self.state();
            let fault = state.of_watch(parts);
            if !(state.filter)(parts) {
                self.others.fetch_add(1, Ordering::SeqCst);
                return Ticket { number: None, fault };
            }
            state.calls.push(Call::new(next, parts));
            Ticket { number: Some(next), fault }
        })
    }

    /// Notes what the server answered.
    pub(super) fn answered(&self, number: Option<u64>, status: u16) {
        let mut state = self.state();
        let call = state.calls.iter_mut().rev().find(|call| Some(call.number) == number);
        if let Some(call) = call {
            call.status = Some(status);
        }
    }

    /// Cuts all connections, and resets new ones for this time.
    pub(super) fn cut_off(self: Arc<Self>, time: Duration) {
        self.gate.down();
        tokio::spawn(async move {
            sleep(time).await;
            self.gate.up();
        });
    }
}

impl State {
    /// What breaks this call if it is the first watch of its path.
    fn of_watch(&mut self, parts: &Parts) -> Option<Fault> {
        let (fault, broken) = self.watches.as_mut()?;
        (filter::watch(parts) && broken.insert(parts.uri.path().to_owned())).then_some(*fault)
    }
}
