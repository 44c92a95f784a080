//! What Events report of a workload.

use rekey_api::condition::Reason;

use super::Moves;
use crate::{notice::Notice, summary::listed};

/// What is done when an Event is made.
const ACTION: &str = "Restart";

/// It was restarted, since these Secrets have other values.
fn restarted(secrets: &[String]) -> Notice {
    let text = format!("restarted: the value of {} has changed", listed(secrets, ", "));
    Notice::new(Reason::Restarting, ACTION, text)
}

/// What was changed: references moved to these Secrets, and it was restarted for others.
#[must_use]
pub fn changed(moved: &[String], restarted_for: &[String]) -> Vec<Notice> {
    let mut all = Vec::new();
    if !moved.is_empty() {
        let text = format!("moved its references to Secret {}, which holds the current value", listed(moved, ", "));
        all.push(Notice::new(Reason::Restarting, ACTION, text));
    }
    if !restarted_for.is_empty() {
        all.push(restarted(restarted_for));
    }
    all
}

/// It is not changed again, since another tool takes that back; `managers` have written its template.
#[must_use]
pub fn reverted(managers: &[String], moves: &Moves) -> Notice {
    if let Some(secret) = moves.values().next() {
        let text = format!(
            "another tool put its references back twice, so Rekey does not move them to Secret {secret} again. Make the tool \
             that manages the pod template ({}) leave the names of this Secret alone, or use versions.references Publish",
            listed(managers, ", ")
        );
        return Notice::new(Reason::MarkerReverted, ACTION, text);
    }
    let text = format!(
        "another tool removed the restart marker twice, so Rekey does not write it again for this value. Make the tool \
         that manages the pod template ({}) leave the annotation rekey.dev/consumed alone, or restart the workload by \
         hand",
        listed(managers, ", ")
    );
    Notice::new(Reason::MarkerReverted, ACTION, text)
}

/// Secrets are not added again to the list of an account, since another tool takes them off.
#[must_use]
pub fn unlisted<'a>(secrets: impl IntoIterator<Item = &'a String>) -> Notice {
    let names: Vec<String> = secrets.into_iter().cloned().collect();
    let text = format!(
        "another tool took {} off the list of mountable Secrets twice, so Rekey does not add it again, and pods that refer \
         to it are refused. Make the tool leave the list alone, or use versions.references Publish",
        listed(&names, ", ")
    );
    Notice::new(Reason::MarkerReverted, ACTION, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekey_api::condition::Severity;

    #[test]
    fn a_restart_is_as_wanted_and_a_reverted_marker_is_not() {
        let restart = restarted(&["db".to_owned(), "cache".to_owned()]);
        assert_eq!((restart.reason.severity(), restart.reason), (Severity::Normal, Reason::Restarting));
        assert_eq!(restart.text, "restarted: the value of db, cache has changed");
        let revert = reverted(&["argocd-controller".to_owned()], &Moves::new());
        assert_eq!((revert.reason.severity(), revert.reason), (Severity::Warning, Reason::MarkerReverted));
        assert!(revert.text.contains("(argocd-controller)"), "{}", revert.text);
    }
}
