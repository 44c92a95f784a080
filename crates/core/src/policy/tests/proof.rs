use super::*;

/// A policy with one thing wrong that only shows when it is compiled.
fn wrong(more: &Value) -> PolicySpec {
    PolicySpec::try_from(&World::with(more).object).expect("what takes time is not looked at by parsing")
}

#[test]
fn expressions_are_proven_apart_from_parsing() {
    let remote = |entries: Value| {
        let mut remote = json!({"storeRef": {"name": "vault"}});
        remote.as_object_mut().unwrap().extend(entries.as_object().unwrap().clone());
        json!({"source": {"remote": remote}})
    };
    let find = |name: &str, regexp: &str| {
        let rewrite = json!([{"regexp": {"source": regexp, "target": ""}}]);
        json!({"dataFrom": [{"extract": {"key": "k"}}, {"find": {"nameRegexp": name}, "rewrite": rewrite}]})
    };
    let jmes_path = json!({"data": [{"secretKey": "a", "remoteRef": {"key": "k", "jmesPath": "a["}}]});
    for (more, reason, begin) in [
        (
            json!({"target": {"template": {"data": {"url": "{{ .a"}}}}),
            Reason::TemplateError,
            "spec.target.template.data \"url\"",
        ),
        (remote(jmes_path), Reason::InvalidSpec, "spec.source.remote.data[a].remoteRef.jmesPath"),
        (remote(find("(", "x")), Reason::InvalidSpec, "spec.source.remote.dataFrom[1].find.nameRegexp"),
        (remote(find("x", "(")), Reason::InvalidSpec, "spec.source.remote.dataFrom[1].rewrite[0].regexp.source"),
    ] {
        let policy = wrong(&more);
        assert!(policy.has_expressions(), "{more}");
        let error = policy.prove(&Stop::default()).unwrap_err();
        assert_eq!(error.reason(), reason, "{more}: {error}");
        assert!(error.class() == Class::Spec && error.to_string().starts_with(begin), "{more}: {error}");
        let stop = Stop::default();
        stop.stop();
        assert_eq!(policy.prove(&stop), Err(crate::render::RenderError::Stopped.into()), "{more}");
    }
}

/// What the policy reads when each of its keys has this value, with the same keys found by each of its searches.
fn read(policy: &PolicySpec, value: &SecretBytes, found: usize) -> Fetched {
    let value = RemoteValue { bytes: value.clone(), version: String::new(), created: None };
    let Source::Remote(remote) = &policy.source else { return Fetched::default() };
    let requests = remote.reads().map(|(store, locator)| Request { store: store.clone(), locator: locator.clone() });
    let searches = remote.sets.iter().filter_map(|set| match &set.from {
        SetFrom::Find(search) => Some(Lookup { store: remote.store.clone(), search: search.clone() }),
        SetFrom::Extract(..) => None,
    });
    let keys: Vec<String> = (0..found).map(|number| format!("shop/{number}")).collect();
    Fetched {
        values: requests.map(|request| (request, value.clone())).collect(),
        found: searches.map(|search| (search, keys.clone())).collect(),
        ..Fetched::default()
    }
}

#[test]
fn what_reads_much_is_made_where_it_disturbs_nobody() {
    let take = |items: usize, reference: &Value| {
        let item = |number: usize| json!({"secretKey": format!("k{number}"), "remoteRef": reference});
        json!({"data": (0..items).map(item).collect::<Vec<Value>>()})
    };
    let path = ["a"; 31].join(".");
    let deep = json!({"key": "k", "property": path});
    let base64 = json!({"key": "k", "decoding": "Base64"});
    let sets = |set: Value, count: usize| json!({ "dataFrom": vec![set; count] });
    let extract = || json!({"extract": {"key": "k"}});
    let find = || json!({"find": {"path": "shop"}});
    let template = json!({"data": {"url": "{{ .a }}"}});
    for (mut remote, size, found, quick) in [
        (take(20, &json!({"key": "k", "property": "a"})), 4_000, 0, true),
        (take(5, &json!({"key": "k", "property": "a.b"})), 4_000, 0, true),
        (take(1, &json!({"key": "k"})), 60_000, 0, true),
        (take(1, &json!({"key": "k"})), 70_000, 0, false),
        (take(100, &deep), 4_000, 0, false),
        (take(1, &deep), 1_000, 0, true),
        (take(100, &base64), 4_000, 0, false),
        (sets(extract(), 1), 30_000, 0, true),
        (sets(extract(), 64), 4_000, 0, false),
        (sets(find(), 1), 0, 100, true),
        (sets(find(), 64), 0, 1_000, false),
    ] {
        remote["storeRef"] = json!({"name": "vault"});
        let mut world = World::with(&json!({"source": {"remote": remote.clone()}}));
        let fetched = read(&world.policy(), &SecretBytes::from("x".repeat(size)), found);
        assert_eq!(world.policy().is_quick(Some(&fetched)), quick, "{size} {found} {remote}");
        assert!(world.policy().is_quick(None), "nothing was read");
        world.object.spec.target = serde_json::from_value(json!({ "template": template })).unwrap();
        assert!(!world.policy().is_quick(None), "templates and expressions never are");
    }
}

#[test]
fn as_many_properties_of_one_large_value_are_taken_as_a_policy_may_have() {
    let items = (0..256).map(|number| {
        let property = format!("p{number}");
        json!({"secretKey": property, "remoteRef": {"key": "k", "property": property}})
    });
    let items: Vec<Value> = items.collect();
    let mut world = World::with(&json!({"source": {"remote": {"storeRef": {"name": "vault"}, "data": items}}}));
    world.value = (0..256).map(|number| (format!("p{number}"), json!("one"))).collect::<serde_json::Map<_, _>>().into();
    world.value["rest"] = json!("x".repeat(1_000_000));
    world.sync();
    assert_eq!((world.shown(), world.data.len()), (vec!["Ready=True/Synced".to_owned()], 256));
}

#[test]
fn what_only_copies_has_nothing_to_prove() {
    for source in [
        json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}, {"find": {"path": "p"}}]}}),
        json!({"generated": {"fields": [{"key": "password", "password": {}}]}}),
        json!({"existing": {}}),
    ] {
        let policy = wrong(&json!({"source": source}));
        assert!(!policy.has_expressions(), "{source}");
        assert_eq!(policy.prove(&Stop::default()), Ok(()));
    }
    let from = json!([{"as": "url", "configMapRef": {"name": "templates", "key": "url"}}]);
    let policy = wrong(&json!({"target": {"template": {"from": from}}}));
    assert!(policy.has_expressions(), "its template is elsewhere");
}
