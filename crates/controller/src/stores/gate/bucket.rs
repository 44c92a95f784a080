//! The requests that a store's limits let through, shared out between the namespaces that use it.
//!
//! Each request takes a token, and tokens come at the rate of the limits. While there are none, namespaces take turns
//! for each that comes, however much one asks for: a call of many requests waits for as many turns. So a namespace that
//! asks for much waits for what it asks for, and one that asks for little waits for one turn of each of the others at
//! most.
//!
//! A call that made more requests than it has waited for (a search that is given up, say) leaves a debt: it
//! takes turns of its namespace as if it waited.

use std::time::Duration;

use tokio::{sync::oneshot, time::Instant};

use crate::fair::Fair;

/// The longest wait for a turn: as long as a call may take.
pub const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Tokens are counted in fractions, and what is a whole one by the clock may be a bit less by them.
const WHOLE: f64 = 1.0 - 1e-6;

/// See the [module documentation](self).
pub struct Bucket {
    rate: f64,
    burst: f64,
    /// Tokens at `filled`. While anybody waits or owes, there is less than one.
    tokens: f64,
    filled: Instant,
    lines: Fair<Item>,
}

/// Requests that wait for tokens.
struct Item {
    requests: u32,
    /// What waits; `None`: they were made already.
    turn: Option<oneshot::Sender<()>>,
}

impl Item {
    fn is_wanted(&self) -> bool {
        self.turn.as_ref().is_none_or(|turn| !turn.is_closed())
    }
}

/// How a request for tokens is answered.
pub enum Answer {
    /// They were there.
    Now,
    /// It is done when this is.
    Later(oneshot::Receiver<()>),
    /// It would take so long, which is longer than [`LONGEST_WAIT`].
    Never(Duration),
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        let rate = f64::from(rate.max(1));
        Self { rate, burst, tokens: burst, filled: Instant::now(), lines: Fair::default() }
    }

    /// Tokens per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes tokens for so many requests of `namespace`, or a place in its line.
    pub fn take(&mut self, namespace: &str, requests: u32, now: Instant) -> Answer {
        self.serve(now);
        let wanted = f64::from(requests);
        if self.tokens >= wanted && self.lines.first().is_none() {
            self.tokens -= wanted;
            return Answer::Now;
        }
        let wait = self.wait(namespace, requests);
        if wait > LONGEST_WAIT {
            return Answer::Never(wait);
        }
        let (turn, later) = oneshot::channel();
        self.lines.push(namespace, Item { requests, turn: Some(turn) });
        self.serve(now);
        Answer::Later(later)
    }

    /// Corrects what was taken for a call by what it has really made.
    pub fn settle(&mut self, namespace: &str, taken: u32, made: u32, now: Instant) {
        if made > taken {
            self.lines.push(namespace, Item { requests: made - taken, turn: None });
        } else {
            self.tokens += f64::from(taken - made);
        }
        self.serve(now);
    }

    /// Gives the tokens that are there to those whose turn it is; when the next one comes.
    pub fn serve(&mut self, now: Instant) -> Instant {
        self.tokens += now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.filled = self.filled.max(now);
        while self.tokens >= WHOLE {
            let Some(item) = self.lines.first() else { break };
            if !item.is_wanted() {
                self.lines.pop(|_| true);
                continue;
            }
            item.requests -= 1;
            self.tokens -= 1.0;
            if item.requests > 0 {
                self.lines.pass();
            } else if let Some(Item { turn: Some(turn), .. }) = self.lines.pop(|_| true) {
                turn.send(()).ok();
            }
        }
        self.tokens = self.tokens.min(self.burst);
        now + Duration::from_secs_f64(((1.0 - self.tokens) / self.rate).max(0.0))
    }

    /// How long it takes until `namespace` has so many tokens more than it waits for already, if no other comes: until
    /// then each of the others gets as many turns, or as many as it needs.
    fn wait(&self, namespace: &str, requests: u32) -> Duration {
        let waiting = |line: &std::collections::VecDeque<Item>| {
            line.iter().filter(|item| item.is_wanted()).map(|item| u64::from(item.requests)).sum::<u64>()
        };
        let own: u64 = self.lines.iter().filter(|(of, _)| *of == namespace).map(|(_, line)| waiting(line)).sum();
        let own = own + u64::from(requests);
        let others = self.lines.iter().filter(|(of, _)| *of != namespace);
        let all = own + others.map(|(_, line)| waiting(line).min(own)).sum::<u64>();
        #[expect(clippy::cast_precision_loss, reason = "numbers of requests are small")]
        let missing = all as f64 - self.tokens;
        Duration::from_secs_f64((missing / self.rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_served(answer: &mut Answer) -> bool {
        match answer {
            Answer::Now => true,
            Answer::Later(turn) => turn.try_recv().is_ok(),
            Answer::Never(_) => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_namespace_waits_for_its_own_requests() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 10);
        assert!(matches!(bucket.take("a", 10, start), Answer::Now));
        let mut much: Vec<Answer> = (0..5).map(|_| bucket.take("a", 20, start)).collect();
        assert!(matches!(bucket.take("a", 51, start), Answer::Never(wait) if wait == Duration::from_millis(15_100)));
        let mut little = bucket.take("b", 1, start);
        bucket.serve(start + Duration::from_millis(100));
        assert!(!is_served(&mut little), "it is the turn of the one that came first");
        bucket.serve(start + Duration::from_millis(200));
        assert!(is_served(&mut little));
        bucket.serve(start + Duration::from_secs(2));
        assert!(!is_served(&mut much[0]));
        bucket.serve(start + Duration::from_millis(2100));
        assert!(is_served(&mut much[0]) && !is_served(&mut much[1]), "a line keeps its order");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_made_and_not_waited_for_is_owed() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 10);
        assert!(matches!(bucket.take("a", 1, start), Answer::Now));
        bucket.settle("a", 1, 30, start);
        let (mut one, mut other) = (bucket.take("a", 1, start), bucket.take("b", 1, start));
        bucket.serve(start + Duration::from_millis(200));
        assert!(is_served(&mut other) && !is_served(&mut one));
        bucket.serve(start + Duration::from_millis(2100));
        assert!(!is_served(&mut one));
        bucket.serve(start + Duration::from_millis(2200));
        assert!(is_served(&mut one));
        // What was taken and not needed is there for others.
        bucket.settle("a", 5, 0, start + Duration::from_millis(2200));
        assert!(matches!(bucket.take("b", 5, start + Duration::from_millis(2200)), Answer::Now));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, 1);
        assert!(matches!(bucket.take("a", 1, start), Answer::Now));
        drop(bucket.take("a", 10, start));
        let mut next = bucket.take("a", 1, start);
        bucket.serve(start + Duration::from_secs(1));
        assert!(is_served(&mut next));
    }
}
