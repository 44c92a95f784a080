use super::*;
use crate::in_memory::{Ground, Guard, SHOP};

/// An operator that has no rights yet, whose API server sends lists in pages, and that server.
fn bound_nowhere() -> (Arc<Watches>, Arc<Guard>) {
    let (mut ctx, guard) = (Ground::new().context.watches(), Arc::<Guard>::default());
    (ctx.client, ctx.watch_client) = (guard.client(), guard.client());
    ctx.cluster.namespaces.retire(&BTreeSet::new());
    ctx.pages.need();
    (Arc::new(ctx), guard)
}

/// `watch` and `list` of everything that is followed.
fn all() -> Vec<String> {
    let rights =
        FOLLOWED.iter().flat_map(|followed| ["watch", "list"].map(|verb| format!("{verb} {}", followed.resource)));
    rights.collect()
}

/// One round, and the time until its watches have told what they had to tell.
async fn look(ctx: &Arc<Watches>, wanted: &[&str]) {
    round(ctx, &wanted.iter().map(|namespace| (*namespace).to_owned()).collect()).await;
    tokio::time::sleep(ROUND).await;
}

fn access(ctx: &Watches, namespaces: [&str; 2]) -> [NamespaceAccess; 2] {
    namespaces.map(|namespace| ctx.cluster.namespaces.access(namespace))
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_rights_everywhere_asks_about_each_namespace_before_it_is_watched() {
    let (ctx, guard) = bound_nowhere();
    guard.grant("*", &all());
    look(&ctx, &[SHOP, "other"]).await;
    assert_eq!(access(&ctx, [SHOP, "other"]), [NamespaceAccess::Open; 2]);
    guard.withdraw(" *");
    guard.grant(SHOP, &all());
    ctx.cluster.namespaces.wide.doubt(); // a watch of all was refused
    guard.asked();
    look(&ctx, &[SHOP, "other"]).await;
    let asked = guard.asked();
    let other: Vec<&String> = asked.iter().filter(|line| line.ends_with(" other")).collect();
    assert_eq!(other, ["may watch secrets other"], "{asked:?}");
    assert_eq!(access(&ctx, [SHOP, "other"]), [NamespaceAccess::Open, NamespaceAccess::Closed]);
}
