//! Values of all kinds of characters and bytes, through every function that takes one text.

use std::collections::BTreeMap;

use anyhow::Result;
use rekey_testkit::oracle::Oracle;

use crate::{compare::Counts, dice::Dice, sample};

/// Parts of values.
const PARTS: &[&[u8]] = &[
    b"a",
    b"Z",
    b"q",
    b"0",
    b"9",
    b" ",
    b" ",
    b"_",
    b"-",
    b":",
    b"#",
    b".",
    b",",
    b"'",
    b"\"",
    b"\\",
    b"\n",
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b"\x07",
    b"\x1b",
    b"\x7f",
    b"~",
    b"!",
    b"@",
    b"%",
    b"&",
    b"*",
    b"{",
    b"}",
    b"[",
    b"]",
    b"|",
    b">",
    b"<",
    b"?",
    b"`",
    b"=",
    b"+",
    b"/",
    b"$",
    b"^",
    b"(",
    b")",
    b";",
    b"yes",
    b"no",
    b"on",
    b"y",
    b"null",
    b"true",
    b"0x1F",
    b"1e3",
    b"1_000",
    b"2001-01-01",
    b"1:20",
    b"010",
    b".5",
    b"- ",
    b": ",
    b" #",
    b"---",
    b"...",
    b"word",
    b"HTTPServer",
    b"fooBar",
    b"\xff",
    b"\xc3",
    b"\xe4\xb8",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"%!d",
    b"<no value>",
];
const CHARACTERS: &[char] = &[
    'é',
    'ß',
    'Ǆ',
    'ǅ',
    'İ',
    'ς',
    'ﬁ',
    '中',
    '\u{85}',
    '\u{a0}',
    '\u{ad}',
    '\u{200b}',
    '\u{2028}',
    '\u{2029}',
    '\u{feff}',
    '\u{fffd}',
    '\u{301}',
    '\u{e000}',
    '\u{378}',
    '٥',
    'Ⅷ',
    '😀',
    '\u{1f1e6}',
    '𝒜',
    '\u{10ffff}',
    '·',
    '¿',
    '\u{3000}',
    '\u{1680}',
];

/// Expressions with a value `V`.
const USES: &[&str] = &[
    "V",
    "V | quote",
    "squote V",
    "printf \"%q %+q %x %v\" V V V V",
    "printf \"%#q %5.3q|%-9s|%9.2s\" V V V V",
    "toJson V",
    "toRawJson V",
    "toPrettyJson (list V)",
    "toYaml V",
    "toYaml (list V (list V))",
    "toYaml (dict \"k\" V \"a\" (dict \"b\" V))",
    "toYaml (dict V 1 \"b\" 2)",
    "toJson (dict V V)",
    "html V",
    "js V",
    "urlquery V",
    "len V",
    "upper V",
    "lower V",
    "title V",
    "untitle V",
    "swapcase V",
    "camelcase V",
    "snakecase V",
    "kebabcase V",
    "initials V",
    "nospace V",
    "trim V",
    "wrap 5 V",
    "wrapWith 3 \"|\" V",
    "abbrev 5 V",
    "abbrevboth 5 9 V",
    "trunc 3 V",
    "trunc -3 V",
    "substr 1 2 V",
    "indent 2 V",
    "nindent 2 V",
    "replace \"\" \"-\" V",
    "splitList \"\" V | toJson",
    "splitList \" \" V | join \"+\"",
    "splitn \"\" 3 V",
    "trimAll V V",
    "trimAll \"aé\\xff\" V",
    "contains V V",
    "regexQuoteMeta V",
    "regexFindAll \".\" V -1 | join \"|\"",
    "regexReplaceAll \"[^a-z]\" V \"<$0>\"",
    "regexSplit \"\\\\s\" V -1 | toJson",
    "regexReplaceAll \"a*\" V V",
    "regexMatch V V",
    "base V",
    "dir V",
    "clean V",
    "ext V",
    "urlParse V",
    "urlParse V | urlJoin",
    "semver V",
    "int V",
    "int64 V",
    "float64 V",
    "atoi V",
    "toDecimal V",
    "add V 1",
    "addf V 1",
    "duration V",
    "durationRound V",
    "b64enc V",
    "b64dec V",
    "b32enc V",
    "b32dec V",
    "hexdec V",
    "fromJson V",
    "fromYaml V",
    "fromYaml (print \"k: \" V)",
    "fromJson (toJson V)",
    "fromYaml (toYaml (dict \"k\" V))",
    "sha256sum V",
    "adler32sum V",
    "repeat 2 V",
    "cat V V",
    "eq V V",
    "lt V \"m\"",
    "default \"d\" V",
    "range V",
    "semverCompare V \"1.2.3\"",
    "typeOf V",
    "index (dict V 1) V",
    "slice (list V) 0",
    "print V 1 V",
    "println V",
];

/// So many values in one round.
const VALUES: usize = 10;

pub fn compared(oracle: &Oracle) -> Result<()> {
    let mut counts = Counts::default();
    for seed in 0..sample(3, 100) {
        let mut dice = Dice(seed);
        let data: BTreeMap<String, Vec<u8>> = (0..VALUES).map(|at| (format!("v{at}"), value(&mut dice))).collect();
        let templates: Vec<String> = data.keys().flat_map(|name| USES.iter().map(move |of| used(of, name))).collect();
        counts.compare(oracle, &templates, &data)?;
    }
    counts.end("values")
}

fn used(template: &str, name: &str) -> String {
    let action = template.replace('V', &format!(".{name}"));
    match action.strip_prefix("range ") {
        Some(over) => format!("{{{{ range $i, $x := splitList \"\" {over} }}}}{{{{ $i }}}}{{{{ $x }}}}{{{{ end }}}}"),
        None => format!("{{{{ {action} }}}}"),
    }
}

fn value(dice: &mut Dice) -> Vec<u8> {
    let mut value = Vec::new();
    let longest = if dice.once_in(5) { 60 } else { 6 };
    let length = dice.below(longest);
    for _ in 0..=length {
        if dice.once_in(4) {
            let character = dice.one(CHARACTERS);
            value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            value.extend_from_slice(dice.one(PARTS));
        }
    }
    value
}
