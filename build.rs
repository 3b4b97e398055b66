//! Builds what the orchestrator carries inside itself: the runner, as a static executable, and the list of the
//! built-in plugins' files. `ORCHESTRATOR_RUNNER=/path/to/runner` takes a runner that was built elsewhere instead.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// What the runner is made of: a change here makes it anew.
const SOURCES: [&str; 4] = ["runner-image/runner", "src/port", "src/sandbox", "Cargo.lock"];

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-env-changed=ORCHESTRATOR_RUNNER");
    let runner = match env::var_os("ORCHESTRATOR_RUNNER") {
        Some(path) => PathBuf::from(path),
        None => build_runner(&root, &out),
    };
    println!("cargo::rerun-if-changed={}", runner.display());
    let plugins = root.join("runner-image/plugins");
    println!("cargo::rerun-if-changed={}", plugins.display());
    let mut files = Vec::new();
    list(&plugins, "", &mut files);
    let mut code = format!("Embedded {{\n    runner: include_bytes!({runner:?}),\n    plugins: &[\n");
    for (name, path) in files {
        let _ = writeln!(code, "        ({name:?}, include_bytes!({path:?})),");
    }
    code.push_str("    ],\n}\n");
    if let Err(error) = fs::write(out.join("embedded.rs"), code) {
        refuse(&format!("cannot write the list of plugins: {error}"));
    }
}

/// Builds the runner in a target folder of its own, so that it does not wait for the build that it is part of.
fn build_runner(root: &Path, out: &Path) -> PathBuf {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    // A debug build is made often: it takes the profile that builds fast.
    let profile = if variable("PROFILE") == "release" { "runner" } else { "runner-dev" };
    let target = out.join("runner");
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(root).args([
        "rustc",
        "--package",
        "orchestrator-runner",
        "--bin",
        "runner",
        "--profile",
        profile,
    ]);
    cargo.arg("--target-dir").arg(&target).args(["--", "-C", "target-feature=+crt-static"]);
    // What was said about the orchestrator's own build is not meant for this one.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_outer_build)) {
        cargo.env_remove(name);
    }
    match cargo.status() {
        Ok(status) if status.success() => target.join(profile).join("runner"),
        Ok(status) => refuse(&format!("building the static runner failed ({status}), see above")),
        Err(error) => refuse(&format!("cargo cannot be run to build the static runner: {error}")),
    }
}

fn is_of_outer_build(name: &str) -> bool {
    let prefixes =
        ["CARGO_PROFILE_", "CARGO_FEATURE_", "CARGO_CFG_", "CARGO_PKG_", "CARGO_BUILD_", "DEP_", "CLIPPY_"];
    let names = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOCFLAGS",
        "CARGO_ENCODED_RUSTDOCFLAGS",
        "CARGO_MAKEFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_MANIFEST_LINKS",
        "RUSTC",
        "RUSTDOC",
        "TARGET",
        "HOST",
        "OUT_DIR",
        "OPT_LEVEL",
        "DEBUG",
        "PROFILE",
        "NUM_JOBS",
    ];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || names.contains(&name)
}

/// The files below a folder, in the order of their names, by their path in it.
fn list(folder: &Path, at: &str, files: &mut Vec<(String, PathBuf)>) {
    let Ok(read) = fs::read_dir(folder) else { refuse(&format!("cannot read {}", folder.display())) };
    let mut found: Vec<_> = read.flatten().map(|file| file.path()).collect();
    found.sort();
    for path in found {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "__pycache__" {
                list(&path, &format!("{at}{name}/"), files);
            }
        } else {
            files.push((format!("{at}{name}"), path.clone()));
        }
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| refuse(&format!("cargo did not set {name}")))
}

fn refuse(why: &str) -> ! {
    println!("cargo::error={why}");
    println!("cargo::error=the runner needs a C compiler (Debian: apt install gcc libc6-dev)");
    println!("cargo::error=or set ORCHESTRATOR_RUNNER to a static runner that was built elsewhere");
    exit(1);
}
