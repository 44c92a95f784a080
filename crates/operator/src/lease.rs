//! Leader election by a Lease (<https://kubernetes.io/docs/concepts/architecture/leases/>).
//!
//! # Guarantees
//! - Every change of the Lease is a PUT with the resourceVersion that was read: two candidates cannot both win.
//! - This process's own monotonic clock decides whether another's Lease has expired, from the moment it saw the record
//!   change; clocks of other machines do not matter.
//! - A leader that could not renew for [`RENEW_DEADLINE`] stops, well before another may take over.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use rekey_controller::pulse::Pulse;
use rekey_core::time::Clock as _;
use tokio::time::{Instant, sleep, timeout};

use crate::system::WallClock;

const NAME: &str = "rekey-leader";
/// Others may take over this long after the last renewal they saw.
const DURATION: Duration = Duration::from_secs(15);
/// A leader gives up this long after its last renewal.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// An attempt takes no longer than this.
const ATTEMPT: Duration = Duration::from_secs(4);
/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(2);

/// A candidate for leadership.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    seen: Option<(String, Instant)>,
    /// The leader that we saw last.
    leader: String,
    /// When the leader before us renewed last.
    predecessor: Option<DateTime<Utc>>,
    pulse: Arc<Pulse>,
}

impl Candidate {
    /// A candidate in the operator's namespace.
    pub fn new(client: Client, namespace: &str, identity: &str, pulse: Arc<Pulse>) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity: identity.to_owned(),
            seen: None,
            leader: String::new(),
            predecessor: None,
            pulse,
        }
    }

    /// When the leader before us renewed its Lease last, once we lead.
    pub fn predecessor(&self) -> Option<DateTime<Utc>> {
        self.predecessor
    }

    /// Waits until we lead.
    ///
    /// # Errors
    /// When the Lease may not be read or written at all.
    pub async fn acquire(&mut self) -> Result<()> {
        loop {
            match self.attempt().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if forbidden(&error) => return Err(error),
                Err(error) => tracing::warn!("cannot take the Lease: {error:#}"),
            }
            sleep(self.pause()).await;
        }
    }

    /// The time until the next attempt to lead. We take the Lease of a leader that is gone when it expires, not up to
    /// [`RETRY`] later.
    fn pause(&self) -> Duration {
        let left = self.seen.as_ref().map_or(RETRY, |(_, since)| DURATION.saturating_sub(since.elapsed()));
        if left.is_zero() { RETRY } else { left.min(RETRY) }
    }

    /// Renews until that fails for too long, or another replica leads.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < RENEW_DEADLINE {
            sleep(RETRY).await;
            // An attempt on a connection that is dead leaves time for another one.
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed()).min(ATTEMPT);
            // Others count from when the Lease was written, which is before the answer comes.
            let asked = Instant::now();
            match timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Err(error)) => tracing::warn!("cannot renew the Lease: {error:#}"),
                Err(_) => tracing::warn!("the API server is not responding to the renewal of the Lease"),
                Ok(Ok(false)) => return,
            }
        }
    }

    /// Gives the Lease back, so that the next leader need not wait for its end.
    pub async fn release(&mut self) {
        let Ok(Some(mut lease)) = self.api.get_opt(NAME).await else {
            return;
        };
        let ours = lease.spec.as_ref().is_some_and(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
        if ours {
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
            }
            if let Err(error) = self.api.replace(NAME, &PostParams::default(), &lease).await {
                tracing::debug!("cannot give the Lease back: {error}");
            }
        }
    }

    /// Takes or renews the Lease if that is possible now.
    async fn attempt(&mut self) -> Result<bool> {
        self.pulse.tried();
        let won = self.exchange().await?;
        self.pulse.answered_lease();
        Ok(won)
    }

    async fn exchange(&mut self) -> Result<bool> {
        let Some(mut lease) = self.api.get_opt(NAME).await.context("read the Lease")? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.record(&LeaseSpec::default())),
            };
            let made = self.api.create(&PostParams::default(), &lease).await;
            return won(made);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version, Instant::now()));
        }
        let fresh = self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() < DURATION);
        if !holder.is_empty() && holder != self.identity && fresh {
            if holder != self.leader {
                tracing::info!(leader = holder, lease = NAME, "another replica leads; this one waits for its Lease");
                self.leader = holder;
            }
            return Ok(false);
        }
        if holder != self.identity {
            let renewed = spec.renew_time.as_ref().map(|at| at.0.as_microsecond());
            self.predecessor = renewed.and_then(DateTime::from_timestamp_micros);
        }
        lease.spec = Some(self.record(&spec));
        won(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn record(&self, before: &LeaseSpec) -> LeaseSpec {
        let now =
            MicroTime(Timestamp::from_microsecond(WallClock.now().timestamp_micros()).unwrap_or(Timestamp::UNIX_EPOCH));
        let renewal = before.holder_identity.as_ref() == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(now.clone()),
            acquire_time: if renewal { before.acquire_time.clone() } else { Some(now) },
            lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!renewal)),
            ..LeaseSpec::default()
        }
    }
}

/// A conflict means that another candidate was faster.
fn won(result: Result<Lease, kube::Error>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error).context("write the Lease"),
    }
}

fn forbidden(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code == 403)
}
