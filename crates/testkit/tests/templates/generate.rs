//! Generated templates: most of them make sense, some are broken here and there.

use crate::{
    dice::Dice,
    edges,
    functions::{Function, Kind},
    pieces::{self, BLANKS, NUMBERS, PLAIN, QUOTED},
};

/// Makes one template.
pub struct Maker<'a> {
    dice: Dice,
    functions: &'a [Function],
    /// Variables that are declared here, and what they hold.
    variables: Vec<(String, Kind)>,
    loops: usize,
    /// How many more nodes to make.
    left: usize,
    /// Whether to use invalid parts, too.
    is_wild: bool,
}

impl<'a> Maker<'a> {
    /// The template of a seed.
    pub fn template(seed: u64, functions: &'a [Function]) -> String {
        let mut maker = Maker {
            dice: Dice(seed),
            functions,
            variables: vec![("$".to_owned(), Kind::Data)],
            loops: 0,
            left: 14,
            is_wild: false,
        };
        // Neighbouring seeds give different templates.
        maker.is_wild = maker.dice.once_in(4);
        let text = maker.list(0);
        if maker.is_wild && maker.dice.once_in(2) { maker.broken(text) } else { text }
    }

    fn list(&mut self, level: usize) -> String {
        let declared = self.variables.len();
        let nodes = (0..=self.dice.below(if level == 0 { 4 } else { 3 })).map(|_| self.node(level)).collect();
        self.variables.truncate(declared);
        nodes
    }

    /// One of these; where invalid parts are allowed, also one of those.
    fn piece(&mut self, right: &[&'static str], wrong: &[&'static str]) -> &'static str {
        if self.is_wild && self.dice.once_in(2) { self.dice.one(wrong) } else { self.dice.one(right) }
    }

    /// Once in so many times, where invalid parts are allowed.
    fn wildly(&mut self, of: usize) -> bool {
        self.is_wild && self.dice.once_in(of)
    }

    /// An action with this inside of it.
    fn action(&mut self, inside: &str) -> String {
        let open = self.dice.one(&["{{ ", "{{", "{{- ", "{{-\n", "{{ ", "{{ "]);
        let close = self.dice.one(&[" }}", "}}", " -}}", "\t-}}", " }}", " }}"]);
        let between = if self.dice.once_in(20) { self.dice.one(&["\n", "\t", " "]) } else { "" };
        let blank = if self.dice.once_in(3) { self.dice.one(BLANKS) } else { "" };
        format!(
            "{blank}{open}{between}{inside}{between}{close}{}",
            if self.dice.once_in(4) { self.dice.one(BLANKS) } else { "" }
        )
    }

    fn node(&mut self, level: usize) -> String {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || level > 4 {
            return self.dice.one(PLAIN).to_owned();
        }
        match self.dice.below(22) {
            0 => self.dice.one(PLAIN).to_owned(),
            1 => self.dice.one(BLANKS).to_owned(),
            2 => self.piece(pieces::COMMENTS, pieces::WRONG_COMMENTS).to_owned(),
            3 | 4 => self.branch("if", level),
            5 => self.branch("with", level),
            6 | 7 => self.range(level),
            8 => self.definition(level),
            9 | 10 => self.declaration(),
            11 => self.assignment(),
            12 => self.piece(pieces::MEANINGFUL, pieces::WRONG).to_owned(),
            13 if self.loops > 0 => {
                let word = self.dice.one(&["break", "continue"]);
                self.action(word)
            }
            14 => {
                let number = self.piece(NUMBERS, pieces::WRONG_NUMBERS);
                let form = self.dice.one(&[
                    "N",
                    "print N",
                    "printf \"%v %T\" N N",
                    "N | print",
                    "toJson N",
                    "int N",
                    "eq N 1",
                    "float64 N",
                    "trunc N $.long",
                ]);
                self.action(&form.replace('N', number))
            }
            15 => {
                let quoted = self.piece(QUOTED, pieces::WRONG_QUOTED);
                let form = self.dice.one(&["Q", "quote Q", "len Q", "printf \"%q\" Q", "Q | html", "print Q Q"]);
                self.action(&form.replace('Q', quoted))
            }
            _ => {
                let (pipeline, _) = self.pipeline();
                self.action(&pipeline)
            }
        }
    }

    fn branch(&mut self, word: &str, level: usize) -> String {
        let declared = self.variables.len();
        let condition = self.condition();
        let body = self.list(level + 1);
        let mut text = self.action(&format!("{word} {condition}")) + &body;
        for _ in 0..self.dice.below(3) {
            let word = if self.wildly(6) { self.dice.one(&["with", "range", "if"]) } else { word };
            let (condition, body) = (self.condition(), self.list(level + 1));
            text += &self.action(&format!("else {word} {condition}"));
            text += &body;
        }
        if self.dice.once_in(2) {
            text += &self.action("else");
            text += &self.list(level + 1);
        }
        self.variables.truncate(declared);
        text + &self.action("end")
    }

    fn condition(&mut self) -> String {
        let (pipeline, kind) = self.pipeline();
        if self.dice.once_in(4) {
            let name = self.fresh();
            self.variables.push((name.clone(), kind));
            format!("{name} := {pipeline}")
        } else {
            pipeline
        }
    }

    fn range(&mut self, level: usize) -> String {
        let declared = self.variables.len();
        let (over, key, item) = match self.dice.below(10) {
            0 => (self.expression(Kind::Any, 1), Kind::Any, Kind::Any),
            1 => (self.dice.one(pieces::RANGES).to_owned(), Kind::Int, Kind::Int),
            2 | 3 => (self.expression(Kind::Dict, 1), Kind::Text, Kind::Any),
            4 => ("$".to_owned(), Kind::Text, Kind::Text),
            _ => (self.expression(Kind::List, 1), Kind::Int, Kind::Any),
        };
        let head = match self.dice.below(4) {
            0 => {
                let name = self.fresh();
                self.variables.push((name.clone(), item));
                format!("range {name} := {over}")
            }
            1 => {
                let (first, second) = (self.fresh(), self.fresh() + "v");
                self.variables.extend([(first.clone(), key), (second.clone(), item)]);
                format!("range {first}, {second} {} {over}", if self.wildly(6) { "=" } else { ":=" })
            }
            _ => format!("range {over}"),
        };
        self.loops += 1;
        let body = self.list(level + 1);
        self.loops -= 1;
        let mut text = self.action(&head) + &body;
        if self.dice.once_in(3) {
            text += &self.action("else");
            text += &self.list(level + 1);
        }
        self.variables.truncate(declared);
        text + &self.action("end")
    }

    fn definition(&mut self, level: usize) -> String {
        let name = self.dice.one(&["\"d1\"", "\"d2\"", "`d3`"]);
        let given = self.expression(Kind::Any, 2);
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), Kind::Any)]);
        let loops = std::mem::take(&mut self.loops);
        let body = self.list(level + 1);
        (self.variables, self.loops) = (outer, loops);
        match self.dice.below(3) {
            0 => self.action(&format!("block {name} {given}")) + &body + &self.action("end"),
            1 if level == 0 => {
                self.action(&format!("define {name}"))
                    + &body
                    + &self.action("end")
                    + &self.action(&format!("template {name} {given}"))
            }
            _ => {
                let given = if self.dice.once_in(2) { String::new() } else { format!(" {given}") };
                self.action(&format!("template {name}{given}"))
            }
        }
    }

    fn fresh(&mut self) -> String {
        self.dice.one(&["$a", "$b", "$c", "$long_name1"]).to_owned()
    }

    fn declaration(&mut self) -> String {
        let (pipeline, kind) = self.pipeline();
        let name = self.fresh();
        self.variables.push((name.clone(), kind));
        self.action(&format!("{name} := {pipeline}"))
    }

    fn assignment(&mut self) -> String {
        let (pipeline, kind) = self.pipeline();
        let name = self.variable(kind).unwrap_or_else(|| "$".to_owned());
        self.action(&format!("{name} = {pipeline}"))
    }

    /// A variable that holds such a value.
    fn variable(&mut self, kind: Kind) -> Option<String> {
        if self.wildly(30) {
            return Some("$undeclared".to_owned());
        }
        let fits = |(_, of): &&(String, Kind)| *of == kind || kind == Kind::Any;
        let fitting: Vec<&String> = self.variables.iter().filter(fits).map(|(name, _)| name).collect();
        (!fitting.is_empty()).then(|| fitting[self.dice.below(fitting.len())].clone())
    }

    /// A pipeline, and what it gives.
    fn pipeline(&mut self) -> (String, Kind) {
        let mut kind = self.dice.one(&edges::PLAIN);
        let mut text = self.expression(kind, 0);
        if text.starts_with('(') && text.ends_with(')') && !self.dice.once_in(4) && balanced(&text[1..text.len() - 1]) {
            text = text[1..text.len() - 1].to_owned();
        }
        for _ in 0..self.dice.below(3).saturating_sub(usize::from(self.dice.once_in(2))) {
            let is_wild = self.wildly(4);
            let last = |function: &&Function| function.takes.last().is_some_and(|takes| is_wild || takes.takes(kind));
            let fitting: Vec<&Function> = self.functions.iter().filter(last).collect();
            let function = fitting[self.dice.below(fitting.len())].clone();
            let takes = &function.takes[..function.takes.len() - 1];
            let arguments: Vec<String> = takes.iter().map(|kind| self.expression(*kind, 2)).collect();
            let (before, behind) = (self.dice.one(&[" ", ""]), self.dice.one(&[" ", ""]));
            text.extend([before, "|", behind, function.name, " ", &arguments.join(" ")]);
            kind = function.gives;
        }
        (text, kind)
    }

    fn expression(&mut self, kind: Kind, depth: usize) -> String {
        if self.wildly(20) {
            let other = self.dice.one(&edges::PLAIN);
            return self.dice.one(edges::of(other)).to_owned();
        }
        if kind == Kind::Any && !self.dice.once_in(8) {
            let other = self.dice.one(&edges::PLAIN[1..]);
            return self.expression(other, depth);
        }
        if self.dice.once_in(4)
            && let Some(name) = self.variable(kind)
        {
            return name;
        }
        if depth < 3 && self.dice.below(5) < 3 {
            let is_odd = self.dice.once_in(12);
            let fits =
                |function: &&Function| function.gives == kind && (is_odd || !pieces::FAILING.contains(&function.name));
            let fitting: Vec<&Function> = self.functions.iter().filter(fits).collect();
            if !fitting.is_empty() {
                let function = fitting[self.dice.below(fitting.len())].clone();
                return self.call(&function, depth);
            }
        }
        // The most useful ones come first.
        let all = edges::of(kind);
        let end = if self.dice.once_in(if self.is_wild { 3 } else { 20 }) { all.len() } else { all.len().div_ceil(2) };
        self.dice.one(&all[..end]).to_owned()
    }

    fn call(&mut self, function: &Function, depth: usize) -> String {
        let mut takes = function.takes.clone();
        if let Some(last) = takes.last().copied() {
            match self.dice.below(3) {
                0 if function.optional => drop(takes.pop()),
                1 if function.repeated => takes.push(last),
                _ => {}
            }
        }
        if self.wildly(20) {
            takes.pop();
        }
        let arguments: Vec<String> = takes.into_iter().map(|kind| self.expression(kind, depth + 1)).collect();
        format!("({} {})", function.name, arguments.join(" "))
    }

    /// Removes a part, doubles it, or inserts something in a wrong place.
    fn broken(&mut self, mut text: String) -> String {
        for _ in 0..=self.dice.below(2) {
            let mut place = || {
                let mut at = self.dice.below(text.len() + 1);
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let (one, other) = (place(), place());
            let (from, to) = (one.min(other), one.max(other));
            match self.dice.below(3) {
                0 if to - from < 30 => text.replace_range(from..to, ""),
                1 if to - from < 60 => {
                    let part = text[from..to].to_owned();
                    text.insert_str(to, &part);
                }
                _ => text.insert_str(
                    from,
                    self.dice.one(&[
                        "{{", "}}", "\"", "`", "'", "(", ")", "{{end}}", "/*", "|", "$", "-", ".", ",", " ",
                        "{{else}}", ":=", "=", "\n", "\\", "é",
                    ]),
                ),
            }
        }
        text
    }
}

/// Whether the parentheses of the text match.
fn balanced(text: &str) -> bool {
    let mut open = 0_i32;
    text.chars().all(|character| {
        open += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        open >= 0
    })
}
