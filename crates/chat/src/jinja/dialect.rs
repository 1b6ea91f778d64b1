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
//! - `a.items` that is not called becomes a call of [`ATTRIBUTE`], since a dictionary's methods come
//!   before its keys.
//! - Texts in quotes are written without the escapes that the two know differently.

use super::methods::DICTIONARY_METHODS;
use std::ops::Range;

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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Name,
    Number,
    Text,
    Operator,
}

/// What has to be known of the whole template.
struct Template {
    /// Names that a namespace is bound to; its attributes are never methods.
    namespaces: Vec<String>,
    /// Whether texts are escaped or marked as safe.
    escapes: bool,
}

/// A token of an expression and where it stands in the tag.
#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    at: Range<usize>,
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

/// The place behind a text that begins at `at`; nothing if it does not end.
fn end_of_text(bytes: &[u8], at: usize) -> Option<usize> {
    let mut place = at + 1;
    while place < bytes.len() {
        match bytes[place] {
            b'\\' => place += 1,
            byte if byte == bytes[at] => return Some(place + 1),
            _ => {}
        }
        place += 1;
    }
    None
}

fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let from = at;
        at += c.len_utf8();
        let kind = match c {
            _ if c.is_whitespace() => continue,
            '"' | '\'' => {
                at = end_of_text(bytes, from).unwrap_or(text.len());
                Kind::Text
            }
            _ if c.is_ascii_digit() => {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
                    at += 1;
                }
                Kind::Number
            }
            _ if c.is_alphanumeric() || c == '_' => {
                let rest = &text[at..];
                at += rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                Kind::Name
            }
            _ => {
                let pairs = ["//", "**", "==", "!=", "<=", ">="];
                if pairs.iter().any(|pair| text[from..].starts_with(pair)) {
                    at = from + 2;
                }
                Kind::Operator
            }
        };
        tokens.push(Token { kind, at: from..at });
    }
    tokens
}

fn rewrite_tag(inside: &str, is_statement: bool, template: &Template) -> String {
    if is_statement {
        let signs = |sign: char| if "-+".contains(sign) { sign.to_string() } else { String::new() };
        let first = inside.chars().next().map(signs).unwrap_or_default();
        let last = inside.chars().next_back().map(signs).unwrap_or_default();
        match bare(inside) {
            "generation" => return format!("{first} filter {GENERATION} {last}"),
            "endgeneration" => return format!("{first} endfilter {last}"),
            _ => {}
        }
    }
    let plain = rewrite_texts(inside);
    let attributes = rewrite_attributes(&plain, is_statement, &template.namespaces);
    let negations = rewrite_negations(&attributes, is_statement);
    let operators = rewrite_operators(&negations, is_statement, template.escapes);
    if is_statement { rewrite_statement(&operators) } else { operators }
}

/// Texts with backslashes, written with escapes that both know.
fn rewrite_texts(inside: &str) -> String {
    let mut result = String::new();
    let mut from = 0;
    for token in tokens(inside) {
        let text = &inside[token.at.clone()];
        if token.kind == Kind::Text && text.contains('\\') && text.len() >= 2 {
            result.push_str(&inside[from..token.at.start]);
            result.push('"');
            for c in unescaped(&text[1..text.len() - 1]).chars() {
                match c {
                    '"' => result.push_str("\\\""),
                    '\\' => result.push_str("\\\\"),
                    c => result.push(c),
                }
            }
            result.push('"');
            from = token.at.end;
        }
    }
    result + &inside[from..]
}

/// What Python's codec `unicode-escape` makes of a text; what it does not know stays as it is.
fn unescaped(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(code) = rest.chars().next() else {
            result.push('\\');
            break;
        };
        let behind = &rest[code.len_utf8()..];
        let digits = |from: &str, most: usize, radix: u32| -> Option<(char, usize)> {
            let length = from.chars().take(most).take_while(|c| c.is_digit(radix)).count();
            let value = u32::from_str_radix(&from[..length], radix).ok()?;
            Some((char::from_u32(value)?, length))
        };
        let (character, length) = match code {
            '\n' => (None, 0),
            '\\' | '\'' | '"' => (Some(code), 0),
            'a' => (Some('\u{7}'), 0),
            'b' => (Some('\u{8}'), 0),
            'f' => (Some('\u{c}'), 0),
            'n' => (Some('\n'), 0),
            'r' => (Some('\r'), 0),
            't' => (Some('\t'), 0),
            'v' => (Some('\u{b}'), 0),
            'x' | 'u' | 'U' => {
                let width = match code {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                match digits(behind, width, 16) {
                    Some((c, length)) if length == width => (Some(c), length),
                    _ => {
                        result.push('\\');
                        (Some(code), 0)
                    }
                }
            }
            '0'..='7' => match digits(rest, 3, 8) {
                Some((c, length)) => (Some(c), length - 1),
                None => (Some(code), 0),
            },
            _ => {
                result.push('\\');
                (Some(code), 0)
            }
        };
        result.extend(character);
        rest = &behind[length..];
    }
    result + rest
}

/// Whether a filter may mark texts as safe.
fn escapes(source: &str) -> bool {
    source.split('|').skip(1).any(|behind| {
        let name = behind.trim_start();
        let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
        matches!(&name[..end], "safe" | "escape" | "e" | "forceescape")
    })
}

/// What `{% for %}` goes through and what `{% set %}` assigns to an attribute.
fn rewrite_statement(inside: &str) -> String {
    let tokens = tokens(inside);
    let text = |index: usize| tokens.get(index).map_or("", |token| &inside[token.at.clone()]);
    let first = usize::from(matches!(text(0), "-" | "+"));
    let is_sign = |index: usize| index + 1 == tokens.len() && matches!(text(index), "-" | "+");
    let mut depth = 0_usize;
    let mut from = None;
    let mut to = tokens.len();
    for index in first + 1..tokens.len() {
        match text(index) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "in" if depth == 0 && text(first) == "for" && from.is_none() => from = Some(index + 1),
            "=" if depth == 0 && text(first) == "set" && from.is_none() => from = Some(index + 1),
            "if" | "recursive" if depth == 0 && text(first) == "for" && from.is_some() => {
                to = index;
                break;
            }
            _ if is_sign(index) => to = index,
            _ => {}
        }
    }
    let Some(from) = from.filter(|from| *from < to) else { return inside.to_owned() };
    let mut edits = Edits::default();
    if text(first) == "for" {
        edits.insert(tokens[from].at.start, format!("{ITERABLE}(("));
    } else if from == first + 5 && text(first + 2) == "." {
        let (name, attribute) = (text(first + 1), text(first + 3));
        edits.insert(tokens[from].at.start, format!("{ASSIGNED}({name}, \"{attribute}\", ("));
    } else {
        return inside.to_owned();
    }
    edits.insert(tokens[to - 1].at.end, "))");
    edits.apply(inside)
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

/// Changes of a tag: what comes in place of which bytes.
#[derive(Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.0.push((range, text.into()));
    }

    fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    /// Inserts before what is inserted at the same place already.
    fn insert_in_front(&mut self, at: usize, text: impl Into<String>) {
        let before = self.0.iter().position(|(range, _)| range.start == at && range.is_empty());
        self.0.insert(before.unwrap_or(self.0.len()), (at..at, text.into()));
    }

    fn apply(mut self, text: &str) -> String {
        // stable: of those at one place the first that was asked for comes first
        self.0.sort_by_key(|(range, _)| range.start);
        let mut result = String::new();
        let mut from = 0;
        for (range, new) in &self.0 {
            result.push_str(&text[from..range.start]);
            result.push_str(new);
            from = range.end;
        }
        result + &text[from..]
    }
}

fn rewrite_attributes(inside: &str, is_statement: bool, namespaces: &[String]) -> String {
    let tokens = tokens(inside);
    let text = |index: usize| tokens.get(index).map_or("", |token| &inside[token.at.clone()]);
    let first = usize::from(matches!(text(0), "-" | "+"));
    let mut edits = Edits::default();
    for index in 1..tokens.len() {
        let named = tokens[index].kind == Kind::Name && text(index - 1) == ".";
        let is_target = is_statement && text(first) == "set" && text(index + 1) == "=";
        if !named
            || !DICTIONARY_METHODS.contains(&text(index))
            || text(index + 1) == "("
            || is_target
        {
            continue;
        }
        let Some(start) = start_of_primary(&tokens, index - 1, inside) else { continue };
        if start + 2 == index && namespaces.iter().any(|name| name == text(start)) {
            continue;
        }
        // an attribute of an attribute that is rewritten comes into the same brackets
        edits.insert(tokens[start].at.start, format!("{ATTRIBUTE}("));
        let dot = tokens[index - 1].at.start;
        edits.replace(dot..tokens[index].at.end, format!(", \"{}\")", text(index)));
    }
    edits.apply(inside)
}

/// The first token of the expression that ends before the dot at `dot`.
fn start_of_primary(tokens: &[Token], dot: usize, inside: &str) -> Option<usize> {
    let text = |index: usize| &inside[tokens[index].at.clone()];
    let mut at = dot.checked_sub(1)?;
    loop {
        while matches!(text(at), ")" | "]" | "}") {
            let mut depth = 0_usize;
            loop {
                match text(at) {
                    ")" | "]" | "}" => depth += 1,
                    "(" | "[" | "{" => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                at = at.checked_sub(1)?;
            }
            let before = at.checked_sub(1);
            let goes_on = before.is_some_and(|before| {
                matches!(text(before), ")" | "]")
                    || (tokens[before].kind != Kind::Operator && !is_keyword(text(before)))
            });
            if !goes_on {
                return Some(at);
            }
            at = before?;
        }
        match at.checked_sub(1) {
            Some(before) if text(before) == "." => at = before.checked_sub(1)?,
            // the name of a filter: what it is applied to cannot be told without parsing
            Some(before) if text(before) == "|" => return None,
            _ => return Some(at),
        }
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "in" | "is" | "if" | "else")
}

/// A sign binds less than what stands behind its operand: `-a[0]` is `-(a[0])`.
fn rewrite_negations(inside: &str, is_statement: bool) -> String {
    let tokens = tokens(inside);
    let text = |index: usize| tokens.get(index).map_or("", |token| &inside[token.at.clone()]);
    let mut edits = Edits::default();
    // the first sign of a tag strips white space
    for index in 1..tokens.len() {
        let is_sign = text(index) == "-"
            && (!is_boundary(&tokens, index, inside)
                || (is_statement && index == 1 + usize::from(matches!(text(0), "-" | "+"))));
        let operand = index + 1;
        let is_name = |at: usize| tokens.get(at).is_some_and(|token| token.kind == Kind::Name);
        if !is_sign || !(is_name(operand) || text(operand) == "(") {
            continue;
        }
        let mut end = operand;
        let mut depth = 0_usize;
        while end < tokens.len() {
            match text(end) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            let goes_on = matches!(text(end + 1), "." | "(" | "[") || text(end) == ".";
            end += 1;
            if depth == 0 && !goes_on {
                break;
            }
        }
        if end > operand + 1 {
            edits.insert(tokens[operand].at.start, "(");
            edits.insert(tokens[end - 1].at.end, ")");
        }
    }
    edits.apply(inside)
}

/// What a bracket holds, as far as it has been read.
struct Level {
    /// The first token of the sum that is being read, and whether it is a call yet.
    sum: usize,
    is_sum_open: bool,
    /// The first token of the operand of `~` that is being read, and whether it is in a call yet.
    operand: usize,
    is_open: bool,
}

impl Level {
    fn at(token: usize) -> Self {
        Self { sum: token, is_sum_open: false, operand: token, is_open: false }
    }

    /// Ends the chain of `~`, and with `sum` the sum that it is a part of.
    fn close(&self, edits: &mut Edits, end: usize, sum: bool) {
        for _ in 0..usize::from(self.is_open) + usize::from(sum && self.is_sum_open) {
            edits.insert(end, ")");
        }
    }
}

fn rewrite_operators(inside: &str, is_statement: bool, escapes: bool) -> String {
    if !inside.contains('~') && !(escapes && inside.contains('+')) {
        return inside.to_owned();
    }
    let tokens = tokens(inside);
    let text = |index: usize| &inside[tokens[index].at.clone()];
    let mut edits = Edits::default();
    let mut levels = vec![Level::at(0)];
    let signs = usize::from(matches!(tokens.first().map(|_| text(0)), Some("-" | "+")));
    for index in 0..tokens.len() {
        let level = levels.last_mut().expect("the outermost level is never closed");
        let end_before = if index > 0 { tokens[index - 1].at.end } else { 0 };
        let is_boundary = is_statement && index <= signs || is_boundary(&tokens, index, inside);
        match text(index) {
            "(" | "[" | "{" if tokens[index].kind == Kind::Operator => {
                levels.push(Level::at(index + 1));
            }
            ")" | "]" | "}" if tokens[index].kind == Kind::Operator => {
                level.close(&mut edits, end_before, true);
                if levels.len() > 1 {
                    levels.pop();
                }
            }
            "~" => {
                if !level.is_open {
                    level.is_open = true;
                    edits.insert(tokens[level.operand].at.start, format!("{CONCATENATE}("));
                }
                edits.replace(tokens[index].at.clone(), ",");
            }
            // the last sign of a tag strips white space
            "+" if escapes && is_boundary && index > signs && index + 1 < tokens.len() => {
                level.close(&mut edits, end_before, false);
                if !level.is_sum_open {
                    edits.insert_in_front(tokens[level.sum].at.start, format!("{ADD}("));
                }
                edits.replace(tokens[index].at.clone(), ",");
                let sum = level.sum;
                *level = Level { sum, is_sum_open: true, ..Level::at(index + 1) };
            }
            // `a + b - c` is a call of which something is taken
            "-" if escapes && is_boundary && index > signs && index + 1 < tokens.len() => {
                level.close(&mut edits, end_before, true);
                *level = Level { sum: level.sum, ..Level::at(index + 1) };
            }
            _ if is_boundary => {
                level.close(&mut edits, end_before, true);
                *level = Level::at(index + 1);
            }
            _ => {}
        }
    }
    if let Some(level) = levels.last() {
        level.close(&mut edits, tokens.last().map_or(0, |token| token.at.end), true);
    }
    edits.apply(inside)
}

/// Whether a token binds less than `~` does, so that an operand ends before it.
fn is_boundary(tokens: &[Token], index: usize, inside: &str) -> bool {
    let text = |index: usize| &inside[tokens[index].at.clone()];
    let before = index.checked_sub(1).map(text);
    match tokens[index].kind {
        Kind::Name => {
            !matches!(before, Some("." | "|"))
                && match text(index) {
                    "not" => before != Some("is"),
                    "and" | "or" | "in" | "if" | "else" | "recursive" => true,
                    _ => false,
                }
        }
        Kind::Operator => match text(index) {
            "," | ":" | "=" | "==" | "!=" | "<" | ">" | "<=" | ">=" => true,
            // a sign in front of an operand belongs to it
            "+" | "-" => match index.checked_sub(1) {
                None => true,
                Some(before) => match tokens[before].kind {
                    Kind::Operator => matches!(text(before), ")" | "]" | "}"),
                    Kind::Name => !is_keyword(text(before)),
                    Kind::Number | Kind::Text => true,
                },
            },
            _ => false,
        },
        Kind::Number | Kind::Text => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "{%- filter generation__ -%}\nx{% endfilter %}{# {% generation %} ~ #}{",
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
}
