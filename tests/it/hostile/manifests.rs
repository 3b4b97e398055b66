//! Rows 37 and 38: manifests that would use everything up, or that could be read in two ways; and grants that nothing on
//! this host can hold a service to.

use crate::support::{Said, TestProject, User};

/// A manifest, where it is refused, and why.
struct Case {
    name: &'static str,
    text: fn() -> String,
    place: &'static str,
    said: &'static str,
}

const CASES: [Case; 14] = [
    Case { name: "billion laughs", text: laughs, place: "manifest.yaml:", said: "aliases" },
    Case {
        name: "deep lists",
        text: || "[".repeat(100_000),
        place: "manifest.yaml:1:",
        said: "nested deeper than 64 levels",
    },
    Case {
        name: "deep mappings",
        text: || "{a: ".repeat(100_000),
        place: "manifest.yaml:1:",
        said: "nested deeper than 64 levels",
    },
    Case {
        name: "deep blocks",
        text: || (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
        place: "manifest.yaml:",
        said: "nested deeper than 64 levels",
    },
    Case {
        name: "permissions twice",
        text: || service("permissions: { subprocess: false }\n    permissions: { subprocess: true }"),
        place: "manifest.yaml:5:5",
        said: "permissions",
    },
    Case {
        name: "an unknown key",
        text: || service("permissions: { sub_process: true }"),
        place: "manifest.yaml:4:20",
        said: "sub_process",
    },
    Case {
        name: "a key that is merged into permissions",
        text: || format!("x-all: &all {{ subprocess: true }}\n{}", service("permissions: { <<: *all }")),
        place: "manifest.yaml:5:20",
        said: "<<",
    },
    Case { name: "a number for a name", text: || beside("1"), place: "manifest.yaml:3:3", said: "1" },
    Case {
        name: "nothing for a name",
        text: || beside("~"),
        place: "manifest.yaml:3:3",
        said: "a key is to be text, not nothing",
    },
    Case {
        name: "an answer for a name",
        text: || beside("true"),
        place: "manifest.yaml:3:3",
        said: "a key is to be text, not true or false",
    },
    Case { name: "a list for a name", text: || beside("[web]"), place: "manifest.yaml:3:3", said: "" },
    Case {
        name: "two mebibytes",
        text: || "# nothing but comments\n".repeat((2 << 20) / 23),
        place: "manifest.yaml:45591:",
        said: "larger than 1024 KiB",
    },
    Case {
        name: "one long line",
        text: || service(&format!("permissions: {{ env: {{ A: {} }} }}", "a".repeat(2 << 20))),
        place: "manifest.yaml:4:",
        said: "larger than 1024 KiB",
    },
    Case {
        name: "many anchors",
        text: || (0..50_000).map(|number| format!("x-{number}: &a{number} 1\n")).collect(),
        place: "manifest.yaml:",
        said: "",
    },
];

/// 64 MiB of memory for all of it, as the kernel counts what a process can write to.
const MEMORY: &str = "ulimit -d 65536 && exec \"$@\"";

pub(super) fn explode(user: User) {
    for case in &CASES {
        let project = TestProject::run_by(user, "");
        project.write("web.js", "");
        project.write("manifest.yaml", &(case.text)());
        let mut check = project.command_through(&["sh", "-c", MEMORY, "sh"], &["check"]);
        let said = Said::of(&mut check);
        assert_eq!(said.code, Some(2), "{}: {said:?}", case.name);
        assert_eq!(said.err.matches("error: ").count(), 1, "{}: {said:?}", case.name);
        assert!(said.err.contains(&format!(" --> {}", case.place)), "{}: {said:?}", case.name);
        assert!(said.err.contains(case.said), "{}: {said:?}", case.name);
        assert!(said.err.len() < 2000 && said.out.is_empty(), "{}: {said:?}", case.name);
    }
}

/// A service with one more key.
fn service(more: &str) -> String {
    format!("services:\n  web:\n    code: ./web.js\n    {more}\n")
}

/// A service that is right, and one of this name.
fn beside(name: &str) -> String {
    format!("services:\n  web: {{ code: ./web.js }}\n  {name}: {{ code: ./web.js }}\n")
}

/// Ten of ten of ten, and so on: a billion in the end.
fn laughs() -> String {
    let mut text = "x-a0: &a0 lol\n".to_owned();
    for level in 1..10 {
        let ten = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("x-a{level}: &a{level} [{ten}]\n");
    }
    text + "services: { web: { code: ./web.js, args: *a9 } }\n"
}

pub(super) fn cannot_be_enforced(user: User) {
    let project = TestProject::run_by(user, "");
    let doctor = project.run(&["doctor"]).out;
    let memory = doctor.contains("control groups       memory yes");
    let mut cases = vec![
        ("landlock", "net: { connect: ['127.0.0.1:80'] }", "net.connect"),
        ("landlock", "net: { listen: [80] }", "net.listen"),
        ("landlock", "fs: { scratch: { size: 1MiB } }", "fs.scratch"),
    ];
    cases.extend((!memory).then_some(("strict", "limits: { memory: 64MiB }", "limits.memory")));
    for (sandbox, grant, permission) in cases {
        let code = "\"console.log('it runs')\\n\"";
        project.write(
            "manifest.yaml",
            &format!(
                "name: test\nsandbox: {sandbox}\nservices:\n  other: {{ runtime: js, code: {code} }}\n  \
                 web: {{ runtime: js, code: {code}, permissions: {{ {grant} }} }}\n"
            ),
        );
        let up = project.run(&["up"]);
        assert_eq!((up.code, up.out.as_str()), (Some(78), ""), "{grant}: {up:?}");
        let line =
            format!("E_UNENFORCEABLE service=web permission={permission} backend=process/{sandbox} missing=");
        assert!(up.err.starts_with(&line) && up.err.contains("nothing was started\n"), "{grant}: {up:?}");
        assert!(project.run(&["logs"]).out.is_empty(), "{grant}");
        project.wait_until_nothing_is_left();
    }
}
