//! Policies that were made to stop the operator, whole: many templates, many values, many expressions.

use std::{
    collections::BTreeMap,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rekey_core::{SecretBytes, SpecError, render::RenderError, stop::Stop};
use serde_json::{Value, json};

use crate::{
    generated::{deep_der, pem, values},
    meter::{Taken, measured},
    world::{each, fetched, policy, published, read, rendered},
};

fn many(count: usize, template: &str) -> BTreeMap<String, String> {
    (0..count).map(|position| (format!("t{position:03}"), template.to_owned())).collect()
}

fn one(template: &str) -> BTreeMap<String, String> {
    many(1, template)
}

/// What came of it, once it is known that it took no more than it may.
fn end(name: &str, run: impl FnOnce() -> Result<BTreeMap<String, SecretBytes>, SpecError> + Send) -> String {
    let (result, taken) = measured(run);
    let end = match result {
        Ok(data) => format!("rendered {} keys", data.len()),
        Err(error) => error.to_string(),
    };
    println!("{name}: {:?}, {} KiB: {end}", taken.time, taken.memory / 1024);
    assert!(taken.is_within(Taken::MOST), "{name}: {taken:?}: {end}");
    end
}

/// Each template, and what it is refused for.
fn refused(cases: &[(&str, BTreeMap<String, String>, &str)]) {
    let stored = read(&values());
    for (name, templates, expected) in cases {
        let end = end(name, || rendered(templates, &stored));
        assert!(end.contains(expected), "{name}: {end}");
    }
}

#[test]
fn what_is_nested_without_end_is_refused_before_it_is_parsed() {
    let levels = |levels: usize| {
        let define = |level: usize| {
            format!(
                "{{{{define \"t{level}\"}}}}{}{{{{template \"t{}\"}}}}{}{{{{end}}}}",
                "{{if 1}}".repeat(98),
                level + 1,
                "{{end}}".repeat(98)
            )
        };
        format!("{}{{{{template \"t0\"}}}}", (0..levels).map(define).collect::<String>())
    };
    let chain = |block: &str, link: &str| format!("{{{{{block} \"{{{{end\"}}}}x{}{{{{end}}}}", link.repeat(1_500));
    let itself = |inner: &str| format!("{{{{define \"r\"}}}}{inner}{{{{end}}}}{{{{template \"r\" list}}}}");
    refused(&[
        // A chain is not nested.
        ("else if", one(&chain("if", "{{else if \"{{end\"}}")), "rendered"),
        ("else with", one(&chain("with", "{{- else with `{{end`}}")), "rendered"),
        ("quoted end", one(&format!("{}{}", "{{if \"{{end\"}}".repeat(2_000), "{{end}}".repeat(2_000))), "nested"),
        ("parentheses", one(&format!("{{{{ {}1{} }}}}", "(".repeat(30_000), ")".repeat(30_000))), "nested"),
        ("templates in blocks", one(&levels(20)), "levels"),
        ("a template that calls itself", one(&itself("{{template \"r\" .}}")), "must end"),
        (
            "and in parentheses",
            one(&itself("{{with (print (print 1))}}{{template \"r\" (list (list .))}}{{end}}")),
            "must end",
        ),
        (
            "and twice",
            one(&itself("{{if lt (len .) 40}}{{range 2}}{{template \"r\" (append $ 1)}}{{end}}{{end}}")),
            "in all",
        ),
        ("a dict in itself", one("{{ $d := dict }}{{ $_ := set $d \"a\" $d }}{{ $d }}"), "64 levels"),
        (
            "a dict in itself as JSON",
            one("{{ $d := dict }}{{ $_ := set $d \"a\" (list $d) }}{{ $d | toJson }}"),
            "levels",
        ),
        (
            "a dict in itself, copied",
            one("{{ $d := dict }}{{ $_ := set $d \"a\" $d }}{{ $_ = merge (dict) $d }}{{ deepCopy $d }}"),
            "levels",
        ),
        ("lists in lists", one("{{ $x := list }}{{ range until 9999 }}{{ $x = list $x }}{{ end }}"), "64 levels"),
    ]);
}

#[test]
fn the_deepest_that_is_allowed_fits_the_stack() {
    let inner = format!(
        "{{{{ {}printf \"%s\" (toYaml (fromJson .nestedJson)){} | regexFind `a+` }}}}",
        "(".repeat(45),
        ")".repeat(45)
    );
    for (open, close) in
        [("{{if 1}}", "{{end}}"), ("{{range 1}}", "{{end}}"), ("{{if 0}}{{else}}{{with 1}}", "{{end}}{{end}}")]
    {
        let levels = if open.contains("else") { 16 } else { 50 };
        let half = format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
        let template = format!(
            "{{{{define \"a\"}}}}{half}{{{{end}}}}{}{{{{template \"a\" .}}}}{}",
            open.repeat(levels),
            close.repeat(levels)
        );
        let end = end(open, || rendered(&one(&template.replace(".nestedJson", "\"[[[[1]]]]\"")), &read(&values())));
        assert_eq!(end, "rendered 1 keys", "{open}");
    }
    // As many levels as there may be, by a template that calls itself.
    let deepest = format!(
        "{{{{define \"r\"}}}}{{{{if lt (len .) 98}}}}{{{{template \"r\" (append . 1)}}}}{{{{else}}}}{inner}{{{{end}}}}{{{{end}}}}{{{{template \"r\" list}}}}"
    )
    .replace(".nestedJson", "\"[[[[1]]]]\"");
    assert_eq!(end("itself", || rendered(&one(&deepest), &read(&values()))), "rendered 1 keys");
}

#[test]
fn many_templates_are_one_policy() {
    let long = "{{ range $i := 9999 }}{{ if eq $i 3 }}{{ end }}{{ end }}";
    let quiet = "{{ range $i := 9999 }}{{ if $i }}{{ with $i }}{{ $x := $i }}{{ end }}{{ end }}{{ end }}";
    refused(&[
        ("256 x 1 MB", many(256, "{{ repeat 1000000 \"a\" }}"), "1 MiB"),
        ("256 x 8 bcrypt", many(256, "{{ range until 8 }}{{ bcrypt (toString .) }}{{ end }}"), "20 times bcrypt"),
        ("256 x loops", many(256, long), "in all"),
        ("256 x quiet loops", many(256, quiet), "4,000,000 steps"),
        ("256 x 1 MiB of text that is thrown away", many(256, "{{ $x := repeat 1000000 \"a\" }}"), "16 MiB in all"),
    ]);
}

#[test]
fn no_loop_that_prints_nothing_goes_on_for_ever() {
    let deep = format!("{}{{{{ $ }}}}{}", "{{ if 1 }}".repeat(90), "{{ end }}".repeat(90));
    let wide = "{{ if $i }}{{ end }}".repeat(1_000);
    refused(&[
        (
            "nested ranges",
            one("{{ range $i := 9999 }}{{ range $j := 9999 }}{{ range $k := 9999 }}{{ end }}{{ end }}{{ end }}"),
            "4,000,000 steps",
        ),
        (
            "deep variables",
            many(256, &format!("{{{{ range 9999 }}}}{{{{ if false }}}}{deep}{{{{ end }}}}{{{{ end }}}}")),
            "steps",
        ),
        ("wide bodies", many(256, &format!("{{{{ range $i := 9999 }}}}{wide}{{{{ end }}}}")), "o"),
    ]);
}

#[test]
fn no_function_takes_long_by_itself() {
    refused(&[
        ("trimAll", one("{{ trimAll (print (repeat 500000 \"b\") \"a\") (repeat 1000000 \"a\") | len }}"), "rendered"),
        ("without", one(&format!("{{{{ len (without (until 80000) {}) }}}}", "1 ".repeat(15_000))), "rendered"),
        (
            "merge",
            one(&format!("{{{{ $m := split \"\" .lines }}}}{{{{ len (merge {}) }}}}", "$m ".repeat(15_000))),
            "MiB",
        ),
        ("has", one("{{ $l := until 40000 }}{{ range 9999 }}{{ $x := has 1 (list $l) }}{{ end }}"), "MiB in all"),
        ("split", one("{{ len (splitList \"\" (repeat 1000000 \"a\")) }}"), "2 MiB"),
        ("until", one("{{ len (until 1000000) }}"), "2 MiB"),
        ("matches", one("{{ len (regexFindAll \".*[^A-Z]|[A-Z]\" .long -1) }}"), "too many matches"),
        ("replacements", one("{{ len (regexReplaceAll \".*[^A-Z]|[A-Z]\" .long \"b\") }}"), "too many matches"),
        ("parts", one("{{ len (regexSplit \".*[^A-Z]|[A-Z]\" .long -1) }}"), "too many matches"),
        ("states", one("{{ regexMatch .pattern (repeat 1000000 \"a\") }}"), "large texts"),
        ("a long pattern", one("{{ regexMatch (repeat 1000000 \"a\") \"a\" }}"), "16 KiB"),
        ("a long bad pattern", one("{{ regexFind (print (repeat 500000 \"[a\") \"(\") \"a\" }}"), "16 KiB"),
        ("patterns", one("{{ range 9999 }}{{ $x := regexMatch `\\w` \"a\" }}{{ end }}"), "in all"),
        ("wide JSON", one("{{ len (fromJson (print \"[\" (repeat 500000 \"1,\") \"1]\")) }}"), "2 MiB"),
        ("deep JSON", one("{{ fromJson .deepJson }}"), "32 levels"),
        ("deep YAML", one("{{ fromYaml (print (repeat 6000 \"[\") (repeat 6000 \"]\")) }}"), "not YAML"),
        ("a bomb of YAML", one("{{ fromYaml .bombYaml }}"), "2 MiB"),
        ("wide YAML", one("{{ len (fromYaml (print \"[\" (repeat 60000 \"1,\") \"1]\")) }}"), "2 MiB"),
        (
            "YAML of 12,000 values",
            one("{{ len (fromYaml (print \"a: [\" (repeat 12000 \"1,\") \"1]\")).a }}"),
            "rendered",
        ),
        ("deep DER", one("{{ certSANs .pem }}"), "no certificate"),
        ("deep PKCS#12", one("{{ pkcs12key (b64dec .pkcs12) }}"), "pkcs12key"),
        ("a deep key", one("{{ jwkPublicKeyPem .deepJson }}"), "JSON object"),
    ]);
}

#[test]
fn what_dicts_share_or_a_text_repeats_counts_each_time() {
    let shared = "{{ $m := dict \"a\" (repeat 400000 \"a\") }}{{ $x := list }}{{ range 60 }}{{ $x = append $x dict }}{{ end }}\
                  {{ range $i, $e := $x }}{{ range $n := list \"a\" \"b\" \"c\" \"d\" }}{{ $_ := set $e $n $m }}{{ end }}\
                  {{ $_ := set $e \"i\" $i }}{{ end }}";
    let on = |action: &str| one(&format!("{shared}{{{{ {action} }}}}"));
    let itself = "{{ $d := dict }}{{ range $i := 20000 }}{{ $_ := set $d (print \"k\" $i) 1 }}{{ end }}{{ $_ := set $d \"a\" $d }}\
                  {{ range 5000 }}{{ $_ := pick $d \"b\" }}{{ end }}";
    let classes = |class: &str, count: usize| {
        one(&format!("{{{{ regexMatch (print `(?i)` (repeat {count} `{class}`)) \"a\" }}}}"))
    };
    refused(&[
        ("uniq", on("len (uniq $x)"), "MiB in all"),
        ("has", on("has 1 $x"), "MiB in all"),
        ("join", on("len (join \"\" $x)"), "2 MiB"),
        ("sortAlpha", on("len (sortAlpha $x)"), "2 MiB"),
        ("pick of itself", one(itself), "MiB in all"),
        ("names of groups", one("{{ regexReplaceAll \"a\" \"a\" (repeat 300000 \"$1\") }}"), "rendered"),
        ("for each match", one("{{ regexReplaceAll \"a\" (repeat 2000 \"a\") (repeat 300000 \"$1\") }}"), "MiB in all"),
        ("verbs", one("{{ len (printf (repeat 500000 \"%%\")) }}"), "rendered"),
        ("digits", one("{{ printf \"%.70000f\" 1.5 }}"), "larger than 65535"),
        ("digits of a character", one("{{ printf \"%.70000U\" 1 }}"), "larger than 65535"),
        ("other cases", classes("[\\x00-\\x{10FFFF}]", 900), "slow functions too often"),
        ("tables", classes("\\pL", 4_000), "64 classes"),
    ]);
}

/// Values of a tag, one behind the other.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], length.as_slice(), &content].concat()
}

const DATA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const SHROUDED: &[u8] = &[0x06, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 2];
const TRIPLE_DES: &[u8] = &[0x06, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1, 3];

/// A file with many keys, each behind a million iterations: the program that opens them allows a million for each.
fn expensive(keys: usize) -> Vec<u8> {
    let parameters = der(0x30, &[&der(0x04, &[b"saltsalt"]), &[0x02, 3, 0x0f, 0x42, 0x40]]);
    let key = der(0x30, &[&der(0x30, &[TRIPLE_DES, &parameters]), &der(0x04, &[&[0; 16]])]);
    let bag = der(0x30, &[SHROUDED, &der(0xa0, &[&key])]);
    let safe = der(0x30, &vec![bag.as_slice(); keys]);
    let content = der(0x30, &[DATA, &der(0xa0, &[&der(0x04, &[&safe])])]);
    let safes = der(0x30, &[&content]);
    let outer = der(0x30, &[DATA, &der(0xa0, &[&der(0x04, &[&safes])])]);
    der(0x30, &[&[0x02, 1, 3], &outer])
}

#[test]
fn a_file_that_asks_for_too_many_iterations_is_not_opened() {
    let stored = read(&BTreeMap::from([("file".to_owned(), expensive(2_000))]));
    let end = end("iterations", || rendered(&one("{{ pkcs12key .file }}"), &stored));
    assert!(end.contains("1,000,000 iterations"), "{end}");
}

#[test]
fn values_end_where_a_secret_does() {
    let large = |count: usize, size: usize| -> BTreeMap<String, Vec<u8>> {
        (0..count).map(|position| (format!("k{position}"), vec![b'a'; size])).collect()
    };
    let stored = large(4, 900_000);
    let all = policy(&json!({"dataFrom": [{"find": {"nameRegexp": "^k"}}]}), &one("x")).unwrap();
    let all_read = fetched(&all, &stored);
    let text = end("find", || published(&all, &all_read, &Stop::default()));
    assert!(text.contains("1 MiB"), "{text}");
    let single = policy(&json!({"data": each(&stored)}), &one("x")).unwrap();
    let single_read = fetched(&single, &stored);
    let text = end("data", || published(&single, &single_read, &Stop::default()));
    assert!(text.contains("the data has 1800000 bytes or more"), "{text}");
}

#[test]
fn parts_of_large_values_share_the_budget() {
    let json = format!("{{\"a\": 1, \"list\": [{}1]}}", "[1, \"b\"],".repeat(15_000));
    let stored = BTreeMap::from([("k".to_owned(), json.into_bytes())]);
    let data = |part: &Value| -> Value {
        let entry = |position: usize| {
            let mut reference = part.clone();
            reference["key"] = json!("k");
            json!({"secretKey": format!("s{position}"), "remoteRef": reference})
        };
        (0..256).map(entry).collect()
    };
    for part in [
        json!({"jmesPath": "a"}),
        json!({"jmesPath": "length(list[?[0] == `1`])"}),
        json!({"jmesPath": "length(sort_by(list[?[0]], &to_string([1])))"}),
    ] {
        let policy = policy(&json!({"data": data(&part)}), &one("x")).unwrap();
        let read = fetched(&policy, &stored);
        let text = end(&part.to_string(), || published(&policy, &read, &Stop::default()));
        assert!(text.contains("128 MiB") || text.contains("too large for this expression"), "{part}: {text}");
    }
}

#[test]
fn rewrites_of_many_names_end() {
    let rewrites = vec![json!({"regexp": {"source": "(.*[^A-Z]|[A-Z])", "target": "$1"}}); 16];
    let policy = policy(&json!({"dataFrom": [{"extract": {"key": "k"}, "rewrite": rewrites}]}), &one("x")).unwrap();
    let run = |count: u32, long: &str| {
        let name = |position: u32| (format!("{long}-{position}"), json!(""));
        let names: Value = (0..count).map(name).collect::<serde_json::Map<_, _>>().into();
        let read = fetched(&policy, &BTreeMap::from([("k".to_owned(), names.to_string().into_bytes())]));
        end("rewrites", || published(&policy, &read, &Stop::default()))
    };
    let text = run(60_000, "name");
    assert!(text.contains("60000 keys or more"), "{text}");
    // As many names as a Secret can have, and as long as their value can hold.
    let text = run(5_000, &"n".repeat(180));
    assert!(text.contains("rendered") || text.contains("128 MiB"), "{text}");
}

#[test]
fn deep_values_are_refused_by_every_reader() {
    for (part, expected) in
        [(json!({"property": "a"}), "not a JSON object"), (json!({"jmesPath": "a"}), "not a JSON object")]
    {
        for open in ["[", "{\"a\":"] {
            let stored = BTreeMap::from([("k".to_owned(), open.repeat(200_000).into_bytes())]);
            let mut reference = part.clone();
            reference["key"] = json!("k");
            let remote = json!({"data": [{"secretKey": "s", "remoteRef": reference}]});
            let policy = policy(&remote, &BTreeMap::new()).unwrap();
            let read = fetched(&policy, &stored);
            let text = end("deep", || published(&policy, &read, &Stop::default()));
            assert!(text.contains(expected), "{part}: {text}");
        }
    }
    for text in ["(".repeat(1_000), "!".repeat(1_000), "a.".repeat(500), "[".repeat(1_000), "a||".repeat(300)] {
        let remote = json!({"data": [{"secretKey": "s", "remoteRef": {"key": "k", "jmesPath": text}}]});
        let (result, taken) = measured(|| policy(&remote, &BTreeMap::new()).map(drop));
        assert!(result.is_err() && taken.is_within(Taken::MOST), "{text}: {taken:?}");
    }
    for pattern in ["(".repeat(500) + &")".repeat(500), "(a{9}){9}".repeat(100), "[".repeat(1_000)] {
        let remote = json!({"dataFrom": [{"find": {"nameRegexp": pattern}}]});
        let (result, taken) = measured(|| policy(&remote, &BTreeMap::new()).map(drop));
        assert!(taken.is_within(Taken::MOST), "{pattern}: {taken:?}: {result:?}");
    }
    let stored = read(&BTreeMap::from([("tls.crt".to_owned(), pem(&deep_der(20_000)).into_bytes())]));
    let text = end("chain", || rendered(&one("{{ filterCertChain \"leaf\" (index . \"tls.crt\") }}"), &stored));
    assert!(text.contains("no certificates"), "{text}");
    let broken = STANDARD.encode(deep_der(40_000));
    let stored = read(&BTreeMap::from([("file".to_owned(), broken.into_bytes())]));
    let text = end("file", || rendered(&one("{{ pkcs12cert (b64dec .file) }}"), &stored));
    assert!(text.contains("pkcs12cert"), "{text}");
}

#[test]
fn whoever_waits_can_end_it() {
    let stop = Stop::default();
    let busy = "{{ range until 9 }}{{ range until 900 }}{{ $x := sha256sum (repeat 1000 \"a\") }}{{ end }}{{ end }}";
    let policy = policy(&json!({"data": [{"secretKey": "k", "remoteRef": {"key": "k"}}]}), &many(256, busy)).unwrap();
    let stored = BTreeMap::from([("k".to_owned(), b"v".to_vec())]);
    let read = fetched(&policy, &stored);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            receiver.recv().unwrap();
            stop.stop();
        });
        sender.send(()).unwrap();
        let started = Instant::now();
        let mut last = Ok(BTreeMap::new());
        // Until the other thread has had its turn.
        while last.is_ok() || started.elapsed() < Duration::from_secs(30) {
            last = published(&policy, &read, stop);
            if last.as_ref().err() == Some(&SpecError::Render(RenderError::Stopped)) {
                return;
            }
        }
        panic!("it was not stopped: {last:?}");
    });
}
