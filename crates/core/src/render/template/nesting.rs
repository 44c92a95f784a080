//! Refuses templates that the engine must not see: its parser calls itself for each block, each link of a chain of
//! `else if`, and each parenthesis, and so do those that go through what it has made.

use super::lexer::{Lexer, Token};

/// A template may have this many bytes, also when it stands in a `ConfigMap`, where no schema bounds it.
pub const MAX_SOURCE: usize = 64 * 1024;
/// Blocks, links of `else if` and parentheses that may stand inside each other. A level takes some KiB of the stack in
/// a build for development; the 2 MiB of a thread hold ten times as many.
pub const MAX_NESTING: usize = 100;
/// Tokens of a template: what the parser makes of one takes about 200 bytes.
const MAX_TOKENS: usize = 20_000;

/// Reads the whole text and looks at nothing but how it is nested.
///
/// # Errors
/// What is too deep, too long, or has no end or no start.
pub fn check(source: &str) -> Result<(), String> {
    depth(source).map(drop)
}

/// The deepest level of a text that may be parsed.
pub fn depth(source: &str) -> Result<usize, String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("it has {} bytes; a template may have {MAX_SOURCE} (64 KiB) at most", source.len()));
    }
    let mut lexer = Lexer::new(source);
    let mut open = Open::default();
    let mut before = [Token::Close; 2];
    for _ in 0..MAX_TOKENS {
        let Some(token) = lexer.next()? else {
            return if open.blocks.is_empty() {
                Ok(open.deepest)
            } else {
                Err(lexer.wrong("a block has no {{ end }}"))
            };
        };
        open.step(before, token).map_err(|what| lexer.wrong(&what))?;
        before = [before[1], token];
    }
    Err(format!("it has more than {MAX_TOKENS} steps; make it smaller"))
}

/// What has started and not ended yet.
#[derive(Debug, Default)]
struct Open {
    /// Levels of each block: a link of `else if` is a block inside that ends with the outer one.
    blocks: Vec<usize>,
    levels: usize,
    parentheses: usize,
    deepest: usize,
}

impl Open {
    /// `before` are the two tokens before `token`.
    fn step(&mut self, before: [Token<'_>; 2], token: Token<'_>) -> Result<(), String> {
        match (before, token) {
            ([_, Token::Open], Token::Word("if" | "range" | "with" | "define" | "block")) => {
                self.blocks.push(1);
                self.levels += 1;
            }
            ([_, Token::Open], Token::Word("end")) => match self.blocks.pop() {
                Some(levels) => self.levels -= levels,
                None => return Err("an {{ end }} has no block that it ends".to_owned()),
            },
            ([_, Token::Open], Token::Word("else")) if self.blocks.is_empty() => {
                return Err("an {{ else }} has no block that it belongs to".to_owned());
            }
            ([Token::Open, Token::Word("else")], Token::Word("if" | "with")) => {
                self.blocks.last_mut().into_iter().for_each(|levels| *levels += 1);
                self.levels += 1;
            }
            (_, Token::OpenParenthesis) => self.parentheses += 1,
            (_, Token::CloseParenthesis) => self.parentheses = self.parentheses.saturating_sub(1),
            (_, Token::Close) => self.parentheses = 0,
            (_, Token::Open | Token::Word(_) | Token::Other) => {}
        }
        self.deepest = self.deepest.max(self.levels + self.parentheses);
        if self.deepest > MAX_NESTING {
            return Err(format!(
                "parentheses, blocks or links of else if are nested more than {MAX_NESTING} levels deep"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gotmpl::parse::{CommandNode, DefineNode, Expr, ListNode, Node, Parser, PipeNode};
    use proptest::prelude::*;

    use super::*;

    /// How deep the engine's own parser goes.
    fn of_list(list: &ListNode, level: usize) -> usize {
        list.nodes.iter().map(|node| of_node(node, level)).max().unwrap_or_default().max(level)
    }

    fn of_node(node: &Node, level: usize) -> usize {
        match node {
            Node::List(list) => of_list(list, level),
            Node::Action(action) => of_pipe(&action.pipe, level),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                let bodies = [Some(&branch.body), branch.else_body.as_ref()];
                let deepest = bodies.into_iter().flatten().map(|body| of_list(body, level + 1)).max();
                of_pipe(&branch.pipe, level + 1).max(deepest.unwrap_or_default())
            }
            Node::Template(call) => call.pipe.as_ref().map_or(level, |pipe| of_pipe(pipe, level)),
            Node::Define(DefineNode { body, .. }) => of_list(body, level + 1),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => level,
        }
    }

    fn of_pipe(pipe: &PipeNode, level: usize) -> usize {
        pipe.commands.iter().map(|command| of_command(command, level)).max().unwrap_or(level)
    }

    fn of_command(command: &CommandNode, level: usize) -> usize {
        command.args.iter().map(|argument| of_expression(argument, level)).max().unwrap_or(level)
    }

    fn of_expression(expression: &Expr, level: usize) -> usize {
        match expression {
            Expr::Pipe(_, pipe) => of_pipe(pipe, level + 1),
            Expr::Chain(_, inner, _) => of_expression(inner, level),
            _ => level,
        }
    }

    /// The engine's own depth of a text; it can be deep only where this test has no end.
    fn of_engine(source: &str) -> Option<usize> {
        let (list, defines) = Parser::new(source, "{{", "}}").ok()?.parse().ok()?;
        let others = defines.iter().map(|define| of_list(&define.body, 1)).max().unwrap_or_default();
        Some(of_list(&list, 0).max(others))
    }

    #[test]
    fn what_looks_like_something_else_is_read_as_the_engine_reads_it() {
        for (source, expected) in [
            ("{{ if \"{{end\" }}{{ else if 1 }}{{ end }}", 2),
            ("{{ if `{{end}}` }}{{ end }}", 1),
            ("{{ if '}' }}{{ end }}{{ if ''' }}{{ end }}{{ if '\\'' }}{{ end }}", 1),
            ("{{/* {{ if 1 }} \" */}}{{- /* ` */ -}}{{ (1) }}", 1),
            ("{{- if 1 -}}{{- else if 2 -}}{{- else with 3 -}}{{- else -}}{{- end -}}", 3),
            ("{{ range .a }}{{ else if 1 }}{{ else }}{{ if 1 }}{{ end }}{{ end }}", 3),
            ("{{ print \"}}\" (print (1)) \"(((\" }}", 2),
            ("{{ .if }}{{ $x := 1 }}{{ $x.end }}{{ iff }}", 0),
            ("(((({{ define \"a\" }}{{ block \"b\" . }}{{ end }}{{ end }}", 2),
            ("{{\"\\\"{{\"}}{{if\t1}}{{end}}", 1),
        ] {
            assert_eq!(depth(source), Ok(expected), "{source}");
            assert!(of_engine(source).is_none_or(|deep| deep <= expected), "{source}");
        }
    }

    #[test]
    fn what_is_not_closed_is_refused_with_its_place() {
        for (source, expected) in [
            ("a\n{{ .b", "line 2, column 6: an action has no end"),
            ("{{ \"a }}", "column 9: a text in quotes has no end"),
            ("{{/* a }}", "a comment has no end"),
            ("{{/* a */ b }}", "a comment must end with"),
            ("{{ 'ab' }}", "a character in single quotes has no end"),
            ("{{ if 1 }}", "a block has no {{ end }}"),
            ("a{{ end }}b", "has no block that it ends"),
            ("{{ else }}", "has no block that it belongs to"),
        ] {
            let text = depth(source).err().unwrap_or_default();
            assert!(text.contains(expected), "{source}: {text}");
        }
    }

    #[test]
    fn each_kind_of_nesting_ends_at_the_same_level() {
        let blocks = |count: usize| format!("{}{}", "{{if \"{{end\"}}".repeat(count), "{{end}}".repeat(count));
        let links = |count: usize| format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if \"{{end\"}}".repeat(count - 1));
        let others = |count: usize| format!("{{{{with 0}}}}{}{{{{end}}}}", "{{- else with 0}}".repeat(count - 1));
        let parentheses = |count: usize| format!("{{{{ {}1{} }}}}", "(".repeat(count), ")".repeat(count));
        for make in [&blocks as &dyn Fn(usize) -> String, &links, &others, &parentheses] {
            assert_eq!(depth(&make(MAX_NESTING)), Ok(MAX_NESTING));
            for count in [MAX_NESTING + 1, 1100, 3000] {
                assert!(depth(&make(count)).is_err_and(|text| text.contains("nested more than 100")), "{count}");
            }
        }
        assert!(depth(&"{{.}}".repeat(MAX_TOKENS / 3 + 1)).is_err_and(|text| text.contains("20000 steps")));
        assert!(depth(&"a".repeat(MAX_SOURCE + 1)).is_err_and(|text| text.contains("64 KiB")));
    }

    /// Separated by `~`.
    const FRAGMENTS: [&str; 5] = [
        "{{~}}~{{-~{{- ~-}}~ -}}~{{ if 1 }}~{{if .a}}~{{ range . }}~{{with $x := (1)}}~{{ else }}",
        "{{else if 1}}~{{ else with \"{{end\" }}~{{- else -}}~{{ end }}~{{end}}~{{ define \"d\" }}",
        "{{ block `b` . }}~{{ template \"d\" }}~{{/* {{ if 1 }} */}}~/*~*/~\"~`~'~\\~'\"'~''''~'\\x41'~(",
        ")~((1))~|~$x~.a.b~.~1~0x1p-2~1e-~-~+1~nil~if~else~end~ ~\n~\u{a0}~\u{2003}~ü~text~:=~=~,~}~{",
        "{{{~}}}~_~break~printf \"%s\"",
    ];

    fn fragment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(FRAGMENTS.iter().flat_map(|line| line.split('~')).collect::<Vec<_>>())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn never_less_than_the_engine_goes_down(parts in prop::collection::vec(fragment(), 0..40)) {
            let source = parts.concat();
            match (depth(&source), of_engine(&source)) {
                (Ok(ours), Some(engine)) => prop_assert!(ours >= engine, "{ours} < {engine}: {source}"),
                // Where it is stricter than the engine, it is because a block is not closed.
                (Err(text), Some(_)) => prop_assert!(text.contains("block"), "{text}: {source}"),
                (_, None) => {}
            }
        }
    }
}
