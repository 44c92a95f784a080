use super::*;

fn take(json: &str, name: &str) -> Result<String, RenderError> {
    let value = SecretBytes::from(json);
    let taken = Source::new(&value, "shop/db").property(name, &Work::default());
    taken.map(|value| value.expose_text().unwrap_or_default().to_owned())
}

#[test]
fn literal_key_goes_before_the_dotted_path() {
    let json = r#"{"a.b": "literal", "a": {"b": "path", "list": [1, {"x": true}]}, "n": 7}"#;
    for (name, expected) in
        [("a.b", "literal"), ("a.list.1.x", "true"), ("n", "7"), ("a", r#"{"b": "path", "list": [1, {"x": true}]}"#)]
    {
        assert_eq!(take(json, name), Ok(expected.to_owned()), "{name}");
    }
}

#[test]
fn numbers_keep_their_digits() {
    let json = r#"{"id": 12345678901234567890123, "a": {"price": 1.10}}"#;
    assert_eq!(take(json, "id"), Ok("12345678901234567890123".to_owned()));
    assert_eq!(take(json, "a.price"), Ok("1.10".to_owned()));
}

#[test]
fn what_is_missing_is_named_without_any_value() {
    let error = take(r#"{"other": "hunter2"}"#, "password").map_err(|error| error.to_string());
    let text = error.err().unwrap_or_default();
    assert!(text.contains("\"password\"") && text.contains("shop/db"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("other"), "{text}");
    for name in ["a.x", "a.0", "a.b.c", "s.t", "list.2", "list.x", "", "a..b", "none.x"] {
        let json = r#"{"a": {"b": "path"}, "s": "text", "list": [1, 2], "none": null}"#;
        assert!(matches!(take(json, name), Err(RenderError::PropertyNotFound { .. })), "{name}");
    }
}

#[test]
fn a_null_is_an_empty_value() {
    let json = r#"{"password": null, "a": {"b": null, "list": [null]}, "a.c": null}"#;
    for name in ["password", "a.b", "a.list.0", "a.c"] {
        assert_eq!(take(json, name), Ok(String::new()), "{name}");
    }
    let value = SecretBytes::from(json);
    for name in ["password", "a.b", "a.list[0]", "a.b || password", "(a.list[?@ == `2`] | [0]) || password"] {
        let part = Part::Expression(name.to_owned());
        let taken = part.take(&mut Source::new(&value, "k"), &Work::default());
        assert_eq!(taken, Ok(SecretBytes::from("")), "{name}");
    }
    // A computed null, or one of a lookup without a result, is no null of the store.
    for name in ["other", "a.b.c", "a.list[1]", "max_by(a.list, &@)", "password.x", "`null`"] {
        let part = Part::Expression(name.to_owned());
        let taken = part.take(&mut Source::new(&value, "k"), &Work::default());
        assert!(
            matches!(taken, Err(RenderError::PropertyNotFound { .. } | RenderError::ExpressionFailed { .. })),
            "{name}: {taken:?}"
        );
    }
}

#[test]
fn nested_values_are_the_text_of_the_store() {
    let json = "{\"o\": { \"b\" : 1.10,\n\t\"a\": [ 12345678901234567890, \"\\u00e9 &\" ] }, \"s\": \" x \"}";
    let nested = "{ \"b\" : 1.10,\n\t\"a\": [ 12345678901234567890, \"\\u00e9 &\" ] }";
    assert_eq!(take(json, "o"), Ok(nested.to_owned()));
    assert_eq!(take(json, "o.a"), Ok("[ 12345678901234567890, \"\\u00e9 &\" ]".to_owned()));
    assert_eq!(take(json, "s"), Ok(" x ".to_owned()));
    let value = SecretBytes::from(json);
    let all = extract(&value, "k", Decoding::None, &Rewrites::default(), &Work::default());
    assert_eq!(all.map(|all| all["o"].clone()), Ok(SecretBytes::from(nested)));
    for (expression, expected) in [("o", nested), ("o.a", "[ 12345678901234567890, \"\\u00e9 &\" ]"), ("@", json)] {
        let part = Part::Expression(expression.to_owned());
        let taken = part.take(&mut Source::new(&value, "k"), &Work::default());
        assert_eq!(taken, Ok(SecretBytes::from(expected)), "{expression}");
    }
}

/// A value whose members stand inside of each other.
fn nested(levels: usize, size: usize) -> SecretBytes {
    SecretBytes::from(format!("{}\"{}\"{}", r#"{"a":"#.repeat(levels), "x".repeat(size), "}".repeat(levels)))
}

fn spent(work: &Work) -> usize {
    usize::try_from(Resource::Parsed.limit()).unwrap_or_default() - work.left(Resource::Parsed)
}

#[test]
fn each_step_of_a_path_costs_what_it_reads() -> Result<(), RenderError> {
    let (value, work, path) = (nested(31, 50_000), Work::default(), ["a"; 31].join("."));
    Source::new(&value, "k").property(&path, &work)?;
    let passes = spent(&work) / 50_000;
    assert_eq!((passes, steps(&path)), (json::PASSES + 30 + 1, 30), "the whole, each step, and what is taken");
    assert_eq!(steps(&".".repeat(1_000)), json::MAX_DEPTH, "nothing is nested deeper");
    let mut source = Source::new(&value, "k");
    let ended = (0..256).find_map(|_| source.property(&path, &work).err());
    assert!(matches!(ended, Some(RenderError::TooMuchWork { .. })), "{ended:?}");
    Ok(())
}

#[test]
fn a_value_is_read_once_for_all_properties_that_are_wanted() -> Result<(), RenderError> {
    let members: Vec<String> = (0..256).map(|number| format!(r#""p{number}":"{}""#, "x".repeat(2_000))).collect();
    let value = SecretBytes::from(format!("{{{}}}", members.join(",")));
    let parts: Vec<Part> = (0..256).map(|number| Part::Property(format!("p{number}"))).collect();
    let (work, mut source) = (Work::default(), Source::new(&value, "k"));
    for part in &parts {
        source.want(part);
    }
    for part in &parts {
        assert_eq!(part.take(&mut source, &work)?.len(), 2_000);
    }
    assert!(spent(&work) <= (json::PASSES + 1) * value.len(), "{} of {}", spent(&work), value.len());
    Ok(())
}

#[test]
fn blanks_that_decode_to_nothing_cost_what_they_take() {
    let (value, work) = (SecretBytes::from(" ".repeat(1 << 20)), Work::default());
    let ended = (0..256).find_map(|_| decode(value.clone(), Decoding::Base64, "k", &work).err());
    assert!(matches!(ended, Some(RenderError::TooMuchWork { .. })), "{ended:?}");
}

#[test]
fn text_that_is_no_object_and_bombs_are_refused() {
    let bomb = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    for json in ["plain", "[1]", "\"x\"", bomb.as_str()] {
        assert!(matches!(take(json, "a"), Err(RenderError::NotJson { .. })), "{json}");
    }
}

#[test]
fn base64_is_decoded_with_line_breaks_and_refused_when_broken() {
    let decoded = decode(SecretBytes::from("aGVs\nbG8="), Decoding::Base64, "k", &Work::default());
    assert_eq!(decoded, Ok(SecretBytes::from("hello")));
    assert!(decode(SecretBytes::from("%%"), Decoding::Base64, "k", &Work::default()).is_err());
}

#[test]
fn extract_takes_every_property() -> Result<(), RenderError> {
    let value = SecretBytes::from(r#"{"user": "a", "port": 5432, "id": 12345678901234567890123, "tags": [ "x" ]}"#);
    let taken = extract(&value, "shop/db", Decoding::None, &Rewrites::default(), &Work::default())?;
    let expected: BTreeMap<String, SecretBytes> =
        [("user", "a"), ("port", "5432"), ("id", "12345678901234567890123"), ("tags", r#"[ "x" ]"#)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), SecretBytes::from(value)))
            .collect();
    assert_eq!(taken, expected);
    Ok(())
}

#[test]
fn extract_of_nothing_is_no_value() {
    let extract = |json: &str| {
        let value = SecretBytes::from(json);
        extract(&value, "shop/db", Decoding::Base64, &Rewrites::default(), &Work::default())
    };
    for json in ["{}", "{ }", r#"{"a": null}"#, r#"{"a": null, "b": null}"#, r#"{"a": 1, "a": null}"#] {
        assert_eq!(extract(json), Err(RenderError::EmptyAnswer { key: "shop/db".to_owned() }), "{json}");
    }
    let part = extract(r#"{"a": "eA==", "b": null, "c": ""}"#);
    let expected = [("a", "x"), ("b", ""), ("c", "")].map(|(name, value)| (name.to_owned(), value.into()));
    assert_eq!(part, Ok(expected.into()));
    assert!(extract(r#"{"c": ""}"#).is_ok(), "an empty text is a value");
}

#[test]
fn extract_decodes_and_names_what_it_cannot() {
    let value = SecretBytes::from(r#"{"good": "aGk=", "bad": "%hunter2%"}"#);
    let error = extract(&value, "shop/db", Decoding::Base64, &Rewrites::default(), &Work::default()).err();
    assert_eq!(error, Some(RenderError::NotBase64 { secret_key: "bad".to_owned() }));
    let value = SecretBytes::from(r#"{"a key": "hunter2"}"#);
    let error = extract(&value, "shop/db", Decoding::None, &Rewrites::default(), &Work::default()).err();
    assert_eq!(error, Some(RenderError::InvalidKey { key: "a key".to_owned() }));
}

#[test]
fn a_reference_is_parsed_at_the_door() {
    let parse = |property: Option<&str>, jmes_path: Option<&str>| {
        let reference = RemoteRef {
            key: "k".to_owned(),
            property: property.map(str::to_owned),
            jmes_path: jmes_path.map(str::to_owned),
            ..RemoteRef::default()
        };
        let part = Part::parse(&reference, "remoteRef").and_then(|part| part.prove("remoteRef").map(|()| part));
        part.map_err(|error| error.to_string())
    };
    assert_eq!(parse(None, None), Ok(Part::Whole));
    assert_eq!(parse(Some("a"), None), Ok(Part::Property("a".to_owned())));
    assert!(parse(Some("a"), Some("b")).is_err());
    let text = parse(None, Some("a[")).err().unwrap_or_default();
    assert!(text.starts_with("remoteRef.jmesPath: "), "{text}");
    let value = SecretBytes::from(r#"{"a": {"b": "x"}}"#);
    for part in [parse(None, Some("a.b")), parse(Some("a.b"), None)] {
        let taken = part.map(|part| part.take(&mut Source::new(&value, "k"), &Work::default()));
        assert_eq!(taken, Ok(Ok(SecretBytes::from("x"))));
    }
}
