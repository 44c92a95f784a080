//! The budget, by a clock that the tests move.

use futures::future::join_all;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::*;

const WORKERS: usize = 16;
const ROUND_TIME: Duration = Duration::from_secs(1);

fn taken(budget: &Budget) -> [usize; 3] {
    [&budget.small, &budget.large, &budget.kept].map(|part| part.counts().0)
}

/// Takes a room and holds it for a time; whether there was one.
async fn round(budget: &Budget, namespace: &str, bytes: usize, time: Duration) -> bool {
    let Some(room) = budget.room(namespace, bytes, WORKERS).await else { return false };
    assert!(taken(budget)[0] <= SMALL_ROOMS && taken(budget)[1] <= LARGE_ROOMS);
    sleep(time).await;
    drop(room);
    true
}

#[tokio::test(start_paused = true)]
async fn a_round_gets_no_more_than_it_asked_for() {
    let budget = Budget::default();
    let small = budget.room("a", 1, WORKERS).await.unwrap();
    let large = budget.room("a", usize::MAX, WORKERS).await.unwrap();
    assert_eq!((small.allowance().left(), large.allowance().left()), (SMALL, ROUND));
    assert_eq!(taken(&budget), [SMALL, ROUND, 0]);
    let other = large.clone();
    drop((small, large));
    assert_eq!(taken(&budget), [0, ROUND, 0], "a clone is the same room");
    drop(other);
    assert_eq!(taken(&budget), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn small_rounds_pass_large_ones_and_no_namespace_gets_more_than_half() {
    let budget = Budget::default();
    let start = Instant::now();
    let flood = join_all((0..100).map(|_| round(&budget, "flood", ROUND, ROUND_TIME)));
    let others = async {
        sleep(ROUND_TIME / 10).await;
        assert!(round(&budget, "flood", SMALL, Duration::ZERO).await);
        assert!(round(&budget, "other", ROUND, Duration::ZERO).await);
        assert_eq!(start.elapsed(), ROUND_TIME / 10, "nobody waited for the flood");
    };
    let (flood, ()) = tokio::join!(flood, others);
    // Two at once, and one that waits; the others are sent away at once.
    assert_eq!(flood.iter().filter(|had| **had).count(), 3);
    assert_eq!(start.elapsed(), ROUND_TIME * 2);
}

#[tokio::test(start_paused = true)]
async fn namespaces_come_in_their_order_and_few_wait() {
    let budget = Budget::default();
    let start = Instant::now();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let (budget, start) = (&budget, &start);
    let rounds = join_all(names.map(|name| async move {
        let had = round(budget, name, ROUND, ROUND_TIME).await;
        (name, had, start.elapsed())
    }));
    let had: Vec<_> = rounds.await.into_iter().filter(|(_, had, _)| *had).map(|(name, _, time)| (name, time)).collect();
    let expected = ["a", "b", "c", "d", "e"].map(|name| (name, ROUND_TIME)).into_iter();
    let waited = ["f", "g", "h", "i"].map(|name| (name, ROUND_TIME * 2));
    assert_eq!(had, expected.chain(waited).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_goes_and_leaves_the_line_to_others() {
    let budget = Budget::default();
    let held = join_all((0..5).map(|number| budget.room(if number % 2 == 0 { "a" } else { "b" }, ROUND / 2, WORKERS)));
    let _held: Vec<_> = held.await;
    let _full = join_all(["c", "c"].map(|name| budget.room(name, ROUND, WORKERS))).await;
    // 2 MiB less than the largest room are left.
    let start = Instant::now();
    let (large, small) = tokio::join!(budget.room("e", ROUND, WORKERS), async {
        sleep(PATIENCE / 2).await;
        let room = budget.room("f", ROUND / 2, WORKERS).await;
        (room.is_some(), start.elapsed())
    });
    assert!(large.is_none(), "{:?}", taken(&budget));
    assert_eq!(small, (true, PATIENCE), "nobody passes who waits for room, until he goes");
}

#[tokio::test(start_paused = true)]
async fn values_are_kept_while_there_is_room() {
    let budget = Budget::default();
    let first = budget.keep("a", KEPT / 2);
    assert!(first.is_some() && budget.keep("a", 1).is_none(), "half of it at most");
    let second = budget.keep("b", KEPT / 2);
    assert!(second.is_some() && budget.keep("c", 1).is_none());
    drop(first);
    assert!(budget.keep("c", 1).is_some());
}

#[tokio::test(start_paused = true)]
async fn answers_that_wait_to_be_published_take_no_room_of_reads_and_two_namespaces_not_all_of_theirs() {
    let budget = Budget::default();
    let flood: Vec<Option<Share>> =
        ["a", "b"].repeat(8).into_iter().map(|of| budget.keep_issued(of, MIB / 2)).collect();
    assert_eq!(flood.iter().flatten().count(), 4, "a namespace has room for one of the largest");
    assert!(budget.keep_issued("c", MIB).is_some());
    let kept = ["a", "b"].map(|tenant| budget.keep(tenant, KEPT / 2));
    assert!(kept.iter().all(Option::is_some));
}

#[derive(Clone, Debug)]
struct Wish {
    namespace: u8,
    bytes: usize,
    at: u64,
    time: u64,
    /// It gives up after this.
    patience: u64,
}

fn wish() -> impl Strategy<Value = Wish> {
    (0..6_u8, 0..2 * ROUND, 0..20_000_u64, 0..8_000_u64, 0..12_000_u64)
        .prop_map(|(namespace, bytes, at, time, patience)| Wish { namespace, bytes, at, time, patience })
}

proptest! {
    /// Whatever rounds come and give up, each ends, the budget is never exceeded, and all is given back.
    #[test]
    fn every_round_ends_within_the_budget(wishes in proptest::collection::vec(wish(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let budget = Budget::default();
            let rounds = join_all(wishes.iter().map(|wish| async {
                sleep(Duration::from_millis(wish.at)).await;
                let (namespace, time) = (wish.namespace.to_string(), Duration::from_millis(wish.time));
                let asked = Instant::now();
                let round = async {
                    let room = budget.room(&namespace, wish.bytes, WORKERS).await;
                    assert!(asked.elapsed() <= PATIENCE);
                    assert!(taken(&budget)[0] <= SMALL_ROOMS && taken(&budget)[1] <= LARGE_ROOMS);
                    sleep(time).await;
                    drop(room);
                };
                tokio::time::timeout(Duration::from_millis(wish.patience), round).await.ok();
            }));
            tokio::time::timeout(Duration::from_mins(2), rounds).await.unwrap();
            assert_eq!(taken(&budget), [0; 3]);
            for part in [&budget.small, &budget.large] {
                assert_eq!(part.counts(), (0, 0));
            }
        });
    }
}
