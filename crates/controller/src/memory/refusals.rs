//! Credentials of a schedule that a server has refused: each try is a failed login there, which guards count (fail2ban bans an
//! address after five in ten minutes by default, sshd by `PerSourcePenalties`).

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::cluster::ObjectName;

/// Pauses after the first refusals, in seconds; the last one counts from there on. Never five tries in ten minutes.
const PAUSES: [i64; 3] = [10, 60, 300];

/// After so long without a try nobody asks for it any more.
const OLD: TimeDelta = TimeDelta::hours(1);
/// Credentials that are remembered of a schedule: the new one, the stored one, and who alters users. More have been corrected.
const MOST: usize = 3;

/// By schedule: the last refusals.
#[derive(Default)]
pub struct Refusals(HashMap<ObjectName, Vec<Refusal>>);

struct Refusal {
    /// Which credential: another one is another matter.
    credential: String,
    text: String,
    times: usize,
    /// Not again before this.
    next: DateTime<Utc>,
}

impl Refusals {
    /// Why it was refused, while it is too early to try again.
    pub fn get(&self, schedule: &ObjectName, credential: &str, now: DateTime<Utc>) -> Option<String> {
        let mut all = self.0.get(schedule)?.iter();
        let refusal = all.find(|refusal| refusal.credential == credential && now < refusal.next)?;
        Some(refusal.text.clone())
    }

    /// What was refused is another credential by now.
    pub fn forget_one(&mut self, schedule: &ObjectName, credential: &str) {
        if let Some(all) = self.0.get_mut(schedule) {
            all.retain(|refusal| refusal.credential != credential);
        }
    }

    /// Another refusal.
    pub fn set(&mut self, schedule: &ObjectName, credential: &str, text: &str, now: DateTime<Utc>) {
        let is_recent = |refusal: &Refusal| now < refusal.next + OLD;
        self.0.retain(|_, all| all.iter().any(is_recent));
        let all = self.0.entry(schedule.clone()).or_default();
        let before = all.iter().position(|refusal| refusal.credential == credential);
        let times = before.map_or(0, |place| all.remove(place).times);
        let pause = PAUSES[times.min(PAUSES.len() - 1)];
        let (credential, text) = (credential.to_owned(), text.to_owned());
        all.push(Refusal { credential, text, times: times + 1, next: now + TimeDelta::seconds(pause) });
        if all.len() > MOST {
            all.remove(0);
        }
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
        for other in ["two", "three"] {
            refusals.set(&schedule, other, "no", start);
        }
        assert!(refusals.get(&schedule, "one", start).is_some(), "beside others");
        refusals.set(&schedule, "four", "no", start);
        assert_eq!(refusals.get(&schedule, "one", start), None, "the oldest is let go");
        refusals.forget(&schedule);
        assert_eq!(refusals.get(&schedule, "two", start), None);
    }
}
