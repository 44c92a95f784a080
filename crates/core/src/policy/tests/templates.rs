//! Which keys a Secret has beside the templated ones.

use super::*;

/// The keys of the Secret with this template, or why there is none.
fn keys(source: &Value, template: &Value) -> String {
    let mut world = World::with(&json!({"source": source, "target": {"template": template}}));
    let policy = match Policy::try_from(&world.object) {
        Ok(policy) => policy,
        Err(error) => return error.to_string(),
    };
    let templates = policy.template_refs.keys().map(|name| (name.clone(), "from".to_owned())).collect();
    let fetched = Fetched { templates, ..world.fetched() };
    world.sync_with(Some(&fetched)).unwrap();
    world.data.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_secret_has_what_was_read_beside_templates_where_the_policy_says_so() {
    let remote = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "shop/db"}}]}});
    let generated = json!({"generated": {"fields": [{"key": "password", "password": {}}]}});
    let from = json!([{"configMapRef": {"name": "app", "key": "conf"}, "as": "conf"}]);
    let (only, beside) = ("url", "password url username");
    for (source, template, expected) in [
        (&remote, json!({"data": {"url": "x"}}), only),
        (&remote, json!({"data": {"url": "x"}, "mergePolicy": "Replace"}), only),
        (&remote, json!({"data": {"url": "x"}, "mergePolicy": "Merge"}), beside),
        (&remote, json!({"data": {"url": "x"}, "include": "Replace"}), only),
        // What a stored object has is what its Secret goes by, also where its user never wrote it.
        (&remote, json!({"data": {"url": "x"}, "include": "Merge"}), beside),
        (&remote, json!({"data": {"url": "x"}, "include": "Merge", "mergePolicy": "Replace"}), only),
        (&remote, json!({ "from": from }), "conf"),
        (&remote, json!({"from": from, "mergePolicy": "Merge"}), "conf password username"),
        (&remote, json!({"metadata": {"labels": {"team": "shop"}}}), "password username"),
        (&generated, json!({"data": {"url": "x"}}), "password url"),
        (&generated, json!({"data": {"url": "x"}, "mergePolicy": "Merge"}), "password url"),
    ] {
        assert_eq!(keys(source, &template), expected, "{template}");
    }
    let both = keys(&remote, &json!({"data": {"url": "x"}, "include": "Replace", "mergePolicy": "Merge"}));
    assert!(both.starts_with("spec.target.template.include: remove it"), "{both}");
}

#[test]
fn an_answer_of_an_engine_is_replaced_by_its_templates() {
    let engine = json!({"vaultEngine": {"storeRef": {"name": "vault"}, "path": "pki/issue/web"}});
    for (template, replaces) in [
        (json!({"data": {"tls.crt": "x"}}), true),
        (json!({"data": {"tls.crt": "x"}, "include": "Merge"}), false),
        (json!({"metadata": {"labels": {"team": "shop"}}}), false),
    ] {
        let world = World::with(&json!({"source": engine, "target": {"template": template}}));
        assert_eq!(world.policy().replace, replaces, "{template}");
    }
}

#[test]
fn a_label_that_kubernetes_refuses_is_refused_by_its_name() {
    let at = |value: &str| {
        let template = json!({"metadata": {"labels": {"team": value}}});
        Policy::try_from(&World::with(&json!({"target": {"template": template}})).object).map(drop)
    };
    for good in ["", "a", "shop-1_b.c", &"a".repeat(63)] {
        assert_eq!(at(good), Ok(()), "{good}");
    }
    for bad in ["-a", "a-", "a b", "ü", &"a".repeat(64)] {
        let text = at(bad).unwrap_err().to_string();
        assert!(text.starts_with("spec.target.template.metadata.labels: the value of \"team\""), "{text}");
    }
}
