//! What proxies of all protocols have in common: the numbers of calls, the faults to come, kills, and which connections
//! are from after the last cut.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use super::call::Fault;

type Kill = dyn Fn() + Send + Sync;

/// Of a connection: it must end when this changes.
pub(super) type Life = watch::Receiver<u64>;

/// The numbers, faults, kills and cuts of a proxy, whatever its protocol is.
pub struct Gate {
    kills: AtomicU64,
    state: Mutex<State>,
    /// Changes when all connections are cut.
    life: watch::Sender<u64>,
    /// Whether nothing passes.
    held: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    numbered: usize,
    armed: BTreeMap<u64, Fault>,
    armed_from: Option<(u64, Fault)>,
    kill: Option<Arc<Kill>>,
    down: bool,
    /// A kill is under way: no call goes on until all connections are cut.
    halted: bool,
}

/// What to do with an incoming call.
#[derive(Clone, Copy, Default)]
pub(super) struct Ticket {
    /// Its number if it has one.
    pub(super) number: Option<u64>,
    /// What breaks it.
    pub(super) fault: Option<Fault>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            kills: AtomicU64::new(0),
            state: Mutex::default(),
            life: watch::Sender::new(0),
            held: watch::Sender::new(false),
        }
    }

    /// How many calls have a number.
    #[must_use]
    pub fn numbered(&self) -> usize {
        self.state().numbered
    }

    /// Does `fault` at the call of this number (the first is 1), once.
    pub fn arm(&self, number: u64, fault: Fault) {
        self.state().armed.insert(number, fault);
    }

    /// Does `fault` at every call from this number on.
    pub fn arm_from(&self, number: u64, fault: Fault) {
        self.state().armed_from = Some((number, fault));
    }

    /// Cancels every fault that has not happened yet.
    pub fn disarm(&self) {
        let mut state = self.state();
        state.armed.clear();
        state.armed_from = None;
    }

    /// What a kill does; it runs on a thread of its own and the call waits for its end.
    pub fn on_kill(&self, action: Box<dyn Fn() + Send + Sync>) {
        self.state().kill = Some(Arc::from(action));
    }

    /// How many kills are over. Until then, what the client sends after [`Fault::KillAfterAnswer`] is lost.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::SeqCst)
    }

    /// Cuts all connections and resets each new one at once.
    pub fn down(&self) {
        self.state().down = true;
        self.cut();
    }

    /// Ends [`Gate::down`].
    pub fn up(&self) {
        self.state().down = false;
    }

    /// Cuts all connections; accepts new ones.
    pub fn cut(&self) {
        // Under the lock, so that no call is admitted between the two.
        let mut state = self.state();
        state.halted = false;
        self.life.send_modify(|life| *life += 1);
    }

    /// Lets a connection in unless the proxy is down.
    pub(super) fn enter(&self) -> Option<Life> {
        let state = self.state();
        (!state.down).then(|| self.life.subscribe())
    }

    /// Numbers a call if `look` gives it the number that is next. `None` for a call that must go nowhere: its connection is
    /// about to be cut.
    pub(super) fn admit(&self, life: &Life, look: impl FnOnce(u64) -> Ticket) -> Option<Ticket> {
        let mut state = self.state();
        if state.halted || life.has_changed().unwrap_or(true) {
            return None;
        }
        let ticket = look(state.numbered as u64 + 1);
        let Some(number) = ticket.number else { return Some(ticket) };
        state.numbered += 1;
        let constant = state.armed_from.filter(|(from, _)| number >= *from).map(|(_, fault)| fault);
        let fault = state.armed.remove(&number).or(constant).or(ticket.fault);
        state.halted = fault.is_some_and(Fault::kills);
        Some(Ticket { fault, ..ticket })
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

    /// Lets nothing pass for this time; ends after it.
    pub(super) async fn hold(&self, time: Duration) {
        self.held.send_replace(true);
        sleep(time).await;
        self.held.send_replace(false);
    }

    /// Runs what serves a connection until that is cut, but for the times at which nothing passes.
    pub(super) async fn until_cut(&self, mut life: Life, serving: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            _ = life.changed() => {}
            () = self.unless_held(serving) => {}
        }
    }

    async fn unless_held(&self, serving: impl Future<Output = ()>) {
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
