//! Replacing what a regular expression finds. A search takes linear time, but a text may have as many matches as
//! characters and each search may read to its end, so between two of them somebody may end it.

use regex::Regex;

/// Bytes that the searches of one replacement may read, if each reads the whole rest: on a text of 8 KiB no
/// expression gets as far.
const MAX_READ: usize = 64 * 1024 * 1024;

/// Counts what searches on one text read.
#[derive(Debug, Default)]
pub struct Reads(usize);

impl Reads {
    /// A search that reads at most this many bytes; `None`: it is one too many.
    pub fn one(&mut self, rest: usize) -> Option<()> {
        self.0 = self.0.saturating_add(rest);
        (self.0 <= MAX_READ).then_some(())
    }
}

/// `text` with each match replaced, `$1` and `${name}` by what groups have matched; `None`: the result is larger than
/// `limit`, or there are too many matches.
///
/// # Errors
/// What `go_on`, asked before each search, says.
pub fn replaced<E>(
    regex: &Regex,
    text: &str,
    replacement: &str,
    limit: usize,
    go_on: impl Fn() -> Result<(), E>,
) -> Result<Option<String>, E> {
    let (mut result, mut end, mut reads) = (String::new(), 0, Reads::default());
    let references = replacement.matches('$').count();
    for found in regex.captures_iter(text) {
        go_on()?;
        let Some(whole) = found.get(0) else { continue };
        result.push_str(&text[end..whole.start()]);
        let most = references.saturating_mul(whole.len()).saturating_add(replacement.len());
        if most > limit || reads.one(text.len() - whole.start()).is_none() {
            return Ok(None);
        }
        found.expand(replacement, &mut result);
        end = whole.end();
        if result.len() > limit {
            return Ok(None);
        }
    }
    result.push_str(&text[end..]);
    Ok((result.len() <= limit).then_some(result))
}
