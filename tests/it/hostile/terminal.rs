//! Row 39: what a service writes is shown to a person on a terminal, which obeys none of it; and a program is given all of
//! it, one whole object a line.

use serde_json::Value;

use crate::support::terminal::shown;
use crate::support::{TestProject, User};

/// What a service writes between two marks, as a JavaScript string, and how it is shown.
const CASES: [(&str, &str); 15] = [
    (r"\0\x07\b\v", "^@^G^H^K"),
    (r"\x1b[2J\x1b[31m", "^[[2J^[[31m"),
    (r"\x1b]0;title\x07", "^[]0;title^G"),
    (r"\x1b]8;;http://x\x1b\\text", r"^[]8;;http://x^[\text"),
    (r"\x1b]52;c;cm0gLXJm\x07", "^[]52;c;cm0gLXJm^G"),
    (r"\x1bP1$r\x1b\\", r"^[P1$r^[\"),
    (r"\x1b_apc\x1b\\", r"^[_apc^[\"),
    (r"\x7f", "^?"),
    (r"one\rtwo", "one^Mtwo"),
    (r"\x9b31m\x85", r"\u{9b}31m\u{85}"),
    (r"\u202eabc\u2066", r"\u{202e}abc\u{2066}"),
    (r"\u200b\ufeff\u00ad", r"\u{200b}\u{feff}\u{ad}"),
    (r"\u2028\u2029", r"\u{2028}\u{2029}"),
    (r"\u{e0041}\u{e007f}", r"\u{e0041}\u{e007f}"),
    (r"\ud800", "\u{fffd}"),
];

/// Bytes that are no text, as `printf` has them, and how they are shown.
const BYTES: [(&str, &str); 3] = [
    (r"\377\376", "\u{fffd}\u{fffd}"),
    (r"\233\061m", "\u{fffd}1m"),
    (r"\355\240\200", "\u{fffd}\u{fffd}\u{fffd}"),
];

pub(super) fn is_not_obeyed(user: User) {
    let attacks: String = CASES.iter().map(|(attack, _)| format!("<{attack}>\\n")).collect();
    let bytes: String = BYTES.iter().map(|(bytes, _)| format!("<{bytes}>\\n")).collect();
    let one_line = attacks.replace("\\n", "");
    let project = TestProject::run_by(
        user,
        "  words: { runtime: js, kind: job, code: ./words.js }
  fault: { runtime: js, kind: job, code: ./fault.js }
  bytes: { runtime: exec, kind: job, permissions: { subprocess: true }, code: ./bytes }
",
    );
    project.write("words.js", &format!("console.log(\"{attacks}\"); console.error(\"{attacks}\");\n"));
    project.write(
        "fault.js",
        &format!("const fault = new Error(\"{one_line}\");\nfault.name = \"{one_line}\";\nthrow fault;\n"),
    );
    project.write(
        "bytes",
        &format!(
            "#!/bin/sh\nprintf '{bytes}'\nprintf '{bytes}' >&2\nhead -c 300000 /dev/zero | tr '\\0' '\\033'\n"
        ),
    );
    // Wide enough that nothing is cut.
    let shown = shown(project.command(&["up"]), 20_000);
    for (attack, safe) in CASES.iter().chain(&BYTES) {
        let times = shown.matches(&format!("<{safe}>")).count();
        assert!(times >= 2, "{attack}: {times} times {safe:?} in {}", shown.escape_debug());
    }
    let obeyed = shown.char_indices().find(|(at, c)| is_obeyed(&shown[*at..], *c));
    assert_eq!(obeyed.map(|(at, _)| shown[at..].chars().take(20).collect::<String>()), None);
    for what in [&["logs", "--json"][..], &["logs", "--json", "--tail", "5"]] {
        let said = project.run(what);
        assert!(said.out.lines().count() >= 5);
        for line in said.out.lines() {
            let record: Value = serde_json::from_str(line).expect("it is whole");
            assert!(record["text"].is_string(), "{line}");
            assert!(!line.chars().any(|c| c < ' '), "{line:?}");
        }
    }
}

/// Whether a terminal would obey what begins here, but for the orchestrator's own colours and its going back over a table.
fn is_obeyed(rest: &str, c: char) -> bool {
    const OWN: [&str; 3] = ["\x1b[A", "\x1b[J", "\x1b[0m"];
    match c {
        '\n' | '\t' => false,
        '\r' => !(rest.starts_with("\r\n") || rest.starts_with("\r\x1b[")),
        '\x1b' => !(OWN.iter().any(|own| rest.starts_with(own)) || is_colour(rest)),
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => true,
        '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

/// Whether it begins with one of the palette's colours: no clearing, no moving.
fn is_colour(rest: &str) -> bool {
    let end = rest.strip_prefix("\x1b[").and_then(|rest| rest.split_once('m'));
    end.is_some_and(|(numbers, _)| numbers.chars().all(|c| c.is_ascii_digit() || c == ';'))
}
