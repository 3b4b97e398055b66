//! As whom a service uses the files of the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use crate::support::{TestProject, User};

/// Somebody whom no host has.
const UID: u32 = 4_242;
const GID: u32 = 4_343;

const JOB: &str = "  web:
    runtime: js
    kind: job
    user: 4242
    group: 4343
    permissions: { fs: { write: [./mine, ./group, ./theirs] } }
    code: |
      import { fs } from 'orchestrator';
      const why = (error) => error.message;
      await fs.writeText('./mine/file', 'hello');
      await fs.writeText('./mine/new', 'hello');
      console.log(await fs.readText('./group/file'));
      console.log(await fs.writeText('./theirs/file', 'hello').catch(why));
      console.log(await fs.readText('./theirs/secret').catch(why));
";

#[test]
fn a_service_uses_what_it_is_granted_as_the_user_who_is_named() {
    if !User::Root.is_possible("a service that uses files as somebody") {
        return;
    }
    let project = TestProject::new(JOB);
    let give = |path: &str, mode: u32, owner: (u32, u32)| {
        let path = project.path().join(path);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is root's");
        chown(&path, Some(owner.0), Some(owner.1)).expect("it is root's");
    };
    for (file, text) in [("mine/file", "old"), ("group/file", "of the group"), ("theirs/secret", "a secret")]
    {
        project.write(file, text);
    }
    give("mine", 0o700, (UID, GID));
    give("mine/file", 0o600, (UID, GID));
    give("group", 0o750, (0, GID));
    give("group/file", 0o640, (0, GID));
    give("theirs/secret", 0o600, (0, 0));
    let (code, text) = project.up().end();
    assert_eq!(code, Some(0), "{text}");
    let said: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("web-1 | ")).collect();
    assert_eq!(said.first(), Some(&"of the group"), "{text}");
    let denied = said.iter().filter(|line| line.contains("ermission denied"));
    assert_eq!((said.len(), denied.count()), (3, 2), "{text}");
    assert_eq!(fs::read_to_string(project.path().join("mine/file")).expect("it is there"), "hello");
    let made = fs::metadata(project.path().join("mine/new")).expect("it is there");
    assert_eq!((made.uid(), made.gid()), (UID, GID));
    assert!(!project.path().join("theirs/file").exists());
}

#[test]
fn where_nobody_can_be_somebody_else_nothing_starts() {
    let services = "  web: { runtime: js, user: 4242, code: \"export function start() {}\\n\" }\n";
    let project = TestProject::run_by(User::Ordinary, services);
    let said = project.run(&["up"]);
    assert_eq!(said.code, Some(78), "{said:?}");
    let told = "E_UNENFORCEABLE service=web permission=user backend=process/strict missing=\"root\" \
                fix=\"remove it, or start the orchestrator as root: yours uses files as you\"";
    assert!(said.err.contains(told), "{said:?}");

    let services =
        "  web: { runtime: js, sandbox: landlock, user: 4242, code: \"export function start() {}\\n\" }
  box: { runtime: js, user: 4242, code: \"export function start() {}\\n\" }
";
    let project = TestProject::new("");
    project.write("manifest.yaml", &format!("name: test\nsandbox: landlock\nservices:\n{services}"));
    let said = project.run(&["up"]);
    assert_eq!(said.code, Some(78), "{said:?}");
    let told = "permission=user backend=process/landlock missing=\"mount namespace\" fix=\"remove it, or write 'sandbox: strict'\"";
    assert!(said.err.contains(told), "{said:?}");
}

#[test]
fn a_child_uses_files_as_its_parent_does() {
    if !User::Root.is_possible("a child that uses files as somebody") {
        return;
    }
    let project = TestProject::new(
        "  web:
    runtime: js
    kind: job
    user: 4242
    permissions:
      fs: { read: [./theirs] }
      children: { max: 1, permissions: { fs: { read: [./theirs] } } }
    code: |
      import { children } from 'orchestrator';
      const code = `import { fs } from 'orchestrator';
        export const look = () => fs.readText('./theirs/secret').catch((error) => error.name);`;
      const kid = await children.create({ name: 'kid', code, permissions: { fs: { read: ['./theirs'] } } });
      console.log('it says', await kid.service.look());
      const other = children.create({ name: 'other', code, user: 'root' });
      console.log(await other.catch((error) => error.message));
",
    );
    project.write("theirs/secret", "a secret");
    let secret = project.path().join("theirs/secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let (code, text) = project.up().end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("it says ") && !text.contains("a secret"), "{text}");
    assert!(text.contains("'user' is not for children: a child uses files as its parent does"), "{text}");
}
