use super::*;

fn answer(data: &str, version: u64) -> String {
    let metadata = format!(
        r#"{{"version":{version},"created_time":"2026-01-02T03:04:05.123456789Z","deletion_time":"","destroyed":false,"custom_metadata":null}}"#
    );
    format!(r#"{{"data":{{"data":{data},"metadata":{metadata}}}}}"#)
}

#[test]
fn the_data_is_kept_as_it_is() {
    let body = answer(r#"{"n":12345678901234567890123, "a":"\u00fc"}"#, 3);
    let value = value(body.as_bytes()).unwrap();
    assert_eq!(value.version, "3");
    assert_eq!(value.created.map(|time| time.timestamp_millis()), Some(1_767_323_045_123));
    assert_eq!(value.bytes, SecretBytes::from(r#"{"n":12345678901234567890123, "a":"\u00fc"}"#));
}

#[test]
fn what_the_server_escapes_for_html_is_what_it_keeps() {
    for (written, kept) in [
        (r#"{"a\u0026":"http://h/?a=1\u0026b=\u003c2\u003e"}"#, r#"{"a&":"http://h/?a=1&b=<2>"}"#),
        (r#"{"a":"\\u0026 \\\u0026 \"\u0026\""}"#, r#"{"a":"\\u0026 \\& \"&\""}"#),
        (r#"{"a":"\n\u00e9\u2028\u0000 ü&"}"#, r#"{"a":"\n\u00e9\u2028\u0000 ü&"}"#),
    ] {
        assert_eq!(value(answer(written, 1).as_bytes()).unwrap().bytes, SecretBytes::from(kept), "{written}");
        let plain = format!(r#"{{"data":{written}}}"#);
        assert_eq!(plain_value(plain.as_bytes()).unwrap().bytes, SecretBytes::from(kept), "{written}");
        assert_eq!(engine::answer(plain.as_bytes()).unwrap().data, SecretBytes::from(kept), "{written}");
    }
}

#[test]
fn other_forms() {
    let deep = answer(&("[".repeat(40) + &"]".repeat(40)), 1);
    let table = [
        ("", Malformed::Form),
        ("<html>", Malformed::Form),
        (r#"{"data":{"a":"b"}}"#, Malformed::Form),
        (r#"{"data":{"data":{},"metadata":{"version":1}}}"#, Malformed::Form),
        (&answer("[]", 1), Malformed::Data),
        (&answer("null", 1), Malformed::Empty),
        (&deep, Malformed::Deep),
    ];
    for (body, expected) in table {
        assert_eq!(value(body.as_bytes()).unwrap_err(), expected, "{body}");
    }
}

#[test]
fn a_list_is_read_to_its_bound() {
    let body = |keys: &str| format!(r#"{{"data":{{"keys":{keys}}}}}"#);
    assert_eq!(names(body(r#"["a","b/"]"#).as_bytes(), 2).unwrap(), ["a", "b/"]);
    assert_eq!(names(body(r#"["a","b/","c"]"#).as_bytes(), 2).unwrap(), ["a", "b/"]);
    for keys in [r#"["a","b/",]"#, "[1]", "{}", "null", r#""a""#] {
        assert_eq!(names(body(keys).as_bytes(), 2).unwrap_err(), Malformed::Form, "{keys}");
    }
}

#[test]
fn deleted_versions() {
    let body = |deleted: &str, destroyed: bool| {
        format!(
            r#"{{"data":{{"data":null,"metadata":{{"version":2,"created_time":"","deletion_time":"{deleted}","destroyed":{destroyed}}}}}}}"#
        )
    };
    assert_eq!(gone(br#"{"errors":[]}"#), None);
    assert_eq!(gone(body("", false).as_bytes()), None);
    assert_eq!(gone(body("2026-01-01T00:00:00Z", false).as_bytes()).unwrap().how(), "deleted");
    assert_eq!(gone(body("", true).as_bytes()).unwrap().how(), "deleted (destroyed)");
}

#[test]
fn only_the_engine_says_that_a_key_is_missing() {
    let deleted = r#"{"data":{"data":null,"metadata":{"version":2,"created_time":"","deletion_time":"2026-01-01T00:00:00Z","destroyed":false}}}"#;
    let table = [
        (r#"{"errors":[]}"#, true),
        (deleted, true),
        (r#"{"errors":["no handler for route \"secret/data/a\". route entry not found."]}"#, false),
        (r#"{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}"#, false),
        (r#"{"errors":[],"warnings":["Invalid path"]}"#, false),
        ("default backend - 404", false),
        ("<html>", false),
        ("{}", false),
        ("", false),
    ];
    for (body, expected) in table {
        assert_eq!(is_missing(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn writes() {
    let body = write(7, br#"{ "a": 1.10 }"#).unwrap();
    assert_eq!(body, SecretBytes::from(r#"{"options":{"cas":7},"data":{ "a": 1.10 }}"#));
    for value in ["", "[]", "\"text\"", "{", "{} {}"] {
        assert_eq!(write(0, value.as_bytes()).unwrap_err().kind, StoreErrorKind::Invalid, "{value}");
    }
}

#[test]
fn leases_are_bounded() {
    let said = |lease: &str| {
        leased(format!(r#"{{"auth":{{"client_token":"t","lease_duration":{lease}}}}}"#).as_bytes())
            .map(|leased| leased.lease)
    };
    assert_eq!(said("90").ok(), Some(Some(Duration::from_secs(90))));
    assert_eq!(said("0").ok(), Some(None), "without end");
    for endless in ["9000000000000000", "18446744073709551615", "18446744073709551616", "1e300"] {
        assert_eq!(said(endless).ok(), Some(Some(rekey_core::time::LONGEST_LIFE)), "{endless}");
    }
    for other in ["-1", "\"90\"", "null", "[]"] {
        assert_eq!(said(other).err(), Some(Malformed::Form), "{other}");
    }
}

#[test]
fn mismatches() {
    assert!(is_cas_mismatch(br#"{"errors":["check-and-set parameter did not match the current version"]}"#));
    assert!(!is_cas_mismatch(br#"{"errors":["check-and-set parameter required for this call"]}"#));
    assert!(!is_cas_mismatch(br#"{"errors":[]}"#));
    assert!(!is_cas_mismatch(b"did not match"));
}

#[test]
fn denials() {
    assert!(is_policy_denial(br#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#));
    let unknown = [
        r#"{"errors":["permission denied"]}"#,
        r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#,
    ];
    for body in unknown {
        assert!(!is_policy_denial(body.as_bytes()), "{body}");
    }
}

#[test]
fn display_names_are_cleaned() {
    let body = format!(r#"{{"data":{{"display_name":"a\u0007b {}"}}}}"#, "x".repeat(200));
    assert_eq!(display_name(body.as_bytes()).unwrap(), format!("ab{}", "x".repeat(62)));
}
