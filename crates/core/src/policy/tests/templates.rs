//! Which keys a Secret has beside the templated ones.

use super::*;

/// The keys of the Secret with this template, or why there is none.
fn keys(source: &Value, template: &Value) -> String {
    let mut world = World::with(&json!({"source": source, "target": {"template": template}}));
    let policy = match PolicySpec::try_from(&world.object) {
        Ok(policy) => policy,
        Err(error) => return error.to_string(),
    };
    let templates = policy.template_refs().into_iter().map(|at| (at, SecretBytes::from("from"))).collect();
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
        // What a stored object has decides about its Secret, also where its user never wrote it.
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
        PolicySpec::try_from(&World::with(&json!({"target": {"template": template}})).object).map(drop)
    };
    for good in ["", "a", "shop-1_b.c", &"a".repeat(63)] {
        assert_eq!(at(good), Ok(()), "{good}");
    }
    for bad in ["-a", "a-", "a b", "ü", &"a".repeat(64)] {
        let text = at(bad).unwrap_err().to_string();
        assert!(text.starts_with("spec.target.template.metadata.labels: the value of \"team\""), "{text}");
    }
}

/// What the templates of other objects are.
const TEXTS: [(TemplateKind, &str, &str); 4] = [
    (TemplateKind::ConfigMap, "conf", "from {{ .username }}"),
    (TemplateKind::Secret, "good", "secret {{ .username }}"),
    (TemplateKind::Secret, "bad", "hunter2 {{ .hunter2 }}"),
    (TemplateKind::Secret, "names", "hunter2//: x"),
];

fn sync(world: &mut World) -> Result<Plan, String> {
    let read = |(kind, key, text): (TemplateKind, &str, &str)| {
        let at = TemplateRef { kind, name: "app".to_owned(), key: key.to_owned() };
        (at, SecretBytes::from(text))
    };
    PolicySpec::try_from(&world.object)
        .map_err(|error| error.to_string())?
        .prove(&Stop::default())
        .map_err(|error| error.to_string())?;
    let fetched = Fetched { templates: TEXTS.map(read).into(), ..world.fetched() };
    world.now += TimeDelta::seconds(1);
    world.sync_with(Some(&fetched)).map_err(|error| error.to_string())
}

/// Data, labels and annotations of the Secret with this template: those that are not always there.
fn made(source: Option<&Value>, template: &Value) -> Result<String, String> {
    let mut spec = json!({"target": {"template": template}});
    if let Some(source) = source {
        spec["source"] = source.clone();
    }
    let plan = sync(&mut World::with(&spec))?;
    let Some(Step::Apply(desired)) = plan.steps.first() else { panic!("{plan:?}") };
    let data = text(&desired.data).into_iter().map(|(name, value)| format!("{name}={value}"));
    let ours = |(name, _): &(&String, &String)| name.as_str() != names::MANAGED_BY && !name.starts_with("rekey.dev/");
    let tags = |kind: &'static str, tags: &BTreeMap<String, String>| {
        tags.iter().filter(ours).map(|(name, value)| format!("{kind}:{name}={value}")).collect::<Vec<_>>()
    };
    let all = data.chain(tags("l", &desired.labels)).chain(tags("a", &desired.annotations));
    Ok(all.collect::<Vec<_>>().join(" "))
}

fn table(cases: &[(Value, Result<&str, &str>)]) {
    for (template, expected) in cases {
        match (made(None, template), expected) {
            (Ok(given), Ok(expected)) => assert_eq!(given, *expected, "{template}"),
            (Err(said), Err(part)) => {
                assert!(said.contains(part) && !said.contains("hunter2"), "{template}: {said}");
            }
            (given, _) => panic!("{template}: {given:?}"),
        }
    }
}

#[test]
fn an_entry_yields_a_value_or_keys_and_values() {
    let from = |entries: Value| json!({ "from": entries });
    let all = json!({"literal": "{{ range $k, $v := . }}X_{{ $k }}: {{ $v }}\n{{ end }}", "yields": "KeysAndValues"});
    let (conf, good, bad) = (
        json!({"configMapRef": {"name": "app", "key": "conf"}, "as": "a"}),
        json!({"secretRef": {"name": "app", "key": "good"}, "as": "b"}),
        json!({"secretRef": {"name": "app", "key": "bad"}, "as": "b"}),
    );
    let literal = |text: &str| json!({"literal": text, "yields": "KeysAndValues"});
    let names =
        |into: &str| json!({"secretRef": {"name": "app", "key": "names"}, "yields": "KeysAndValues", "into": into});
    table(&[
        (from(json!([{"literal": "hi {{ .username }}", "as": "a"}])), Ok("a=hi orders")),
        (from(json!([all])), Ok("X_password=one X_username=orders")),
        (from(json!([conf, good])), Ok("a=from orders b=secret orders")),
        // In their order, and data over them.
        (from(json!([literal("a: 1\nb: 2"), literal("b: 3\nc: 4")])), Ok("a=1 b=3 c=4")),
        (json!({"data": {"a": "data"}, "from": [literal("a: 1\nb: 2"), conf]}), Ok("a=data b=2")),
        (json!({"mergePolicy": "Merge", "from": [literal("username: x")]}), Ok("password=one username=x")),
        (from(json!([literal("")])), Ok("")),
        (from(json!([literal("- a")])), Err("spec.target.template.from[0]: line 1, column 1 of its output is not")),
        (from(json!([literal("a/b: c")])), Err(r#""a/b" cannot be a key"#)),
        (from(json!([conf, literal("{{ .nope }}")])), Err("spec.target.template.from[1]: line 1, column 4")),
        (from(json!([literal("{{ .nope ")])), Err("spec.target.template.from[0]: line 1")),
        // Nothing of what is in a Secret.
        (from(json!([names("Data")])), Err("spec.target.template.from[0]: a name that it makes cannot be used")),
        (from(json!([names("Labels")])), Err("spec.target.template.from[0]: a name that it makes cannot be used")),
        (from(json!([bad])), Err("spec.target.template.from[0]: line 1, column 12: the template does not work")),
    ]);
    let generated = json!({"generated": {"fields": [{"key": "password", "password": {}}]}});
    let said = made(Some(&generated), &from(json!([literal("password: x")]))).unwrap_err();
    assert!(said.contains("\"password\" is a generated key"), "{said}");
}

fn metadata(metadata: &Value) -> Value {
    json!({ "metadata": metadata })
}

fn into(text: &str, into: &str) -> Value {
    json!({"literal": text, "yields": "KeysAndValues", "into": into})
}

#[test]
fn templates_make_labels_and_annotations() {
    let read = "password=one username=orders";
    let argo = "argocd.argoproj.io/secret-type";
    let with = |tags: &str| format!("{read} {tags}");
    table(&[
        (
            metadata(
                &json!({"labels": {"owner": "{{ .username }}", "team": "shop"}, "annotations": {"n": "{{ .username }} !"}}),
            ),
            Ok(&with("l:owner=orders l:team=shop a:n=orders !")),
        ),
        (
            json!({"from": [into("a: {{ .username }}", "Labels"), into("b/c: d e", "Annotations")]}),
            Ok(&with("l:a=orders a:b/c=d e")),
        ),
        (
            json!({"from": [{"literal": "{{ .username }}", "as": "a.b/c", "into": "Labels"}]}),
            Ok(&with("l:a.b/c=orders")),
        ),
        // What is written on purpose may steer other tools.
        (
            json!({"from": [{"literal": "repository", "as": argo, "into": "Labels"}]}),
            Ok(&with("l:argocd.argoproj.io/secret-type=repository")),
        ),
        // What metadata says counts, whether it is a template or not.
        (
            json!({"metadata": {"labels": {"a": "fixed", "b": "{{ .username }}"}}, "from": [into("a: x\nb: y\nc: z", "Labels")]}),
            Ok(&with("l:a=fixed l:b=orders l:c=z")),
        ),
        (metadata(&json!({"labels": {argo: "repository"}})), Ok(&with("l:argocd.argoproj.io/secret-type=repository"))),
    ]);
}

#[test]
fn labels_and_annotations_that_a_secret_cannot_have_are_named() {
    let long = "x".repeat(64);
    let many = (0..65).map(|at| format!("k{at}: v\n")).collect::<Vec<_>>().concat();
    table(&[
        (
            metadata(&json!({"labels": {"a": "{{ .username }} x"}})),
            Err(r#"spec.target.template.metadata.labels "a": the value of "a" has at most 63"#),
        ),
        (
            metadata(&json!({"labels": {"a": format!("{{{{ print \"{long}\" }}}}")}})),
            Err("the value of \"a\" has at most 63"),
        ),
        (
            metadata(&json!({"labels": {"a b": "x"}})),
            Err("spec.target.template.metadata.labels: \"a b\" cannot be the name"),
        ),
        (
            metadata(&json!({"labels": {"a": "{{ .nope }}"}})),
            Err("spec.target.template.metadata.labels \"a\": line 1, column 4"),
        ),
        (
            json!({"from": [into("rekey.dev/policy: x", "Annotations")]}),
            Err(r#"spec.target.template.from[0]: "rekey.dev/policy" belongs to other software"#),
        ),
        (json!({"from": [into("rekey.dev/usable-by: x", "Annotations")]}), Err("belongs to other software")),
        (json!({"from": [into("argocd.argoproj.io/secret-type: x", "Labels")]}), Err("steers other tools")),
        (json!({"from": [into("app.kubernetes.io/managed-by: x", "Labels")]}), Err("is set by Rekey")),
        (json!({"from": [into("Upper.com/a: x", "Labels")]}), Err("cannot be the name")),
        (json!({"from": [into(&many, "Labels")]}), Err("more than 64")),
        (
            json!({"metadata": {"labels": {"fixed": "x"}}, "from": [into(&many[..many.len() - 7], "Labels")]}),
            Err("more than 64 labels"),
        ),
        (
            json!({"from": [{"literal": "x", "as": "rekey.dev/a", "into": "Labels"}]}),
            Err("spec.target.template.from: \"rekey.dev/a\" belongs"),
        ),
    ]);
}

#[test]
fn a_name_that_is_made_of_a_value_is_not_quoted_when_it_is_refused() {
    let hidden = "spec.target.template.from[0]: a name that it makes cannot be used";
    let owner = |text: &str| text.replace("{}", "{{ .password }}");
    for (text, place) in [
        ("{}/{}/x: y", "Data"),
        ("{}/{}/x: y", "Labels"),
        ("rekey.dev/{}: y", "Annotations"),
        ("argocd.argoproj.io/{}: y", "Labels"),
    ] {
        let said = made(None, &json!({"from": [into(&owner(text), place)]})).unwrap_err();
        assert!(said.contains(hidden) && !said.contains("one/") && !said.contains("\"one"), "{text}: {said}");
    }
    let value = "the value of a name that it makes has at most 63";
    let said = made(None, &json!({"from": [into(&owner("{}: a b"), "Labels")]})).unwrap_err();
    assert!(said.contains(value) && !said.contains("\"one"), "{said}");
    let many = "{{ range $i := until 70 }}{{ $.password }}{{ $i }}: v\n{{ end }}";
    let said = made(None, &json!({"from": [into(many, "Labels")]})).unwrap_err();
    assert!(said.contains("more than 64 are made"), "{said}");
    // What the text of the template has is known already.
    let said = made(None, &json!({"from": [into("a/b/c: {{ .password }}", "Labels")]})).unwrap_err();
    assert!(said.contains("\"a/b/c\" cannot be the name"), "{said}");
}

#[test]
fn labels_that_follow_a_value_are_written_with_it_and_not_again() {
    let mut world =
        World::with(&json!({"target": {"template": {"metadata": {"labels": {"owner": "{{ .username }}"}}}}}));
    let labels = |plan: &Plan| match plan.steps.first() {
        Some(Step::Apply(desired)) => desired.labels.get("owner").cloned(),
        Some(_) | None => None,
    };
    let plan = sync(&mut world).unwrap();
    assert_eq!(labels(&plan).as_deref(), Some("orders"));
    let (mark, revision) = (world.published().changes.tags.clone(), world.published().revision.clone());
    assert!(mark.is_some());
    assert_eq!(writes(&sync(&mut world).unwrap()), 0, "nothing has changed");
    world.object.spec.target.template =
        serde_json::from_value(json!({"metadata": {"labels": {"owner": "x-{{ .username }}"}}})).unwrap();
    let plan = sync(&mut world).unwrap();
    assert_eq!(labels(&plan).as_deref(), Some("x-orders"));
    assert_eq!(world.published().revision, revision, "the data is the same");
    assert_ne!(world.published().changes.tags, mark);
    world.object.spec.target.template = None;
    if let SeenSecret::Ours { dressed, .. } = &mut world.secret {
        *dressed = false; // the label is still there
    }
    assert_eq!(labels(&sync(&mut world).unwrap()), None);
    assert_eq!(world.published().changes.tags, None);
}
