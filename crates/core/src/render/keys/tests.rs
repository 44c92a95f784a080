use proptest::prelude::*;

use rekey_api::policy::RegexpRewrite;
use serde_json::json;

use super::*;

fn rewrites(pairs: &[(&str, &str)]) -> Result<Rewrites, String> {
    converting(pairs, KeyConversion::None)
}

fn converting(pairs: &[(&str, &str)], conversion: KeyConversion) -> Result<Rewrites, String> {
    let regexp = |source: &str, target: &str| RegexpRewrite { source: source.to_owned(), target: target.to_owned() };
    let pairs: Vec<Rewrite> = pairs
        .iter()
        .map(|(source, target)| Rewrite { regexp: Some(regexp(source, target)), ..Rewrite::default() })
        .collect();
    let rewrites = Rewrites::parse("dataFrom.rewrite", &pairs, conversion).map_err(|error| error.to_string())?;
    rewrites.prove(&Work::default()).map_err(|error| error.to_string())?;
    Ok(rewrites)
}

fn values(names: &[&str]) -> BTreeMap<String, SecretBytes> {
    names.iter().map(|name| ((*name).to_owned(), SecretBytes::from(*name))).collect()
}

/// The keys, each with the name its value had.
fn listed(result: Result<BTreeMap<String, SecretBytes>, RenderError>) -> Result<String, String> {
    let pair = |(key, value): (&String, &SecretBytes)| format!("{key}={}", value.expose_text().unwrap_or_default());
    result.map(|named| named.iter().map(pair).collect::<Vec<_>>().join(" ")).map_err(|error| error.to_string())
}

#[test]
fn keys_are_rewritten_in_order() -> Result<(), String> {
    for (pairs, names, expected) in [
        (vec![], vec!["a", "b"], "a=a b=b"),
        (vec![("^shop/(.*)$", "$1")], vec!["shop/user", "pass"], "pass=pass user=shop/user"),
        (vec![("^(.)", "x-${1}_"), ("_", ".")], vec!["ab"], "x-a.b=ab"),
        (vec![("(?P<first>.)(?P<rest>.*)", "$rest$first")], vec!["abc"], "bca=abc"),
        (vec![("o", "0")], vec!["foo"], "f00=foo"),
        // As Go reads them: digits and words of ASCII, marks that stand for themselves, names of groups.
        (vec![(r"\d", "0"), ("٥", "n")], vec!["5٥x"], "0nx=5٥x"),
        (vec![(r"[a&&b]", "x")], vec!["a&bc"], "xxxc=a&bc"),
        (vec![(r"(?P<1x>a)", "-${1x}-$$"), (r"\$$", "x")], vec!["a"], "-a-x=a"),
        (vec![(r"(?P<n>a)b{,2}", "$n.$m${n}")], vec!["ab{,2}"], "a.a=ab{,2}"),
    ] {
        assert_eq!(
            listed(rewrites(&pairs)?.apply(values(&names), &Work::default())),
            Ok(expected.to_owned()),
            "{pairs:?}"
        );
    }
    Ok(())
}

#[test]
fn what_cannot_be_a_key_is_named() -> Result<(), String> {
    for (pairs, names, expected) in [
        (vec![("^shop/", "")], vec!["shop/a", "a"], vec!["\"a\"", "\"shop/a\""]),
        (vec![("^a$", "")], vec!["a"], vec!["\"\" cannot be a key"]),
        (vec![("a", "a/b")], vec!["a"], vec!["\"a/b\" cannot be a key"]),
        (vec![("", "aaaaaaaaaa"); 16], vec!["a"], vec!["\"a after its rewrites\""]),
    ] {
        let text = listed(rewrites(&pairs)?.apply(values(&names), &Work::default())).err().unwrap_or_default();
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    }
    Ok(())
}

#[test]
fn a_broken_expression_is_refused_with_its_field() {
    let text = rewrites(&[("(", "")]).err().unwrap_or_default();
    assert!(text.starts_with("dataFrom.rewrite[0].regexp.source: \"(\""), "{text}");
    let text = rewrites(&[("(a{1000}){1000}", "")]).err().unwrap_or_default();
    assert!(text.contains("more than 256 KiB of memory"), "{text}");
    for (source, part) in [
        ("(?=a)", "look-around"),
        ("a++", "Go does not accept it, see https://pkg.go.dev/regexp/syntax"),
        (r"\p{Nothing}", "Go does not accept it"),
        (&format!("(?i){}", r"[\x{0}-\x{10ffff}]".repeat(8)), "classes of characters are too large"),
        (&r"\pL".repeat(300), "more than 64 classes"),
    ] {
        let text = rewrites(&[(source, "")]).err().unwrap_or_default();
        assert!(text.contains("is no regular expression: ") && text.contains(part), "{source}: {text}");
    }
}

#[test]
fn many_large_expressions_are_too_much_for_one_policy() -> Result<(), String> {
    let large = rewrites(&[(r"(?i)[\x{0}-\x{10ffff}]", "")])?;
    let slow = usize::try_from(Resource::Slow.limit()).unwrap();
    for (spent, refused) in [(0, false), (slow - 20_000, false), (slow - 7_000, true)] {
        let work = || {
            let work = Work::default();
            work.spend(Resource::Slow, spent).map(|()| work)
        };
        let text = large.prove(&work().unwrap()).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(text.contains("also those of find and rewrite"), refused, "{spent}: {text}");
        let used = listed(large.apply(values(&["a"]), &work().unwrap())).err().unwrap_or_default();
        assert_eq!(used.contains("also those of find and rewrite"), refused, "{spent}: {used}");
    }
    Ok(())
}

#[test]
fn converted_keys_fit_a_secret() -> Result<(), String> {
    use KeyConversion::{Underscore, Unicode};
    let names = ["shop/api-a", "shop/b:1", "ü", "😀", "_U002f_"];
    for (pairs, conversion, names, expected) in [
        (vec![], Underscore, &names[..3], "_=ü shop_api-a=shop/api-a shop_b_1=shop/b:1"),
        (
            vec![],
            Unicode,
            &names,
            "_U002f_=_U002f_ _U00fc_=ü _U1f600_=😀 shop_U002f_api-a=shop/api-a shop_U002f_b_U003a_1=shop/b:1",
        ),
        (vec![("^.*/", "")], Underscore, &names[..1], "api-a=shop/api-a"),
        (vec![("-", "/")], Unicode, &names[..1], "shop_U002f_api_U002f_a=shop/api-a"),
    ] {
        let found = converting(&pairs, conversion)?.apply(values(names), &Work::default());
        assert_eq!(listed(found), Ok(expected.to_owned()), "{pairs:?} {conversion:?}");
    }
    let clash = converting(&[], Underscore)?.apply(values(&["a/b", "a:b"]), &Work::default());
    let text = listed(clash).err().unwrap_or_default();
    assert!(text.contains("\"a/b\"") && text.contains("\"a:b\"") && text.contains("\"a_b\""), "{text}");
    Ok(())
}

proptest! {
    #[test]
    fn no_rewrite_leads_to_an_invalid_key(
        names in prop::collection::btree_set("\\PC{0,20}", 0..4),
        pattern in "[a-z.^$*()|]{0,6}",
        replacement in "[a-z/$0-9{}]{0,6}",
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for conversion in [KeyConversion::None, KeyConversion::Underscore, KeyConversion::Unicode] {
            let Ok(rewrites) = converting(&[(&pattern, &replacement)], conversion) else { continue };
            if let Ok(named) = rewrites.apply(values(&names), &Work::default()) {
                prop_assert_eq!(named.len(), names.len());
                prop_assert!(named.keys().all(|key| kinds::valid_key(key)));
            }
        }
    }
}

fn rewritten(steps: &serde_json::Value, found: &[(&str, &str)]) -> Result<String, String> {
    let steps: Vec<Rewrite> = serde_json::from_value(steps.clone()).unwrap();
    let rewrites = Rewrites::parse("rewrite", &steps, KeyConversion::None).map_err(|error| error.to_string())?;
    rewrites.prove(&Work::default()).map_err(|error| error.to_string())?;
    let values = found.iter().map(|(name, value)| ((*name).to_owned(), SecretBytes::from(*value))).collect();
    listed(rewrites.apply(values, &Work::default()))
}

/// Rewrites, what they are applied to, and what that gives.
type Case<'a> = (serde_json::Value, &'a [(&'a str, &'a str)], Result<&'a str, &'a str>);

/// Compares; of what is refused, whether the message has this part.
fn table(cases: &[Case<'_>]) {
    for (steps, found, expected) in cases {
        match (rewritten(steps, found), expected) {
            (Ok(given), Ok(expected)) => assert_eq!(given, *expected, "{steps}"),
            (Err(said), Err(part)) => assert!(said.contains(part), "{steps}: {said}"),
            (given, _) => panic!("{steps}: {given:?}"),
        }
    }
}

#[test]
fn a_template_makes_the_new_name() {
    let transform = |template: &str| json!({"transform": {"template": template}});
    let regexp = json!({"regexp": {"source": "my/(.*?)/bar/(.*)", "target": "$1-$2"}});
    let upper = transform(r#"{{ printf "U_%s" .value }}"#);
    table(&[
        (json!([regexp, upper]), &[("my/app/bar/key", "bar")], Ok("U_app-key=bar")),
        (json!([upper]), &[("a-b", "1"), ("c", "2")], Ok("U_a-b=1 U_c=2")),
        (json!([transform("{{ .value }}.txt"), upper]), &[("a", "1")], Ok("U_a.txt=1")),
        (json!([transform("same")]), &[("a", "1"), ("b", "2")], Err(r#""a" and "b" would both become the key "same""#)),
        (json!([transform("{{ .value }}/x")]), &[("a", "1")], Err(r#""a/x" cannot be a key"#)),
        (json!([transform("{{ .key }}")]), &[("a", "1")], Err("rewrite[0].transform.template for \"a\": line 1")),
        (json!([upper, transform("{{ .value ")]), &[("a", "1")], Err("rewrite[1].transform.template: line 1")),
        (json!([transform(r#"{{ printf "%5000s" .value }}"#)]), &[("a", "1")], Err("\"a after its rewrites\"")),
    ]);
}

#[test]
fn a_template_that_makes_names_costs_as_any_other() {
    let steps = [Rewrite {
        transform: Some(rekey_api::policy::TransformRewrite { template: "{{ bcrypt .value }}".to_owned() }),
        ..Rewrite::default()
    }];
    let rewrites = Rewrites::parse("rewrite", &steps, KeyConversion::Underscore).unwrap();
    let names: Vec<String> = (0..100).map(|at| at.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = listed(rewrites.apply(values(&names), &Work::default())).err().unwrap_or_default();
    assert!(text.contains("slow functions too often"), "{text}");
}

fn merge(more: &serde_json::Value) -> serde_json::Value {
    json!([{ "merge": more }])
}

#[test]
fn values_become_one_object_as_in_external_secrets() {
    let (mongo, redis) = (
        ("mongo", r#"{"username": "foz", "password": "baz"}"#),
        ("redis", r#"{"host": "redis.example.com", "port": "6379"}"#),
    );
    let other = ("other", r#"{"key": "value", "host": "other.example.com"}"#);
    let (one, two) =
        (("a", r#"{"host": "dba", "pass": "yola", "port": 123}"#), ("b", r#"{"host": "dbb", "pass": "yolb"}"#));
    let ignore = |more: serde_json::Value| {
        let mut all = json!({"conflictPolicy": "Ignore"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let all = "host=redis.example.com password=baz port=6379 username=foz";
    let absent = json!(["absent", "mongo"]);
    let twice = json!([
        {"merge": ignore(json!({"strategy": "JSON", "into": "merged", "priority": ["a"]}))},
        {"merge": ignore(json!({"priority": ["b"]}))},
    ]);
    let named = json!([
        {"regexp": {"source": "db/(.*)", "target": "$1"}},
        {"merge": ignore(json!({"strategy": "JSON", "into": "merged", "priority": ["a"]}))},
    ]);
    let (host_a, host_b) = (("db/a", r#"{"host": "dba"}"#), ("db/b", r#"{"host": "dbb", "pass": "yolo"}"#));
    table(&[
        (merge(&json!({})), &[mongo, redis], Ok(all)),
        (
            merge(&ignore(json!({"priority": ["mongo", "redis"]}))),
            &[redis, mongo, other],
            Ok("host=redis.example.com key=value password=baz port=6379 username=foz"),
        ),
        (
            merge(&ignore(json!({ "priority": absent }))),
            &[mongo, redis],
            Err(r#"rewrite[0].merge: "absent" of priority"#),
        ),
        (merge(&json!({"priority": absent, "priorityPolicy": "IgnoreNotFound"})), &[mongo, redis], Ok(all)),
        (
            merge(&json!({"conflictPolicy": "Error"})),
            &[redis, other],
            Err(r#""other" and "redis" both have the member "host""#),
        ),
        (
            merge(&json!({"strategy": "JSON", "into": "all"})),
            &[("a", r#"{"u": "x"}"#), ("b", r#"{"p": "y"}"#)],
            Ok(r#"a={"u": "x"} all={"p":"y","u":"x"} b={"p": "y"}"#),
        ),
        (merge(&json!({"strategy": "JSON"})), &[mongo], Err("rewrite[0].merge.into: name the key")),
        (merge(&json!({})), &[("a", r#"{"username": "foz""#)], Err(r#"the value of "a" is not a JSON object"#)),
        (merge(&json!({})), &[("a", "[1]")], Err(r#"the value of "a" is not a JSON object"#)),
        (twice, &[one, two], Ok("host=dbb pass=yolb port=123")),
        (
            named,
            &[host_a, host_b],
            Ok(r#"a={"host": "dba"} b={"host": "dbb", "pass": "yolo"} merged={"host":"dba","pass":"yolo"}"#),
        ),
    ]);
}

#[test]
fn what_external_secrets_rounds_or_sorts_stays_as_it_is() {
    table(&[
        (
            merge(&json!({"strategy": "JSON", "into": "a"})),
            &[("a", r#"{"id": 12345678901234567890123, "p": 1.10, "n": null, "l": [ 1 ]}"#)],
            Ok(r#"a={"id":12345678901234567890123,"l":[ 1 ],"n":null,"p":1.10}"#),
        ),
        (merge(&json!({})), &[("a", r#"{"p": 1.10, "n": null}"#), ("b", "null")], Ok("n= p=1.10")),
        (merge(&json!({})), &[("a", r#"{"x/y": "1"}"#)], Err(r#""x/y" cannot be a key"#)),
    ]);
}

#[test]
fn merges_do_not_grow_without_end() {
    let merges: Vec<serde_json::Value> = (0..16)
        .map(|at| json!({"merge": {"strategy": "JSON", "into": format!("k{at}"), "conflictPolicy": "Ignore"}}))
        .collect();
    let big = format!(r#"{{"a": "{}"}}"#, "x".repeat(200_000));
    let text = rewritten(&json!(merges), &[("k", &big)]).err().unwrap_or_default();
    assert!(text.contains("1048576 (1 MiB)"), "{text}");
}
