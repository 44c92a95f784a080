//! What a workload has to run on, and whose turn it is.

use std::{collections::BTreeMap, sync::Arc};

use rekey_api::SecretPolicy;
use rekey_core::{
    policy::PolicySpec,
    published::{Published, Versions},
    rollout::{Input, Other, RolloutSpec, Settled, Turn, Way, turn},
    workload::{Workload, WorkloadId},
};

use super::Workloads;
use crate::cluster::{Object, ObjectName, policy_name, versions_of};

impl Workloads {
    /// What is published for a workload, with what each policy asks for.
    pub(super) fn inputs(&self, workload: &Workload) -> Vec<Input> {
        let by_secret = workload.uses.keys().filter_map(|secret| self.at_its_name(workload, secret));
        let policies = self.moving(workload);
        let moving = policies.values().filter_map(|policy| self.moving_to(workload, policy));
        let named = self.naming(&workload.id).into_iter().filter_map(|policy| self.by_name_only(workload, &policy));
        let mut all: BTreeMap<String, Input> = BTreeMap::new();
        for input in by_secret.chain(moving).chain(named) {
            all.entry(input.secret.clone()).or_insert(input);
        }
        let with_urgency = |input: Input| {
            let urgency = self.cluster.urgency(&workload.id.namespace, &input.published);
            Input { urgency, ..input }
        };
        all.into_values().map(with_urgency).collect()
    }

    /// Of a Secret that keeps its name.
    fn at_its_name(&self, workload: &Workload, secret: &str) -> Option<Input> {
        let row = self.cluster.secrets.get(&ObjectName::new(workload.id.namespace.as_str(), secret))?;
        let published = &row.managed()?.published;
        let policy = self.policy(&workload.id.namespace, &published.policy)?;
        let is_its = policy.names.covers(secret) && !policy.suspended && !policy.names.is_versioned();
        policy.input(published, workload, &Versions::default()).filter(|_| is_its)
    }

    /// The policies whose versions the workload refers to, or is to refer to.
    fn moving(&self, workload: &Workload) -> BTreeMap<String, Arc<PolicySpec>> {
        let namespace = workload.id.namespace.as_str();
        let of = |secret: &String| self.cluster.policies_of(namespace, secret);
        let policies = workload.uses.keys().flat_map(of).filter_map(|(name, row)| Some((name, row.policy()?)));
        policies.filter(|(_, policy)| policy.moves_references() && !policy.suspended).collect()
    }

    /// Of a Secret whose references move; by its plain name, where another tool puts them back.
    fn moving_to(&self, workload: &Workload, policy: &PolicySpec) -> Option<Input> {
        let published = self.cluster.published(&policy_name(policy), &policy.names)?;
        if self.is_before_a_lost_one(policy, &published) {
            return None;
        }
        let input = policy.input(&published, workload, &versions_of(&self.cluster, policy))?;
        if input.is_on(workload) || !self.is_put_back(workload, policy, &input) {
            return Some(input);
        }
        // What the plain Secret holds is no longer on trial.
        let rollout = RolloutSpec { canary: None, ..input.rollout };
        let input = Input { rollout, way: Way::Restart, ..input };
        let plain = ObjectName::new(policy.namespace.as_str(), policy.names.base());
        if policy.has_original() {
            // Another tool's Secret, with no record of ours: the version was made of what it holds.
            return Some(Input { secret: plain.name, ..input });
        }
        let row = self.cluster.secrets.get(&plain)?;
        let managed = row.managed().filter(|managed| managed.published.policy == policy.name)?;
        let published = Arc::clone(&managed.published);
        Some(Input { secret: plain.name, published, ..input })
    }

    /// Whether another tool puts the references of the workload back: this process has seen it, or the status says so.
    fn is_put_back(&self, workload: &Workload, policy: &PolicySpec, input: &Input) -> bool {
        let row = self.said(workload, input);
        let status = row.as_ref().and_then(|row| row.readable()?.status.as_ref());
        self.memory.workloads.is_put_back(&workload.uid, &input.secret)
            || status.is_some_and(|status| policy.was_put_back(status, workload))
    }

    /// The policy that an input is of, with what its status says.
    fn said(&self, workload: &Workload, input: &Input) -> Option<Arc<Object<SecretPolicy>>> {
        let policy = ObjectName::new(workload.id.namespace.as_str(), input.published.policy.as_str());
        self.cluster.policies.get(&policy)
    }

    /// Whether the version that was published last has been deleted, so that an earlier one is found in its place: nobody is
    /// taken back to that, whose credential may be dead, before the policy has decided what is published. A process that
    /// did not see the last one knows of it by the status.
    fn is_before_a_lost_one(&self, policy: &PolicySpec, published: &Published) -> bool {
        let name = ObjectName::new(policy.namespace.as_str(), policy.names.base());
        if let Some(last) = self.memory.published(&name) {
            return last.is_later_than(published);
        }
        let row = self.cluster.policies.get(&policy_name(policy));
        let status = row.as_ref().and_then(|row| row.readable()?.status.as_ref());
        let Some(told) = status.and_then(|status| status.revision.as_ref()) else { return false };
        let is_there = || {
            let version = ObjectName::new(policy.namespace.as_str(), policy.names.version(told));
            self.cluster.secrets.get(&version).is_some()
        };
        *told != published.revision && !is_there()
    }

    /// Of a workload that a policy names, and that does not refer to its Secret.
    fn by_name_only(&self, workload: &Workload, policy: &PolicySpec) -> Option<Input> {
        let refers = policy.names.covered(&workload.uses).next().is_some();
        let published = self.cluster.published(&policy_name(policy), &policy.names)?;
        if policy.names.is_versioned() && self.is_before_a_lost_one(policy, &published) {
            return None;
        }
        let input = policy.input(&published, workload, &versions_of(&self.cluster, policy));
        input.filter(|_| !refers && !policy.suspended)
    }

    pub(super) fn policy(&self, namespace: &str, name: &str) -> Option<Arc<PolicySpec>> {
        let row = self.cluster.policies.get(&ObjectName::new(namespace, name))?;
        row.policy()
    }

    /// Policies that name the workload.
    fn naming(&self, id: &WorkloadId) -> Vec<Arc<PolicySpec>> {
        self.cluster.policies_naming(id).into_iter().filter_map(|(_, row)| row.policy()).collect()
    }

    /// Whether the workload was seen to run steadily on what is published in a Secret.
    pub(super) fn settled(&self, workload: &Workload, input: &Input) -> Settled {
        let row = self.said(workload, input);
        let status = row.as_ref().and_then(|row| row.readable()?.status.as_ref());
        self.memory.workloads.settled_on(workload, input, status)
    }

    /// Whose turn it is with one Secret.
    pub(super) fn turn_of(&self, workload: &Workload, input: &Input) -> Turn {
        let Some(policy) = self.policy(&workload.id.namespace, &input.published.policy) else {
            return Turn::Wait(format!("SecretPolicy {}", input.published.policy)); // it has just gone
        };
        let versions = versions_of(&self.cluster, &policy);
        let theirs = |row: Arc<Workload>| {
            let theirs = match input.way {
                // They are restarted for the plain Secret, and count among each other.
                Way::Restart | Way::Named | Way::NamedBack if policy.moves_references() => {
                    self.moving_to(&row, &policy).filter(|theirs| theirs.secret == input.secret)?
                }
                Way::Restart | Way::Named | Way::NamedBack | Way::Move(_) => {
                    policy.input(&input.published, &row, &versions)?
                }
            };
            let settled = self.settled(&row, &theirs);
            policy.reference(&input.secret, &row).is_none().then_some((row, theirs, settled))
        };
        let others: Vec<(Arc<Workload>, Input, Settled)> =
            self.cluster.consumers_of(&policy).into_iter().filter_map(theirs).collect();
        let others = others.iter().map(|(row, input, settled)| {
            let before = self.memory.workloads.before(row, input);
            Other { workload: row, input, settled: *settled, before, asked: self.memory.workloads.asked(row) }
        });
        turn(workload, input, others, self.clock.now())
    }
}
