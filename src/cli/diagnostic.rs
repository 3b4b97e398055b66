//! Problems of a manifest as a person reads them: what, where, the line with a caret under it, and the fix.

use std::fmt::Write;
use std::ops::Range;

use orchestrator_core::manifest::{Problem, Problems};

/// The most problems that are shown: more do not fit on a screen, and most would go with the first ones.
const MOST_SHOWN: usize = 20;

/// The most characters of a line that are shown.
const WIDEST: usize = 100;

/// The characters shown before the caret, of a line that is wider.
const BEFORE_CARET: usize = 40;

const RED: &str = "\x1b[1;31m";
const BLUE: &str = "\x1b[1;34m";
const GREEN: &str = "\x1b[1;32m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The problems of the file called `file`, whose text is `source`: one after the other, and a line that counts them.
/// With `colour`, for a terminal.
#[must_use]
pub(crate) fn render(problems: &Problems, file: &str, source: &str, colour: bool) -> String {
    let ink = Ink { colour };
    let file = shown(file);
    let mut text = String::new();
    for problem in problems.iter().take(MOST_SHOWN) {
        text.push_str(&render_one(problem, &file, source, &ink));
        text.push('\n');
    }
    if let Some(more) = problems.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "... and {more} more");
    }
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    let _ = writeln!(text, "{count} {noun} in {file}; nothing was started");
    text
}

fn render_one(problem: &Problem, file: &str, source: &str, ink: &Ink) -> String {
    let place = &problem.place;
    let line = Line::at(source, &place.span);
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let bar = ink.paint(BLUE, "|");
    let mut text = String::new();
    let heading = ink.paint(BOLD, &format!(": {}", shown(&problem.kind.to_string())));
    let _ = writeln!(text, "{}{heading}", ink.paint(RED, "error"));
    let _ = writeln!(text, "{margin}{} {file}:{}:{}", ink.paint(BLUE, "-->"), place.line, place.column);
    let _ = writeln!(text, "{margin} {bar}");
    let _ = writeln!(text, "{} {bar} {}", ink.paint(BLUE, &number), line.text);
    let caret = "^".repeat(line.carets);
    let _ = writeln!(text, "{margin} {bar} {}{}", " ".repeat(line.before), ink.paint(RED, &caret));
    if let Some(hint) = &problem.hint {
        let _ = writeln!(text, "{margin} {} {}", ink.paint(GREEN, "fix:"), shown(&hint.to_string()));
    }
    text
}

/// Colours, or none.
struct Ink {
    colour: bool,
}

impl Ink {
    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}

/// A line of the source as it is shown, and where the carets under it are.
struct Line {
    text: String,
    /// The characters before the first caret.
    before: usize,
    carets: usize,
}

impl Line {
    /// The line on which a span begins. A caret stands under each character of the span that is on this line.
    fn at(source: &str, span: &Range<usize>) -> Self {
        let start = source.floor_char_boundary(span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |newline| start + newline);
        let end = source.floor_char_boundary(span.end).clamp(start, line_end);
        let before = shown(&source[line_start..start]);
        let marked = shown(source[start..end].trim_end());
        let after = shown(source[end..line_end].trim_end());
        let (left, before) = cropped_left(&before);
        let room = WIDEST.saturating_sub(before.chars().count());
        let (marked, after) = (cropped_right(&marked, room), after);
        let after = cropped_right(&after, room.saturating_sub(marked.chars().count()));
        Self {
            before: left.chars().count() + before.chars().count(),
            carets: marked.chars().count().max(1),
            text: format!("{left}{before}{marked}{after}").trim_end().to_owned(),
        }
    }
}

/// The end of what stands before the caret, and a sign that something was left out.
fn cropped_left(text: &str) -> (&'static str, &str) {
    let count = text.chars().count();
    if count < WIDEST - BEFORE_CARET {
        return ("", text);
    }
    let start = text.char_indices().nth(count - BEFORE_CARET).map_or(0, |(start, _)| start);
    ("...", &text[start..])
}

fn cropped_right(text: &str, room: usize) -> String {
    match text.char_indices().nth(room) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The text without anything that a terminal would obey: control characters, and those that turn the direction of
/// writing. Each character is as wide as it looks.
fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => safe.push_str("    "),
            '\u{feff}' | '\r' => {}
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                safe.extend(c.escape_unicode());
            }
            c if c.is_control() => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use orchestrator_core::manifest::{Hint, Owner, Place, ProblemKind};

    use super::*;

    fn unknown_key(source: &str, key: &str, hint: Option<Hint>) -> Problem {
        let start = source.find(key).unwrap();
        let owner = Owner::Service("web".into());
        let kind = ProblemKind::UnknownKey { key: key.to_owned(), owner };
        Problem::new(&Place::of(source, start..start + key.len()), kind, hint)
    }

    fn rendered(problems: Vec<Problem>, source: &str) -> String {
        render(&Problems::gather(problems).unwrap(), "manifest.yaml", source, false)
    }

    #[test]
    fn a_problem_is_shown_with_its_line_and_its_fix() {
        let source = "services:\n  web:\n    depend_on: [db]\n    rplicas: 2\n";
        let hint = Some(Hint::DidYouMean("depends_on".into()));
        let problems = vec![unknown_key(source, "rplicas", None), unknown_key(source, "depend_on", hint)];
        assert_eq!(
            rendered(problems, source),
            "\
error: unknown key 'depend_on' in service 'web'
 --> manifest.yaml:3:5
  |
3 |     depend_on: [db]
  |     ^^^^^^^^^
  fix: did you mean 'depends_on'?

error: unknown key 'rplicas' in service 'web'
 --> manifest.yaml:4:5
  |
4 |     rplicas: 2
  |     ^^^^^^^

2 problems in manifest.yaml; nothing was started
"
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let source = "a:\t\x1b[2Jb\u{202e}\n";
        let text = rendered(vec![unknown_key(source, "b", None)], source);
        assert!(text.contains("1 | a:    \\u{1b}[2Jb\\u{202e}\n  |                ^\n"), "{text}");
        let hostile = unknown_key("\x1b]0;x\x07: 1", "\x1b]0;x\x07", None);
        assert!(!rendered(vec![hostile], "\x1b]0;x\x07: 1").contains('\x1b'));
    }

    #[test]
    fn a_wide_line_is_cropped_round_its_caret() {
        let source = format!("{}key{}", "a".repeat(500), "b".repeat(500));
        let text = rendered(vec![unknown_key(&source, "key", None)], &source);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[3].starts_with("1 | ...aaaa") && lines[3].ends_with("bbbb..."), "{text}");
        assert!(lines[3].len() < 120, "{text}");
        assert_eq!(lines[3].find("key"), lines[4].find('^'));
    }

    #[test]
    fn a_place_at_the_end_or_of_nothing_has_one_caret() {
        for (source, span) in [("", 0..0), ("a: 1\n", 5..5), ("a: 1\n", 4..99), ("é", 1..1)] {
            let problem = Problem::new(&Place::of(source, span), ProblemKind::Empty, None);
            let text = rendered(vec![problem], source);
            assert_eq!(text.matches('^').count(), 1, "{text}");
        }
    }

    #[test]
    fn more_than_a_screen_is_counted() {
        let source = "a\n".repeat(30);
        let at = |i: usize| Problem::new(&Place::of(&source, 2 * i..2 * i + 1), ProblemKind::Empty, None);
        let text = rendered((0..30).map(at).collect(), &source);
        assert_eq!(text.matches("error: ").count(), 20);
        assert!(
            text.ends_with("\n\n... and 10 more\n30 problems in manifest.yaml; nothing was started\n"),
            "{text}"
        );
    }

    #[test]
    fn colours_are_for_terminals() {
        let problems = Problems::gather(vec![unknown_key("key", "key", None)]).unwrap();
        let text = render(&problems, "m.yaml", "key", true);
        assert!(
            text.starts_with("\x1b[1;31merror\x1b[0m\x1b[1m: unknown key 'key' in service 'web'\x1b[0m\n"),
            "{text}"
        );
    }
}
