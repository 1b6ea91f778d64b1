//! What minijinja would read otherwise than Jinja2, written so that it reads the same: a template's
//! source, rewritten before it is parsed.
//!
//! - Ends of lines are `\n`, as Jinja2's lexer makes them.
//! - `{% generation %}` of transformers becomes a block that the filter [`GENERATION`]
//!   is applied to.
//! - `a ~ b` becomes a call of [`CONCATENATE`], which prints values as Python does.
//! - `a + b` becomes a call of [`ADD`] in a template that escapes or marks texts as safe, since
//!   adding to a safe text escapes.
//! - What `{% for %}` goes through passes [`ITERABLE`], since Python does not go through `None`.
//! - `{% set a.b = c %}` reads `a` too, by [`ASSIGNED`]: minijinja does not hand to a macro what it
//!   only assigns to.
//! - `-a.b` is `-(a.b)`.
//! - `a.items` that is not called becomes a call of [`ATTRIBUTE`], since a dictionary's methods
//!   come before its keys.
//! - Texts in quotes are written without the escapes that the two know differently.

mod attributes;
mod literals;
mod operators;
mod statements;
mod tokens;

use attributes::rewrite_attributes;
use literals::rewrite_texts;
use operators::{rewrite_negations, rewrite_operators};
use statements::rewrite_statement;
use tokens::end_of_text;

/// The filter behind `{% generation %}`.
pub(super) const GENERATION: &str = "generation__";
/// The function behind `~`.
pub(super) const CONCATENATE: &str = "concatenate__";
/// The function behind an attribute that may be a dictionary's method.
pub(super) const ATTRIBUTE: &str = "attribute__";
/// The function behind `+`.
pub(super) const ADD: &str = "add__";
/// The function that what a loop goes through passes.
pub(super) const ITERABLE: &str = "iterable__";
/// The function that what is assigned to an attribute passes.
pub(super) const ASSIGNED: &str = "assigned__";

/// What has to be known of the whole template.
struct Template {
    /// Names that a namespace is bound to; its attributes are never methods.
    namespaces: Vec<String>,
    /// Whether texts are escaped or marked as safe.
    escapes: bool,
}

/// The source as minijinja is to read it.
pub(super) fn rewrite(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let template = Template { namespaces: namespaces(&source), escapes: escapes(&source) };
    let mut result = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = rest.find('{') {
        let opening = rest.get(at..at + 2).unwrap_or("{");
        let closing = match opening {
            "{{" => "}}",
            "{%" => "%}",
            "{#" => "#}",
            _ => {
                result.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
                continue;
            }
        };
        result.push_str(&rest[..at + 2]);
        rest = &rest[at + 2..];
        let end = if opening == "{#" { rest.find(closing) } else { end_of_tag(rest, closing) };
        let Some(end) = end else { break };
        let inside = &rest[..end];
        if opening == "{#" {
            result.push_str(inside);
        } else {
            result.push_str(&rewrite_tag(inside, opening == "{%", &template));
        }
        rest = &rest[end..];
        if opening == "{%" && bare(inside) == "raw" {
            let end = end_of_raw(rest);
            result.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    result + rest
}

/// A tag's content without the signs that strip white space.
fn bare(inside: &str) -> &str {
    inside.trim_matches(['-', '+']).trim()
}

/// Where the tag `{% endraw %}` begins.
fn end_of_raw(text: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("{%") {
        let inside = &text[from + at + 2..];
        if inside.find("%}").is_some_and(|end| bare(&inside[..end]) == "endraw") {
            return from + at;
        }
        from += at + 2;
    }
    text.len()
}

/// Where the tag's closing delimiter stands: outside of texts and brackets.
fn end_of_tag(text: &str, closing: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        if depth == 0 && text.as_bytes()[at..].starts_with(closing.as_bytes()) {
            return Some(at);
        }
        match bytes[at] {
            b'"' | b'\'' => at = end_of_text(bytes, at)? - 1,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

fn rewrite_tag(inside: &str, is_statement: bool, template: &Template) -> String {
    if is_statement {
        let signs = |sign: char| if "-+".contains(sign) { sign.to_string() } else { String::new() };
        let first = inside.chars().next().map(signs).unwrap_or_default();
        let last = inside.chars().next_back().map(signs).unwrap_or_default();
        match bare(inside) {
            "generation" => {
                // what is set inside is not seen behind, for which a filter does not provide
                return format!("{first} with {GENERATION} = 1 %}}{{% filter {GENERATION} {last}");
            }
            "endgeneration" => return format!("{first} endfilter %}}{{% endwith {last}"),
            _ => {}
        }
    }
    let plain = rewrite_texts(inside);
    let attributes = rewrite_attributes(&plain, is_statement, &template.namespaces);
    let negations = rewrite_negations(&attributes);
    let operators = rewrite_operators(&negations, is_statement, template.escapes);
    if is_statement { rewrite_statement(&operators) } else { operators }
}

/// Whether a filter may mark texts as safe.
fn escapes(source: &str) -> bool {
    source.split('|').skip(1).any(|behind| {
        let name = behind.trim_start();
        let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
        matches!(&name[..end], "safe" | "escape" | "e" | "forceescape")
    })
}

/// Names that a namespace is bound to.
fn namespaces(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("namespace(") {
        let before = rest[..at].trim_end();
        if let Some(target) = before.strip_suffix('=') {
            let target = target.trim_end();
            let from = target.rfind(|c: char| !c.is_alphanumeric() && c != '_');
            names.push(target[from.map_or(0, |from| from + 1)..].to_owned());
        }
        rest = &rest[at + 10..];
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(rewrite(source), expected);
    }

    #[test]
    fn concatenations_become_calls() {
        check(
            "{{ a ~ b.c|f(1 ~ 2) ~ 'x~y' }}",
            "{{ concatenate__(a , b.c|f(concatenate__(1 , 2)) , 'x~y') }}",
        );
        check(
            "{%- set x = -a ~ b + c * d ~ e -%}",
            "{%- set x = concatenate__(-a , b) + concatenate__(c * d , e) -%}",
        );
        check(
            "{{- a ~ b is not none ~ c if d else e ~ f -}}",
            "{{- concatenate__(a , b is not none , c) if d else concatenate__(e , f) -}}",
        );
        check("{% if a ~ b == c %}", "{% if concatenate__(a , b) == c %}");
        check(
            "{{ {'k': a ~ b}['k' ~ c] }}",
            "{{ {'k': concatenate__(a , b)}[concatenate__('k' , c)] }}",
        );
    }

    #[test]
    fn loops_and_assignments_pass_functions() {
        check(
            "{%- for a, b in c.d if e in f -%}",
            "{%- for a, b in iterable__((c.d)) if e in f -%}",
        );
        check("{% for a in b recursive %}", "{% for a in iterable__((b)) recursive %}");
        check("{% set a.b = c, d -%}", "{% set a.b = assigned__(a, \"b\", (c, d)) -%}");
        check("{% set a = b == c %}", "{% set a = b == c %}");
    }

    #[test]
    fn signs_stand_before_all_of_their_operand() {
        check("{{- -a.b[0](c)|abs - d }}", "{{- -(a.b[0](c))|abs - d }}");
        check("{{ a[-b.c:] - d.e }}", "{{ a[-(b.c):] - d.e }}");
        check("{{ -a.b ~ c }}", "{{ concatenate__(-(a.b) , c) }}");
        check("{% elif -a.b %}", "{% elif -(a.b) %}");
    }

    #[test]
    fn sums_become_calls_where_texts_are_safe() {
        check("{{ a + b }}", "{{ a + b }}");
        check(
            "{{ a|safe + b - c + d ~ e * f }}{{+ -g + h }}",
            "{{ add__(add__(a|safe , b) - c , concatenate__(d , e * f)) }}{{+ add__(-g , h) }}",
        );
        check("{{ a|e ~ b + c }}", "{{ add__(concatenate__(a|e , b) , c) }}");
    }

    #[test]
    fn methods_that_are_not_called_become_calls() {
        check(
            "{{ f(a.b[0].items) + x.items() }}",
            "{{ f(attribute__(a.b[0], \"items\")) + x.items() }}",
        );
        check(
            "{% set ns = namespace(keys=1) %}{{ ns.keys }}",
            "{% set ns = namespace(keys=1) %}{{ ns.keys }}",
        );
        check(
            "{% set ns.items = a.items %}",
            "{% set ns.items = assigned__(ns, \"items\", (attribute__(a, \"items\"))) %}",
        );
        check("{{ a.items.values }}", "{{ attribute__(attribute__(a, \"items\"), \"values\") }}");
    }

    #[test]
    fn generation_blocks_become_filters_and_the_rest_stays() {
        check(
            "{%- generation -%}\r\nx{% endgeneration %}{# {% generation %} ~ #}{",
            "{%- with generation__ = 1 %}{% filter generation__ -%}\nx{% endfilter %}{% endwith %}\
             {# {% generation %} ~ #}{",
        );
        check(
            "{% raw %}{{ a ~ b }}{% endraw %}{{ a ~ b",
            "{% raw %}{{ a ~ b }}{% endraw %}{{ a ~ b",
        );
    }

    /// Python: `'\d\x41\u00e9\101\''`.
    #[test]
    fn escapes_are_pythons() {
        check(r#"{{ '\d\x41\u00e9\101\'"' }}"#, r#"{{ "\\dAéA'\"" }}"#);
        check(r"{{ 'a\nb' }}", "{{ \"a\nb\" }}");
    }

    proptest! {
        #[test]
        fn no_template_panics(
            template in "(\\{\\{|\\}\\}|\\{%|%\\}|-|\\+|~|\\.|items|for |in |set |=|if |ns|\\(|\\)|\\[|\\]|\\||safe|'|\\\\|x41|ä| |generation|raw|endraw){0,30}"
        ) {
            let _ = rewrite(&template);
        }

        #[test]
        fn text_without_tags_stays(text in "[^{\r]{0,40}") {
            prop_assert_eq!(rewrite(&text), text);
        }
    }
}
