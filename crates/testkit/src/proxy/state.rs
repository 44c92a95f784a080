//! The state of the proxy: its numbers, the faults to come, and which connections are from after the last cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::request::Parts;
use tokio::{sync::watch, time::sleep};

use super::{
    call::{Call, Fault},
    filter,
    serve::Upstream,
};

type Filter = dyn Fn(&Parts) -> bool + Send + Sync;
type Kill = dyn Fn() + Send + Sync;

pub(super) struct Shared {
    pub(super) upstream: Upstream,
    pub(super) others: AtomicU64,
    pub(super) kills: AtomicU64,
    state: Mutex<State>,
    /// Changes when all connections are cut.
    life: watch::Sender<u64>,
    /// Whether nothing passes.
    held: watch::Sender<bool>,
}

pub(super) struct State {
    pub(super) filter: Arc<Filter>,
    pub(super) calls: Vec<Call>,
    pub(super) armed: BTreeMap<u64, Fault>,
    pub(super) armed_from: Option<(u64, Fault)>,
    /// What breaks the next watch of each path, and the paths where it has.
    pub(super) watches: Option<(Fault, BTreeSet<String>)>,
    pub(super) kill: Option<Arc<Kill>>,
    pub(super) down: bool,
    /// A kill is under way: no call goes on until all connections are cut.
    halted: bool,
}

/// What to do with an incoming call.
pub(super) struct Ticket {
    /// Its number if it has one.
    pub(super) number: Option<u64>,
    /// What breaks it.
    pub(super) fault: Option<Fault>,
}

impl Shared {
    pub(super) fn new(upstream: Upstream) -> Self {
        let state = State {
            filter: Arc::new(filter::mutating),
            calls: Vec::new(),
            armed: BTreeMap::new(),
            armed_from: None,
            watches: None,
            kill: None,
            down: false,
            halted: false,
        };
        Self {
            upstream,
            others: AtomicU64::new(0),
            kills: AtomicU64::new(0),
            state: Mutex::new(state),
            life: watch::Sender::new(0),
            held: watch::Sender::new(false),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in unless the proxy is down; it must end when the receiver changes.
    pub(super) fn enter(&self) -> Option<watch::Receiver<u64>> {
        let state = self.state();
        (!state.down).then(|| self.life.subscribe())
    }

    /// Numbers a call. `None` for a call that must go nowhere: its connection is about to be cut.
    pub(super) fn admit(&self, parts: &Parts, life: &watch::Receiver<u64>) -> Option<Ticket> {
        let mut state = self.state();
        if state.halted || life.has_changed().unwrap_or(true) {
            return None;
        }
        let of_watch = state.of_watch(parts);
        if !(state.filter)(parts) {
            self.others.fetch_add(1, Ordering::SeqCst);
            return Some(Ticket { number: None, fault: of_watch });
        }
        let number = state.calls.len() as u64 + 1;
        state.calls.push(Call::new(number, parts));
        let constant = state.armed_from.filter(|(from, _)| number >= *from).map(|(_, fault)| fault);
        let fault = state.armed.remove(&number).or(constant).or(of_watch);
        state.halted = fault.is_some_and(Fault::kills);
        Some(Ticket { number: Some(number), fault })
    }

    /// Notes what the server answered.
    pub(super) fn answered(&self, number: Option<u64>, status: u16) {
        let mut state = self.state();
        let call = state.calls.iter_mut().rev().find(|call| Some(call.number) == number);
        if let Some(call) = call {
            call.status = Some(status);
        }
    }

    /// Kills, then cuts what the killed process left open.
    pub(super) async fn kill(&self) {
        let kill = self.state().kill.clone();
        if let Some(kill) = kill {
            // It may wait for a process, so it gets a thread that may wait. A panic in it has printed its message
            // already.
            tokio::task::spawn_blocking(move || kill()).await.ok();
        }
        self.cut();
        self.kills.fetch_add(1, Ordering::SeqCst);
    }

    /// Cuts all connections, and resets new ones for this time.
    pub(super) fn cut_off(self: Arc<Self>, time: Duration) {
        self.state().down = true;
        self.cut();
        tokio::spawn(async move {
            sleep(time).await;
            self.state().down = false;
        });
    }

    /// Lets nothing pass for this time; ends after it.
    pub(super) async fn hold(&self, time: Duration) {
        self.held.send_replace(true);
        sleep(time).await;
        self.held.send_replace(false);
    }

    /// Runs what serves a connection, but for the times at which nothing passes.
    pub(super) async fn unless_held(&self, serving: impl Future<Output = ()>) {
        let (mut serving, mut held) = (pin!(serving), self.held.subscribe());
        loop {
            if held.wait_for(|held| !held).await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                _ = held.wait_for(|held| *held) => {}
                () = &mut serving => return,
            }
        }
    }

    pub(super) fn cut(&self) {
        // Under the lock, so that no call is admitted between the two.
        let mut state = self.state();
        state.halted = false;
        self.life.send_modify(|life| *life += 1);
    }
}

impl State {
    /// What breaks this call if it is the first watch of its path.
    fn of_watch(&mut self, parts: &Parts) -> Option<Fault> {
        let (fault, broken) = self.watches.as_mut()?;
        (filter::watch(parts) && broken.insert(parts.uri.path().to_owned())).then_some(*fault)
    }
}
