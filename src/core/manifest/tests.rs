//! Whole manifests, from text to meaning or to everything that is wrong with them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::permissions::{Isolation, Permissions, Sandbox, Share};

/// A folder with some code, some plugins and one variable, as far as a manifest can see them.
pub(crate) fn read_here(text: &str) -> Result<Manifest, Problems> {
    read_with(&look, text)
}

fn read_with(look: &dyn Fn(&Path) -> OnDisk, text: &str) -> Result<Manifest, Problems> {
    with_surroundings(look, |surroundings| read(text, surroundings))
}

fn with_surroundings<T>(look: &dyn Fn(&Path) -> OnDisk, deed: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let runtime = |name: &str, extensions: &str, entries: &str| {
        let text = format!(
            "name: {name}\nabout: x\nruntime: {{extensions: {extensions}, entries: {entries}, protocol: none, \
             command: ['{}{{code}}']}}",
            if name == "exec" { "" } else { "{root}/" },
        );
        read_plugin(&text, Path::new("/plugins").join(name).as_path(), &|_| Ok(())).unwrap()
    };
    let cache = "name: cache\nabout: x\nservice: {runtime: js, code: main.js, start_timeout: 5s, ready: {tcp: 1}, \
                 permissions: {env: {SIZE: 1, KEEP: 2}}}";
    let plugins: BTreeMap<_, _> = [
        runtime("js", "[js, mjs]", "[main.js]"),
        runtime("node", "[cjs]", "[main.js, index.cjs]"),
        runtime("python", "[py]", "[main.py]"),
        runtime("exec", "[]", "[]"),
        read_plugin(cache, Path::new("/plugins/cache"), &|_| Ok(())).unwrap(),
    ]
    .into_iter()
    .map(|spec| (spec.name.to_string(), spec))
    .collect();
    let variables = BTreeMap::from([
        ("SET".to_owned(), "set".to_owned()),
        ("FABRIC_KEY".to_owned(), "what all members of a fabric have and nobody else".to_owned()),
    ]);
    let surroundings = Surroundings {
        folder: Path::new("/shop"),
        project: ServiceName::parse("shop").unwrap(),
        variables: &variables,
        plugins: &plugins,
        look,
        real: &|path| match path.to_str()? {
            "/shop/link" => Some("/etc".into()),
            "/shop"
            | "/shop/web.js"
            | "/shop/manifest.yaml"
            | "/shop/data"
            | "/shop/cache"
            | "/shop/socket"
            | "/srv/x"
            | "/dev/dri/card0" => Some(path.into()),
            _ => None,
        },
        home: Some(Path::new("/home/ann")),
        own: &[PathBuf::from("/var/tmp/orchestrator")],
        files: &[PathBuf::from("/shop/manifest.yaml")],
        others: &["web".into(), "db".into()],
        accounts: Accounts {
            users: "www-data:x:33:33:web:/var/www:/bin/false\n",
            groups: "www-data:x:33:\n",
        },
        cores: NonZeroU32::new(8).unwrap(),
        check_regex: &|regex| if regex.contains('(') { Err("unclosed group".to_owned()) } else { Ok(()) },
    };
    deed(&surroundings)
}

fn look(path: &Path) -> OnDisk {
    match path.to_str().unwrap_or_default() {
        "/shop" => OnDisk::Folder(vec!["web.js".into(), "a.py".into(), "tool".into()]),
        "/shop/web.js" | "/shop/a.py" | "/shop/text" | "/shop/a.rb" => OnDisk::File { executable: false },
        "/shop/tool" | "/plugins/cache/main.js" => OnDisk::File { executable: true },
        "/shop/py" => OnDisk::Folder(vec!["main.py".into()]),
        "/shop/two" => OnDisk::Folder(vec!["main.js".into(), "main.py".into()]),
        "/shop/one" => OnDisk::Folder(vec!["main.js".into()]),
        "/shop/none" => OnDisk::Folder(vec!["README".into()]),
        "/shop/socket" => OnDisk::Refused("is neither a file nor a folder".into()),
        _ => OnDisk::Missing,
    }
}

/// Each problem with its place and hint.
fn problems(text: &str) -> Vec<String> {
    let Err(problems) = read_here(text) else { return Vec::new() };
    let shown = problems.iter().map(|problem| {
        let hint = problem.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{}:{} {}{hint}", problem.place.line, problem.place.column, problem.kind)
    });
    shown.collect()
}

/// The only service of a manifest.
fn service(text: &str) -> Service {
    let manifest = read_here(text).unwrap_or_else(|problems| panic!("{text}: {problems}"));
    let (_, service) = manifest.services.into_iter().next().unwrap();
    service
}

fn named(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

#[test]
fn what_is_not_written_is_the_default() {
    let manifest = read_here("services: {web: {code: ./web.js}}").unwrap();
    assert_eq!(manifest.name, named("shop"));
    let web = &manifest.services[&named("web")];
    let expected = Service {
        name: named("web"),
        kind: Kind::Service,
        code: Code::Path("/shop/web.js".into()),
        folder: "/shop".into(),
        runtime: "js".into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        isolation: Isolation::Process,
        image: None,
        sandbox: Sandbox::Strict,
        permissions: Permissions::default(),
        depends_on: BTreeMap::new(),
        replicas: 1.try_into().unwrap(),
        max_in_flight: None,
        max_surge: 1.try_into().unwrap(),
        share: Share::Everybody,
        listen: Vec::new(),
        ready: None,
        alive: Liveness::default(),
        recycle: Recycle::default(),
        on_give_up: OnGiveUp::default(),
        restart: Restart::default(),
        start_timeout: Duration::from_secs(60),
        close_timeout: Duration::from_secs(10),
        essential: false,
    };
    assert_eq!(*web, expected);
}

#[test]
fn a_job_is_waited_for_until_it_has_completed_and_is_never_restarted() {
    let text = "services: {migrate: {kind: job, code: a.py}, web: {code: web.js, depends_on: [migrate]}}";
    let manifest = read_here(text).unwrap();
    let dependency = manifest.services[&named("web")].depends_on[&named("migrate")];
    assert_eq!(dependency, Dependency { condition: Condition::Completed, on_crash: OnCrash::Close });
    assert_eq!(manifest.services[&named("migrate")].restart.policy, RestartPolicy::Never);
}

#[test]
fn the_runtime_is_told_by_the_code() {
    for (code, runtime) in [
        ("code: web.js", "js"),
        ("code: ./a.py", "python"),
        ("code: /shop/tool", "exec"),
        ("code: py", "python"),
        ("code: one", "js"),
        ("code: two, runtime: node", "node"),
        ("code: web.js, runtime: node", "node"),
        ("code: \"a\\nb\", runtime: python", "python"),
    ] {
        assert_eq!(service(&format!("services: {{s: {{{code}}}}}")).runtime, runtime, "{code}");
    }
}

#[test]
fn code_that_nothing_runs_is_refused() {
    let say = "say which one runs it: 'runtime: exec', 'runtime: js', 'runtime: node', 'runtime: python'";
    for (code, expected) in [
        ("code: wbe.js", "the code of service 's' is not there: 'wbe.js' | did you mean 'web.js'?".to_owned()),
        ("code: ./wbe.js", "the code of service 's' is not there: './wbe.js' | did you mean './web.js'?".to_owned()),
        (
            "code: ./x/y.js",
            "the code of service 's' is not there: './x/y.js' | paths are relative to the folder of the manifest"
                .to_owned(),
        ),
        (
            "code: socket",
            "the code of service 's' cannot be used: 'socket' is neither a file nor a folder \
             | name a file or a folder"
                .to_owned(),
        ),
        (
            "code: a.rb",
            format!(
                "it cannot be told what runs the code of service 's': no runtime takes files ending in '.rb' | {say}"
            ),
        ),
        (
            "code: text",
            "it cannot be told what runs the code of service 's': 'text' is not executable \
             | say what runs it with 'runtime:', or run 'chmod +x' on it"
                .to_owned(),
        ),
        (
            "code: text, runtime: exec",
            "it cannot be told what runs the code of service 's': 'text' is not executable | run 'chmod +x' on it"
                .to_owned(),
        ),
        (
            "code: two",
            "it cannot be told what runs the code of service 's': several runtimes find a file to run in its folder \
             | say which one: 'runtime: js', 'runtime: python'"
                .to_owned(),
        ),
        (
            "code: none",
            "it cannot be told what runs the code of service 's': its folder has no file that a runtime would run \
             | put one of these into the folder: main.js (js), main.js or index.cjs (node), main.py (python)"
                .to_owned(),
        ),
        (
            "code: none, runtime: python",
            "the runtime 'python' finds nothing to run in the folder 'none' of service 's' \
             | it runs main.py; or name a file instead of its folder"
                .to_owned(),
        ),
        (
            "code: py, runtime: exec",
            "the runtime 'exec' finds nothing to run in the folder 'py' of service 's' \
             | name a file instead of its folder"
                .to_owned(),
        ),
        (
            "code: \"a\\nb\"",
            format!(
                "it cannot be told what runs the code of service 's': it is written in the manifest itself | {say}"
            ),
        ),
        ("code: web.js, runtime: nod", "there is no runtime 'nod' | did you mean 'node'?".to_owned()),
        (
            "code: web.js, runtime: cache",
            "the plugin 'cache' is a ready-made service, not a runtime \
             | write 'plugin: cache' instead of 'code' and 'runtime'"
                .to_owned(),
        ),
        (
            "kind: service",
            "service 's' has no code | add 'code:' with a file or a folder, 'plugin:' with a ready-made service, or 'image:'"
                .to_owned(),
        ),
    ] {
        let found = problems(&format!("services: {{s: {{{code}}}}}"));
        assert_eq!(found.len(), 1, "{code}: {found:?}");
        assert_eq!(found[0].split_once(' ').unwrap().1, expected, "{code}");
    }
}

#[test]
fn an_unknown_runtime_and_missing_code_are_both_reported() {
    let found = problems("services:\n  s:\n    code: x.js\n    runtime: ruby\n");
    assert_eq!(
        found,
        [
            "3:11 the code of service 's' is not there: 'x.js' | paths are relative to the folder of the manifest",
            "4:14 there is no runtime 'ruby' | the runtimes: exec, js, node, python",
        ]
    );
}

#[test]
fn a_ready_made_service_is_unpacked_and_what_is_written_wins() {
    let text = "services: {c: {plugin: cache, start_timeout: 9s, permissions: {env: {SIZE: 7}}}}";
    let cache = service(text);
    assert_eq!(cache.code, Code::Path("/plugins/cache/main.js".into()));
    assert_eq!((cache.runtime.as_str(), cache.start_timeout), ("js", Duration::from_secs(9)));
    assert_eq!(cache.ready.unwrap().check, ReadyCheck::Probe(Probe::Tcp(1)));
    assert_eq!(cache.env, BTreeMap::from([("SIZE".into(), "7".into()), ("KEEP".into(), "2".into())]));
}

#[test]
fn a_plugin_has_to_be_a_service_and_brings_its_own_code() {
    for (text, expected) in [
        ("plugin: cahce", "there is no plugin 'cahce' | did you mean 'cache'?"),
        (
            "plugin: js",
            "the plugin 'js' is a runtime, not a ready-made service \
             | write 'runtime: js', and the service's own code with 'code:'",
        ),
        ("plugin: cache, code: web.js", "service 's' has both 'plugin' and 'code' | keep 'code' or 'plugin'"),
        (
            "plugin: cache, kind: job",
            "the job 's' cannot have 'ready' | remove it: others wait until a job has completed",
        ),
    ] {
        let found = problems(&format!("services: {{s: {{{text}}}}}"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].split_once(' ').unwrap().1, expected, "{text}");
    }
}

#[test]
fn dependencies_have_to_exist_once_and_to_come_true() {
    let text = "\
services:
  db: {code: web.js}
  job: {code: a.py, kind: job, replicas: 2, restart: always, ready: {tcp: 1}}
  web:
    code: web.js
    depends_on: [dbb, web, db, db, nothing-like-it]
  api:
    code: web.js
    depends_on: {db: {condition: completed}, job: {condition: ready}}
";
    assert_eq!(
        problems(text),
        [
            "3:42 the job 'job' cannot have 'replicas' | remove it: a job runs once",
            "3:54 the job 'job' cannot have 'restart: always' | write 'on-failure', or remove 'kind: job'",
            "3:69 the job 'job' cannot have 'ready' | remove it: others wait until a job has completed",
            "6:18 service 'web' depends on 'dbb', which is not in the manifest | did you mean 'db'?",
            "6:23 service 'web' depends on itself | remove it",
            "6:32 service 'web' names its dependency 'db' twice | remove one of the two",
            "6:36 service 'web' depends on 'nothing-like-it', which is not in the manifest \
             | the other services: api, db, job",
            "9:34 service 'api' waits until 'db' has completed, but that is no job \
             | write 'condition: ready', or 'kind: job' in 'db'",
            "9:63 service 'api' waits until 'job' is ready, but that is a job \
             | write 'condition: completed', or leave it out",
        ]
    );
}

#[test]
fn a_circle_is_shown_whole() {
    let text = "\
services:
  a: {code: web.js, depends_on: [b]}
  b: {code: web.js, depends_on: [c]}
  c: {code: web.js, depends_on: [a]}
";
    assert_eq!(
        problems(text),
        [
            "2:34 services depend on each other in a circle: a -> b -> c -> a | remove one of these dependencies"
        ]
    );
}

#[test]
fn one_mistake_is_one_problem() {
    for text in [
        "services: {web: {cod: web.js}}",
        "services: {Web: {code: web.js}, b: {code: web.js, depends_on: [Web]}}",
        "servces: {web: {code: web.js}}",
        "services: {web: 3}",
        "services: {web: {code: 3}}",
        "services: {web: {code: \"a\\nb\", runtime: [js]}}",
        "x-d: &d {replicas: 0}\nservices: {a: {<<: *d, code: web.js}, b: {<<: *d, code: web.js}}",
        "services: {web: {code: ./${UNSET}.js}}",
    ] {
        assert_eq!(problems(text).len(), 1, "{text}: {:?}", problems(text));
    }
}

#[test]
fn what_is_wrong_as_a_whole_is_said_once() {
    for (text, expected) in [
        ("", "1:1 the file is empty | begin with 'services:'"),
        ("# nothing\n", "2:1 the file is empty | begin with 'services:'"),
        (
            "hello world",
            "1:1 the manifest is to be a mapping, as in 'key: value', not text \
 | write a mapping, as in 'key: value'",
        ),
        (
            "name: shop",
            "1:1 the manifest has no services | add one, as in 'services: { web: { code: ./web.js } }'",
        ),
        (
            "services: {}",
            "1:11 the manifest has no services | add one, as in 'services: { web: { code: ./web.js } }'",
        ),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn extensions_and_anchors_serve_the_writer() {
    let text = "\
x-common: &common { restart: always, permissions: { env: { A: '${UNSET:-1}' } } }
services:
  web: { <<: *common, code: web.js, restart: never }
";
    let web = service(text);
    assert_eq!((web.restart.policy, web.env["A"].as_str()), (RestartPolicy::Never, "1"));
}

/// A manifest with every key in it.
const GOOD: &str = "\
version: 1
name: shop
isolation: process
x-common: &common { start_timeout: 5s }
services:
  migrate: { <<: *common, code: a.py, kind: job, args: [up, 3] }
  web:
    <<: *common
    code: ./web.js
    runtime: node
    replicas: 2
    depends_on: { migrate: { condition: completed, on_crash: ignore } }
    ready: { http: 8080/health, interval: 50ms }
    alive: { tcp: 8080, interval: 1s, timeout: 2s, failures: 2 }
    restart: { policy: always, backoff: 1s..2s, max: 3, within: 1m }
    close_timeout: 1m30s
    essential: true
    permissions: { env: { LEVEL: \"${SET}\", DOLLAR: $$ } }
  inline:
    runtime: js
    code: |
      log(`${x}`)
    depends_on: [web]
    ready: { log: \"^up\" }
  cache: { plugin: cache }
";

#[test]
fn every_key_together_is_good() {
    let manifest = read_here(GOOD).unwrap();
    assert_eq!(manifest.services.len(), 4);
    assert_eq!(manifest.services[&named("web")].env["DOLLAR"], "$");
    assert_eq!(manifest.services[&named("inline")].code, Code::Inline("log(`${x}`)\n".into()));
}

#[test]
fn the_examples_in_the_reference_are_good_and_name_every_key() {
    let reference = include_str!("../../../docs/manifest.md");
    let blocks: Vec<_> =
        reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 10, "{blocks:?}");
    for block in blocks {
        let read = read_with(&|_| OnDisk::File { executable: false }, block);
        assert!(read.is_ok(), "{block}\n{}", read.unwrap_err());
    }
    for key in element::MANIFEST.iter().chain(element::SERVICE) {
        assert!(reference.contains(&format!("`{}`", key.name)), "{}", key.name);
    }
}

/// A piece of the good manifest's text put in the place of another, or something strange.
fn mutated() -> impl Strategy<Value = String> {
    let strange = prop_oneof![
        Just("\u{0}"),
        Just("\t"),
        Just("&a "),
        Just("*common"),
        Just("[["),
        Just("}"),
        Just(": "),
        Just("- "),
        Just("!!int "),
        Just("é"),
        Just("\u{feff}"),
        Just("${"),
        Just("|\n"),
        Just("<<: "),
        Just("---\n"),
        Just("'"),
    ];
    let cut = (any::<prop::sample::Index>(), 0..12_usize);
    let piece = (any::<prop::sample::Index>(), 0..40_usize);
    prop::collection::vec((cut, piece, strange, any::<bool>()), 1..6).prop_map(|changes| {
        let mut text = GOOD.to_owned();
        for ((at, len), (from, size), strange, copy) in changes {
            let (at, from) = (at.index(text.len() + 1), from.index(GOOD.len()));
            let start = text.floor_char_boundary(at);
            let end = text.floor_char_boundary((at + len).min(text.len()));
            let piece = if copy { &GOOD[from..(from + size).min(GOOD.len())] } else { strange };
            text.replace_range(start..end, piece);
        }
        text
    })
}

/// Reads a text, and checks that whatever is said of it can be shown.
fn check_readable(text: &str) {
    let Err(problems) = read_here(text) else { return };
    for problem in &problems {
        let place = &problem.place;
        assert!(place.line >= 1 && place.column >= 1, "{problem:?}");
        assert!(text.get(place.span.clone()).is_some(), "{problem:?} in {text:?}");
        // A lone carriage return ends a line of YAML, but no line of an editor.
        if !text.contains('\r') {
            assert_eq!(Place::of(text, place.span.clone()).line, place.line, "{problem:?} in {text:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
        check_readable(&text);
    }

    #[test]
    fn no_yaml_like_text_makes_the_reader_panic(text in "([a-c&*:,\\[\\]{}|>'\"#%@!?<\\-\n \t]|: |- |\\$\\{|<<){0,80}") {
        check_readable(&text);
    }

    #[test]
    fn no_change_to_a_good_manifest_makes_the_reader_panic(text in mutated()) {
        check_readable(&text);
    }

    #[test]
    fn no_text_makes_the_readers_of_plugins_and_variables_panic(text in "(?s).{0,200}") {
        let _ = read_plugin(&text, &PathBuf::from("/plugins/x"), &|_| Ok(()));
        let _ = env_file::read(&text);
    }
}

#[test]
fn grants_are_absolute_plain_and_there() {
    let text = "services: {web: {code: web.js, ready: {tcp: 8080}, permissions: {fs: {read: [./a/../data], write: [/srv/x]}, \
                devices: [/dev/dri/card0], subprocess: true}}}";
    let web = &read_here(text).unwrap().services[&named("web")];
    let fs = &web.permissions.fs;
    assert_eq!((fs.read.first(), fs.write.first()), (Some(&"/shop/data".into()), Some(&"/srv/x".into())));
    assert!(web.permissions.subprocess && web.permissions.devices.contains(Path::new("/dev/dri/card0")));
    assert_eq!(web.permissions.net.listen, [8080].into(), "what is tried from inside is listened on");
}

#[test]
fn grants_that_lead_elsewhere_are_refused() {
    let text = "sandbox: landlock\nservices:\n  web:\n    code: web.js\n    sandbox: none\n    permissions:\n      fs: { read: \
                [./link, ./nope, /etc/../proc, ../root/.ssh] }\n      devices: [/dev/kvm, ./data]\n      net: { connect: \
                ['db:6379', 'dbb:1', 'd.b:1'] }\n  db: { code: a.py, permissions: { net: { listen: [1] } } }\n";
    let expected = "\
5:14 service 'web' cannot be held less tight than 'sandbox' at the top says | leave it out; or say it at the top, and 'strict' in each service that can be
7:20 service 'web' is granted './link', which leads through a symbolic link | write where it leads: '/etc'
7:28 service 'web' is granted './nope', which is not there | make it (mkdir -p /shop/nope), or remove it here
7:36 '/etc/../proc' cannot be granted to service 'web': it shows and changes the host's processes | grant a folder that holds only what the service needs
7:50 '../root/.ssh' cannot be granted to service 'web': it holds a person's keys | grant a folder that holds only what the service needs
8:17 '/dev/kvm' cannot be granted to service 'web': who has it has the machine | grant another device
8:27 './data' cannot be granted to service 'web': it is no device | name a node below /dev
9:24 service 'web' may connect to 'db:6379', but 'db' does not listen there | add 'permissions: { net: { listen: [6379] } }' to 'db'
9:35 service 'web' may connect to 'dbb:1', but no service is named 'dbb' | did you mean 'db:1'?";
    assert_eq!(problems(text).join("\n"), expected);
}

#[test]
fn nobody_is_granted_to_change_what_is_started_or_to_reach_a_socket() {
    for (grant, expected) in [
        ("fs: {write: [.]}", "who writes there can change the manifest"),
        ("fs: {write: [manifest.yaml]}", "who writes there can change the manifest"),
        ("fs: {write: [./web.js]}", "a service's code is there"),
        ("fs: {read: [./socket]}", "it cannot be read, or is neither a file nor a folder"),
        ("fs: {read: [/home]}", "it holds what is never granted"),
        ("fs: {read: [/var/tmp/orchestrator/shop]}", "it is the orchestrator's own"),
        ("devices: [/dev/sda1]", "who has it has the machine"),
        ("devices: [/dev/mapper/root]", "who has it has the machine"),
    ] {
        let found = problems(&format!("services: {{web: {{code: ./web.js, permissions: {{{grant}}}}}}}"));
        assert!(
            !found.is_empty() && found.iter().any(|problem| problem.contains(expected)),
            "{grant}: {found:?}"
        );
    }
}

#[test]
fn what_is_granted_towards_services_has_to_fit_to_them() {
    for (grants, expected) in [
        (
            "web: {code: web.js, permissions: {services: [{name: bd, call: [get]}]}}",
            "service 'web' is granted something towards 'bd', which no service is named | did you mean 'db'?",
        ),
        (
            "web: {code: web.js, permissions: {fs: {write: [/srv/x]}}}, other: {code: web.js, permissions: {fs: {write: \
             [{path: /srv/x, shared: true}]}}}",
            "service 'web' may write to '/srv/x', and so may service 'other' \
             | if both mean it, write '{ path: /srv/x, shared: true }' in both",
        ),
        (
            "web: {code: web.js, permissions: {children: {max: 2, permissions: {net: {connect: ['a.b:1']}}}}}",
            "children of service 'web' could be granted more than it has itself: E_ATTENUATION permission=net.connect \
             asked=\"a.b:1\" ceiling=\"[]\" | grant it to 'web' too, or take it out of 'children'",
        ),
        (
            "web: {code: a.py, runtime: node, permissions: {limits: {pids: 4}}}",
            "service 'web' cannot run with fewer than 16 processes and threads on 'node' | write 'pids: 16' or more",
        ),
    ] {
        let found = problems(&format!("services: {{db: {{code: a.py}}, {grants}}}"));
        assert!(found.len() == 1 && found[0].ends_with(expected), "{grants}: {found:?}");
    }
}

#[test]
fn children_are_within_their_parents_limits() {
    let text = "services: {web: {code: web.js, permissions: {services: [{name: db, call: ['*']}], limits: {memory: 64MiB}, \
                children: {max: 2, permissions: {services: [{name: db, call: [get]}, {name: web, call: [done]}], \
                limits: {pids: 5}}}}}, db: {code: a.py}}";
    let web = &read_here(text).unwrap().services[&named("web")];
    let children = web.permissions.children.as_ref().unwrap();
    assert_eq!((children.max, children.depth), (2, 1));
    let limits = &children.ceiling.limits;
    assert_eq!((limits.memory, limits.pids), (Some(64 << 20), Some(5)), "what is not said is the parent's");
    assert_eq!(children.ceiling.services.len(), 2, "of its parent it may be allowed to call something too");
}

#[test]
fn paths_that_are_shared_by_all_who_write_there_are_fine() {
    let shared = "permissions: {fs: {write: [{path: /srv/x, shared: true}]}}";
    let text = format!("services: {{web: {{code: web.js, {shared}}}, db: {{code: a.py, {shared}}}}}");
    assert!(read_here(&text).is_ok());
}

/// What comes of a child that `web` asks for, with these permissions of its own.
fn child(permissions: &str, spec: &str) -> Result<Service, String> {
    let text = format!("services: {{web: {{code: web.js, permissions: {permissions}}}, db: {{code: a.py}}}}");
    let parent = read_here(&text).unwrap().services[&named("web")].clone();
    with_surroundings(&look, |surroundings| read_child(spec.as_bytes(), &parent, surroundings))
        .map_err(|error| error.to_string())
}

#[test]
fn a_child_is_written_as_a_service_is_and_held_within_its_ceiling() {
    let grants = "{limits: {memory: 64MiB}, services: [{name: db, call: ['*']}], \
                  children: {max: 2, depth: 2, permissions: {services: [{name: db, call: [get]}], limits: {pids: 40}}}}";
    let one = r#"{"name": "one", "code": "export function f() {}", "limits": {"pids": 20}, "args": ["$HOME"],
                  "permissions": {"services": [{"name": "db", "call": ["get"]}], "children": {"max": 1}}}"#;
    let one = child(grants, one).unwrap();
    assert_eq!((one.name.as_str(), one.runtime.as_str(), one.args[0].as_str()), ("web/one", "js", "$HOME"));
    let limits = &one.permissions.limits;
    assert_eq!((limits.memory, limits.pids), (Some(64 << 20), Some(20)), "what is not asked for is the most");
    for (spec, expected) in [
        ("[]", "a child is asked for with an object"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"code": "1"}"#, "a child has a 'name', which is text"),
        (
            r#"{"name": "a/b", "code": "1"}"#,
            "'a/b': '/' cannot be in a name: lower-case letters, digits and '-' can",
        ),
        (
            r#"{"name": "a", "code": "1", "essential": true}"#,
            "'essential' is not for children: a child ends with its parent",
        ),
        (
            r#"{"name": "a", "code": "1", "sandbox": "none"}"#,
            "a child cannot be held less tight than its parent",
        ),
        (
            r#"{"name": "a", "code": "1", "argz": []}"#,
            "unknown key \'argz\' in service 'a': did you mean 'args'?",
        ),
        (
            r#"{"name": "a", "code": "1", "permissions": {"subprocess": true, "limits": {"memory": "1GiB"}}}"#,
            "E_ATTENUATION permission=subprocess asked=\"true\" ceiling=\"false\"; \
             E_ATTENUATION permission=limits.memory asked=\"1073741824\" ceiling=\"67108864\"",
        ),
        (
            r#"{"name": "a", "code": "1", "permissions": {"children": {"max": 2, "depth": 2}}}"#,
            "E_ATTENUATION permission=children.depth asked=\"2\" ceiling=\"1\"",
        ),
    ] {
        assert_eq!(child(grants, spec).unwrap_err(), expected, "{spec}");
    }
    assert_eq!(
        child("none", r#"{"name": "a", "code": "1"}"#).unwrap_err(),
        "web may not open a child; to allow it: services.web.permissions.children: { max: 1 }"
    );
}
