//! Servers that have refused the new credential of a rotation: each try is a failed login there, which guards count
//! (fail2ban bans an address after five in ten minutes by default, sshd by `PerSourcePenalties`).

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::cluster::ObjectName;

/// Pauses after the first refusals, in seconds; the last one counts from there on. Never five tries in ten minutes.
const PAUSES: [i64; 3] = [10, 60, 300];

/// By schedule: the last refusal.
#[derive(Default)]
pub struct Refusals(HashMap<ObjectName, Refusal>);

struct Refusal {
    rotation: String,
    text: String,
    times: usize,
    /// Not again before this.
    next: DateTime<Utc>,
}

impl Refusals {
    /// Why it was refused, while it is too early to try again.
    pub fn get(&self, schedule: &ObjectName, rotation: &str, now: DateTime<Utc>) -> Option<String> {
        let refusal = self.0.get(schedule).filter(|refusal| refusal.rotation == rotation && now < refusal.next)?;
        Some(refusal.text.clone())
    }

    /// Another refusal.
    pub fn set(&mut self, schedule: &ObjectName, rotation: &str, text: &str, now: DateTime<Utc>) {
        let before = self.0.get(schedule).filter(|refusal| refusal.rotation == rotation);
        let times = before.map_or(0, |refusal| refusal.times);
        let pause = PAUSES[times.min(PAUSES.len() - 1)];
        let (rotation, text) = (rotation.to_owned(), text.to_owned());
        let refusal = Refusal { rotation, text, times: times + 1, next: now + TimeDelta::seconds(pause) };
        self.0.insert(schedule.clone(), refusal);
    }

    /// Nothing has to be proven there any more.
    pub fn forget(&mut self, schedule: &ObjectName) {
        self.0.remove(schedule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_fails_to_log_in_five_times_in_ten_minutes() {
        let (mut refusals, schedule) = (Refusals::default(), ObjectName::new("shop", "db"));
        let (start, mut tries) = (DateTime::UNIX_EPOCH, Vec::new());
        for second in 0..3600 {
            let now = start + TimeDelta::seconds(second);
            if refusals.get(&schedule, "one", now).is_none() {
                tries.push(second);
                refusals.set(&schedule, "one", "no", now);
            }
        }
        assert_eq!(tries[..4], [0, 10, 70, 370]);
        assert!(tries.windows(5).all(|five| five[4] - five[0] >= 600), "{tries:?}");
        assert_eq!(refusals.get(&schedule, "another", start), None, "another key is another matter");
        refusals.forget(&schedule);
        assert_eq!(refusals.get(&schedule, "one", start), None);
    }
}
