//! Labels of namespaces, known only while a grant of a `ClusterRemoteStore` selects by them.

use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::{
    cluster::listings::{Listing, NAMESPACES},
    watch::{self, Watches},
};

/// Watches namespaces while that is needed. Never ends.
pub async fn run(ctx: Arc<Watches>) {
    let mut following: Option<Following> = None;
    loop {
        match (is_wanted(&ctx), &following) {
            (true, None) => following = Some(Following(watch::labels(&ctx))),
            (false, Some(_)) => {
                following = None;
                ctx.cluster.listings.set(NAMESPACES, Listing::Pending);
                ctx.cluster.labels.retain(None, |_| false);
            }
            (true, Some(_)) | (false, None) => {}
        }
        ctx.cluster.listings.woken().await;
    }
}

/// A watch that ends with this value.
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn is_wanted(ctx: &Watches) -> bool {
    let stores = ctx.cluster.cluster_stores.all();
    let mut stores = stores.iter().filter_map(|(_, row)| row.spec().ok());
    stores.any(|store| store.grants.ask_for_labels())
}
