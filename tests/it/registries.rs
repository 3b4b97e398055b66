//! Images come from registries: they are fetched once, in sight, and held to what their names have meant; from a closed
//! registry with the login that `docker login` has left.

use std::fs;
use std::process::Command;

use crate::support::engine::{docker, without_engine};
use crate::support::registry::{LOGIN, Registry, hello};
use crate::support::terminal::shown;
use crate::support::{Said, TestProject};

/// A project with a job that runs a registry's image, and the folder of the image's layers.
fn project(registry: &Registry, test: &str) -> Option<TestProject> {
    if without_engine(test) {
        return None;
    }
    let project = TestProject::new(&format!("  hello: {{ image: '{}', kind: job }}\n", registry.image()));
    if !hello(&project.path().join("layers/program")) {
        println!("skipped: docker: {test}: there is no C compiler, or no library to link statically");
        return None;
    }
    Some(project)
}

/// The registry's image says this from now on. Answers with its digest.
fn publish(project: &TestProject, registry: &Registry, says: &str) -> String {
    registry.publish(&project.path().join("layers"), says)
}

/// That `up` runs the job, which says this.
fn says(project: &TestProject, text: &str) -> Said {
    let said = project.run(&["up"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), format!("hello-1 | {text}\n").as_str()), "{said:?}");
    said
}

#[test]
fn an_image_is_fetched_once_and_its_digest_is_kept() {
    let registry = Registry::open();
    let Some(project) = project(&registry, "an image of a registry") else { return };
    let digest = publish(&project, &registry, "kept");
    let fetched = format!("fetched {}\n", registry.image());
    let said = says(&project, "kept");
    assert_eq!(said.err.matches(&fetched).count(), 1, "one line where nobody looks on: {said:?}");
    assert!(!said.err.contains(['\r', '\x1b']), "{said:?}");
    let lock = fs::read_to_string(project.path().join("orchestrator.lock")).expect("it is there");
    assert!(lock.ends_with(&format!("\n{} digest {digest}\n", registry.image())), "{lock}");
    assert!(!says(&project, "kept").err.contains("fetched"), "it is there");
}

#[test]
fn a_name_that_has_moved_on_means_what_it_meant_until_that_is_to_change() {
    let registry = Registry::open();
    let Some(project) = project(&registry, "an image that has moved on") else { return };
    let image = registry.image();
    let first = publish(&project, &registry, "first");
    assert_eq!(project.run(&["lock"]).code, Some(0));
    let second = publish(&project, &registry, "second");
    // Gone from the engine, it is fetched by what it meant.
    docker(&["rmi", &image]);
    let said = says(&project, "first");
    assert!(said.err.contains(&format!("fetched {image}\n")), "{said:?}");
    // Somebody has fetched what it means now.
    docker(&["pull", &image]);
    let drift = format!("the image '{image}' is not what it was: digest {second} instead of digest {first}");
    let fix = "fix: where that is meant, run 'orchestrator lock --update'\n";
    let refused = project.run(&["up"]);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert_eq!(refused.err, format!("error: {drift}; nothing was started\n  {fix}"));
    let refused = project.run(&["lock"]);
    assert_eq!((refused.code, refused.err), (Some(1), format!("error: {drift}\n  {fix}")));
    assert_eq!(project.run(&["lock", "--update"]).code, Some(0));
    says(&project, "second");
}

#[test]
fn on_a_terminal_the_layers_are_seen_to_come_in_one_line() {
    let registry = Registry::open();
    let Some(project) = project(&registry, "the progress of an image") else { return };
    let much = project.path().join("layers/much");
    fs::create_dir(&much).expect("a folder can be made");
    fs::write(much.join("zeros"), vec![0; 24 << 20]).expect("a file can be written");
    publish(&project, &registry, "here");
    let columns = 80;
    let shown = shown(project.command(&["lock"]), columns);
    let (painted, rest) = shown.rsplit_once("\r\x1b[K").expect("it is painted");
    assert!(rest.starts_with(&format!("fetched {}\r\n", registry.image())), "{}", rest.escape_debug());
    let painted: Vec<_> = painted.split("\r\x1b[K").skip(1).collect();
    let begins = format!("fetching {}", registry.image());
    for line in &painted {
        assert!(line.starts_with(&begins) && !line.contains('\n'), "{line:?}");
        assert!(
            line.chars().count() < usize::from(columns),
            "what is wrapped cannot be painted over: {line:?}"
        );
    }
    assert!(painted.last().is_some_and(|last| last.contains("2 of 2 layers")), "{painted:?}");
}

/// That a closed registry has not given the image, and that it is said what to do.
fn is_not_allowed(registry: &Registry, refused: &Said) {
    let (image, host) = (registry.image(), registry.host());
    let begins =
        format!("error: the image '{image}' is not there, and {host} does not give it to this user: ");
    let ends = format!(
        "; nothing was started\n  fix: log in with 'docker login {host}', as a user who may have it\n"
    );
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.err.contains(&begins) && refused.err.ends_with(&ends), "{refused:?}");
}

#[test]
fn a_closed_registry_is_asked_with_the_login_in_dockers_configuration() {
    let registry = Registry::closed();
    let Some(project) = project(&registry, "a closed registry") else { return };
    publish(&project, &registry, "closed");
    let host = registry.host();
    is_not_allowed(&registry, &project.run(&["up"]));
    let login = |login: &str| {
        project
            .write("home/.docker/config.json", &format!(r#"{{"auths":{{"{host}":{{"auth":"{login}"}}}}}}"#))
    };
    // tester:wrong
    login("dGVzdGVyOndyb25n");
    is_not_allowed(&registry, &project.run(&["up"]));
    login(LOGIN);
    says(&project, "closed");
}

#[test]
fn an_image_that_is_nowhere_is_said_to_be() {
    let registry = Registry::open();
    let Some(project) = project(&registry, "an image that is nowhere") else { return };
    let refused = project.run(&["up"]);
    let begins = format!("error: the image '{}' is not there and cannot be pulled: ", registry.image());
    let ends = "manifest unknown; nothing was started\n  fix: see that the name is right and that its registry can be reached, or \
                bring the image with 'docker load'\n";
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.err.starts_with(&begins) && refused.err.ends_with(ends), "{refused:?}");
    assert_eq!(refused.err.lines().count(), 2, "{refused:?}");
}

#[test]
fn a_closed_registry_is_asked_with_the_login_that_a_helper_program_keeps() {
    let registry = Registry::closed();
    let Some(project) = project(&registry, "a helper program for logins") else { return };
    publish(&project, &registry, "helped");
    let host = registry.host();
    // It is asked for this registry, as Docker asks.
    project.write(
        "bin/docker-credential-tests",
        &format!(
            "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = '{host}' ] || exit 1\n\
             echo '{{\"ServerURL\":\"{host}\",\"Username\":\"tester\",\"Secret\":\"right\"}}'\n"
        ),
    );
    let path =
        format!("{}:{}", project.path().join("bin").display(), std::env::var("PATH").unwrap_or_default());
    for config in
        [format!(r#"{{"credHelpers":{{"{host}":"tests"}}}}"#), r#"{"credsStore":"tests"}"#.to_owned()]
    {
        project.write("home/.docker/config.json", &config);
        let mut command: Command = project.command(&["up"]);
        let said = Said::of(command.env("PATH", &path));
        assert_eq!((said.code, said.out.as_str()), (Some(0), "hello-1 | helped\n"), "{config}: {said:?}");
        docker(&["rmi", "--force", &registry.image()]);
    }
}
