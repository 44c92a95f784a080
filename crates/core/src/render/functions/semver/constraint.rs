//! Constraints: `^1.2`, `~1.2.3`, `>=1.0 <2`, `1.x || 3`, `1.0 - 2.0`.

use std::{cmp::Ordering, sync::LazyLock};

use regex::Regex;

use super::Version;

const OPERATOR: &str = r"!=|>=|=>|<=|=<|~>|=|>|<|~|\^|";
/// The bar and the star are as Sprig's library has them.
const VERSION: &str = r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?(-[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*)?(\+[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*)?";

/// What a version must be: all of one of these.
pub struct Constraint(Vec<Vec<One>>);

struct One {
    operator: String,
    version: Version,
    /// Whether one of the numbers, the minor one, or the patch is any.
    any: bool,
    any_minor: bool,
    any_patch: bool,
}

struct Patterns {
    range: Regex,
    valid: Regex,
    find: Regex,
    one: Regex,
}

fn patterns() -> Option<&'static Patterns> {
    static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
        let pattern = |text: String| Regex::new(&text).ok();
        let blank = r"[\t\n\x0C\r ]";
        let one = format!(r"(?:{OPERATOR}){blank}*(?:{VERSION}){blank}*");
        Some(Patterns {
            range: pattern(format!(r"{blank}*({VERSION}){blank}+-{blank}+({VERSION}){blank}*"))?,
            valid: pattern(format!(r"^(?:{blank}*{one})(?:(?:{blank}+|,{blank}*){one})*$"))?,
            find: pattern(format!(r"(?:{OPERATOR}){blank}*(?:{VERSION})"))?,
            one: pattern(format!(r"^{blank}*({OPERATOR}){blank}*{VERSION}{blank}*$"))?,
        })
    });
    PATTERNS.as_ref()
}

impl Constraint {
    /// Reads a constraint.
    pub fn read(text: &str) -> Option<Self> {
        let patterns = patterns()?;
        let text = patterns.range.replace_all(text, ">= $1, <= $7 ");
        let mut any_of = Vec::new();
        for part in text.split("||") {
            if !patterns.valid.is_match(part) {
                return None;
            }
            let found = patterns.find.find_iter(part).map(|found| One::read(&patterns.one, found.as_str()));
            any_of.push(found.collect::<Option<Vec<_>>>()?);
        }
        Some(Self(any_of))
    }

    /// Whether a version is as it must be.
    pub fn allows(&self, version: &Version) -> bool {
        self.0.iter().any(|all| all.iter().all(|one| one.allows(version)))
    }
}

impl One {
    fn read(pattern: &Regex, text: &str) -> Option<Self> {
        let found = pattern.captures(text)?;
        let part = |group: usize| found.get(group).map_or("", |part| part.as_str());
        let is_any = |part: &str| matches!(part.trim_start_matches('.'), "" | "x" | "X" | "*");
        let (major, minor, patch, pre) = (part(2), part(3), part(4), part(5));
        let (any_minor, any_patch, written) = if is_any(major) {
            (false, false, format!("0.0.0{pre}"))
        } else if is_any(minor) {
            (true, false, format!("{major}.0.0{pre}"))
        } else if is_any(patch) {
            (false, true, format!("{major}{minor}.0{pre}"))
        } else {
            (false, false, format!("{major}{minor}{patch}{pre}{}", part(6)))
        };
        let any = is_any(major) || any_minor || any_patch;
        Some(Self { operator: part(1).to_owned(), version: Version::read(&written)?, any, any_minor, any_patch })
    }

    fn allows(&self, version: &Version) -> bool {
        let of = &self.version;
        let order = version.order(of);
        let is_hidden = !version.pre.is_empty() && of.pre.is_empty();
        // A constraint without a pre-release fits no pre-release.
        match self.operator.as_str() {
            "!=" => self.differs(version, is_hidden),
            _ if is_hidden => false,
            ">" => self.is_below(version),
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" => self.is_at_least(version),
            "~" | "~>" => self.is_near(version),
            "^" => self.is_compatible(version),
            _ if self.any => self.is_near(version),
            _ => order.is_eq(),
        }
    }

    fn differs(&self, version: &Version, is_hidden: bool) -> bool {
        let of = &self.version;
        if !self.any {
            return version.order(of).is_ne();
        }
        if is_hidden {
            return false;
        }
        if of.major != version.major {
            return true;
        }
        if self.any_minor {
            return false;
        }
        if of.minor != version.minor {
            return true;
        }
        if self.any_patch {
            return (!version.pre.is_empty() || !of.pre.is_empty())
                && super::order_of_pre(&version.pre, &of.pre).is_ne();
        }
        of.patch != version.patch || version.order(of).is_ne()
    }

    fn is_below(&self, version: &Version) -> bool {
        let of = &self.version;
        match version.major.cmp(&of.major) {
            _ if !self.any => version.order(of).is_gt(),
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if self.any_minor => false,
            Ordering::Equal if self.any_patch => version.minor > of.minor,
            Ordering::Equal => version.order(of).is_gt(),
        }
    }

    fn is_at_least(&self, version: &Version) -> bool {
        let of = &self.version;
        if !self.any {
            return version.order(of).is_le();
        }
        version.major < of.major || version.major == of.major && (version.minor <= of.minor || self.any_minor)
    }

    /// `~1.2.3`: the same minor one.
    fn is_near(&self, version: &Version) -> bool {
        let of = &self.version;
        if version.order(of).is_lt() {
            return false;
        }
        if (of.major, of.minor, of.patch) == (0, 0, 0) && !self.any_minor && !self.any_patch {
            return true;
        }
        version.major == of.major && (version.minor == of.minor || self.any_minor)
    }

    /// `^1.2.3`: the same first number that is not 0.
    fn is_compatible(&self, version: &Version) -> bool {
        let of = &self.version;
        if version.order(of).is_lt() {
            return false;
        }
        if of.major > 0 || self.any_minor {
            return version.major == of.major;
        }
        if version.major > 0 {
            return false;
        }
        if of.minor > 0 || self.any_patch {
            return version.minor == of.minor;
        }
        version.minor == 0 && version.patch == of.patch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_allow_what_they_say() {
        for (constraint, version, expected) in [
            ("^1.2.0", "1.9.9", true),
            ("^1.2.0", "2.0.0", false),
            ("^0.2", "0.3.0", false),
            ("~1.2", "1.2.9", true),
            ("~1.2", "1.3.0", false),
            (">1, <3", "2.0.0", true),
            (">1", "1.5.0", false),
            ("1.0 - 2.0", "1.5.0", true),
            ("1.x || 3", "3.1.0", true),
            ("*", "1.0.0-rc", false),
            (">=1.0.0-0", "1.0.0-rc", true),
            ("!=1.2.x", "1.2.3", false),
        ] {
            let read = Constraint::read(constraint).zip(Version::read(version));
            assert_eq!(
                read.map(|(constraint, version)| constraint.allows(&version)),
                Some(expected),
                "{constraint} {version}"
            );
        }
        assert!(Constraint::read("").is_none() && Constraint::read("foo").is_none());
    }
}
