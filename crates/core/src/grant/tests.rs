//! What grants say.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_star_stands_for_anything_and_nothing_else_does() {
    for (glob, key, expected) in [
        ("shop/db", "shop/db", true),
        ("shop/db", "shop/db2", false),
        ("shop/db", "a/shop/db", false),
        ("shop/*", "shop/db", true),
        ("shop/*", "shop/orders/db", true),
        ("shop/*", "shop/", true),
        ("shop/*", "shop", false),
        ("shop/*", "shopping/db", false),
        ("shop*", "shopping/db", true),
        ("*/db", "shop/orders/db", true),
        ("*/db", "db", false),
        ("*", "", true),
        ("*", "anything/at all", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("ab*ba", "aba", false),
        ("a**b", "ab", true),
        ("a?c", "abc", false),
        ("a?c", "a?c", true),
        ("a[bc]", "ab", false),
        ("Shop/*", "shop/db", false),
        ("shop/*", "shop/../admin", false),
        ("shop/*", "shop/./db", false),
        ("shop/*", r"shop\..\admin", false),
        ("shop/*", "shop/..db", true),
        ("", "", true),
        ("", "a", false),
        ("grün/*", "grün/ß", true),
    ] {
        assert_eq!(KeyGlob::new(glob).matches(key), expected, "{glob:?} {key:?}");
    }
}

fn grants(value: Value) -> Result<Grants, SpecError> {
    let grants: Vec<Grant> = serde_json::from_value(value).unwrap();
    Grants::parse(&grants)
}

fn judge(grants: &Grants, namespace: &str, labels: Option<&[(&str, &str)]>, wish: (&str, GrantOperation)) -> Verdict {
    let labels: Option<BTreeMap<String, String>> =
        labels.map(|all| all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    let (key, operation) = wish;
    grants.judge(Consumer { namespace, labels: labels.as_ref() }, Wish::key(key, operation))
}

#[test]
fn nobody_may_what_no_grant_allows() {
    use GrantOperation::{Read, Write};
    use Verdict::{Depends, Granted, Refused};
    let none = grants(json!([])).unwrap();
    assert_eq!(judge(&none, "shop", Some(&[]), ("shop/db", Read)), Refused);
    let some = grants(json!([
        {"namespaces": {"names": ["shop"]}, "keys": ["shop/*"], "operations": ["Read", "Write"]},
        {"namespaces": {"names": ["ops"], "selector": {"matchLabels": {"team": "pay"},
            "matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["test"]}]}},
            "keys": ["pay/*", "shared"], "operations": ["Read"]},
    ]))
    .unwrap();
    assert!(some.ask_for_labels());
    let pay: &[(&str, &str)] = &[("team", "pay")];
    for (namespace, labels, wish, expected) in [
        ("shop", None, ("shop/db", Read), Granted),
        ("shop", None, ("shop/db", Write), Granted),
        ("shop", Some([].as_slice()), ("pay/db", Read), Refused),
        ("shop", None, ("pay/db", Read), Depends),
        ("shop", None, ("pay/db", Write), Refused),
        ("shop", None, ("other", Read), Refused),
        ("ops", None, ("pay/db", Read), Granted),
        ("ops", None, ("pay/db", Write), Refused),
        ("a", Some(pay), ("pay/db", Read), Granted),
        ("a", Some(pay), ("shared", Read), Granted),
        ("a", Some(pay), ("shop/db", Read), Refused),
        ("a", Some(&[("team", "pay"), ("stage", "test")]), ("pay/db", Read), Refused),
        ("a", Some(&[("team", "other")]), ("pay/db", Read), Refused),
    ] {
        assert_eq!(judge(&some, namespace, labels, wish), expected, "{namespace} {labels:?} {wish:?}");
    }
}

#[test]
fn a_search_shows_only_what_may_be_read() {
    let some = grants(json!([
        {"namespaces": {"names": ["shop"]}, "keys": ["shop/*"], "operations": ["Read"]},
        {"namespaces": {"names": ["shop"]}, "keys": ["drop/*"], "operations": ["Write"]},
        {"namespaces": {"selector": {"matchLabels": {"team": "pay"}}}, "keys": ["pay/*"], "operations": ["Read"]},
    ]))
    .unwrap();
    let consumer = |labels| Consumer { namespace: "shop", labels };
    let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let none = BTreeMap::new();
    let found = keys(&["drop/a", "other", "pay/a", "shop/a", "shop/b"]);
    assert_eq!(some.readable(consumer(Some(&none)), found.clone()), Some(keys(&["shop/a", "shop/b"])));
    assert_eq!(some.readable(consumer(None), found), None);
    assert_eq!(some.readable(consumer(None), keys(&["drop/a", "shop/a"])), Some(keys(&["shop/a"])));
    assert_eq!(some.judge_any(consumer(None), GrantOperation::Write), Verdict::Granted);
    let stranger = Consumer { namespace: "x", labels: Some(&none) };
    assert_eq!(some.judge_any(stranger, GrantOperation::Read), Verdict::Refused);
}

#[test]
fn grants_to_nobody_and_to_everybody_are_refused() {
    for (namespaces, expected) in [
        (json!({}), "spec.grants[0].namespaces: set names or selector"),
        (json!({"selector": {}}), "spec.grants[0].namespaces.selector: it is empty"),
        (json!({"names": ["a"], "selector": {"matchLabels": {}}}), "spec.grants[0].namespaces.selector: it is empty"),
        (
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}),
            "spec.grants[0].namespaces.selector: the operator",
        ),
    ] {
        let grant = json!([{"namespaces": namespaces, "keys": ["*"], "operations": ["Read"]}]);
        let text = grants(grant).unwrap_err().to_string();
        assert!(text.starts_with(expected), "{namespaces}: {text}");
    }
}

#[test]
fn a_refusal_tells_what_is_missing() {
    let consumer = Consumer { namespace: "shop", labels: None };
    let text = refusal(consumer, Wish::key("pay/db", GrantOperation::Write));
    assert!(text.contains(r#"namespace "shop" Write key "pay/db""#) && text.contains("spec.grants"), "{text}");
}

#[test]
fn a_key_never_opens_an_engine_and_an_engine_path_no_key() {
    use CallMethod::{Get, Post};
    let some = grants(json!([
        {"namespaces": {"names": ["keys"]}, "keys": ["*"], "operations": ["Read", "Write"]},
        {"namespaces": {"names": ["engines"]}, "enginePaths": ["*"], "operations": ["Read", "Write"]},
        {"namespaces": {"names": ["pki"]}, "enginePaths": ["pki/issue/shop-*", "/database/static-creds/app"],
            "operations": ["Read"]},
        {"namespaces": {"names": ["pki"]}, "enginePaths": ["pki/issue/web"], "operations": ["Write"]},
        {"namespaces": {"names": ["closed"]}, "enginePaths": ["sys/*", "auth/*", "*sys*", "*"], "operations": ["Read", "Write"]},
    ]))
    .unwrap();
    let none = BTreeMap::new();
    let consumer = |namespace| Consumer { namespace, labels: Some(&none) };
    for (namespace, path, method, expected) in [
        ("keys", "other/data/db", Get, Verdict::Refused),
        ("keys", "pki/issue/web", Post, Verdict::Refused),
        ("engines", "other/data/db", Get, Verdict::Granted),
        ("engines", "other/data/db", Post, Verdict::Granted),
        ("pki", "pki/issue/shop-web", Get, Verdict::Granted),
        ("pki", "pki/issue/shop-web", Post, Verdict::Refused),
        ("pki", "pki/issue/web", Post, Verdict::Granted),
        ("pki", "pki/issue/web", Get, Verdict::Refused),
        ("pki", "database/static-creds/app", Get, Verdict::Granted),
        ("pki", "database/static-creds/app2", Get, Verdict::Refused),
        ("pki", "pki/issue/shop-../../../other/data/db", Get, Verdict::Refused),
        ("closed", "sys/mounts", Get, Verdict::Refused),
        ("closed", "/sys//mounts", Get, Verdict::Refused),
        ("closed", "SYS/policies/acl/a", Post, Verdict::Refused),
        ("closed", "team/sys/mounts", Get, Verdict::Refused),
        ("closed", "auth/token/lookup-self", Get, Verdict::Refused),
        ("closed", "%73ys/mounts", Get, Verdict::Refused),
        ("closed", "pki/issue/web", Get, Verdict::Granted),
    ] {
        assert_eq!(
            some.judge(consumer(namespace), Wish::call(path, method)),
            expected,
            "{namespace} {path} {method:?}"
        );
    }
    assert_eq!(judge(&some, "engines", Some(&[]), ("shop/db", GrantOperation::Read)), Verdict::Refused);
    assert_eq!(some.judge_any(consumer("engines"), GrantOperation::Read), Verdict::Refused, "nothing to search");
    assert_eq!(some.search_paths(consumer("engines"), None), Vec::<String>::new());
    let text = refusal(consumer("shop"), Wish::call("pki/issue/web", Post));
    assert!(text.contains(r#"Write engine path "pki/issue/web""#) && text.contains("enginePaths"), "{text}");
}

#[test]
fn a_grant_of_nothing_is_refused() {
    let refused = grants(json!([{"namespaces": {"names": ["a"]}, "operations": ["Read"]}])).unwrap_err().to_string();
    assert!(refused.starts_with("spec.grants[0]: set keys or enginePaths"), "{refused}");
}
