//! Where the API server is now: no store may point there. We know it by the host that we reach it at, and by its own
//! endpoints, which the API servers keep in the slice `kubernetes` of the namespace `default`.

use std::{net::IpAddr, pin::pin, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use rekey_core::store::Addresses;
use tokio::{
    net::lookup_host,
    sync::oneshot,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

/// How often the host is resolved again.
const AGAIN: Duration = Duration::from_mins(1);
/// How long the start waits for the endpoints.
const PATIENCE: Duration = Duration::from_secs(5);

/// What we know of where it is.
#[derive(Default)]
struct Places {
    host: Vec<IpAddr>,
    endpoints: Vec<IpAddr>,
}

impl Places {
    fn all(&self) -> Vec<IpAddr> {
        self.host.iter().chain(&self.endpoints).copied().collect()
    }
}

/// The task that follows where it is. It ends with this.
pub struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps `addresses` equal to those of the API server that we reach at `server` (`host:port`). Returns when they are
/// first known, or after a time limit.
pub async fn follow(client: Client, server: String, addresses: Addresses) -> Follower {
    let (known, first) = oneshot::channel();
    let task = tokio::spawn(run(client, server, addresses, known));
    timeout(PATIENCE, first).await.ok();
    Follower(task)
}

async fn run(client: Client, server: String, addresses: Addresses, known: oneshot::Sender<()>) {
    let mut known = Some(known);
    let mut places = Places::default();
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let slices = watcher::watch_object(Api::<EndpointSlice>::namespaced(client, "default"), "kubernetes");
    let mut slices = pin!(slices.default_backoff().fuse());
    // Without the right, ask once a minute: the Role may come later.
    let (mut is_allowed, mut is_reported) = (true, false);
    loop {
        tokio::select! {
            _ = again.tick() => {
                is_allowed = true;
                // While the name cannot be resolved, keep its last addresses.
                if let Ok(found) = lookup_host(server.as_str()).await {
                    places.host = found.map(|address| address.ip()).collect();
                }
                addresses.set(places.all());
            }
            Some(seen) = slices.next(), if is_allowed => {
                match seen {
                    Ok(slice) => {
                        places.endpoints = slice.as_ref().map(endpoints).unwrap_or_default();
                        addresses.set(places.all());
                    }
                    Err(error) if is_forbidden(&error) => {
                        is_allowed = false;
                        if !std::mem::replace(&mut is_reported, true) {
                            tracing::warn!(
                            "the operator may not read the API server's endpoints, so it refuses only the API server's \
                             own host as a store's address: apply the Role rekey-api-server of deploy/install.yaml"
                            );
                        }
                    }
                    Err(error) => tracing::debug!("the endpoints of the API server are not known: {error}"),
                }
                if let Some(known) = known.take() {
                    known.send(()).ok();
                }
            }
        }
    }
}

fn endpoints(slice: &EndpointSlice) -> Vec<IpAddr> {
    slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).filter_map(|text| text.parse().ok()).collect()
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => match source {
            kube::Error::Api(status) => Some(status),
            _ => None,
        },
        watcher::Error::WatchError(status) => Some(status),
        watcher::Error::NoResourceVersion => None,
    };
    status.is_some_and(|status| status.code == 403)
}
