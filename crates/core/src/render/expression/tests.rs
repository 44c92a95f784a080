use super::*;

fn run(json: &str, expression: &str) -> Result<String, String> {
    let expression = Expression::parse(expression)?;
    let result = expression.evaluate(&SecretBytes::from(json), "shop/db").map_err(|error| error.to_string())?;
    Ok(result.expose_text().unwrap_or_default().to_owned())
}

const USERS: &str = r#"{
    "users": [{"name": "a", "password": "pa", "id": 12345678901234567890123}, {"name": "b", "password": "pb", "id": 2}],
    "price": 1.10, "port": 5432, "hosts": ["x", "y"], "nothing": null, "a-b": true
}"#;

#[test]
fn expressions_people_write_give_what_they_expect() {
    for (expression, expected) in [
        ("users[0].name", "a"),
        ("users[?name=='b'].password | [0]", "pb"),
        ("users[-1].id", "2"),
        ("port", "5432"),
        ("\"a-b\"", "true"),
        ("hosts", r#"["x", "y"]"#),
        ("[hosts]", r#"[["x","y"]]"#),
        ("users[1]", r#"{"name": "b", "password": "pb", "id": 2}"#),
        ("nothing", ""),
        ("join(',', hosts)", "x,y"),
        ("{h: hosts[0], p: port}", r#"{"h":"x","p":5432}"#),
        ("users[*].name | sort(@) | reverse(@)", r#"["b","a"]"#),
        ("sort_by(users, &name)[1].password", "pb"),
        ("length(users)", "2"),
        ("nothing || port", "5432"),
        ("join('', [hosts[0], ':', to_string(port)])", "x:5432"),
        ("hosts[::-1]", r#"["y","x"]"#),
        ("`{\"k\": 1}`", r#"{"k":1}"#),
    ] {
        assert_eq!(run(USERS, expression), Ok(expected.to_owned()), "{expression}");
    }
    assert_eq!(run("[1, {\"a\": \"x\"}]", "[1].a"), Ok("x".to_owned()), "a list is a value too");
}

#[test]
fn numbers_keep_their_digits() {
    for (expression, expected) in [
        ("users[0].id", "12345678901234567890123"),
        ("users[*].id", "[12345678901234567890123,2]"),
        ("users[?id > `5`].id | [0]", "12345678901234567890123"),
        ("price", "1.10"),
        ("{p: price, n: users[0].id}", r#"{"n":12345678901234567890123,"p":1.10}"#),
        ("to_string(users[0].id)", "12345678901234567890123"),
        ("max(users[*].id)", "12345678901234567890123"),
        ("join('-', users[*].to_string(id))", "12345678901234567890123-2"),
    ] {
        assert_eq!(run(USERS, expression), Ok(expected.to_owned()), "{expression}");
    }
}

#[test]
fn what_is_not_there_is_a_missing_property() {
    for expression in ["nope", "nothing.x", "users[5]", "hosts.x", "price.x"] {
        let result = Expression::parse(expression).map(|parsed| parsed.evaluate(&SecretBytes::from(USERS), "shop/db"));
        let missing = RenderError::PropertyNotFound { key: "shop/db".to_owned(), property: expression.to_owned() };
        assert_eq!(result, Ok(Err(missing)));
    }
}

#[test]
fn wrong_expressions_are_refused_at_the_door() {
    for (expression, expected) in [
        ("a[", "at character"),
        ("", "\"\""),
        ("a b", "at character 3"),
        ("nope(@)", "no function \"nope\""),
        ("a[?b == nope(c)]", "no function \"nope\""),
        ("a[::0]", "step other than 0"),
        ("a[-99999999]", "no list"),
        ("a[-2147483648]", "at character 3"),
        ("a[0:1:2147483647]", "small numbers"),
    ] {
        let text = run("{}", expression).err().unwrap_or_default();
        assert!(text.contains(expected), "{expression}: {text}");
    }
    let nested: [String; 6] = ["(", "[", "!", "&", "[?", "a.b["].map(|part| part.repeat(1024 / part.len()));
    for expression in nested {
        assert!(run("{}", &expression).is_err(), "{expression}");
    }
    for (chain, separator) in [(97, "."), (48, "||"), (48, "&&"), (97, "|"), (48, "==")] {
        let long = vec!["a"; chain].join(separator);
        assert!(Expression::parse(&long).is_ok(), "{long}");
        let longer = vec!["a"; chain * 2].join(separator);
        assert!(Expression::parse(&longer).is_err_and(|text| text.contains("too deeply")), "{longer}");
    }
    let wide = format!("[{}]", ["a.b"; 200].join(","));
    assert_eq!(run(r#"{"a": {"b": 1}}"#, &wide), Ok(format!("[{}]", ["1"; 200].join(","))));
}

#[test]
fn failures_quote_no_value() {
    for expression in ["join(',', users)", "abs(hosts[0])", "sum(hosts)", "length(port)", "sort(users)", "&hosts"] {
        let text = run(&USERS.replace("\"x\"", "\"hunter2\""), expression).err().unwrap_or_default();
        assert!(text.contains("shop/db") && !text.contains("hunter2"), "{expression}: {text}");
    }
    let text = run("no json", "a").err().unwrap_or_default();
    assert!(text.contains("not a JSON"), "{text}");
}

#[test]
fn bombs_are_refused_before_they_run() {
    let literal = format!("`[{}]`", ["1"; 60].join(","));
    for expression in [
        ["[@, @]"; 60].join(" | "),
        format!("{}@{}", "[@, @][] | ".repeat(60), ""),
        format!("map(&map(&map(&map(&map(&@, {literal}), {literal}), {literal}), {literal}), {literal})"),
        "join(a, b)".to_owned(),
        format!("{}@{}", "to_string([".repeat(10), "])".repeat(10)),
        format!("({}) | `1`", ["[@, @][]"; 40].join(" | ")),
        ["[*][@, @, @][]"; 12].join(" | "),
    ] {
        let text = run("{}", &expression).err().unwrap_or_default();
        assert!(text.contains("grow") || text.contains("nested"), "{expression}: {text}");
    }
    let large = format!("[{}]", vec!["\"hunter2\""; 100_000].join(","));
    let text = run(&large, "[@, @, @, @, @, @, @, @, @, @, @, @, @, @, @, @, @, @, @, @]").err().unwrap_or_default();
    assert!(text.contains("too large") && !text.contains("hunter2"), "{text}");
    let text = run(&large, "[@, @]").err().unwrap_or_default();
    assert!(text.contains("1 MiB"), "{text}");
    assert_eq!(run(&large, "[99999]"), Ok("hunter2".to_owned()));
}

#[test]
fn equal_text_is_equal() {
    assert_eq!(Expression::parse("a.b"), Expression::parse("a.b"));
    assert_ne!(Expression::parse("a.b"), Expression::parse("a . b"));
    assert_eq!(Expression::parse("a.b").map(|parsed| parsed.as_str().to_owned()), Ok("a.b".to_owned()));
}
