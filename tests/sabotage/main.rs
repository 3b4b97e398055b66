//! One mechanism of the sandbox at a time is broken for real: by a system call filter around the whole orchestrator, by a
//! user namespace without room, by control groups that cannot be written. Each time `up` has to refuse, say what is
//! missing, and start nothing. Prints what it said.
//!
//! The filters are of two kinds. One refuses a call, as a kernel without it would: that has to come out before anything
//! starts. The other lies: it says that a call was done, and does nothing. Then the look from inside has to find out,
//! before any code is sent.
//!
//! What installs the filter is this same program, started again. As root everything happens in mount and process
//! namespaces that are thrown away, because a runner that was lied to may do to them what it meant to do to its own.

#![expect(clippy::print_stdout, reason = "what was said is what this is for")]

mod broken;
#[expect(dead_code, reason = "these tests use a part of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use broken::{BROKEN, Broken};
use support::{Said, TestProject, User, is_root};

/// What this program is started with to break a mechanism; the rest of its arguments is which one, and the command to start.
const ROLE: &str = "break";

/// The exit code where a host cannot enforce what is wanted.
const UNENFORCEABLE: i32 = 78;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [ROLE, what, program, ..] => {
            broken::named(what).install();
            let error = Command::new(program).args(&arguments[3..]).exec();
            println!("{program} cannot be started: {error}");
            ExitCode::FAILURE
        }
        _ => try_all(),
    }
}

fn try_all() -> ExitCode {
    let mut good = true;
    for user in [User::Root, User::Ordinary] {
        if !user.is_possible("sabotage") {
            continue;
        }
        for broken in &BROKEN {
            let project = project(user, broken);
            let said = up(&project, broken);
            let (what, who) = (broken.what, if user == User::Root { "root" } else { "user" });
            let first = said.err.lines().find(|line| line.contains("E_")).unwrap_or_default();
            match verdict(&project, broken, &said) {
                Ok(()) => println!("{what:<44} {who}  {first}"),
                Err(why) => {
                    good = false;
                    println!("{what:<44} {who}  WRONG: {why}: {said:?}");
                }
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A service that would leave a mark, with whatever grant needs the mechanism.
fn project(user: User, broken: &Broken) -> TestProject {
    let project = TestProject::run_by(
        user,
        &format!(
            "  web:
    runtime: exec
    kind: job
    permissions: {{ subprocess: true, fs: {{ write: [./shared] }}, {} }}
    code: ./job
",
            broken.grant
        ),
    );
    let mark = project.path().join("shared/mark");
    project.write("job", &format!("#!/bin/sh\necho it runs\necho > {}\n", mark.display()));
    project
}

fn up(project: &TestProject, broken: &Broken) -> Said {
    let shell =
        |script: Option<&'static str>| script.into_iter().flat_map(|script| ["sh", "-c", script, "sh"]);
    let mut outer = Vec::new();
    if is_root() {
        outer.extend(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    }
    outer.extend(shell(broken.first));
    // Where it was built, the project's user may not look.
    let breaker = project.path().join("breaker").display().to_string();
    let own = env::current_exe().expect("it has a name");
    fs::copy(own, &breaker).expect("it can be copied");
    let inner: Vec<&str> = shell(broken.then).chain([breaker.as_str(), ROLE, broken.what]).collect();
    Said::of(&mut project.command_within(&outer, &inner, &["up"]))
}

fn verdict(project: &TestProject, broken: &Broken, said: &Said) -> Result<(), &'static str> {
    if broken.said.is_empty() {
        // What breaks nothing shows that it is not the filter as such.
        return if said.code == Some(0) && said.out.contains("it runs") {
            Ok(())
        } else {
            Err("it does not run")
        };
    }
    if said.code != Some(UNENFORCEABLE) {
        return Err("another exit code");
    }
    if !broken.said.iter().any(|words| said.err.contains(words)) {
        return Err("other words");
    }
    if said.out.contains("it runs") || project.path().join("shared/mark").exists() {
        return Err("the code has run");
    }
    Ok(())
}
