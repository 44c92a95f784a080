use super::*;

/// A policy with one thing wrong that only shows when it is compiled.
fn wrong(more: &Value) -> Policy {
    Policy::try_from(&World::with(more).object).expect("what takes time is not looked at by parsing")
}

#[test]
fn expressions_are_proven_apart_from_parsing() {
    let remote = |entries: Value| {
        let mut remote = json!({"storeRef": {"name": "vault"}});
        remote.as_object_mut().unwrap().extend(entries.as_object().unwrap().clone());
        json!({"source": {"remote": remote}})
    };
    let find = |name: &str, regexp: &str| {
        let rewrite = json!([{"regexp": regexp, "replacement": ""}]);
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
        (remote(find("x", "(")), Reason::InvalidSpec, "spec.source.remote.dataFrom[1].rewrite.regexp"),
    ] {
        let policy = wrong(&more);
        assert!(policy.has_expressions(), "{more}");
        let error = policy.prove(&Stop::default()).unwrap_err();
        assert_eq!(error.reason(), reason, "{more}: {error}");
        assert!(error.is_final() && error.to_string().starts_with(begin), "{more}: {error}");
        let stop = Stop::default();
        stop.stop();
        assert_eq!(policy.prove(&stop), Err(crate::render::RenderError::Stopped.into()), "{more}");
    }
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
