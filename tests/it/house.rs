//! The house is as ARCHITECTURE.md says: who may know whom, where danger lives, what it is made of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn crates_know_only_whom_they_may_know() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    let allowed = |name: &str| match name {
        "orchestrator" => vec!["cli", "core", "manager"],
        "orchestrator-cli" => vec!["core", "manager", "views"],
        "orchestrator-views" => vec!["core", "manager"],
        "orchestrator-manager" => vec!["core", "port", "sandbox"],
        "orchestrator-runner" => vec!["port", "sandbox"],
        // Nobody knows it: it is for tests and the fuzzer.
        "orchestrator-targets" => vec!["core", "port"],
        _ => vec![],
    };
    let own: Vec<&Value> = packages.iter().filter(|package| package["source"].is_null()).collect();
    assert_eq!(own.len(), 9);
    for package in own {
        let name = package["name"].as_str().expect("a name");
        let dependencies = package["dependencies"].as_array().expect("a list").iter();
        let known: BTreeSet<&str> = dependencies
            .filter_map(|dependency| dependency["name"].as_str()?.strip_prefix("orchestrator-"))
            .collect();
        let allowed: BTreeSet<&str> = allowed(name).into_iter().collect();
        assert!(known.is_subset(&allowed), "{name} knows {known:?}, and may know {allowed:?}");
    }
}

#[test]
fn licences_are_free_and_no_banned_crate_is_there() {
    let free = [
        "Apache-2.0",
        "MIT",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CDLA-Permissive-2.0",
        "ISC",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
        "0BSD",
        "CC0-1.0",
        "BSL-1.0",
    ];
    let banned = [
        "serde_yml",
        "libyml",
        "yaml-rust",
        "bincode",
        "atty",
        "async-std",
        "instant",
        "derivative",
        "proc-macro-error",
        "number_prefix",
        "paste",
        "backoff",
        "fxhash",
        "users",
        "atomic-polyfill",
        "tokio-tar",
    ];
    for package in metadata()["packages"].as_array().expect("a list") {
        let name = package["name"].as_str().expect("a name");
        assert!(!banned.contains(&name), "{name} is unmaintained or unsound: see deny.toml");
        let licence = package["license"].as_str().unwrap_or_default().replace('/', " OR ");
        // One of the alternatives has to be free, with all that it takes.
        let is_free = licence.split(" OR ").any(|choice| {
            let choice = choice.replace(['(', ')'], "");
            choice
                .split(" AND ")
                .all(|part| free.contains(&part.split(" WITH ").next().unwrap_or_default().trim()))
        });
        assert!(is_free, "{name} has the licence {licence:?}");
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for file in fs::read_dir(folder).expect("it can be read") {
        let path = file.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_is_in_one_room() {
    let mut files = Vec::new();
    for folder in ["src", "runner-image/runner", "tests", "examples"] {
        sources(&root().join(folder), &mut files);
    }
    // An attacker makes whatever calls it likes.
    let rooms = [root().join("src/sandbox"), root().join("runner-image/runner/tests/corpus")];
    for file in files.iter().filter(|file| !rooms.iter().any(|room| file.starts_with(room))) {
        let text = fs::read_to_string(file).expect("it can be read");
        let dangerous = ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| {
            text.lines().any(|line| {
                line.contains(word) && !line.contains('"') && !line.trim_start().starts_with("//")
            })
        });
        assert!(!dangerous, "{} has unsafe code: it belongs into src/sandbox", file.display());
    }
}

#[test]
fn no_test_is_forgotten() {
    let main = fs::read_to_string(root().join("tests/it/main.rs")).expect("it can be read");
    for entry in fs::read_dir(root().join("tests/it")).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "{name} is in no test");
    }
}

#[test]
fn the_architecture_page_names_files_that_are_there() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("it can be read");
    let named = page.split('`').skip(1).step_by(2).filter(|code| code.contains('/') && !code.contains(' '));
    let named: Vec<_> =
        named.filter(|code| code.ends_with(".rs") || code.ends_with(".md") || code.ends_with('/')).collect();
    assert!(named.len() > 10);
    for file in named {
        assert!(root().join(file).exists(), "ARCHITECTURE.md names {file}, which is not there");
    }
}

#[test]
fn every_row_of_the_hostile_corpus_names_tests_that_are_there() {
    let page = fs::read_to_string(root().join("docs/security.md")).expect("it can be read");
    let rows: Vec<_> = page
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
            Some((number.parse::<u32>().ok()?, rest))
        })
        .collect();
    assert!(rows.iter().map(|(number, _)| *number).eq(1..=45), "each once, in order");
    let mut files = Vec::new();
    for folder in ["src", "runner-image/runner", "tests/it"] {
        sources(&root().join(folder), &mut files);
    }
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).expect("it can be read")).collect();
    for (number, row) in rows {
        for test in row.split('`').skip(1).step_by(2) {
            assert!(
                texts.iter().any(|text| text.contains(test)),
                "row {number} names {test}, which is not there"
            );
        }
    }
}
