//! Parameters and results of functions, to generate templates that make sense.

/// A type of an argument or a result: one letter stands for what [`edges`](super::edges) has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Any,
    Text,
    Int,
    Int64,
    Float,
    Bool,
    List,
    Dict,
    Format,
    Json,
    Yaml,
    Path,
    Url,
    Base64,
    Regex,
    Version,
    Constraint,
    /// `map[string]string`: the data of a template. No parameter has this type.
    Data,
}

impl Kind {
    /// Whether a parameter of this type takes a value of the other.
    pub fn takes(self, other: Self) -> bool {
        match self {
            Self::Any => true,
            Self::Int | Self::Int64 | Self::Float | Self::Bool | Self::List | Self::Dict | Self::Data => self == other,
            _ => other == Self::Text,
        }
    }
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: &'static str,
    pub takes: Vec<Kind>,
    /// How many of the last one may be left out, and how many may be added.
    pub optional: bool,
    pub repeated: bool,
    pub gives: Kind,
}

/// All functions that are compared.
pub fn all() -> Vec<Function> {
    let lines = include_str!("signatures.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(parse).collect()
}

fn parse(line: &'static str) -> Option<Function> {
    let (left, right) = line.split_once(" -> ").or_else(|| line.split_once("-> "))?;
    let mut words = left.split_whitespace();
    let name = words.next()?;
    let last = left.chars().last()?;
    let takes = words.map(|word| kind(word.trim_end_matches(['*', '?']))).collect::<Option<_>>()?;
    Some(Function { name, takes, optional: last == '?' || last == '*', repeated: last == '*', gives: kind(right)? })
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "any" => Kind::Any,
        "text" => Kind::Text,
        "int" => Kind::Int,
        "int64" => Kind::Int64,
        "float" => Kind::Float,
        "bool" => Kind::Bool,
        "list" => Kind::List,
        "dict" => Kind::Dict,
        "format" => Kind::Format,
        "json" => Kind::Json,
        "yaml" => Kind::Yaml,
        "path" => Kind::Path,
        "url" => Kind::Url,
        "base64" => Kind::Base64,
        "regex" => Kind::Regex,
        "version" => Kind::Version,
        "constraint" => Kind::Constraint,
        _ => return None,
    })
}
