//! What the demo shows, in the order in which it shows it.

mod bad_value;
mod consumer_restart;
mod kubectl_tables;
mod locked_secret;
mod policies;
mod rotation;
mod stores;

use super::{start_and_stop, walkthrough::Walkthrough};

/// The chapters. It skips one that cannot go on, and those that need it.
pub async fn tell(walk: &mut Walkthrough<'_>) {
    if start_and_stop::operator(walk).await.is_none() {
        return;
    }
    stores::tell(walk).await;
    policies::tell(walk).await;
    let first = consumer_restart::starts(walk).await;
    let second = match first.clone() {
        Some(first) => consumer_restart::follows(walk, first).await,
        None => None,
    };
    let third = if let Some(second) = second {
        rotation::tell(walk, second).await
    } else {
        walk.out.chapter("The rotation is skipped: its consumer did not get so far");
        None
    };
    bad_value::tell(walk).await;
    locked_secret::tell(walk).await;
    kubectl_tables::tell(walk).await;
    if let (Some(first), Some(third)) = (first, third) {
        walk.out.pause();
        consumer_restart::stayed(walk, &first, &third, 2).await;
    }
}
