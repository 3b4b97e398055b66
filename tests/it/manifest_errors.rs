//! A wrong manifest is refused whole: `orchestrator check` shows every problem with its place, its line and its fix,
//! and exits with code 2. Each file in `tests/manifests` has the exact text beside it; `UPDATE_EXPECTED=1` rewrites
//! those.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The exit code for a manifest that cannot be used.
const WRONG: Option<i32> = Some(2);

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests")
}

/// Checks a file of a folder, as a person in that folder would, with no variables set.
fn check(folder: &Path, file: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_orchestrator"))
        .args(["check", file])
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder)
        .output()
        .expect("the orchestrator can be run")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it writes UTF-8")
}

/// What is said of a manifest with this text.
fn refusal(text: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder can be made");
    fs::write(folder.path().join("manifest.yaml"), text).expect("a file can be written");
    let output = check(folder.path(), "manifest.yaml");
    assert_eq!(output.status.code(), WRONG, "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn each_wrong_manifest_is_refused_with_the_text_beside_it() {
    let folder = manifests();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the manifests are there")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    assert!(names.len() > 20, "{names:?}");
    let mut different = Vec::new();
    for name in names {
        let output = check(&folder, &name);
        let text = stderr(&output);
        assert_eq!(output.status.code(), WRONG, "{name}: {text}");
        assert!(output.stdout.is_empty(), "{name}");
        let expected = folder.join(&name).with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &text).expect("the text can be written");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if text != expected {
            different.push(format!("--- {name}, expected\n{expected}\n--- {name}, found\n{text}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn two_mebibytes_are_refused() {
    let text = refusal("# nothing but comments\n".repeat(2 * 1024 * 1024 / 23).as_bytes());
    assert!(text.starts_with("error: the file is larger than 1024 KiB\n"), "{text}");
    assert!(text.contains("--> manifest.yaml:45591:"), "{text}");
}

#[test]
fn what_is_not_utf_8_is_refused_at_its_place() {
    let text = refusal(b"services:\n  caf\xe9:\n    code: web.js\n");
    assert!(text.starts_with("error: the file is not UTF-8 text\n --> manifest.yaml:2:6\n"), "{text}");
}

#[test]
fn a_hundred_thousand_levels_are_refused() {
    for level in ["[", "- ", "{a: "] {
        let text = refusal(level.repeat(100_000).as_bytes());
        assert!(text.starts_with("error: lists and mappings are nested deeper than 64 levels\n"), "{text}");
        assert!(text.lines().all(|line| line.len() < 200), "{text}");
    }
}

#[test]
fn the_problems_of_the_variables_are_reported_with_those_of_the_manifest() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    fs::write(folder.path().join(".env"), "GOOD=web\nno equals sign\n").expect("a file can be written");
    let manifest = "services: { web: { code: \"${GOOD}-${BAD}.js\" } }\n";
    fs::write(folder.path().join("manifest.yaml"), manifest).expect("a file can be written");
    let text = stderr(&check(folder.path(), "manifest.yaml"));
    assert!(text.contains("1 problem in .env; nothing was started"), "{text}");
    assert!(text.contains("error: the variable 'BAD' is not set"), "{text}");
}
