//! The hostile corpus, rows 36 to 45 of `docs/security.md` and one that needs more than a runner: what is aimed at the whole
//! orchestrator, where the runner's own corpus aims at one sandbox. Each row is tried on an orchestrator of root's and on
//! one of an ordinary user's; beside it a service of another project runs on, and a file stays as it was.

mod bundles;
mod control;
mod life;
mod manifests;
mod mounts;
mod terminal;

use std::fs;
use std::path::PathBuf;

use crate::support::{TestProject, Up, User};

/// A module for each row, so that a row is run by its number: `cargo test --test it row_37`.
macro_rules! rows {
    ($($row:ident: $attempt:path,)*) => {$(
        mod $row {
            use crate::support::User;

            #[test]
            fn as_root() {
                super::try_it(stringify!($row), User::Root, $attempt);
            }

            #[test]
            fn as_an_ordinary_user() {
                super::try_it(stringify!($row), User::Ordinary, $attempt);
            }
        }
    )*};
}

rows! {
    row_05_what_is_mounted_below_is_read_only_too: super::mounts::are_read_only_below,
    row_36_what_cannot_be_shipped_is_refused: super::bundles::cannot_be_shipped,
    row_37_a_manifest_that_explodes_is_refused_at_its_place: super::manifests::explode,
    row_38_what_cannot_be_enforced_starts_nothing: super::manifests::cannot_be_enforced,
    row_39_a_terminal_obeys_no_service: super::terminal::is_not_obeyed,
    row_41_another_user_reaches_no_socket: super::control::is_the_users_own,
    row_42_who_does_not_know_the_token_is_refused: super::control::takes_the_token_once,
    row_43_who_stalls_keeps_nobody_out: super::control::outlasts_a_flood,
    row_45_whatever_is_killed_nothing_is_left: super::life::ends_whole,
}

/// Makes an attempt, and looks that nobody else was hurt.
fn try_it(row: &str, user: User, attempt: fn(User)) {
    if !user.is_possible(row) {
        return;
    }
    let bystanders = Bystanders::new(user);
    attempt(user);
    bystanders.are_unhurt();
}

/// Who has no part in it: a service of another project of the same user, and a file that anybody could change.
struct Bystanders {
    project: TestProject,
    _up: Up,
    pid: u32,
    file: PathBuf,
}

impl Bystanders {
    fn new(user: User) -> Self {
        let project =
            TestProject::run_by(user, "  bystander: { runtime: js, code: \"console.log('here')\\n\" }\n");
        let file = project.write("shared/file", "unchanged");
        let mut up = project.up();
        up.wait_for("1 service is up");
        let pid = project.pid_of("bystander");
        Self { project, _up: up, pid, file }
    }

    fn are_unhurt(&self) {
        let service = self.project.service("bystander");
        let replica = &service["replicas"][0];
        assert_eq!((&service["state"], &replica["pid"]), (&"running".into(), &self.pid.into()), "{service}");
        assert_eq!(fs::read_to_string(&self.file).expect("it is there"), "unchanged");
    }
}
