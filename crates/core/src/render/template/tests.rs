mod control;
mod evaluate;
mod format;
mod lexer;

use super::*;

/// What Go makes of a template.
enum Go {
    /// These bytes.
    Gives(&'static [u8]),
    /// It refuses it before it runs.
    Parse,
    /// It refuses it while it runs.
    Run,
    /// It prints a text that says what is wrong, which we refuse.
    Worse,
}

fn values() -> BTreeMap<String, SecretBytes> {
    let binary: &[u8] = &[0, 0xff, 0x61, 0xc3, 0xbc, 0xe2, 0x80, 0x8b, 0x22];
    [("username", &b"orders"[..]), ("password", b"p@ss/word"), ("api-key", b"k"), ("empty", b""), ("binary", binary)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), SecretBytes::new(value.to_vec())))
        .collect()
}

fn seed() -> Seed {
    Seed::new(&DigestKey::new(SecretBytes::from("installation")), "shop", "db")
}

fn render(name: &str, source: &str, values: &BTreeMap<String, SecretBytes>) -> Result<SecretBytes, RenderError> {
    Renderer::new(values, &seed(), &Arc::default()).render(&Template::new(name, source))
}

fn run(source: &str) -> Result<String, String> {
    let result = render("t", source, &values()).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(result.expose()).into_owned())
}

fn refused(source: &str) -> String {
    run(source).err().unwrap_or_default()
}

#[test]
fn every_template_gives_what_go_gives() {
    let mut wrong = Vec::new();
    for (source, expected) in [lexer::CASES, control::CASES, evaluate::CASES, format::CASES].into_iter().flatten() {
        let (checked, result) = (check(&Template::new("t", source)), render("t", source, &values()));
        let is_right = match expected {
            Go::Gives(bytes) => checked.is_ok() && result.as_ref().is_ok_and(|given| given.expose() == *bytes),
            Go::Parse => checked.is_err(),
            Go::Run | Go::Worse => checked.is_ok() && result.is_err(),
        };
        if !is_right {
            let given = result.map(|given| String::from_utf8_lossy(given.expose()).into_owned());
            wrong.push(format!("{source:?}: {checked:?} {given:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_mistake_is_named_with_its_line_and_column() {
    for (source, expected) in [
        ("a\nb {{ .nope }}", "line 2, column 6: map has no entry for key \"nope\""),
        ("{{ .username | nothing }}", "line 1, column 16: there is no function \"nothing\""),
        ("ü{{ template \"x\" }}", "line 1, column 5: there is no template \"x\""),
        ("\n{{ if true }}", "line 2, column 4: this block has no {{ end }}"),
        ("x{{ end }}", "line 1, column 2: unexpected {{ end }}"),
        ("{{ .token-2 }}", "line 1, column 10: unexpected '-'"),
        ("{{ \"a\" | len | printf \"%s\" }}", "line 1, column 16: printf: %s does not fit an argument of type int"),
        ("{{ index . \"username\" 99 }}", "line 1, column 4: index: the position is outside of it"),
        ("{{ len 3 }}", "len: a int has no length"),
        ("{{ now }}", "line 1, column 4: there is no function \"now\": it would give something else each time"),
    ] {
        let text = refused(source);
        assert!(text.contains(expected), "{source}: {text}");
    }
}

#[test]
fn a_mistake_shows_no_value() {
    for source in [
        "{{ .password.x }}",
        "{{ index .password 99 }}",
        "{{ index . .password 1 2 }}",
        "{{ printf \"%d\" .password }}",
        "{{ printf .password 1 }}",
        "{{ printf \"%d\" 1 .password }}",
        "{{ fail .password }}",
        "{{ eq .password 1 }}",
        "{{ lt 1 .password }}",
        "{{ call .password }}",
        "{{ printf \"%*d\" .password 3 }}",
        "{{ template \"x\" .password }}",
        "{{ range $i, $x := len .password }}{{ end }}",
    ] {
        let text = refused(source);
        assert!(text.contains("line 1") && !text.contains("p@ss"), "{source}: {text}");
    }
}

#[test]
fn what_is_not_there_is_not_published_as_text() {
    let values = [("note".to_owned(), SecretBytes::from("<no value> %!d(string=x)"))].into();
    let given = render("t", "{{ .note }}{{ printf \"%s\" .note }}{{ index . \"nope\" }}", &values);
    let expected = "<no value> %!d(string=x)".repeat(2);
    assert_eq!(given, Ok(SecretBytes::from(expected)), "the store may hold that text; a missing text is empty");
}

#[test]
fn what_is_nested_or_repeated_without_end_ends() {
    let chain = format!("{{{{ if false }}}}{}x{{{{ end }}}}", "{{ else if true }}y{{ else if false }}".repeat(1_400));
    assert_eq!(run(&chain), Ok("y".to_owned()), "a chain is no nesting");
    for (source, expected) in [
        ("{{ if true }}".repeat(2_000), "nested more than 100 levels"),
        (format!("{{{{ {}1{} }}}}", "(".repeat(9_000), ")".repeat(9_000)), "nested more than 100 levels"),
        ("{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}".to_owned(), "calls itself must end"),
        ("{{ range 100000000 }}{{ end }}".to_owned(), "4,000,000 steps"),
        ("{{ range 9999 }}{{ range 9999 }}{{ end }}{{ end }}".to_owned(), "4,000,000 steps"),
        (format!("{{{{ range 9999 }}}}{}{{{{ end }}}}", "a".repeat(1000)), "1 MiB"),
        ("{{ $x := 1 }}".repeat(5_000), "20000 steps"),
        ("a".repeat(65 * 1024), "64 KiB"),
        ("{{ printf \"%1000000d%1000000d%1000000d\" 1 1 1 }}".to_owned(), "1 MiB"),
    ] {
        let text = refused(&source);
        assert!(text.contains(expected), "{}: {text}", &source[..source.len().min(80)]);
    }
}

/// Threads of the operator have a stack of 2 MiB.
#[test]
fn the_deepest_that_is_allowed_fits_the_stack() {
    let deep = |open: &str, inner: &str, close: &str, levels: usize| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    let parentheses = format!("{{{{ {} }}}}", deep("(print ", "\"x\"", ")", 49));
    let branches = deep("{{ if true }}", &parentheses, "{{ end }}", 50);
    let loops = deep("{{ range 1 }}", &parentheses, "{{ end }}", 50);
    let calls = "{{ define \"r\" }}{{ if lt (len .) 60 }}{{ template \"r\" (print . \"a\") }}{{ end }}{{ end }}{{ template \"r\" \"a\" }}x";
    let endless = "{{ define \"r\" }}{{ with 1 }}{{ range 1 }}{{ template \"r\" (print (print (print 1))) }}{{ end }}{{ end }}{{ end }}{{ template \"r\" }}";
    for (source, ends) in [(branches.as_str(), true), (loops.as_str(), true), (calls, true), (endless, false)] {
        let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let source = source.to_owned();
        let result = thread.spawn(move || run(&source)).map(std::thread::JoinHandle::join);
        let result = result.ok().and_then(Result::ok);
        assert_eq!(result.map(|result| result.is_ok()), Some(ends));
    }
}

#[test]
fn functions_and_templates_that_are_not_there_are_refused_before_a_run() {
    assert!(check(&Template::new("t", "{{ if false }}{{ nope }}{{ end }}")).is_err());
    assert!(check(&Template::new("t", "{{ define \"x\" }}{{ nope }}{{ end }}")).is_err());
    assert!(
        check(&Template::new("t", "{{ if false }}{{ template \"x\" }}{{ end }}")).is_ok(),
        "as in Go, it may never be called"
    );
}
