//! `orchestrator learn` prints the permissions that a service needs: put into the manifest, it runs with them and no others.

use std::fs;
use std::path::Path;

use crate::support::{TestProject, User, greeter, missing};

/// The options without which nothing is learned.
const UNHELD: &str = "--allow-unconfined";

/// A block as it stands in a service of a manifest.
fn pasted(block: &str) -> String {
    block.lines().filter(|line| !line.starts_with('#')).map(|line| format!("    {line}\n")).collect()
}

/// Learns what `web` needs, which is described with its project's folder, and is the last service of the manifest; runs it
/// with that. Answers with the block, and with what `up` wrote.
fn learned_and_held(user: User, services: &dyn Fn(&Path) -> String) -> (String, String) {
    let project = TestProject::run_by(user, "");
    project.write("data/in", "good day\n");
    let services = services(project.path());
    project.write_manifest(&services);
    let said = project.run(&["learn", "web", UNHELD]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("\nnot seen: what did not happen in this run;"), "{}", said.err);
    project.wait_until_nothing_is_left();
    let shared = project.path().join("shared");
    fs::remove_dir_all(&shared).expect("it can be removed");
    project.folder("shared");
    project.write_manifest(&format!("{services}{}", pasted(&said.out)));
    let (code, text) = project.up().end();
    assert_eq!(code, Some(0), "{}\n{text}", said.out);
    (said.out, text)
}

/// Those of the two who can be here.
fn each_user(test: &'static str) -> impl Iterator<Item = User> {
    [User::Root, User::Ordinary].into_iter().filter(move |user| user.is_possible(test))
}

/// A block that grants the files of the project, and then this.
fn block(rest: &str) -> String {
    format!(
        "# what 'web' used in this run; put it in the place of its 'permissions'
permissions:
  fs:
    read:
      - ./data/in
    write:
      - ./shared
{rest}"
    )
}

#[test]
fn what_a_shell_script_is_seen_to_use_is_what_it_needs() {
    for user in each_user("learning of a shell script") {
        let script = |here: &Path| {
            let here = here.display();
            format!(
                "  web:
    runtime: exec
    kind: job
    code: |
      #!/bin/sh
      set -e
      read line < {here}/data/in
      mkdir {here}/shared/inner
      echo \"$line\" > {here}/shared/inner/out
      echo scratch > /tmp/learned-$$ && rm /tmp/learned-$$
      echo own > $TMPDIR/own
      cat {here}/shared/inner/out
"
            )
        };
        let (learned, text) = learned_and_held(user, &script);
        assert_eq!(learned, block("  subprocess: true\n"));
        assert!(text.contains("web-1 | good day"), "{text}");
    }
}

#[test]
fn what_a_python_service_is_seen_to_use_is_what_it_needs() {
    if missing("python3", "learning of a Python service") {
        return;
    }
    let port = greeter();
    for user in each_user("learning of a Python service") {
        let service = |here: &Path| {
            let here = here.display();
            format!(
                "  stock:
    runtime: js
    code: |
      export const level = () => 3;
  web:
    runtime: python
    kind: job
    essential: true
    depends_on: [stock]
    code: |
      import socket, subprocess
      from orchestrator import services
      async def start():
          text = open('{here}/data/in').read()
          open('{here}/shared/out', 'w').write(text)
          with socket.create_connection(('127.0.0.1', {port}), 10) as s: print(s.recv(99).decode())
          print(subprocess.run(['echo', 'a process'], capture_output=True, text=True).stdout)
          print('level', await services.stock.level('apple'))
"
            )
        };
        let (learned, text) = learned_and_held(user, &service);
        let rest = format!(
            "  net:
    connect:
      - \"127.0.0.1:{port}\"
  services:
    - {{ name: stock, call: [level] }}
  subprocess: true
"
        );
        assert_eq!(learned, block(&rest));
        for line in ["hello from the host", "a process", "level 3"] {
            assert!(text.contains(&format!("web-1   | {line}")), "no '{line}' in {text}");
        }
    }
}

#[test]
fn what_a_node_service_is_seen_to_use_is_what_it_needs() {
    if missing("node", "learning of a Node service") {
        return;
    }
    for user in each_user("learning of a Node service") {
        let service = |here: &Path| {
            let here = here.display();
            format!(
                "  web:
    runtime: node
    kind: job
    code: |
      import fs from 'node:fs';
      fs.copyFileSync('{here}/data/in', '{here}/shared/out');
      console.log(fs.readFileSync('{here}/shared/out', 'utf8').trim());
"
            )
        };
        let (learned, text) = learned_and_held(user, &service);
        assert_eq!(learned, block(""));
        assert!(text.contains("web-1 | good day"), "{text}");
    }
}

#[test]
fn what_embedded_javascript_is_seen_to_use_is_what_it_needs() {
    let port = greeter();
    for user in each_user("learning of embedded JavaScript") {
        let service = |_: &Path| {
            format!(
                "  web:
    runtime: js
    kind: job
    code: |
      import {{ fs }} from 'orchestrator';
      await fs.writeText('./shared/out', await fs.readText('./data/in'));
      console.log(await fs.readText('./shared/out'));
      // It speaks no HTTP; that it was reached is enough.
      await fetch('http://127.0.0.1:{port}/').catch(() => {{}});
"
            )
        };
        let (learned, text) = learned_and_held(user, &service);
        assert_eq!(learned, block(&format!("  net:\n    connect:\n      - \"127.0.0.1:{port}\"\n")));
        assert!(text.contains("web-1 | good day\n"), "{text}");
    }
}

#[test]
fn a_server_is_learned_until_it_is_interrupted() {
    if missing("python3", "learning of a server") {
        return;
    }
    let project = TestProject::new(
        "  web:
    runtime: python
    ready: { tcp: 34567 }
    code: |
      import socket
      server = socket.create_server(('127.0.0.1', 34567))
",
    );
    let mut learn = project.begin(&["learn", "web", UNHELD]);
    learn.wait_for("1 service is up");
    learn.interrupt();
    let (code, text) = learn.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("permissions:\n  net:\n    listen:\n      - 34567"), "{text}");
    project.wait_until_nothing_is_left();
}

#[test]
fn learning_ends_when_its_time_is_over_and_the_answer_stands_alone() {
    let project = TestProject::new(
        "  web:
    runtime: exec
    code: |
      #!/bin/sh
      echo a word
      exec sleep 1000
",
    );
    let said = project.run(&["learn", "web", "-f", "manifest.yaml", UNHELD, "--for", "2s"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("# what 'web' used in this run;"), "{}", said.out);
    assert!(!said.out.contains("a word"), "{}", said.out);
    project.wait_until_nothing_is_left();
}

#[test]
fn what_crashes_is_told_with_what_it_used_until_then() {
    let project = TestProject::new(
        "  web:\n    runtime: exec\n    kind: job\n    code: |\n      #!/bin/sh\n      exit 3\n",
    );
    let said = project.run(&["learn", "web", UNHELD]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.ends_with("permissions: none\n"), "{}", said.out);
    assert!(said.err.contains("web-1 crashed: exited with code 3"), "{}", said.err);
}

#[test]
fn what_a_learned_service_opens_is_held_all_the_same() {
    let project = TestProject::new(
        "  web:
    runtime: js
    kind: job
    permissions: { children: { max: 1 } }
    code: |
      import { children, fs } from 'orchestrator';
      const code = `import { fs } from 'orchestrator';
        export const look = () => fs.readText('/etc/passwd').catch((error) => error.code);`;
      const kid = await children.create({ name: 'kid', code });
      console.log(await kid.service.look(), 'and', await fs.readText('./data/in'));
",
    );
    project.write("data/in", "good day");
    let said = project.run(&["learn", "web", UNHELD]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("denied and good day\n"), "{}", said.err);
    assert!(said.out.ends_with("      - ./data/in\n# keep what there is of: children\n"), "{}", said.out);
}

#[test]
fn nothing_is_learned_by_mistake() {
    let project =
        TestProject::new("  web: { code: ./web.js }\n  box: { code: ./web.js, isolation: docker }\n");
    project.write("web.js", "");
    for (arguments, code, text) in [
        (
            &["learn", "web"][..],
            78,
            "error: to learn what web needs, it is run with nothing denied: it may do whatever you may\n  \
             fix: if you trust it, say --allow-unconfined\n",
        ),
        (&["learn", "wab", UNHELD], 2, "error: no service is named 'wab'\n  fix: there are: box, web\n"),
        (
            &["learn", "box", UNHELD],
            2,
            "error: box runs in a container, and only processes of this host can be watched\n  \
             fix: learn it with 'isolation: process'\n",
        ),
    ] {
        let said = project.run(arguments);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(code), "", text));
    }
}
