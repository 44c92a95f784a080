//! Translates Go's syntax of regular expressions into that of the crate `regex`: the same language, but for what the
//! two read in different ways. `\d`, `\w` and `\s` are those of ASCII, `&&` and `[` in a class mean themselves,
//! `{,2}` is no count, and `++` has no meaning.

use std::fmt::Write as _;

/// All characters of Unicode.
const ALL: usize = 0x11_0000;
/// The cost to find the other case of a class of Unicode, as a number of characters. Measured: 0.2 to 0.3 ms.
const CLASS: usize = 50_000;
/// Names of classes of ASCII.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];
/// The largest count.
const MOST: u32 = 1000;

/// An expression, ready to be compiled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// In the syntax of the crate.
    pub pattern: String,
    /// The names of groups, with their numbers. The groups themselves have none.
    pub names: Vec<(String, usize)>,
    /// Whether upper and lower case may be the same.
    pub folds: bool,
    /// About how many characters its classes have: each costs a lookup of its other case.
    pub characters: usize,
    /// How many classes of Unicode it names: each is a table of several KiB.
    pub tables: usize,
}

/// `None`: Go does not accept it.
pub fn translated(pattern: &str) -> Option<Translated> {
    let mut reader = Reader { rest: pattern, groups: 0, open: 0, translated: Translated::default() };
    reader.all()?;
    Some(reader.translated)
}

struct Reader<'a> {
    rest: &'a str,
    groups: usize,
    open: usize,
    translated: Translated,
}

/// What comes before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that can be repeated.
    Nothing,
    Something,
    Repeated,
}

impl Reader<'_> {
    fn push(&mut self, text: &str) {
        self.translated.pattern.push_str(text);
    }

    fn literal(&mut self, character: char) {
        let mut text = [0; 4];
        self.push(&regex::escape(character.encode_utf8(&mut text)));
    }

    fn skip(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn one(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn all(&mut self) -> Option<()> {
        let mut before = Before::Nothing;
        while !self.rest.is_empty() {
            before = self.next(before)?;
        }
        (self.open == 0).then_some(())
    }

    fn next(&mut self, before: Before) -> Option<Before> {
        if self.skip("\\Q") {
            let (text, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            text.chars().for_each(|character| self.literal(character));
            self.rest = rest;
            return Some(if text.is_empty() { before } else { Before::Something });
        }
        match self.one()? {
            '(' => return self.group().map(|repeats| if repeats { before } else { Before::Nothing }),
            ')' => {
                self.open = self.open.checked_sub(1)?;
                self.push(")");
            }
            '|' => {
                self.push("|");
                return Some(Before::Nothing);
            }
            '[' => self.class()?,
            mark @ ('*' | '+' | '?') => return self.repeat(before, &mark.to_string()),
            '{' => match self.count()?.as_str() {
                "" => self.literal('{'),
                count => return self.repeat(before, count),
            },
            '\\' => self.escape()?,
            mark @ ('.' | '^' | '$') => self.translated.pattern.push(mark),
            character => self.literal(character),
        }
        Some(Before::Something)
    }

    fn repeat(&mut self, before: Before, mark: &str) -> Option<Before> {
        if before != Before::Something {
            return None;
        }
        self.push(mark);
        if self.skip("?") {
            self.push("?");
        }
        Some(Before::Repeated)
    }

    /// `{2}`, `{2,}` or `{2,3}` behind its brace; any other form is no count, and empty.
    fn count(&mut self) -> Option<String> {
        fn number(text: &str) -> Option<u32> {
            let is_number =
                text.bytes().all(|byte| byte.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
            (is_number && !text.is_empty()).then(|| text.parse().unwrap_or(u32::MAX))
        }
        let Some((inside, rest)) = self.rest.split_once('}') else { return Some(String::new()) };
        let (least, most) = match inside.split_once(',') {
            Some((least, "")) => (number(least), number(least)),
            Some((least, most)) => (number(least), number(most)),
            None => (number(inside), number(inside)),
        };
        let (Some(least), Some(most)) = (least, most) else { return Some(String::new()) };
        if least > MOST || most > MOST || most < least {
            return None;
        }
        self.rest = rest;
        Some(format!("{{{inside}}}"))
    }

    /// A group behind its parenthesis. Returns whether it was no group but flags for what follows.
    fn group(&mut self) -> Option<bool> {
        if !self.skip("?") {
            self.groups += 1;
            self.open += 1;
            self.push("(");
            return Some(false);
        }
        if self.skip("P<") || self.skip("<") {
            let (name, rest) = self.rest.split_once('>')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_name || self.translated.names.iter().any(|(other, _)| other == name) {
                return None;
            }
            self.rest = rest;
            self.groups += 1;
            self.open += 1;
            self.translated.names.push((name.to_owned(), self.groups));
            self.push("(");
            return Some(false);
        }
        let end = self.rest.find([':', ')'])?;
        let (flags, rest) = self.rest.split_at(end);
        let (on, off) = flags.split_once('-').map_or((flags, None), |(on, off)| (on, Some(off)));
        let is_flags = |text: &str| text.bytes().all(|flag| b"imsU".contains(&flag));
        if !is_flags(on) || off.is_some_and(|off| off.is_empty() || !is_flags(off)) {
            return None;
        }
        self.translated.folds |= on.contains('i');
        self.rest = &rest[1..];
        let is_group = rest.starts_with(':');
        // One flag may occur twice; without any, `(?)` means nothing.
        let unique = |text: &str| "imsU".chars().filter(|flag| text.contains(*flag)).collect::<String>();
        let flags = match off {
            Some(off) => {
                format!("{}-{}", on.chars().filter(|flag| !off.contains(*flag)).collect::<String>(), unique(off))
            }
            None => unique(on),
        };
        if is_group {
            self.open += 1;
            self.push(&format!("(?{flags}:"));
        } else if !flags.is_empty() {
            self.push(&format!("(?{flags})"));
        }
        Some(!is_group)
    }

    /// An escape outside of a class, behind its backslash.
    fn escape(&mut self) -> Option<()> {
        for (mark, written) in [("A", "\\A"), ("b", "(?-u:\\b)"), ("B", "(?-u:\\B)"), ("z", "\\z")] {
            if self.skip(mark) {
                self.push(written);
                return Some(());
            }
        }
        let set = self.set()?;
        match set.chars().next() {
            None => {
                let character = self.character()?;
                self.literal(character);
            }
            Some('[' | '\\') if !set.starts_with("\\t") => self.push(&set),
            Some(_) => self.push(&format!("[{set}]")),
        }
        Some(())
    }

    /// A set that an escape stands for, as part of a class; empty for an escape that is a character.
    fn set(&mut self) -> Option<String> {
        for (mark, written) in [
            ("d", "0-9"),
            ("D", "[^0-9]"),
            ("s", r"\t\n\x0C\r "),
            ("S", r"[^\t\n\x0C\r ]"),
            ("w", "0-9A-Za-z_"),
            ("W", "[^0-9A-Za-z_]"),
        ] {
            if self.skip(mark) {
                return Some(written.to_owned());
            }
        }
        let mut is_negated = self.rest.starts_with('P');
        if !self.skip("p") && !self.skip("P") {
            return Some(String::new());
        }
        let name = if self.skip("{") {
            let (name, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            name.to_owned()
        } else {
            self.one()?.to_string()
        };
        let name = name.strip_prefix('^').map_or(name.as_str(), |name| {
            is_negated = !is_negated;
            name
        });
        // The crate reads names more loosely.
        if !name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_') {
            return None;
        }
        let is_all = matches!(&*name.to_ascii_lowercase().replace('_', ""), "any" | "assigned");
        self.translated.characters += if is_all { ALL } else { CLASS };
        self.translated.tables += 1;
        Some(format!("\\{}{{{name}}}", if is_negated { 'P' } else { 'p' }))
    }

    /// A character that an escape stands for.
    fn character(&mut self) -> Option<char> {
        let first = self.one()?;
        Some(match first {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => return self.hexadecimal(),
            '0'..='7' => {
                let end = self.rest.bytes().take(2).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
                let (digits, rest) = self.rest.split_at(end);
                // `\1` would be what a group has matched, which Go does not have.
                if first != '0' && digits.is_empty() {
                    return None;
                }
                self.rest = rest;
                char::from_u32(u32::from_str_radix(&format!("{first}{digits}"), 8).ok()?)?
            }
            _ if first.is_ascii() && !first.is_ascii_alphanumeric() => first,
            _ => return None,
        })
    }

    fn hexadecimal(&mut self) -> Option<char> {
        let (digits, rest) =
            if self.skip("{") { self.rest.split_once('}')? } else { (self.rest.get(..2)?, &self.rest[2..]) };
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = rest;
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }

    /// A class behind its bracket.
    fn class(&mut self) -> Option<()> {
        let mut class = if self.skip("^") { "[^".to_owned() } else { "[".to_owned() };
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            if let Some((name, rest)) = self.rest.strip_prefix("[:").and_then(|inside| inside.split_once(":]")) {
                if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return None;
                }
                class.extend(["[:", name, ":]"]);
                self.rest = rest;
                continue;
            }
            if let Some(escape) = self.rest.strip_prefix('\\') {
                let before = std::mem::replace(&mut self.rest, escape);
                let set = self.set()?;
                if !set.is_empty() {
                    class.push_str(&set);
                    continue;
                }
                self.rest = before;
            }
            let low = self.class_character()?;
            let mut high = low;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.one();
                high = self.class_character()?;
            }
            if high < low {
                return None;
            }
            self.translated.characters += (u32::from(high) - u32::from(low)) as usize;
            write!(class, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(low), u32::from(high)).ok()?;
        }
        self.one();
        class.push(']');
        self.push(&class);
        Some(())
    }

    fn class_character(&mut self) -> Option<char> {
        if self.skip("\\") { self.character() } else { self.one() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_reads_compiles_and_what_it_does_not_read_is_refused() {
        for (pattern, matching, other) in [
            (r"^\d$", "5", "٥"),
            (r"^[a&&b]$", "&", "c"),
            (r"^[[a]$", "[", "b"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^[]a]$", "]", "b"),
            (r"^[\d\-x]$", "-", "a"),
            (r"^\s$", "\x0c", "\x0b"),
            (r"^\x41\101\x{e9}$", "AAé", "A"),
            (r"^(?i)É$", "é", "e"),
            (r"^\bé", "\u{0}", "é"),
            (r"^[a-]$", "-", "b"),
            (r"^\p{^Greek}$", "a", "α"),
            (r"^(?P<1x>a)$", "a", "b"),
            (r"^[[:]$", ":", "a"),
            (r"^[a[:]b$", "[b", "b"),
            (r"^[[:^alpha:]]$", "1", "a"),
            (r"^(?)a$", "a", "b"),
        ] {
            let compiled = translated(pattern).map(|translated| regex::Regex::new(&translated.pattern));
            let Some(Ok(compiled)) = compiled else { panic!("{pattern}: {compiled:?}") };
            assert!(pattern.contains("\\b") || compiled.is_match(matching), "{pattern} {compiled}");
            assert!(!compiled.is_match(other), "{pattern} {compiled}");
        }
        for pattern in [
            "(",
            ")",
            "a**",
            "a++",
            "*",
            "a|*",
            r"\1",
            r"\C",
            r"\Z",
            r"\é",
            "(?=a)",
            "(?x)a",
            "a{1001}",
            "a{2,1}",
            "[b-a]",
            "[]",
            "[[:foo:]]",
            "[[:alpha",
            r"\p{Script=Greek}",
            r"\u00e9",
            "(?P<a>x)(?P<a>y)",
        ] {
            assert_eq!(translated(pattern), None, "{pattern}");
        }
    }
}
