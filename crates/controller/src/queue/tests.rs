use futures::FutureExt as _;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item(&'static str, u32);

impl Key for Item {
    fn tenant(&self) -> &str {
        self.0
    }
}

async fn drain(queue: &Queue<Item>, count: usize) -> Vec<Item> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let key = queue.next().await;
        queue.done(&key, None);
        seen.push(key);
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn tenants_take_turns_and_urgent_goes_first() {
    let queue = Queue::new(16);
    for number in 0..3 {
        queue.add(Item("flood", number), Lane::Routine);
    }
    queue.add(Item("small", 0), Lane::Routine);
    queue.add(Item("flood", 2), Lane::Urgent);
    let seen = drain(&queue, 4).await;
    assert_eq!(seen, [Item("flood", 2), Item("flood", 0), Item("small", 0), Item("flood", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_key_in_work_comes_once_more_however_often_it_is_added() {
    let queue = Queue::new(16);
    queue.add(Item("a", 1), Lane::Urgent);
    let key = queue.next().await;
    queue.add(Item("a", 1), Lane::Routine);
    queue.add(Item("a", 1), Lane::Urgent);
    assert_eq!(queue.depth(), 0);
    queue.done(&key, Some(Duration::from_mins(1)));
    assert_eq!(drain(&queue, 1).await, [Item("a", 1)]);
    assert_eq!(queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn idle_workers_take_delayed_keys_in_time_also_while_others_work() {
    let queue = std::sync::Arc::new(Queue::new(16));
    let start = Instant::now();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..3 {
        queue.add(Item("a", number), Lane::Urgent);
        let key = queue.next().await;
        queue.done(&key, Some(Duration::from_secs(30 - 10 * u64::from(number))));
    }
    for _ in 0..4 {
        let (queue, tell) = (std::sync::Arc::clone(&queue), tell.clone());
        tokio::spawn(async move {
            loop {
                let Item(_, number) = queue.next().await;
                tell.send((number, start.elapsed().as_secs())).unwrap();
                tokio::time::sleep(Duration::from_secs(100)).await; // the work
                queue.done(&Item("a", number), None);
            }
        });
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(told.recv().await.unwrap());
    }
    assert_eq!(seen, [(2, 10), (1, 20), (0, 30)], "each when its delay ends, though those before are in work");
    // A key that is added meanwhile is taken by who waits for the time, and the next delay still counts.
    queue.add(Item("b", 7), Lane::Urgent);
    assert_eq!(told.recv().await, Some((7, 30)));
}

#[tokio::test(start_paused = true)]
async fn delays_are_kept_replaced_and_cut_short() {
    let queue = Queue::new(16);
    let start = Instant::now();
    queue.add(Item("a", 1), Lane::Urgent);
    queue.add(Item("b", 1), Lane::Urgent);
    for delay in [60, 30] {
        let key = queue.next().await;
        queue.done(&key, Some(Duration::from_secs(delay)));
    }
    assert_eq!(queue.next().await, Item("b", 1));
    let half = start.elapsed();
    assert_eq!(half.as_secs(), 30);
    queue.add(Item("a", 1), Lane::Urgent);
    assert_eq!(queue.next().await, Item("a", 1));
    assert_eq!(start.elapsed(), half);
}

#[tokio::test(start_paused = true)]
async fn delays_that_end_at_about_the_same_time_end_together() {
    for (seconds, together) in [(60, 3), (3, 25)] {
        let queue = Queue::new(1000);
        let delay = Duration::from_secs(seconds);
        let start = Instant::now();
        for number in 0..100 {
            queue.add(Item("a", number), Lane::Urgent);
            let key = queue.next().await;
            queue.done(&key, Some(delay));
            tokio::time::advance(Duration::from_millis(7)).await;
        }
        let mut ends = std::collections::BTreeSet::new();
        for number in 0..100 {
            let Item(_, next) = queue.next().await;
            assert_eq!(next, number);
            let due = delay + Duration::from_millis(7) * number;
            let ended = start.elapsed();
            assert!(due <= ended && ended <= due + delay / SLACK, "{seconds} s: {ended:?} for {due:?}");
            ends.insert(start.elapsed());
        }
        assert!(ends.len() <= together, "{seconds} s: at {} times", ends.len());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_floods_leaves_workers_to_others() {
    let taken = |queue: &Queue<Item>| std::iter::from_fn(|| queue.next().now_or_never()).count();
    for (workers, of_one, of_the_second) in [(1, 1, 0), (2, 1, 1), (3, 2, 1), (4, 3, 1), (16, 12, 3), (64, 48, 12)] {
        let queue = Queue::new(workers);
        for number in 0..100 {
            queue.add(Item("flood", number), Lane::Urgent);
        }
        assert_eq!(taken(&queue), of_one, "of {workers}");
        for number in 0..100 {
            queue.add(Item("second", number), Lane::Routine);
        }
        assert_eq!(taken(&queue), of_the_second, "of {workers}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_free_again_takes_what_had_to_wait() {
    let queue = std::sync::Arc::new(Queue::new(4));
    for number in 0..4 {
        queue.add(Item("flood", number), Lane::Urgent);
    }
    let first = queue.next().await;
    for _ in 0..2 {
        queue.next().await;
    }
    assert!(queue.next().now_or_never().is_none(), "the last worker is for others");
    let waiting = tokio::spawn({
        let queue = std::sync::Arc::clone(&queue);
        async move { queue.next().await }
    });
    tokio::task::yield_now().await;
    queue.done(&first, None);
    assert_eq!(waiting.await.unwrap(), Item("flood", 3));
}
