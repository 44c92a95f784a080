//! Go templates: pure, bounded in size and loops, and with the functions of [`functions`](super::functions).

use std::{collections::BTreeMap, fmt, sync::Arc};

use gotmpl::{MissingKey, Template, TemplateError, Value};

use super::{RenderError, functions};
use crate::SecretBytes;

/// Output of one template, in bytes: a Secret cannot hold more than 1 MiB in all.
const MAX_OUTPUT: usize = 1024 * 1024;
/// Rounds of all `range` loops of one execution.
const MAX_ROUNDS: u64 = 10_000;

/// Parses a template without running it, so that a syntax error is found before anything is fetched.
///
/// # Errors
/// `TemplateSyntax` with the line and column; the text quotes the template, never a value.
pub fn check(name: &str, source: &str) -> Result<(), RenderError> {
    parse(name, source).map(drop)
}

/// Renders `source` with the fetched values as `.name` fields.
///
/// # Errors
/// `TemplateSyntax`, or `TemplateFailed` for a missing key, a failed function, a loop or an output that is too large.
pub fn render(name: &str, source: &str, values: &BTreeMap<String, SecretBytes>) -> Result<SecretBytes, RenderError> {
    let template = parse(name, source)?;
    let mut output = Bounded { text: String::new(), full: false };
    let result = template.execute_fmt(&mut output, &data(values));
    let output_full = output.full;
    let text = SecretBytes::from(output.text);
    if output_full {
        return Err(failed(name, "its output is larger than 1 MiB"));
    }
    match result {
        Ok(()) if has_no_value(&text) && !values.values().any(has_no_value) => {
            Err(failed(name, "it prints something that is not there; check the names that `index` is given"))
        }
        Ok(()) => Ok(text),
        Err(error) => Err(failed(name, &(explain(&error) + &binary(values)))),
    }
}

/// What Go prints for `index` with a name that is not there. As a credential it would be worse than none.
fn has_no_value(text: &SecretBytes) -> bool {
    text.expose_text().is_some_and(|text| text.contains("<no value>"))
}

fn parse(name: &str, source: &str) -> Result<Template, RenderError> {
    Template::new(name)
        .missing_key(MissingKey::Error)
        .max_range_iters(MAX_ROUNDS)
        .funcs(functions::all())
        .parse(source)
        .map_err(|error| RenderError::TemplateSyntax { name: name.to_owned(), text: error.to_string() })
}

fn data(values: &BTreeMap<String, SecretBytes>) -> Value {
    let members: BTreeMap<Arc<str>, Value> = values
        .iter()
        .filter_map(|(key, value)| Some((Arc::from(key.as_str()), Value::String(value.expose_text()?.into()))))
        .collect();
    Value::Map(Arc::new(members))
}

/// Values that are no text are not offered to templates: they could not come out as they went in.
fn binary(values: &BTreeMap<String, SecretBytes>) -> String {
    let names: Vec<&str> =
        values.iter().filter(|(_, value)| value.expose_text().is_none()).map(|(name, _)| name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!("; not offered, since not UTF-8 text: {}", names.join(", ")) }
}

fn failed(name: &str, text: &str) -> RenderError {
    RenderError::TemplateFailed { name: name.to_owned(), text: text.to_owned() }
}

/// Says what went wrong in words of ours: messages of the engine may quote the values it worked on.
fn explain(error: &TemplateError) -> String {
    match error {
        TemplateError::UndefinedFunction(name) => return format!("there is no function {name:?}"),
        TemplateError::UndefinedTemplate(name) => return format!("there is no template {name:?}"),
        _ => {}
    }
    let text = error.to_string();
    if let Some(position) = text.find("map has no entry for key") {
        return text[position..].to_owned();
    }
    match functions::own_error(&text) {
        Some(own) => own.to_owned(),
        None => "a function or field does not fit the value it was given (the value itself is not shown)".to_owned(),
    }
}

struct Bounded {
    text: String,
    full: bool,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.text.len() + more.len() > MAX_OUTPUT {
            self.full = true;
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> BTreeMap<String, SecretBytes> {
        [("username", "orders"), ("password", "p@ss/word"), ("api-key", "k")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), SecretBytes::from(value)))
            .collect()
    }

    fn run(source: &str) -> Result<String, RenderError> {
        render("url", source, &values()).map(|bytes| bytes.expose_text().unwrap_or_default().to_owned())
    }

    #[test]
    fn templates_people_bring_with_them_render() {
        for (source, expected) in [
            (
                "postgres://{{ .username }}:{{ .password | urlquery }}@db/orders",
                "postgres://orders:p%40ss%2Fword@db/orders",
            ),
            (r#"{{ index . "api-key" }}"#, "k"),
            ("{{ .username | upper | quote }}", "\"ORDERS\""),
            ("{{ .password | b64enc }}", "cEBzcy93b3Jk"),
            ("{{ \"cEBzcw==\" | b64dec }}", "p@ss"),
            ("{{ .username | default \"x\" }}{{ \"\" | default \"x\" }}", "ordersx"),
            ("{{ . | toJson }}", r#"{"api-key":"k","password":"p@ss/word","username":"orders"}"#),
            ("{{ printf \"%s-%d\" .username 3 }}", "orders-3"),
            ("{{ trim \" a \" }}{{ lower \"A\" }}{{ replace \"a\" \"b\" \"aa\" }}", "aabb"),
        ] {
            assert_eq!(run(source), Ok(expected.to_owned()), "{source}");
        }
    }

    #[test]
    fn a_missing_key_is_named_and_no_value_is_quoted() {
        let text = run("{{ .nope }}").map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(text.contains("nope"), "{text}");
        let text = run("{{ index .password 3 4 }}").map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(!text.contains("p@ss"), "{text}");
    }

    #[test]
    fn what_is_not_there_is_not_published_as_text() {
        assert!(matches!(run(r#"{{ index . "api-kye" }}"#), Err(RenderError::TemplateFailed { .. })));
        let values = [("note".to_owned(), SecretBytes::from("<no value>"))].into();
        assert!(render("url", "{{ .note }}", &values).is_ok(), "the store may hold that text");
    }

    #[test]
    fn functions_and_templates_that_are_not_there_are_named() {
        for (source, expected) in
            [("{{ .username | nothing }}", "no function \"nothing\""), ("{{ template \"x\" }}", "no template \"x\"")]
        {
            let text = run(source).map_err(|error| error.to_string()).err().unwrap_or_default();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn loops_and_bombs_end() {
        let bomb = "{{ define \"x\" }}aaaaaaaaaaaaaaaaaaaaaaaa{{ end }}{{ range $i := 9000 }}{{ range $j := 9000 }}{{ template \"x\" }}{{ end }}{{ end }}";
        assert!(matches!(run(bomb), Err(RenderError::TemplateFailed { .. })));
        let wide = format!("{{{{ range $i := 9999 }}}}{}{{{{ end }}}}", "a".repeat(1000));
        let text = run(&wide).map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(text.contains("1 MiB"), "{text}");
        assert!(run("{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}").is_err());
    }

    #[test]
    fn syntax_errors_name_the_place() {
        let text = check("url", "{{ .a").map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(text.contains("\"url\"") && text.contains('1'), "{text}");
    }
}
