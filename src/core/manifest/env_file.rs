//! A `.env` file: lines of `KEY=VALUE`, with comments after `#`, and quotes round a value that has spaces at its ends
//! or a `#` inside. Nothing is replaced in it.

use std::collections::BTreeMap;

use super::interpolate::is_name;
use super::problem::{Hint, Place, Problem, ProblemKind};

/// Reads a `.env` file: the variables of its good lines, and a problem for each of the others.
#[must_use]
pub fn read(text: &str) -> (BTreeMap<String, String>, Vec<Problem>) {
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    let mut start = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        match read_line(line) {
            Ok(Some((name, value))) => {
                variables.insert(name.to_owned(), value);
            }
            Ok(None) => {}
            Err(why) => {
                let indent = line.len() - line.trim_start().len();
                let column = u32::try_from(line[..indent].chars().count() + 1).unwrap_or(u32::MAX);
                let span = start + indent..start + line.trim_end().len();
                let place = Place { line: number, column, span };
                let hint = Hint::advise("write it as NAME=value, or NAME=\"two words\"");
                problems.push(Problem::new(&place, ProblemKind::EnvLine { why }, hint));
            }
        }
        start += line.len();
    }
    (variables, problems)
}

/// The variable of a line, unless it is empty or a comment.
fn read_line(line: &str) -> Result<Option<(&str, String)>, &'static str> {
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("there is no '=' in it")?;
    let name = name.trim();
    if !is_name(name) {
        return Err("a name is letters, digits and '_'");
    }
    let value = read_value(value.trim())?;
    if value.contains('\0') { Err("it holds the character U+0000") } else { Ok(Some((name, value))) }
}

fn read_value(value: &str) -> Result<String, &'static str> {
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&value[1..], quote),
        // A '#' begins a comment only after a space: it may be part of a value.
        _ => Ok(value.split_once(" #").map_or(value, |(value, _)| value.trim_end()).to_owned()),
    }
}

/// The value between quotes. Between double ones `\n`, `\t`, `\"` and `\\` mean what they mean everywhere.
fn quoted(rest: &str, quote: char) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => {
                let after = chars.as_str().trim_start();
                let ends = after.is_empty() || after.starts_with('#');
                return if ends { Ok(value) } else { Err("there is something after the closing quote") };
            }
            '\\' if quote == '"' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(c @ ('"' | '\\' | '$')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("the closing quote is missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_variables() {
        let text = "\u{feff}# a comment\n\nA=1\nexport B = two words # comment\r\nC=\"a # \\\"b\\\"\\n\" # c\nD='$x \\n'\n\
                    E=\nF=a#b\nA=2";
        let (variables, problems) = read(text);
        assert_eq!(problems, []);
        let shown: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let expected =
            ["A=\"2\"", "B=\"two words\"", "C=\"a # \\\"b\\\"\\n\"", "D=\"$x \\\\n\"", "E=\"\"", "F=\"a#b\""];
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_wrong_line_is_reported_with_its_place() {
        let (variables, problems) = read("A=1\nno equals\n  2B=x\nC=\"x\nD='x' y\nE=5\n");
        assert_eq!(variables.keys().collect::<Vec<_>>(), ["A", "E"]);
        let shown: Vec<_> =
            problems.iter().map(|p| format!("{}:{} {}", p.place.line, p.place.column, p.kind)).collect();
        let expected = [
            "2:1 this line is no 'KEY=VALUE': there is no '=' in it",
            "3:3 this line is no 'KEY=VALUE': a name is letters, digits and '_'",
            "4:1 this line is no 'KEY=VALUE': the closing quote is missing",
            "5:1 this line is no 'KEY=VALUE': there is something after the closing quote",
        ];
        assert_eq!(shown, expected);
    }
}
