//! An object that loses its members in the store.

use super::{
    sources::{PASSWORD, remote},
    *,
};

#[test]
fn an_object_that_becomes_empty_changes_nothing() {
    let mut world = remote(&json!({"data": [], "dataFrom": [{"extract": {"key": "shop/db"}}]}));
    world.sync();
    let before = (world.data.clone(), world.published().clone());
    for empty in [json!({}), json!({"username": null, "password": null})] {
        world.value = empty;
        world.version.push('0');
        let error = world.plan().unwrap_err();
        assert_eq!(error.reason(), Reason::EmptyAnswer, "{error}");
        assert!(error.class() == Class::Transient, "it is looked at again");
        assert_eq!((&world.data, world.published()), (&before.0, &before.1));
    }
    world.value = json!({"username": null, "password": "two"});
    world.sync();
    assert_eq!(text(&world.data), [(PASSWORD, "two"), ("username", "")]);
    let part = json!([{"extract": {"key": "shop/db", "property": "part"}}]);
    let mut world = remote(&json!({"data": [], "dataFrom": part}));
    for (part, expected) in [
        (json!({"a": "x", "b": null}), Ok(1)),
        (json!({}), Err(Reason::EmptyAnswer)),
        (json!(null), Err(Reason::EmptyAnswer)),
        (json!("text"), Err(Reason::InvalidData)),
    ] {
        world.value = json!({ "part": part });
        let fetched = world.fetched();
        let synced = world.sync_with(Some(&fetched)).map(|plan| writes(&plan)).map_err(|error| error.reason());
        assert_eq!(synced, expected, "{}", world.value);
    }
}
