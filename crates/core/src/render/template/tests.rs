use super::*;

fn values() -> BTreeMap<String, SecretBytes> {
    [("username", "orders"), ("password", "p@ss/word"), ("api-key", "k")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), SecretBytes::from(value)))
        .collect()
}

fn seed() -> Seed {
    Seed::new(&DigestKey::new(SecretBytes::from("installation")), "shop", "db")
}

fn render(name: &str, source: &str, values: &BTreeMap<String, SecretBytes>) -> Result<SecretBytes, RenderError> {
    Renderer::new(values, &seed(), &Arc::default()).render(name, source)
}

fn run(source: &str) -> Result<String, RenderError> {
    render("url", source, &values()).map(|bytes| bytes.expose_text().unwrap_or_default().to_owned())
}

#[test]
fn templates_people_bring_with_them_render() {
    for (source, expected) in [
        (
            "postgres://{{ .username }}:{{ .password | urlquery }}@db/orders",
            "postgres://orders:p%40ss%2Fword@db/orders",
        ),
        (r#"{{ index . "api-key" }}"#, "k"),
        ("{{ .username | upper | quote }}", "\"ORDERS\""),
        ("{{ .password | b64enc }}", "cEBzcy93b3Jk"),
        ("{{ \"cEBzcw==\" | b64dec }}", "p@ss"),
        ("{{ .username | default \"x\" }}{{ \"\" | default \"x\" }}", "ordersx"),
        ("{{ . | toJson }}", r#"{"api-key":"k","password":"p@ss/word","username":"orders"}"#),
        ("{{ printf \"%s-%d\" .username 3 }}", "orders-3"),
        ("{{ trim \" a \" }}{{ lower \"A\" }}{{ replace \"a\" \"b\" \"aa\" }}", "aabb"),
    ] {
        assert_eq!(run(source), Ok(expected.to_owned()), "{source}");
    }
}

#[test]
fn a_missing_key_is_named_and_no_value_is_quoted() {
    let text = run("{{ .nope }}").map_err(|error| error.to_string()).err().unwrap_or_default();
    assert!(text.contains("nope"), "{text}");
    let text = run("{{ index .password 3 4 }}").map_err(|error| error.to_string()).err().unwrap_or_default();
    assert!(!text.contains("p@ss"), "{text}");
}

#[test]
fn what_is_not_there_is_not_published_as_text() {
    assert!(matches!(run(r#"{{ index . "api-kye" }}"#), Err(RenderError::TemplateFailed { .. })));
    let values = [("note".to_owned(), SecretBytes::from("<no value>"))].into();
    assert!(render("url", "{{ .note }}", &values).is_ok(), "the store may hold that text");
}

#[test]
fn functions_and_templates_that_are_not_there_are_named() {
    for (source, expected) in
        [("{{ .username | nothing }}", "no function \"nothing\""), ("{{ template \"x\" }}", "no template \"x\"")]
    {
        let text = run(source).map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn loops_and_bombs_end() {
    let bomb = "{{ define \"x\" }}aaaaaaaaaaaaaaaaaaaaaaaa{{ end }}{{ range $i := 9000 }}{{ range $j := 9000 }}{{ template \"x\" }}{{ end }}{{ end }}";
    assert!(matches!(run(bomb), Err(RenderError::TemplateFailed { .. })));
    let wide = format!("{{{{ range $i := 9999 }}}}{}{{{{ end }}}}", "a".repeat(1000));
    let text = run(&wide).map_err(|error| error.to_string()).err().unwrap_or_default();
    assert!(text.contains("1 MiB"), "{text}");
    assert!(run("{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}").is_err());
}

#[test]
fn syntax_errors_name_the_place() {
    let text = check("url", "{{ .a").map_err(|error| error.to_string()).err().unwrap_or_default();
    assert!(text.contains("\"url\"") && text.contains('1'), "{text}");
}
