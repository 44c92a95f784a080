//! The operators' requests to the API server and to the store.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rekey_e2e::{Scene, World, wait::until, world::OPERATOR};
use rekey_testkit::{
    bao,
    plane::{ADMIN, Asked, Audit, Mark},
};

/// What may change though nothing has: verb, resource, name if it has one, and why.
const ALLOWED: [(&str, &str, Option<&str>, &str); 3] = [
    ("update", "leases", Some("rekey-leader"), "who leads renews its Lease, and who takes over writes it"),
    ("create", "selfsubjectreviews", None, "the question who one is, which is kept nowhere"),
    ("create", "selfsubjectaccessreviews", None, "the question what one may do, which is kept nowhere"),
];

/// The moment from which everything counts.
pub struct Since {
    audit: Audit,
    kubernetes: Mark,
    store: bao::Mark,
}

impl Since {
    /// Starts now.
    pub async fn now(world: &World) -> Result<Self> {
        let audit = world.plane.audit()?;
        Ok(Self { kubernetes: audit.mark().await?, store: world.bao.mark()?, audit })
    }

    /// Checks that operators have changed nothing but [what is allowed](ALLOWED) and, once each, the statuses of the policies that
    /// are `reworded`, and that nothing was refused to them. Returns the number of requests of each version, by its user agent.
    pub async fn nothing_written_but(&self, reworded: &[String]) -> Result<BTreeMap<String, usize>> {
        let mut reworded = reworded.to_vec();
        let mut agents = BTreeMap::new();
        let (mut written, mut refused) = (Vec::new(), Vec::new());
        for asked in self.audit.asked_since(&self.kubernetes, OPERATOR).await? {
            let line = format!("{} {} {:?} by {}", asked.verb, asked.subject, asked.name, asked.agent);
            if asked.status == 403 {
                refused.push(line);
            } else if asked.changes() && !is_allowed(&asked) && !is_taken(&mut reworded, &asked) {
                written.push(line);
            }
            *agents.entry(asked.agent).or_default() += 1;
        }
        ensure!(refused.is_empty(), "refused to the operator: {refused:#?}");
        ensure!(written.is_empty(), "written by the operator: {written:#?}");
        Ok(agents)
    }

    /// The order in which Helm has written the kinds of a release. What the new one does not have any more is deleted last.
    pub async fn helm(&self) -> Result<Vec<String>> {
        let mut kinds: Vec<String> = Vec::new();
        for asked in self.audit.asked_since(&self.kubernetes, ADMIN).await? {
            let writes = asked.agent.starts_with("Helm") && asked.changes() && asked.verb != "delete";
            if writes && kinds.last() != Some(&asked.subject) {
                kinds.push(asked.subject);
            }
        }
        Ok(kinds)
    }

    /// How often each key of the scene was read in the store.
    pub fn reads(&self, scene: &Scene) -> Result<BTreeMap<String, usize>> {
        let below = format!("secret/data/{}/", scene.namespace);
        let asked = scene.world.bao.reads_since(self.store)?.into_iter();
        let reads = asked.filter(|((operation, _), _)| operation == "read");
        Ok(reads.filter_map(|((_, path), count)| Some((path.strip_prefix(&below)?.to_owned(), count))).collect())
    }

    /// What was changed in the store, by the tests too, and what was issued. A client that renews its own token changes
    /// nothing.
    pub fn store_writes(&self, scene: &Scene) -> Result<Vec<String>> {
        let asked = scene.world.bao.requests_since(self.store)?.into_iter();
        let writes = asked.filter(|asked| {
            let changes = ["create", "update", "patch", "delete"].contains(&asked.operation.as_str());
            changes && asked.path != "auth/token/renew-self"
        });
        Ok(writes.map(|asked| format!("{} {}", asked.operation, asked.path)).collect())
    }
}

/// Waits until the leader has worked for a whole refresh interval: it has read each of these keys, and has read it
/// again.
pub async fn refreshed(scene: &Scene, keys: &[&str]) -> Result<()> {
    let since = Since::now(&scene.world).await?;
    until("every key is read twice", || async {
        let reads = since.reads(scene)?;
        Ok(keys.iter().all(|key| reads.get(*key).is_some_and(|count| *count >= 2)).then_some(()))
    })
    .await
}

/// Whether it writes the status of one of these policies; the next one of the same does not.
fn is_taken(policies: &mut Vec<String>, asked: &Asked) -> bool {
    let is_it = |name: &String| asked.subject == "secretpolicies/status" && asked.name.as_ref() == Some(name);
    let place = policies.iter().position(is_it);
    place.map(|place| policies.remove(place)).is_some()
}

fn is_allowed(asked: &Asked) -> bool {
    ALLOWED.iter().any(|(verb, subject, name, _)| {
        asked.verb == *verb && asked.subject == *subject && name.is_none_or(|name| asked.name.as_deref() == Some(name))
    })
}
