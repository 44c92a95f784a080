use std::{collections::BTreeMap, sync::Arc};

use crate::{
    SecretBytes,
    digest::DigestKey,
    render::template::{Renderer, Seed, Template, check},
};

fn run_with(source: &str, values: &[(&str, &[u8])], secret: &str) -> Result<Vec<u8>, String> {
    let values: BTreeMap<String, SecretBytes> =
        values.iter().map(|(name, value)| ((*name).to_owned(), SecretBytes::new(value.to_vec()))).collect();
    let seed = Seed::new(&DigestKey::new(SecretBytes::from("installation")), "shop", secret);
    Renderer::new(&values, &seed, &Arc::default())
        .render(&Template::new("t", source))
        .map(|bytes| bytes.expose().to_vec())
        .map_err(|error| error.to_string())
}

fn run(source: &str) -> Result<String, String> {
    let json: &[u8] = br#"{"user":"a","port":5432,"id":12345678901234567890123,"tags":["x","y","x"],"rate":1.10}"#;
    let values: &[(&str, &[u8])] =
        &[("user", b"orders"), ("password", b"p@ss word"), ("json", json), ("binary", &[0, 0xff, b'a'])];
    run_with(source, values, "db").map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn table(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(run(source), Ok((*expected).to_owned()), "{source}");
    }
}

#[test]
fn texts() {
    table(&[
        (r#"{{ trim " a " }}|{{ trimAll "$" "$5$" }}|{{ trimPrefix "a" "ab" }}|{{ trimSuffix "b" "ab" }}"#, "a|5|b|a"),
        (r#"{{ upper "a" }}{{ lower "A" }}{{ title "hello world" }}{{ untitle "Hello" }}"#, "AaHello Worldhello"),
        (r#"{{ nospace "a b" }}{{ initials "Ab Cd" }}{{ repeat 3 "x" }}{{ replace "a" "b" "aa" }}"#, "abACxxxbb"),
        (
            r#"{{ substr 1 3 "abcd" }}|{{ substr 1 -1 "abcd" }}|{{ trunc 2 "abc" }}|{{ trunc -2 "abc" }}"#,
            "bc|bcd|ab|bc",
        ),
        (
            r#"{{ abbrev 5 "hello world" }}|{{ contains "b" "abc" }}|{{ hasPrefix "a" "ab" }}|{{ hasSuffix "a" "ab" }}"#,
            "he...|true|true|false",
        ),
        (r#"{{ quote "a\"b'" 5 }}|{{ squote "a" }}|{{ cat "a" 1 }}"#, r#""a\"b'" "5"|'a'|a 1"#),
        ("{{ indent 2 \"a\\nb\" }}{{ nindent 1 \"c\" }}", "  a\n  b\n c"),
        (r#"{{ $p := split ":" "a:b" }}{{ $p._0 }}-{{ $p._1 }}{{ (splitn "," 2 "a,b,c")._1 }}"#, "a-bb,c"),
        (r#"{{ splitList "," "a,b" | join "-" }}{{ splitList "" "ab" | join "-" }}"#, "a-ba-b"),
        (
            r#"{{ toString 5 | printf "%s" }}{{ print 1 2 }}{{ printf "%05d" 42 }}{{ printf "%q" "x" }}"#,
            "51 200042\"x\"",
        ),
        (r#"{{ .password | urlquery }} {{ html "<" }} {{ len "abc" }} {{ substr 1 2 "abc" }}"#, "p%40ss+word &lt; 3 b"),
    ]);
}

#[test]
fn lists_dicts_and_choices() {
    table(&[
        (
            r"{{ list 1 2 3 | first }}{{ list 1 2 3 | last }}{{ list 1 2 3 | rest }}{{ list 1 2 3 | initial }}",
            "13[2 3][1 2]",
        ),
        (
            r#"{{ list "b" "a" "b" | uniq | sortAlpha | join "," }}{{ has "a" (list "a") }}{{ has 1 (list "1") }}"#,
            "a,btruefalse",
        ),
        (
            r"{{ append (list 1) 2 }}{{ prepend (list 1) 0 }}{{ concat (list 1) (list 2) }}{{ reverse (list 1 2) }}",
            "[1 2][0 1][1 2][2 1]",
        ),
        (
            r#"{{ without (list 1 2 3) 2 }}{{ compact (list "" "a") }}{{ until 3 }}{{ slice (list 1 2 3) 1 }}"#,
            "[1 3][a][0 1 2][2 3]",
        ),
        (
            r#"{{ "" | default "d" }}{{ "v" | default "d" }}{{ default "x" (index . "nope") }}{{ coalesce "" "c" }}{{ empty "" }}"#,
            "dvxctrue",
        ),
        (r#"{{ ternary "y" "n" true }}{{ ternary "y" "n" false }}{{ required "m" "v" }}"#, "ynv"),
        (
            r#"{{ $d := dict "a" 1 "b" 2 }}{{ get $d "a" }}{{ get $d "z" }}{{ hasKey $d "b" }}{{ keys $d }}{{ values $d }}"#,
            "1true[a b][1 2]",
        ),
        (
            r#"{{ $d := dict "a" 1 }}{{ $e := set $d "b" 2 }}{{ keys $d }}{{ keys $e }}{{ keys (unset $e "a") }}{{ keys $d }}"#,
            "[a b][a b][b][b]",
        ),
        (r#"{{ $d := dict "a" "" }}{{ $_ := merge $d (dict "a" 2 "b" 3) }}{{ $d }}"#, "map[a:2 b:3]"),
        (
            r#"{{ merge (dict "a" 1) (dict "a" 2 "b" 3) | toJson }}{{ mergeOverwrite (dict "a" 1) (dict "a" 2) | toJson }}"#,
            r#"{"a":1,"b":3}{"a":2}"#,
        ),
        (
            r#"{{ pick (dict "a" 1 "b" 2) "a" | toJson }}{{ omit (dict "a" 1 "b" 2) "a" | toJson }}{{ pluck "a" (dict "a" 1) (dict "a" 2) }}"#,
            r#"{"a":1}{"b":2}[1 2]"#,
        ),
        (r#"{{ dig "a" "b" "none" (dict "a" (dict "b" "x")) }}{{ dig "z" "none" (dict "a" 1) }}"#, "xnone"),
        (
            "{{ eq 1 1 }}{{ ne \"a\" \"b\" }}{{ lt 1 2 }}{{ ge 1 2 }}{{ eq \"a\" \"b\" \"a\" }}{{ and true false }}{{ not false }}",
            "truetruetruefalsetruefalsetrue",
        ),
    ]);
}

#[test]
fn numbers_and_expressions() {
    table(&[
        (
            r#"{{ add 1 2 3 }} {{ sub 5 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ add1 1 }} {{ int "5" }} {{ max 1 3 2 }} {{ min 2 1 }}"#,
            "6 3 6 3 1 2 5 3 1",
        ),
        (
            r#"{{ regexMatch "^a+$" "aa" }} {{ regexFind "b." "abcb" }} {{ regexFindAll "[0-9]" "a1b2" -1 | join "," }}"#,
            "true bc 1,2",
        ),
        (
            r#"{{ regexReplaceAll "(a)(b)" "abab" "${2}${1}" }} {{ regexReplaceAllLiteral "a" "a" "$1" }} {{ regexSplit "," "a,b" -1 }}"#,
            "baba $1 [a b]",
        ),
        (r#"{{ regexQuoteMeta "a.b" }}"#, r"a\.b"),
    ]);
}

#[test]
fn encodings_keep_every_digit_and_byte() {
    table(&[
        (
            "{{ .password | b64enc }} {{ .password | b64enc | b64dec }} {{ .user | b32enc }} {{ .user | b32enc | b32dec }}",
            "cEBzcyB3b3Jk p@ss word N5ZGIZLSOM====== orders",
        ),
        (
            "{{ (fromJson .json).port }} {{ (fromJson .json).id }} {{ (fromJson .json).rate }}",
            "5432 12345678901234567890123 1.1",
        ),
        (
            r"{{ fromJson .json | toJson }}",
            r#"{"id":12345678901234567890123,"port":5432,"rate":1.1,"tags":["x","y","x"],"user":"a"}"#,
        ),
        ("{{ dict \"a\" (list 1 \"x\") | toYaml }}", "a:\n- 1\n- x"),
        (r#"{{ (fromYaml "a: {b: [1, x]}").a.b }}"#, "[1 x]"),
        (r#"{{ toPrettyJson (dict "a" 1) }}"#, "{\n  \"a\": 1\n}"),
        ("{{ .binary | b64enc }} {{ .binary | b64enc | b64dec | b64enc }}", "AP9h AP9h"),
        ("{{ \"\" | sha1sum }}", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("{{ .binary | sha256sum | trunc 8 }}", "da850955"),
        ("{{ sha512sum \"a\" | trunc 8 }}", "1f40fc92"),
    ]);
    let raw = run_with("<{{ .b }}>", &[("b", &[0, 0xff, 0xfe, b'z'])], "db");
    assert_eq!(raw, Ok(vec![b'<', 0, 0xff, 0xfe, b'z', b'>']), "bytes come out as they went in");
    assert!(run("{{ .binary | toJson }}").is_err_and(|text| text.contains("b64enc")));
}

#[test]
fn salts_follow_from_the_inputs() {
    let one = |user: &str, secret: &str| {
        run_with(&format!("{{{{ htpasswd {user:?} .password }}}}"), &[("password", b"hunter2")], secret)
            .unwrap_or_default()
    };
    let first = one("a", "db");
    assert_eq!(first, one("a", "db"), "the same inputs render the same bytes");
    let text = String::from_utf8(first).unwrap_or_default();
    let (user, hash) = text.split_once(':').unwrap_or_default();
    assert_eq!((user, hash.len(), &hash[..7]), ("a", 60, "$2a$10$"));
    assert!(bcrypt::verify("hunter2", hash).unwrap_or_default());
    let salt = |text: &[u8]| String::from_utf8_lossy(text).split_once(':').map(|(_, hash)| hash[7..29].to_owned());
    assert_ne!(salt(&one("b", "db")), salt(text.as_bytes()), "another user has another salt");
    assert_ne!(salt(&one("a", "other")), salt(text.as_bytes()), "another Secret too");
}

#[test]
fn what_is_not_pure_is_refused_with_the_reason() {
    for (source, expected) in [
        ("{{ now }}", "something else each time"),
        ("{{ randAlphaNum 5 }}", "something else each time"),
        ("{{ if false }}{{ uuidv4 }}{{ end }}", "something else each time"),
        ("{{ define \"x\" }}{{ genCA \"a\" 1 }}{{ end }}", "something else each time"),
        ("{{ .user | nothing }}", "docs/reference/templates.md"),
    ] {
        let text = check(&Template::new("t", source)).map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(text.contains(expected), "{source}: {text}");
    }
}

#[test]
fn failures_quote_no_value() {
    for source in [
        "{{ .password | b64dec }}",
        "{{ .password | fromJson }}",
        "{{ \"a: [\" | cat .password | fromYaml }}",
        "{{ .password | pkcs12key }}",
        "{{ regexMatch (cat .password \"(\") \"a\" }}",
        "{{ .password | jwkPublicKeyPem }}",
        "{{ .password | semver }}",
        "{{ .password | urlParse | urlJoin | b32dec }}",
        "{{ regexReplaceAll \"(\" .password .password }}",
        "{{ .password | hexdec }}",
        "{{ mustRegexFind .password \"x\" | first }}",
        "{{ substr 90 99 .password }}",
        "{{ dig \"a\" \"b\" .password (dict \"a\" .password) }}",
        "{{ .password | first }}",
        "{{ get .password \"a\" }}",
        "{{ htpasswd (cat .password \":\") \"x\" }}",
        "{{ required \"m\" \"\" }}",
        "{{ div 1 0 }}",
        "{{ filterPEM \"X\" .password }}",
    ] {
        let text = run(source).err().unwrap_or_default();
        assert!(text.starts_with("t: line 1, column ") && !text.contains("p@ss"), "{source}: {text}");
    }
}

#[test]
fn every_way_to_explode_ends() {
    let doubled = |step: &str| format!("{{{{ $x := .password }}}}{}{{{{ $x }}}}", step.repeat(40));
    let looped = |body: &str| format!("{{{{ $x := .password }}}}{{{{ range until 9000 }}}}{body}{{{{ end }}}}");
    for (source, expected) in [
        ("{{ repeat 1000000 (repeat 1000000 \"a\") }}".to_owned(), "1 MiB"),
        (doubled("{{ $x = print $x $x }}"), "1 MiB"),
        (doubled("{{ $x = printf \"%s%s\" $x $x }}"), "1 MiB"),
        (doubled("{{ $x = list $x $x }}"), "1 MiB"),
        (doubled("{{ $x = dict \"a\" $x \"b\" $x }}"), "1 MiB"),
        (doubled("{{ $x = replace \"s\" \"ssss\" $x }}"), "1 MiB"),
        (doubled("{{ $x = html (print \"<\" $x \"<\" $x) }}"), "1 MiB"),
        (doubled("{{ $x = toJson (list $x $x) }}"), "1 MiB"),
        (doubled("{{ $x = join $x (list $x $x $x) }}"), "1 MiB"),
        (doubled("{{ $x = regexReplaceAll \".*\" $x \"$0$0$0\" }}"), "1 MiB"),
        (looped("{{ $x = list $x }}"), "64 levels"),
        (looped("{{ $x = indent 200 (print $x \"\\n\") }}"), "MiB"),
        (looped("{{ $y := repeat 100000 $x }}"), "16 MiB in all"),
        (looped("{{ $y := contains \"z\" (repeat 100000 \"a\") }}"), "16 MiB in all"),
        ("{{ printf \"%999999999d\" 1 }}".to_owned(), "width"),
        ("{{ range until 9000 }}{{ range until 9000 }}a{{ end }}{{ end }}".to_owned(), "16 MiB in all"),
        ("{{ range $i := 100000000 }}{{ end }}".to_owned(), "steps"),
        ("{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}".to_owned(), "250"),
        ("{{ range until 30 }}{{ bcrypt \"a\" }}{{ end }}".to_owned(), "20 times"),
        ("{{ regexMatch \"(a{1000}){1000}\" \"a\" }}".to_owned(), "regular expression"),
        (looped("{{ $y := regexMatch \"(a{90}){9}\" \"a\" }}"), "32 MiB"),
        (format!("{{{{ {}1{} }}}}", "(".repeat(30_000), ")".repeat(30_000)), "nested"),
        (format!("{}{}", "{{ if true }}".repeat(2_000), "{{ end }}".repeat(2_000)), "nested"),
        (format!("{{{{ fromYaml {:?} }}}}", yaml_bomb()), "2 MiB"),
        ("{{ fromJson (repeat 100000 \"[\") }}".to_owned(), "levels"),
    ] {
        let started = std::time::Instant::now();
        let text = run(&source).err().unwrap_or_default();
        assert!(text.contains(expected), "{}: {text}", &source[..source.len().min(120)]);
        assert!(started.elapsed().as_secs() < 60, "{}", &source[..source.len().min(120)]);
    }
    for (source, expected) in [
        (format!("{}x{}", "{{ if true }}".repeat(90), "{{ end }}".repeat(90)), "x".to_owned()),
        (format!("{{{{ if false }}}}{}{{{{ else }}}}x{{{{ end }}}}", "{{ else if false }}".repeat(90)), "x".to_owned()),
        (format!("{{{{ {}\"x\"{} }}}}", "(".repeat(90), ")".repeat(90)), "x".to_owned()),
        ("(".repeat(500), "(".repeat(500)),
        ("{{ if true }}{{ else }}{{ end }}(".repeat(500), "(".repeat(500)),
    ] {
        assert_eq!(run(&source), Ok(expected), "{source}");
    }
    let level = |level: usize| {
        let below = format!("{{{{ template \"t{}\" }}}}", level - 1);
        format!("{{{{ define \"t{level}\" }}}}{below}{below}{{{{ end }}}}")
    };
    let levels: String = (1..60).map(level).collect::<Vec<_>>().concat();
    let nested = format!("{{{{ define \"t0\" }}}}{{{{ end }}}}{levels}{{{{ template \"t59\" }}}}");
    assert!(run(&nested).is_err_and(|text| text.contains("steps")));
}

proptest::proptest! {
    #[test]
    fn values_pass_through_byte_for_byte_each_time(value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
        for source in ["{{ .v }}", "{{ .v | b64enc | b64dec }}", "{{ (list .v | first) | default \"\" }}", "{{ index . \"v\" | b32enc | b32dec }}"] {
            let render = || run_with(source, &[("v", &value)], "db");
            proptest::prop_assert_eq!(render(), Ok(value.clone()));
            proptest::prop_assert_eq!(render(), render());
        }
    }
}

fn yaml_bomb() -> String {
    let names = ["b", "c", "d", "e", "f", "g", "h"];
    let level = |(name, below): (&&str, &str)| {
        let items = vec![format!("*{below}"); 9].join(",");
        format!("{name}: &{name} [{items}]\n")
    };
    let levels = names.iter().zip(["a", "b", "c", "d", "e", "f", "g"]).map(level);
    format!("a: &a [x,x,x,x,x,x,x,x,x]\n{}", levels.collect::<Vec<_>>().concat())
}

mod certificates {
    use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    /// Leaf, intermediate and root in PEM, and the key of the leaf.
    fn chain() -> Result<([String; 3], String), rcgen::Error> {
        let named = |name: &str, is_ca: bool| {
            let mut params = CertificateParams::new(vec![format!("{name}.shop")])?;
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            if is_ca {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }
            Ok::<_, rcgen::Error>(params)
        };
        let (root_key, middle_key, leaf_key) = (KeyPair::generate()?, KeyPair::generate()?, KeyPair::generate()?);
        let root = named("root", true)?.self_signed(&root_key)?;
        let root_issuer = Issuer::new(named("root", true)?, root_key);
        let middle = named("middle", true)?.signed_by(&middle_key, &root_issuer)?;
        let middle_issuer = Issuer::new(named("middle", true)?, middle_key);
        let leaf = named("leaf", false)?.signed_by(&leaf_key, &middle_issuer)?;
        Ok((
            [leaf.pem(), middle.pem(), root.pem()].map(|pem| pem.replace('\r', "")),
            leaf_key.serialize_pem().replace('\r', ""),
        ))
    }

    fn with(source: &str, chain: &str, key: &str) -> Result<String, String> {
        let values: &[(&str, &[u8])] = &[("chain", chain.as_bytes()), ("key", key.as_bytes()), ("pw", b"hunter2")];
        run_with(source, values, "db").map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn chains_are_ordered_and_filtered() -> Result<(), Box<dyn std::error::Error>> {
        let ([leaf, middle, root], key) = chain()?;
        let mixed = format!("{root}text\n{key}{leaf}{middle}");
        for (source, expected) in [
            ("{{ filterCertChain \"leaf\" .chain }}", &leaf),
            ("{{ filterCertChain \"intermediate\" .chain }}", &middle),
            ("{{ filterCertChain \"root\" .chain }}", &root),
            ("{{ filterPEM \"PRIVATE KEY\" .chain }}", &key),
        ] {
            assert_eq!(with(source, &mixed, &key)?, *expected, "{source}");
        }
        assert_eq!(with("{{ certSANs .chain | join \",\" }}", &leaf, &key)?, "leaf.shop");
        let two = format!("{leaf}{}", chain()?.0[0]);
        assert!(with("{{ filterCertChain \"leaf\" .chain }}", &two, &key).is_err());
        Ok(())
    }

    #[test]
    fn pkcs12_reads_back_and_is_the_same_each_time() -> Result<(), Box<dyn std::error::Error>> {
        let ([leaf, middle, root], key) = chain()?;
        let full = format!("{leaf}{middle}{root}");
        for (make, key_back, certificate_back, expected) in [
            ("fullPemToPkcs12Pass .chain .key .pw", "pkcs12keyPass .pw .file", "pkcs12certPass .pw .file", &full),
            ("pemToPkcs12 .chain .key", "pkcs12key .file", "pkcs12cert .file", &leaf),
        ] {
            let first = with(&format!("{{{{ {make} }}}}"), &full, &key)?;
            assert_eq!(first, with(&format!("{{{{ {make} }}}}"), &full, &key)?);
            let file = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, first)?;
            let values: &[(&str, &[u8])] = &[("file", &file), ("pw", b"hunter2")];
            let both = run_with(&format!("{{{{ {key_back} }}}}{{{{ {certificate_back} }}}}"), values, "db")?;
            assert_eq!(String::from_utf8_lossy(&both), format!("{key}{expected}"), "{make}");
        }
        let wrong = with("{{ pemToPkcs12Pass .chain .key \"a\" | b64dec | pkcs12keyPass .pw }}", &full, &key);
        assert!(wrong.is_err_and(|text| text.contains("password") && !text.contains("hunter2")));
        let other = chain()?.1;
        assert!(with("{{ pemToPkcs12 .chain .key }}", &full, &other).is_err_and(|text| text.contains("not that of")));
        Ok(())
    }

    #[test]
    fn trust_stores_are_read_by_others() -> Result<(), Box<dyn std::error::Error>> {
        let ([_, middle, root], key) = chain()?;
        let text = with("{{ pemTruststoreToPKCS12Pass .chain .pw }}", &format!("{middle}{root}"), &key)?;
        let file = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text)?;
        let store = KeyStore::from_pkcs12(&file, "hunter2", Pkcs12ImportPolicy::Strict)?;
        let names: Vec<&str> = store.entries().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["CN=middle", "CN=root"]);
        Ok(())
    }

    #[test]
    fn web_keys_become_pem() -> Result<(), Box<dyn std::error::Error>> {
        use base64::Engine as _;
        let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let pair = KeyPair::generate()?;
        let point = pair.public_key_raw().to_vec();
        let parsed = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            &pair.serialize_der(),
        )?;
        let private: aws_lc_rs::encoding::EcPrivateKeyBin<'_> =
            aws_lc_rs::encoding::AsBigEndian::as_be_bytes(&parsed.private_key())?;
        let jwk =
            serde_json::json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]),
            "d": encode(private.as_ref())})
            .to_string();
        let run = |source: &str| {
            let bytes = run_with(source, &[("jwk", jwk.as_bytes())], "db");
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        assert_eq!(run("{{ jwkPublicKeyPem .jwk }}")?, pair.public_key_pem().replace('\r', ""));
        let pem = run("{{ jwkPrivateKeyPem .jwk }}")?;
        assert_eq!(KeyPair::from_pem(&pem)?.public_key_raw(), point);
        assert!(run("{{ jwkPublicKeyPem \"{}\" }}").is_err_and(|text| text.contains("kty")));
        Ok(())
    }
}
