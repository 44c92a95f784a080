//! The output of the demo: numbered chapters, applied manifests, and counted checks. No line is wider than
//! [`WIDTH`] but those that kubectl prints.

use std::{io::Write as _, path::Path, time::Duration};

const WIDTH: usize = 100;
const INDENT: &str = "   ";

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Output {
    colour: bool,
    chapters: usize,
    passed: usize,
    failed: usize,
}

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Faint,
    Green,
    Red,
}

impl Output {
    /// Writes to standard output.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self { colour, ..Self::default() }
    }

    /// Writes without colour from now on.
    pub fn without_colour(&mut self) {
        self.colour = false;
    }

    /// How many checks failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.failed
    }

    /// A heading without a number.
    pub fn heading(&self, text: &str) {
        put(&format!("\n{}", self.styled(Style::Bold, text)));
    }

    /// The heading of the next chapter.
    pub fn chapter(&mut self, text: &str) {
        self.chapters += 1;
        self.heading(&format!("{}. {text}", self.chapters));
    }

    /// A paragraph.
    #[expect(clippy::unused_self, reason = "only a holder of the output may print")]
    pub fn say(&self, text: &str) {
        let hanging = if text.starts_with("- ") { 2 } else { 0 };
        for (at, line) in wrapped(text, WIDTH - INDENT.len() - hanging).iter().enumerate() {
            put(&format!("{INDENT}{:1$}{line}", "", if at == 0 { 0 } else { hanging }));
        }
    }

    /// Text to read or to copy as it is: a manifest, a command.
    pub fn block(&self, text: &str) {
        for line in text.trim_end().lines() {
            put(self.styled(Style::Faint, &format!("{INDENT}  {line}")).trim_end());
        }
    }

    /// A command, and what it printed, as wide as that is.
    pub fn command(&self, command: &str, printed: &str) {
        put(&self.styled(Style::Bold, &format!("$ {}", continued(command))));
        put(printed.trim_end());
    }

    /// An empty line.
    #[expect(clippy::unused_self, reason = "only a holder of the output may print")]
    pub fn pause(&self) {
        put("");
    }

    /// A check that passed.
    pub fn passed(&mut self, claim: &str, took: Duration) {
        self.passed += 1;
        self.verdict(Style::Green, "ok", claim, took);
    }

    /// A check that failed: what was seen instead, and where to look.
    pub fn failed(&mut self, claim: &str, took: Duration, seen: &str, logs: Option<&Path>) {
        self.failed += 1;
        self.verdict(Style::Red, "FAILED", claim, took);
        let logs = logs.map(|at| format!("logs: {}", at.display()));
        for text in std::iter::once(seen.to_owned()).chain(logs) {
            for line in text.lines().flat_map(|line| wrapped(line, WIDTH - 10)) {
                put(&self.styled(Style::Red, &format!("{:10}{line}", "")));
            }
        }
    }

    /// The last line.
    pub fn sum(&self) {
        let style = if self.failed == 0 { Style::Green } else { Style::Red };
        put(&format!("\n{}", self.styled(style, &format!("demo: {}", self.counted()))));
    }

    /// How many checks passed, and how many did not.
    #[must_use]
    pub fn counted(&self) -> String {
        format!("{} checks passed, {} failed", self.passed, self.failed)
    }

    fn verdict(&self, style: Style, word: &str, claim: &str, took: Duration) {
        // An immediate result needs no time.
        let text = match took.as_secs_f64() {
            seconds if seconds < 0.05 => claim.to_owned(),
            seconds => format!("{claim} ({seconds:.1}s)"),
        };
        for (at, line) in wrapped(&text, WIDTH - 10).iter().enumerate() {
            let word = if at == 0 { word } else { "" };
            put(&format!("{INDENT}{} {line}", self.styled(style, &format!("{word:6}"))));
        }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => 1,
            Style::Faint => 2,
            Style::Green => 32,
            Style::Red => 31,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A command for the shell, on several lines if it is long.
#[must_use]
pub fn continued(command: &str) -> String {
    wrapped(command, WIDTH - 10).join(" \\\n    ")
}

/// A failure that ends the demo.
pub fn give_up(error: &anyhow::Error) {
    put("");
    for line in format!("demo: {error:#}").lines().flat_map(|line| wrapped(line, WIDTH)) {
        put(&line);
    }
}

/// Words in lines of at most `width`; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => word.clone_into(last),
            Some(last) if line + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// If this fails, nobody reads any more, and cleaning up goes on.
pub fn put(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn words_are_kept_whole_and_lines_short() {
        assert_eq!(wrapped("one two  three", 8), ["one two", "three"]);
        assert_eq!(wrapped("extraordinary is long", 8), ["extraordinary", "is long"]);
        assert_eq!(wrapped("", 8), [""]);
    }
}
