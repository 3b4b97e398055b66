//! A plugin's host is believed as little as any other program: what it says wrong, late or not at all ends its own start,
//! with one line that says why.

use crate::support::TestProject;

/// A service whose host is this shell script, which speaks the host protocol on descriptor 3.
fn project(script: &str, more: &str) -> TestProject {
    let project = TestProject::new(&format!("  web: {{ code: ./web.shell, restart: never{more} }}\n"));
    project.write(
        "plugins/shell/plugin.yaml",
        "name: shell\nabout: Runs a shell script that is a host itself\nruntime:\n  extensions: [shell]\n  command: [/bin/sh, \"{code}\"]\n  protocol: host\n",
    );
    project.write("web.shell", &format!("say() {{ printf '%s\\n' \"$1\" >&3; }}\n{script}\n"));
    project
}

/// What `up` prints of a service that crashes.
fn crash(script: &str, more: &str) -> String {
    let (code, text) = project(script, more).up().end();
    assert_eq!(code, Some(1), "{text}");
    text
}

#[test]
fn it_starts_serves_and_closes() {
    let project = project(
        r#"say '{"type":"started","methods":["get"],"health":true}'
           while read -r line <&3; do
               echo "$line"
               case $line in
                   *health*) say '{"type":"health","id":1,"failure":null}' ;;
                   *close*) exit 0 ;;
               esac
           done"#,
        ", alive: { interval: 10ms }",
    );
    let mut up = project.up();
    up.wait_for("web-1 | {\"type\":\"health\",\"id\":2}");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("web-1 | {\"type\":\"close\"}"), "{text}");
}

#[test]
fn what_breaks_the_protocol_ends_the_start_and_says_what_it_was() {
    let long = "x".repeat(65536);
    for (script, why) in [
        (r"say hello".to_owned(), "host protocol: line not understood: expected value at line 1 column 1"),
        (r#"say '{"type":"reply"}'"#.into(), "host protocol: line not understood: missing field `id`"),
        (format!("say '{}'", "x".repeat(1_100_000)), "host protocol: line longer than 1048576 bytes"),
        (
            format!(r#"say '{{"type":"emit","id":1,"event":"{long}"}}'"#),
            "host protocol: a line for other services of 65569 bytes, where at most 65536 are allowed",
        ),
        (
            r#"say '{"type":"reply","id":1,"payload":2,"json":3}'"#.into(),
            "host protocol: a payload of 2 bytes, of which 3 are JSON",
        ),
    ] {
        let text = crash(&format!("{script}; exec sleep 1000"), "");
        let told = format!("web-1 crashed: no environment: failed to hear the service: {why}");
        assert!(text.contains(&told), "{told}\n{text}");
    }
}

#[test]
fn last_words_are_heard_after_the_end() {
    let error = r#""error":{"name":"TypeError","message":"no such thing","stack":"at a.js:1"}"#;
    let text = crash(&format!(r#"say '{{"type":"failed",{error}}}'; exit 1"#), "");
    assert!(text.contains("web-1 crashed: TypeError: no such thing"), "{text}");
    let text =
        crash(&format!(r#"say '{{"type":"started"}}'; say '{{"type":"exception",{error}}}'; exit 1"#), "");
    assert!(text.contains("web-1 crashed: TypeError: no such thing"), "{text}");
}

#[test]
fn a_service_without_a_voice_has_no_health() {
    let mute = r#"say '{"type":"started","health":true}'; exec 3>&-; exec sleep 1000"#;
    let alive = ", alive: { interval: 10ms, failures: 2, timeout: 200ms }";
    let text = crash(mute, alive);
    let told = "web-1 crashed: unhealthy 2 times in a row: the host has closed its descriptor";
    assert!(text.contains(told), "{text}");
    let deaf = r#"say '{"type":"started","health":true}'; exec sleep 1000"#;
    let text = crash(deaf, alive);
    let told = "web-1 crashed: unhealthy 2 times in a row: no answer within 200 ms";
    assert!(text.contains(told), "{text}");
}
