//! What a workload that has to be restarted waits for: a window, its turn among the consumers of a
//! Secret, or the end of any other rollout.

use rekey_core::{
    rollout::{
        self, Before, Budget, Closed, Input, KnownPods, Place, Rank, Settled, TemplateChange, Turn, Urgency, Wait,
        urgent,
    },
    workload::{Workload, WorkloadId},
};

use super::{REST_OF_A_SET, UNTOLD, Workloads};
use crate::{
    cluster::{Change, NamespaceAccess, ObjectName, workload_name},
    error::Error,
    line::Stand,
    queue::{Lane, Next},
};

impl Workloads {
    /// Outside of its windows nothing is asked and nobody is called.
    pub(super) fn closed(&self, workload: &Workload, inputs: &[Input], closed: Closed) -> Next {
        let next = self.after(closed.until);
        tracing::debug!(until = %closed.until, policy = closed.policy, "waits for a window");
        self.waiting(workload, inputs, Some(&Wait::Window(closed)));
        next
    }

    /// Remembers what the restart waits for, and tells the policies, which show it.
    pub(super) fn waiting(&self, workload: &Workload, inputs: &[Input], wait: Option<&Wait>) {
        if self.memory.workloads.set_waits(&workload.uid, wait) {
            for input in inputs {
                let policy = ObjectName::new(workload.id.namespace.as_str(), input.published.policy.as_str());
                self.queues.policies.add(policy, Lane::Urgent);
            }
        }
    }

    /// Takes a place in line, if it is not the workload's turn, or if as many rollouts as may be are under way.
    pub(super) fn waits(&self, workload: &Workload, because: &[Input]) -> Option<Next> {
        if urgent(because) == Urgency::Leaked {
            self.line.rollouts.start(&workload.id); // where nothing rolls, the account at the end says so
        } else if self.is_behind(workload, because) {
            self.waiting(workload, because, None);
            return Some(Next::After(UNTOLD));
        } else if let Some(budget) = self.exceeds(workload, because) {
            // Which limit it is may change while it waits; what the status says does not.
            if !matches!(self.memory.workloads.waits(&workload.uid), Some(Wait::Budget(_))) {
                self.waiting(workload, because, Some(&Wait::Budget(budget)));
            }
            return Some(Next::After(UNTOLD));
        }
        self.waiting(workload, because, None);
        None
    }

    /// Writes a change. Until the answer, and after it if it says nothing, others count the workload as on its way: it may be,
    /// and what is known of it would not show it.
    pub(super) async fn ask(
        &self,
        workload: &Workload,
        change: &TemplateChange,
    ) -> Result<Option<Change<Workload>>, Error> {
        self.memory.workloads.ask(workload, self.clock.now());
        let written = self.write.template(workload, change).await;
        match &written {
            Err(error) if !error.is_refusal() => {}
            Ok(_) | Err(_) => self.memory.workloads.set_answered(&workload.uid),
        }
        written
    }

    /// How long nothing is requested of a workload that has changed since what is known of it: its watch brings that.
    pub(super) fn is_stale(&self, workload: &Workload) -> Option<Next> {
        self.memory.conflicts.pause(&workload.id.to_string(), &workload.resource_version).map(Next::After)
    }

    /// Takes a place in the line of a Secret, if it is not the workload's turn with it.
    fn is_behind(&self, workload: &Workload, because: &[Input]) -> bool {
        for input in because {
            let secret = ObjectName::new(workload.id.namespace.as_str(), input.secret.as_str());
            self.line.wait(&secret, self.place(workload, std::slice::from_ref(input)));
            match self.turn_of(workload, input) {
                Turn::Now => self.line.leave(&secret, &workload.id),
                Turn::Wait(others) => {
                    tracing::debug!(%secret, others, "waits for other consumers");
                    return true;
                }
                Turn::Canary(canary) => {
                    tracing::debug!(%secret, canary, "waits for the canary");
                    return true;
                }
                Turn::Hold(other) => {
                    tracing::info!(%secret, other, "held: another consumer did not become healthy on this value");
                    return true;
                }
            }
        }
        false
    }

    /// Until when a workload that goes back waits for other values of the same rollout: its template never has some old and
    /// some new ones. Those that go back end it sooner; one that stays after all keeps nobody for longer.
    pub(super) fn rest_of_a_set(&self, workload: &Workload, because: &[Input]) -> Option<Next> {
        let is_open = |input: &Input| input.may_go_back(workload) && self.settled(workload, input) == Settled::NotYet;
        if !because.iter().any(Input::goes_back) || !self.inputs(workload).iter().any(is_open) {
            self.memory.workloads.set_alone(&workload.uid);
            return None;
        }
        let now = self.clock.now();
        let until = self.memory.workloads.waits_for_set(&workload.uid, now) + REST_OF_A_SET;
        (now < until && until <= now + REST_OF_A_SET).then(|| self.after(until))
    }

    fn place(&self, workload: &Workload, because: &[Input]) -> Place {
        Place { rank: Rank::of(&workload.id, because, self.before(workload, because)), id: workload.id.clone() }
    }

    /// Takes a place among the rollouts, or one in the line for it.
    fn exceeds(&self, workload: &Workload, because: &[Input]) -> Option<Budget> {
        if !workload.id.kind.rolls() {
            return None; // no pod is replaced
        }
        self.survey(&workload.id.namespace);
        let budget = self.line.rollouts.take(&self.place(workload, because));
        if let Some(budget) = budget {
            tracing::debug!(?budget, "waits for other rollouts");
        }
        budget
    }

    /// Which rollouts are under way is read off the workloads: before the first decision in a namespace off all of them,
    /// later off each that is looked at.
    fn survey(&self, namespace: &str) {
        if self.line.rollouts.is_surveyed(namespace) {
            return;
        }
        for (_, row) in self.cluster.workloads.in_namespace(namespace) {
            if self.stand(&row) == Stand::UnderWay {
                self.line.rollouts.note(&row.id, Stand::UnderWay);
            }
        }
        self.line.rollouts.set_surveyed(namespace);
    }

    /// Says whether the rollout of a workload is under way, and calls those for whom there is room.
    pub(super) fn account(&self, key: &WorkloadId) {
        let row = self.cluster.workloads.get(&workload_name(key));
        let stand = row.map_or(Stand::Rests, |row| self.stand(&row));
        for next in self.line.rollouts.note(key, stand) {
            self.queues.workloads.add(next, Lane::Urgent);
        }
    }

    fn stand(&self, workload: &Workload) -> Stand {
        let now = self.clock.now();
        let is_under_way = |input: &Input| {
            let look = self.memory.workloads.look(&workload.uid, &input.secret).filter(|look| look.is_of(input));
            let pods = KnownPods { settled: self.settled(workload, input), look: look.as_ref() };
            let before = self.memory.workloads.before(workload, input);
            rollout::is_under_way(workload, input, pods, before, now)
        };
        let asked = self.memory.workloads.asked(workload);
        let may_move = |input: &Input| rollout::may_move(input, asked, now);
        let is_seen = self.cluster.namespaces.access(&workload.id.namespace) == NamespaceAccess::Open;
        let is_touched = !workload.marker.0.is_empty() || workload.marked.is_some();
        let inputs = self.inputs(workload);
        if is_seen && (is_touched && inputs.iter().any(is_under_way) || inputs.iter().any(may_move)) {
            return Stand::UnderWay;
        }
        match self.memory.workloads.waits(&workload.uid) {
            Some(Wait::Budget(_)) => Stand::Waits,
            Some(Wait::Window(_)) | None => Stand::Rests,
        }
    }

    /// Whether the workload was healthy before these changed.
    pub(super) fn before(&self, workload: &Workload, because: &[Input]) -> Before {
        because.iter().map(|input| self.memory.workloads.before(workload, input)).max().unwrap_or_default()
    }
}
