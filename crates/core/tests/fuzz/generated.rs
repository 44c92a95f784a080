//! Templates that nobody has written: made by the grammar, then broken here and there.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    fs,
    hash::{BuildHasher as _, Hasher as _},
    path::Path,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rekey_core::render::template;

use crate::{
    dice::Dice,
    meter::{Taken, measured},
    world::{read, rendered},
};

/// The functions, as the reference lists them.
fn functions() -> Vec<&'static str> {
    let reference = include_str!("../../../../docs/reference/templates.md");
    let table = reference.split("## What differs").next().unwrap();
    let mut names: Vec<&str> = table
        .split('`')
        .filter(|name| template::check(&template::Template::new("t", &format!("{{{{ {name} }}}}"))).is_ok())
        .collect();
    names.extend(["and", "or", "not", "len", "index", "call", "printf", "print", "html", "js", "urlquery", "eq", "lt"]);
    names
}

/// What a store may hold that others can write to. A template sees it as `.name`.
pub fn values() -> BTreeMap<String, Vec<u8>> {
    let deep = |open: &str, close: &str, levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let bomb: String =
        (1..20).map(|level| format!("a{level}: &a{level} [{}]\n", format!("*a{}, ", level - 1).repeat(9))).collect();
    [
        ("user", b"orders".to_vec()),
        ("empty", Vec::new()),
        ("binary", (0..=255).cycle().take(20_000).collect()),
        ("long", "A".repeat(100_000).into_bytes()),
        ("lines", "key = value\n".repeat(5_000).into_bytes()),
        ("json", format!("[{}0]", "{\"a\": [1.5, \"b\"]},".repeat(3_000)).into_bytes()),
        ("deepJson", deep("[", "]", 50_000).into_bytes()),
        ("nestedJson", deep("{\"a\":", "}", 31).into_bytes()),
        ("deepYaml", deep("[", "]", 6_000).into_bytes()),
        ("bombYaml", format!("a0: &a0 x\n{bomb}").into_bytes()),
        ("number", b"-9223372036854775808".to_vec()),
        ("pem", pem(&deep_der(4_000)).into_bytes()),
        ("pkcs12", STANDARD.encode(deep_der(10_000)).into_bytes()),
        ("pattern", b"(([ab]|a)*){700}[^ab]x".to_vec()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Sequences inside each other, with lengths that fit.
pub fn deep_der(levels: usize) -> Vec<u8> {
    let mut der = vec![0x02, 0x01, 0x01];
    for _ in 0..levels {
        let length = u32::try_from(der.len()).unwrap().to_be_bytes();
        // From inside to outside, turned round at the end.
        der.extend(length.iter().rev());
        der.extend([0x84, 0x30]);
    }
    let (inner, outer) = der.split_at(3);
    outer.iter().rev().chain(inner).copied().collect()
}

/// As a certificate.
pub fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

struct Maker<'a> {
    dice: Dice,
    functions: &'a [&'static str],
    fields: &'a [String],
    /// Nodes that may still be made.
    left: usize,
}

impl Maker<'_> {
    fn list(&mut self, level: usize) -> String {
        let count = 1 + self.dice.below(4);
        (0..count).map(|_| self.node(level + 1)).collect()
    }

    fn node(&mut self, level: usize) -> String {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || level > 12 {
            return "end".to_owned();
        }
        let (open, close) = (self.dice.one(&["{{ ", "{{- "]), self.dice.one(&[" }}", " -}}"]));
        match self.dice.below(12) {
            0 => self.dice.one(&["text\n", "", "(((", "}}", "{", "ü"]).to_owned(),
            1 | 2 => {
                let kind = self.dice.one(&["if", "with", "range", "range $i, $x :=", "range $x :="]);
                let (condition, body) = (self.expression(0), self.list(level));
                let links: String = (0..self.dice.below(4))
                    .map(|_| format!("{{{{ else if {} }}}}{}", self.expression(0), self.list(level)))
                    .collect();
                let other = if self.dice.once_in(2) { "" } else { "{{else}}-" };
                format!("{open}{kind} {condition}{close}{body}{links}{other}{{{{end}}}}")
            }
            3 => format!("{{{{ range until {} }}}}{}{{{{ end }}}}", self.dice.below(100_000), self.list(level)),
            4 => format!("{{{{ define \"d{}\" }}}}{}{{{{ end }}}}", self.dice.below(4), self.list(level)),
            5 => format!("{{{{ template \"d{}\" {} }}}}", self.dice.below(4), self.expression(0)),
            6 => format!("{open}$x := {}{close}", self.expression(0)),
            7 => format!("{open}$x = {} | {}{close}", self.expression(0), self.dice.one(self.functions)),
            8 => "{{/* \" {{ if } */}}".to_owned(),
            _ => format!("{open}{}{close}", self.expression(0)),
        }
    }

    fn expression(&mut self, level: usize) -> String {
        if level > 4 {
            return "$".to_owned();
        }
        match self.dice.below(10) {
            0 => self
                .dice
                .one(&["\"a\"", "`}}`", "'''", "\"\\\"\"", "\"%999d\"", "\"[01]*1[01]{900}\"", "\"\"", "\".*\""])
                .to_owned(),
            1 => self
                .dice
                .one(&["0", "1", "-1", "1048576", "65536", "9223372036854775807", "1e308", "0x7f", "nil"])
                .to_owned(),
            2 | 3 => format!(".{}", self.fields[self.dice.below(self.fields.len())]),
            4 => self.dice.one(&[".", "$", "$x", "$x.a", "$x._0", ".nope"]).to_owned(),
            5 => format!("(repeat {} {})", self.dice.below(200_000), self.expression(level + 1)),
            _ => {
                let name = self.dice.one(self.functions);
                let arguments: Vec<String> = (0..=self.dice.below(3)).map(|_| self.expression(level + 1)).collect();
                format!("({name} {})", arguments.join(" "))
            }
        }
    }

    /// Takes a part out, doubles it, or puts something where it does not belong.
    fn broken(&mut self, mut text: String) -> String {
        for _ in 0..self.dice.below(4) {
            let mut place = || {
                let mut at = self.dice.below(text.len() + 1);
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let (one, other) = (place(), place());
            let (from, to) = (one.min(other), one.max(other));
            match self.dice.below(4) {
                0 if to - from < 40 => text.replace_range(from..to, ""),
                1 if text.len() < 60_000 => {
                    let part = text[from..to].to_owned();
                    text.insert_str(to, &part);
                }
                2 => text.insert_str(from, &"{{else if 1}}".repeat(self.dice.below(300))),
                _ => text.insert_str(
                    from,
                    self.dice.one(&["{{", "}}", "\"", "`", "'", "(", ")", "{{end}}", "/*", "|", "$", "-"]),
                ),
            }
        }
        text
    }
}

/// A template that follows from `seed`.
fn template(seed: u64, functions: &[&'static str], fields: &[String]) -> String {
    let mut maker = Maker { dice: Dice(seed), functions, fields, left: 60 };
    let text = format!("{{{{ $x := .user }}}}{}", maker.list(0));
    if maker.dice.once_in(2) { text } else { maker.broken(text) }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line; how long it runs comes from the environment"
)]
fn is_proof() -> bool {
    std::env::var_os("REKEY_PROVE").is_some_and(|value| !value.is_empty())
}

#[test]
fn generated_templates_end_in_time() {
    let (time, start) = if is_proof() {
        (Duration::from_mins(5), RandomState::new().build_hasher().finish())
    } else {
        (Duration::from_secs(2), 1)
    };
    let (stored, functions) = (values(), functions());
    assert!(functions.len() > 100, "{functions:?}");
    let fields: Vec<String> = stored.keys().cloned().collect();
    let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join("last.tmpl");
    println!("seed {start}; the template that is being rendered stands in {}", last.display());
    let stored = read(&stored);
    let (mut spent, mut count, mut good) = (Duration::ZERO, 0_u64, 0_u64);
    let mut most = (0, Duration::ZERO, 0, 0);
    while spent < time {
        let seed = start.wrapping_add(count);
        count += 1;
        let templates = BTreeMap::from([("t".to_owned(), template(seed, &functions, &fields))]);
        // Whoever overflows the stack says nothing more.
        fs::write(&last, &templates["t"]).unwrap();
        let (result, taken) = measured(|| rendered(&templates, &stored));
        spent += taken.time.max(Duration::from_millis(1));
        good += u64::from(result.is_ok());
        assert!(taken.is_within(Taken::MOST), "seed {seed}: {taken:?}: {}", templates["t"]);
        if taken.time > most.1 {
            (most.0, most.1) = (seed, taken.time);
        }
        if taken.memory > most.3 {
            (most.2, most.3) = (seed, taken.memory);
        }
    }
    println!(
        "{count} templates, {good} rendered; the slowest {:?} (seed {}), the largest {} KiB (seed {})",
        most.1,
        most.0,
        most.3 / 1024,
        most.2
    );
    assert!(count > 10, "only {count} templates");
}
