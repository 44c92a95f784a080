//! What Events report of a workload.

use rekey_api::condition::Reason;

use crate::{notice::Notice, summary::listed};

/// What is done when an Event is made.
const ACTION: &str = "Restart";

/// It was restarted, since these Secrets have other values.
#[must_use]
pub fn restarted(secrets: &[String]) -> Notice {
    let text = format!("restarted: the value of {} has changed", listed(secrets, ", "));
    Notice::new(Reason::Restarting, ACTION, text)
}

/// Its marker is not written any more, since another tool removes it; `managers` have written its template.
#[must_use]
pub fn reverted(managers: &[String]) -> Notice {
    let text = format!(
        "another tool removed the restart marker twice, so Rekey does not write it again for this value. Make the tool \
         that manages the pod template ({}) leave the annotation rekey.dev/consumed alone, or restart the workload by \
         hand",
        listed(managers, ", ")
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
        let revert = reverted(&["argocd-controller".to_owned()]);
        assert_eq!((revert.reason.severity(), revert.reason), (Severity::Warning, Reason::MarkerReverted));
        assert!(revert.text.contains("(argocd-controller)"), "{}", revert.text);
    }
}
