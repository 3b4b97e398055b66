//! The recipe in `runner-image/image` makes what the orchestrator makes by itself, and is taken for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::engine::in_containers;
use crate::support::own_engine::OwnEngine;
use crate::support::{Said, TestProject, Up};

/// What a shell in the recipe's folder makes of these lines, which are the recipe's own.
fn follow_recipe(project: &TestProject, engine: &OwnEngine) -> Said {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("runner-image/image/README.md")).expect("it is there");
    let steps = readme.split("```").find_map(|part| part.strip_prefix("sh\n")).expect("there are steps");
    let copied = Said::of(Command::new("cp").arg("-r").arg(root.join("runner-image")).arg(project.path()));
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let mut shell =
        project.command_through(&["sh", "-euc", "orchestrator() { \"$0\" \"$@\"; }\neval \"$STEPS\""], &[]);
    Said::of(shell.env("STEPS", steps).env("DOCKER_HOST", engine.host()))
}

/// The names of all files in an image, with what is in them.
fn files(project: &TestProject, engine: &OwnEngine, image: &str) -> String {
    let container = engine.docker(&["create", image, "none"]);
    let list = "mkdir files && docker export \"$0\" | tar -xC files && cd files && find . -type d | sort && \
                find . -type f -exec sha256sum {} + | sort && rm -r ../files";
    let mut shell = Command::new("sh");
    shell.args(["-c", list, &container]).current_dir(project.path()).env("DOCKER_HOST", engine.host());
    let listed = Said::of(&mut shell);
    assert!(listed.out.contains("./orchestrator/runner\n"), "{listed:?}");
    engine.docker(&["rm", &container]);
    listed.out
}

#[test]
fn the_recipe_of_the_runners_image_makes_the_same_image() {
    let Some(engine) = OwnEngine::start("the recipe of the runner's image") else { return };
    let project = in_containers("  web: { runtime: js, code: \"export function start() {}\\n\" }\n");
    let command = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command.env("DOCKER_HOST", engine.host());
        command
    };
    let name = Said::of(&mut command(&["image", "build"])).out.trim().to_owned();
    let files = || files(&project, &engine, &name);
    let made = files();
    let id = || engine.docker(&["image", "inspect", "--format", "{{.Id}}", &name]);
    let own = id();
    let built = follow_recipe(&project, &engine);
    if built.err.contains("BuildKit is enabled but the buildx component is missing") {
        println!("skipped: docker: the recipe of the runner's image: there is no builder");
        return;
    }
    assert_eq!(built.code, Some(0), "{built:?}");
    assert_ne!(id(), own);
    assert_eq!(files(), made);
    let mut up = Up::begin(&mut command(&["up"]));
    up.wait_for("1 service is up");
    let image = engine.docker(&["ps", "--no-trunc", "--quiet"]);
    assert_eq!(engine.docker(&["inspect", "--format", "{{.Image}}", &image]), id());
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
    project.wait_until_nothing_is_left();
}
