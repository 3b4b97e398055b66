//! Row 5: a folder that may only be read has something else mounted in it, in a mount namespace that the test makes.

use crate::support::{Said, TestProject, User, is_root};

/// Mounts a file system that anybody may write to, then starts what it is given.
const MOUNT: &str =
    "mount -t tmpfs -o mode=777 none shared/below && echo hello > shared/below/file && exec \"$@\"";

pub(super) fn are_read_only_below(user: User) {
    if !is_root() {
        println!("skipped: to mount something needs root");
        return;
    }
    let project = TestProject::run_by(
        user,
        "  job: { runtime: exec, kind: job, permissions: { subprocess: true, fs: { read: [./shared] } }, code: ./job }\n",
    );
    project.folder("shared/below");
    let folder = project.path().join("shared/below").display().to_string();
    project.write(
        "job",
        &format!("#!/bin/sh\ncat {folder}/file\necho spoilt > {folder}/file\ncat {folder}/file\n"),
    );
    let mut up = project.command_through(&["unshare", "--mount", "sh", "-c", MOUNT, "sh"], &["up"]);
    let said = Said::of(&mut up);
    assert_eq!((said.code, said.out.matches("job-1 | hello\n").count()), (Some(0), 2), "{said:?}");
    assert!(said.out.contains("Read-only file system"), "{said:?}");
}
