//! Time and memory of one run.

use std::{
    fs,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

/// The stack of a thread of the operator, which is that of `tokio`.
const STACK: usize = 2 * 1024 * 1024;

/// What a run has taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Processor time.
    pub time: Duration,
    /// Memory at its peak over what there was before, in bytes.
    pub memory: usize,
}

impl Taken {
    /// A build for development is slower, and this machine may be shared; a build for release is held to two seconds.
    pub const MOST: Self =
        Self { time: Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 2 }), memory: 40 * 1024 * 1024 };

    /// Whether it is within `most`.
    pub fn is_within(self, most: Self) -> bool {
        self.time <= most.time && self.memory <= most.memory
    }
}

/// Runs one after the other: memory is that of the whole process.
static TURN: Mutex<()> = Mutex::new(());

/// Runs `work` alone, on a small stack.
pub fn measured<T: Send>(work: impl FnOnce() -> T + Send) -> (T, Taken) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        let run = move || {
            // Sets the peak back to what there is now.
            fs::write("/proc/self/clear_refs", "5").unwrap();
            let (before, started) = (memory("VmRSS:"), processor());
            let result = work();
            let time = processor().saturating_sub(started);
            (result, Taken { time, memory: memory("VmHWM:").saturating_sub(before) })
        };
        thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

fn memory(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Time that this thread was on a processor.
fn processor() -> Duration {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedule.split_whitespace().next().unwrap().parse().unwrap())
}
