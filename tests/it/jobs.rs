//! A job that fails is told with its exit code, and what waits for it stays closed and says why.

use crate::support::TestProject;

#[test]
fn a_failing_job_blocks_what_waits_for_it() {
    let project = TestProject::new(
        "  migrate: { runtime: exec, kind: job, code: \"#!/bin/sh\\nexit 4\\n\" }
  api: { runtime: js, depends_on: [migrate], code: \"export function start() { console.log('serving') }\\n\" }
",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("exited with code 4"), "{text}");
    assert!(text.contains("api closed: blocked by migrate"), "{text}");
    assert!(!text.contains("serving"), "{text}");
}
