//! The allowed differences, each with its reason. All else must be as in Go.

use rekey_testkit::oracle::{Answer, Refused};

/// What Rekey makes of a template: bytes, or why none.
pub type Ours = Result<Vec<u8>, String>;

/// A kind of difference.
pub struct Allowed {
    pub kind: &'static str,
    /// Why it may be.
    pub reason: &'static str,
    holds: fn(&Ours, &Answer) -> bool,
}

/// Functions of Sprig that Rekey does not have.
pub const NOT_THERE: &[&str] = &["buildCustomCert", "decryptAES", "derivePassword"];

pub const ALL: &[Allowed] = &[
    Allowed {
        kind: "chance, clock, environment",
        reason: "a function that gives something else each time would make a new value in each round",
        holds: |ours, _| refused(ours, &["something else each time"]),
    },
    Allowed {
        kind: "an error is an error",
        reason: "Sprig goes on with the text of an error, or with nothing, as if that were the value",
        holds: |ours, theirs| ours.is_err() && theirs.has("swallowed"),
    },
    Allowed {
        kind: "nothing is printed",
        reason: "`<no value>` as a credential is worse than none",
        holds: |ours, theirs| ours.is_err() && theirs.has("no value"),
    },
    Allowed {
        kind: "a verb that does not fit",
        reason: "`%!d(string=…)` as a credential is worse than none, and shows the value",
        holds: |ours, theirs| ours.is_err() && theirs.has("misfit"),
    },
    Allowed {
        kind: "bytes in JSON and YAML",
        reason: "Go puts U+FFFD in the place of bytes that are no UTF-8, and spaces in that of line ends of Unicode",
        holds: |ours, theirs| ours.is_err() && theirs.has("bytes"),
    },
    Allowed {
        kind: "digits of numbers",
        reason: "Go reads each number of JSON as a float: 12345678901 prints as 1.2345678901e+10, and 20 digits are not kept",
        holds: |_, theirs| theirs.has("digits"),
    },
    Allowed {
        kind: "bounds",
        reason: "a template may not take the memory or the time of the operator",
        holds: |ours, _| refused(ours, BOUNDS),
    },
    Allowed {
        kind: "more than a million",
        reason: "Go is not asked, for the memory of the machine of the test",
        holds: |_, theirs| theirs.has("large"),
    },
    Allowed {
        kind: "a dict that is nil",
        reason: "here it is an empty one, which JSON and YAML write as {} instead of null",
        holds: |_, theirs| theirs.has("nil dict"),
    },
    Allowed {
        kind: "behind the end of a list",
        reason: "Go gives what its memory holds there in reserve",
        holds: |ours, theirs| ours.is_err() && theirs.has("reserve"),
    },
    Allowed {
        kind: "imaginary numbers",
        reason: "no function takes one, and no credential is one",
        holds: |ours, _| refused(ours, &["imaginary numbers"]),
    },
    Allowed {
        kind: "Go has no answer",
        reason: "the program ended: it took too long, or its stack was full",
        holds: |ours, theirs| ours.is_err() && theirs.result == Err(Refused::Ended),
    },
];

/// Parts of Rekey's messages about bounds.
const BOUNDS: &[&str] = &[
    "MiB",
    "levels deep",
    "steps in all",
    "4 KiB",
    "16 KiB",
    "128 KiB",
    "a width, a precision",
    "too large a regular expression",
    "about 20 times bcrypt",
];

pub trait Marked {
    fn has(&self, mark: &str) -> bool;
}

impl Marked for Answer {
    fn has(&self, mark: &str) -> bool {
        self.marks.iter().any(|found| found == mark)
    }
}

fn refused(ours: &Ours, words: &[&str]) -> bool {
    ours.as_ref().is_err_and(|text| words.iter().any(|word| text.contains(word)))
}

/// The kind of a difference; `None`: one that is not allowed.
pub fn kind(ours: &Ours, theirs: &Answer) -> Option<&'static Allowed> {
    ALL.iter().find(|allowed| (allowed.holds)(ours, theirs))
}
