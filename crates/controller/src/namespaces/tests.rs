use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;

use super::*;
use crate::{
    cluster::NamespaceAccess,
    in_memory::{Ground, Guard, SHOP},
};

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

/// One round, and the time until its watches have brought what they had to bring.
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

/// Runs while the operator's own kinds are known; there is a store in [`SHOP`].
fn serve(ctx: &Arc<Watches>) {
    for kind in ["SecretPolicy", "RotationSchedule", "RemoteStore"] {
        ctx.cluster.namespaces.listed_own(None, kind);
    }
    tokio::spawn(run(Arc::clone(ctx)));
}

fn said(ctx: &Watches) -> String {
    ctx.cluster.is_open(SHOP).map_or_else(|error| error.to_string(), |open| format!("open: {open}"))
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn where_lists_are_needed_a_role_that_allows_watches_alone_opens_nothing_and_is_told_what_it_lacks() {
    for place in ["*", SHOP] {
        let (mut ctx, guard) = bound_nowhere();
        if place == "*" {
            // It finds out that lists are needed when it has started.
            Arc::get_mut(&mut ctx).unwrap().pages = Arc::default();
        }
        let rights: Vec<String> = all().into_iter().filter(|right| right.starts_with("watch ")).collect();
        guard.grant(place, &rights);
        serve(&ctx);
        tokio::time::sleep(MINUTE).await;
        let text = said(&ctx);
        assert!(text.contains("the right to list secrets is missing"), "in {place}: {text}");
        guard.asked();
        tokio::time::sleep(10 * MINUTE).await;
        let asked = guard.asked();
        assert!(asked.iter().all(|line| line.starts_with("may ")) && asked.len() <= 24 * 4, "in {place}: {asked:?}");
        assert_eq!(said(&ctx), text);
        guard.grant(place, &all());
        tokio::time::sleep(MINUTE / 2).await;
        assert_eq!(said(&ctx), "open: true", "in {place}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_without_a_kind_that_is_restarted_is_told_so_and_one_without_a_kind_that_is_shown_is_not() {
    let (ctx, guard) = bound_nowhere();
    guard.grant("*", &all());
    for lacked in [" deployments *", " ingresses *", " gateways *"] {
        guard.withdraw(lacked);
    }
    serve(&ctx);
    tokio::time::sleep(MINUTE).await;
    let text = said(&ctx);
    assert!(text.contains("the right to watch deployments.apps is missing"), "{text}");
    guard.asked();
    tokio::time::sleep(10 * MINUTE).await;
    let asked = guard.asked();
    assert!(!asked.iter().any(|line| line.ends_with(SHOP) && !line.starts_with("may ")), "{asked:?}");
    guard.grant(SHOP, &["watch deployments".to_owned(), "list deployments".to_owned()]);
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(said(&ctx), "open: true");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_without_any_binding_is_asked_one_question_at_a_time() {
    let (ctx, guard) = bound_nowhere();
    serve(&ctx);
    tokio::time::sleep(MINUTE).await;
    assert!(said(&ctx).starts_with("namespace \"shop\" is not opened for Rekey; run `"), "{}", said(&ctx));
    let asked: BTreeSet<String> = guard.asked().into_iter().collect();
    assert_eq!(asked, ["may watch secrets *", "may watch secrets shop"].map(str::to_owned).into());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_lets_the_rights_be_asked_about_and_one_that_stays_refused_not_on_and_on() {
    let ground = Ground::new();
    let namespaces = &ground.context.cluster.namespaces;
    let secrets: Api<Secret> = Api::namespaced(ground.context.parts.client.clone(), SHOP);
    let is_due = async || {
        assert!(secrets.get("db").await.is_err());
        namespaces.is_due(SHOP, RECHECK)
    };
    tokio::time::advance(DOUBT).await;
    assert!(!is_due().await, "a Secret that is not there is no sign");
    ground.server.refuse("GET /api/v1/namespaces/shop/", 403);
    assert!(is_due().await);
    namespaces.answered(SHOP, None);
    tokio::time::advance(DOUBT / 2).await;
    assert!(!is_due().await, "it was another reason");
    tokio::time::advance(DOUBT / 2).await;
    assert!(is_due().await);
}

#[tokio::test(start_paused = true)]
async fn a_binding_to_all_namespaces_that_goes_is_noticed_by_the_first_call_that_is_refused() {
    let (ctx, guard) = bound_nowhere();
    guard.grant("*", &all());
    serve(&ctx);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(said(&ctx), "open: true");
    tokio::time::sleep(DOUBT).await;
    guard.withdraw(" *");
    guard.asked();
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!((said(&ctx).as_str(), guard.asked()), ("open: true", Vec::new()), "nothing has shown it yet");
    let secrets: Api<Secret> = Api::namespaced(heeding(&guard.client(), &ctx.cluster), SHOP);
    assert!(secrets.list(&ListParams::default()).await.is_err());
    tokio::time::sleep(ROUND).await;
    assert!(said(&ctx).starts_with("namespace \"shop\" is not opened for Rekey; run `"), "{}", said(&ctx));
}

#[tokio::test(start_paused = true)]
async fn an_opened_namespace_is_asked_one_question() {
    let (ctx, guard) = bound_nowhere();
    guard.grant(SHOP, &all());
    serve(&ctx);
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(said(&ctx), "open: true");
    let asked: Vec<String> =
        guard.asked().into_iter().filter(|line| line.starts_with("may ") && line.ends_with(SHOP)).collect();
    assert_eq!(asked, ["may watch secrets shop"]);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_stays_until_somebody_was_asked() {
    let (ctx, guard) = bound_nowhere();
    guard.grant("*", &all());
    look(&ctx, &[SHOP]).await;
    guard.withdraw(" *");
    ctx.cluster.namespaces.refused(SHOP, Duration::ZERO);
    guard.asked();
    look(&ctx, &[SHOP]).await;
    assert!(guard.asked().is_empty(), "the rights everywhere were asked about just now");
    assert!(ctx.cluster.namespaces.is_due(SHOP, RECHECK));
    tokio::time::sleep(RECHECK).await;
    look(&ctx, &[SHOP]).await;
    assert_eq!(ctx.cluster.namespaces.access(SHOP), NamespaceAccess::Closed);
}
