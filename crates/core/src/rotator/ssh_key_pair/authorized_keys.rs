//! `authorized_keys`: a line a key, and lines that start with `#`, which sshd ignores
//! (<https://man.openbsd.org/sshd#AUTHORIZED_KEYS_FILE_FORMAT>).
//!
//! Our two lines are at the end, below a marker each, so that the next rotation can tell the keys of an unfinished one
//! from those of others. A key is recognised by its algorithm and its bytes: options before it and a comment behind it
//! are the user's.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The line above the old key.
pub(super) const OLD: &str = "# the old key, until it is retired";
/// The line above the new key.
pub(super) const NEW: &str = "# the new key";

/// A line with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The options before the key: what the server allows with it; mostly empty.
    options: String,
    /// Algorithm and key, separated by one space.
    key: String,
    comment: String,
}

impl Entry {
    /// Reads a line, or the first one of several. `None` when it holds no key.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let line = text.trim_start().lines().next()?.trim();
        if line.starts_with('#') {
            return None;
        }
        // Options may hold spaces in quotes, but no two words in a row that are an algorithm and a key of it.
        let words: Vec<&str> = line.split([' ', '\t']).collect();
        let at = words.windows(2).position(|pair| is_key(pair[0], pair[1]))?;
        Some(Self {
            options: words[..at].join(" ").trim().to_owned(),
            key: words[at..at + 2].join(" "),
            comment: words[at + 2..].join(" ").trim().to_owned(),
        })
    }

    fn line(&self) -> String {
        let parts = [&self.options, &self.key, &self.comment];
        let present: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
        present.join(" ")
    }
}

/// Whether the second word is a key of the algorithm that the first one names (RFC 4253, 6.6: a key starts with the
/// name).
fn is_key(algorithm: &str, key: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(key) else { return false };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return false };
    usize::try_from(u32::from_be_bytes(*length)) == Ok(algorithm.len()) && rest.starts_with(algorithm.as_bytes())
}

/// What the file holds during a rotation, but for the new key.
#[derive(Debug)]
pub(super) struct AuthorizedKeys<'a> {
    others: Vec<&'a str>,
    /// Keys of ours that an earlier rotation left: a pod may still hold one of them.
    left: Vec<&'a str>,
    old: Option<Entry>,
}

impl<'a> AuthorizedKeys<'a> {
    /// Reads a file: `old` is the key to replace. Keys that an unfinished rotation left stay until this one retires
    /// them: nobody has proven that no pod holds them.
    pub(super) fn read(text: &'a str, old: Option<&Entry>) -> Self {
        let is_old = |line: &str| old.is_some_and(|old| Entry::parse(line).is_some_and(|entry| entry.key == old.key));
        // The line of the file counts: it may have options.
        let old = lines(text).find(|line| is_old(line)).and_then(Entry::parse).or_else(|| {
            // From the public key's own text, take only the key and its comment.
            old.map(|old| Entry { options: String::new(), ..old.clone() })
        });
        let beside = || below_markers(text).filter(|(_, line)| !is_old(line));
        let others = beside().filter(|(marker, _)| marker.is_none()).map(|(_, line)| line).collect();
        Self { others, left: beside().filter(|(marker, _)| marker.is_some()).map(|(_, line)| line).collect(), old }
    }

    /// The file with a new key, which has the options of the old one.
    pub(super) fn with(&self, public: &str) -> String {
        let new = match &self.old {
            Some(Entry { options, .. }) if !options.is_empty() => format!("{options} {public}"),
            Some(_) | None => public.to_owned(),
        };
        // A key made again from the same chance is there already.
        let is_new =
            |line: &str| Entry::parse(line).map(|entry| entry.key) == Entry::parse(public).map(|entry| entry.key);
        let left = self.left.iter().copied().filter(|line| !is_new(line));
        let old = self.old.as_ref().map(Entry::line);
        let ours = left.chain(old.as_deref()).flat_map(|old| [OLD, old]).chain([NEW, &new]);
        joined(self.others.iter().copied().chain(ours))
    }
}

/// The file without the markers and without the old keys.
pub(super) fn retired(text: &str) -> String {
    joined(below_markers(text).filter(|(marker, _)| *marker != Some(OLD)).map(|(_, line)| line))
}

/// The lines of a file but for the markers; each key right below a marker comes with it.
fn below_markers(text: &str) -> impl Iterator<Item = (Option<&'static str>, &str)> {
    let mut marker = None;
    lines(text).filter_map(move |line| {
        let found = [OLD, NEW].into_iter().find(|known| line.trim() == *known);
        let above = marker.take();
        marker = found;
        // A comment or an empty line below a marker is not ours.
        let is_key = !line.trim().is_empty() && !line.trim_start().starts_with('#');
        found.is_none().then_some((above.filter(|_| is_key), line))
    })
}

/// The lines as they are, with the carriage return that some editors leave at their end.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_terminator('\n')
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}
