//! Row 36: code that cannot be shipped, because what is in its folder is no bundle. What a runner is sent that is none is
//! refused there, too (`runner-image/runner/tests/remote.rs`).

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{TestProject, User};

/// What makes a folder of code one that cannot be shipped, and what is said of it.
struct Case {
    name: &'static str,
    spoil: fn(&Path),
    said: &'static str,
}

const CASES: [Case; 9] = [
    Case {
        name: "link-out",
        spoil: |folder| symlink("/etc/passwd", folder.join("link")).expect("a link can be made"),
        said: "leads out of its folder",
    },
    Case {
        name: "link-up",
        spoil: |folder| symlink("../../shared", folder.join("link")).expect("a link can be made"),
        said: "leads out of its folder",
    },
    Case { name: "backslash", spoil: |folder| write(folder, "..\\x"), said: "character '\\\\' in a path" },
    Case { name: "line", spoil: |folder| write(folder, "a\nb"), said: "character '\\n' in a path" },
    Case {
        name: "deep",
        spoil: |folder| {
            let deep = folder.join(["d"; 17].join("/"));
            fs::create_dir_all(&deep).expect("folders can be made");
            write(&deep, "file");
        },
        said: "path deeper than 16 folders",
    },
    Case {
        name: "case",
        spoil: |folder| ["twin", "Twin"].iter().for_each(|name| write(folder, name)),
        said: "differ in case only",
    },
    Case {
        name: "many",
        spoil: |folder| (0..20_001).for_each(|number| write(folder, &number.to_string())),
        said: "more than 20000 files",
    },
    Case { name: "huge", spoil: |folder| sparse(folder, "file", 10 << 30), said: "more than 256 MiB" },
    Case {
        name: "much",
        // Each of them would do. All of them do not fit into the memory that the attempt is given.
        spoil: |folder| (0..8).for_each(|number| sparse(folder, &number.to_string(), 200 << 20)),
        said: "more than 256 MiB",
    },
];

/// What the orchestrator may have of memory meanwhile, in KiB: three times what a bundle may be.
const MEMORY: &str = "ulimit -d 800000 && exec \"$@\"";

pub(super) fn cannot_be_shipped(user: User) {
    let services: String = CASES
        .iter()
        .map(|case| format!("  {0}: {{ runtime: exec, restart: never, code: ./code/{0} }}\n", case.name))
        .collect();
    let project = TestProject::run_by(user, &services);
    for case in &CASES {
        let code = format!("code/{}", case.name);
        project.write(&format!("{code}/main"), "#!/bin/sh\necho it runs\n");
        (case.spoil)(&project.path().join(code));
    }
    let mut up = project.command_through(&["sh", "-c", MEMORY, "sh"], &["up"]);
    let said = crate::support::Said::of(&mut up);
    assert_eq!(said.code, Some(1), "{said:?}");
    for Case { name, said: why, .. } in &CASES {
        let told = said.err.lines().find(|line| line.starts_with(&format!("{name}-1 crashed: ")));
        assert!(told.is_some_and(|line| line.contains(why)), "{name}: no {why:?} in {said:?}");
    }
    assert!(!said.out.contains("it runs"), "{said:?}");
    project.wait_until_nothing_is_left();
}

fn write(folder: &Path, name: &str) {
    fs::write(folder.join(name), "").expect("a file can be written");
}

/// A file that is as long as this, and takes no place.
fn sparse(folder: &Path, name: &str, length: u64) {
    let file = File::create(folder.join(name)).expect("a file can be made");
    file.set_len(length).expect("it can be made long");
}
