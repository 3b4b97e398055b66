//! The table: what a service is made of for each plugin, and what must be seen of it.

use serde_json::{Value, json};

use crate::host_process::{Ended, HostProcess};

/// One row.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// `service` or `job`.
    pub(crate) kind: &'static str,
    /// For some plugins, the files of the code.
    code: &'static [(&'static [&'static str], Files)],
    pub(crate) check: fn(HostProcess),
}

/// The names and texts of a code's files.
pub(crate) type Files = &'static [(&'static str, &'static str)];

impl Case {
    /// The files of the code; none where the case does not apply.
    pub(crate) fn files(&self, plugin: &str) -> Option<Files> {
        self.code.iter().find(|(plugins, _)| plugins.contains(&plugin)).map(|(_, files)| *files)
    }
}

const SERVICE: &str = "service";
const JOB: &str = "job";
const JS: &[&str] = &["js", "node"];
const QUICKJS: &[&str] = &["js"];
const NODE: &[&str] = &["node"];
const PYTHON: &[&str] = &["python"];
const PERL: &[&str] = &["perl"];

fn ended(code: i32, stdout: &str) -> Ended {
    Ended { code: Some(code), stdout: stdout.into(), stderr: String::new() }
}

/// The name, the message, and where it was thrown.
fn assert_error(error: &Value, name: &str, message: &str, place: &str) {
    assert_eq!((error["name"].as_str(), error["message"].as_str()), (Some(name), Some(message)), "{error}");
    let first = error["stack"].as_str().unwrap().lines().next().unwrap_or_default();
    assert!(first.contains(place), "{place} in {error}");
}

/// The same line of the entry file, by the plugin's ending.
fn place(host: &HostProcess, js: &str, python: &str, perl: &str) -> String {
    match host.plugin {
        "python" => python,
        "perl" => perl,
        _ => js,
    }
    .to_owned()
}

/// What a type error is called; perl has no types of errors.
fn type_error(host: &HostProcess) -> &'static str {
    if host.plugin == "perl" { "Error" } else { "TypeError" }
}

pub(crate) const ALL: &[Case] = &[
    Case {
        name: "methods_are_discovered",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "export function set() {}\nexport const get = async () => {};\nexport class Shelf {}\n\
                     export const admin = { reset() {}, deep: { er() {} }, size: 3 };\nexport const list = [() => {}];\n\
                     export function start() {}\nexport function close() {}\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "from json import dumps\nfrom types import SimpleNamespace\ndef set(): pass\nasync def get(): pass\n\
                     class Shelf: pass\ndef _hidden(): pass\n\
                     admin = SimpleNamespace(reset=_hidden, deep=SimpleNamespace(er=_hidden), size=3)\n\
                     def start(): pass\ndef close(): pass\n",
                )],
            ),
        ],
        check: |mut host| {
            let methods = json!(["admin.deep.er", "admin.reset", "get", "set"]);
            assert_eq!(host.started(), json!({"type": "started", "methods": methods, "health": false}));
            assert_eq!(host.close(), ended(0, ""));
        },
    },
    Case {
        name: "the_documented_service_is_one",
        kind: SERVICE,
        code: &[
            (JS, &[("main.js", include_str!("documented/main.js"))]),
            (PYTHON, &[("main.py", include_str!("documented/main.py"))]),
            (PERL, &[("main.pl", include_str!("documented/main.pl"))]),
        ],
        check: |mut host| {
            let perl = host.plugin == "perl";
            let methods = if perl { json!(["level"]) } else { json!(["admin.reset", "level"]) };
            let stdout = if perl { "closing\n" } else { "INFO stocked kinds=1\nINFO closing\n" };
            assert_eq!(host.started(), json!({"type": "started", "methods": methods, "health": true}));
            assert_eq!(host.health(), Value::Null);
            assert_eq!(host.close(), ended(0, stdout));
        },
    },
    Case {
        name: "the_default_export_is_a_service_too",
        kind: SERVICE,
        code: &[(
            JS,
            &[(
                "main.js",
                "export default { greeting: 'hello', start() { console.log(this.greeting); }, get() {} };\n",
            )],
        )],
        check: |mut host| {
            assert_eq!(host.started()["methods"], json!(["get"]));
            assert_eq!(host.close(), ended(0, "hello\n"));
        },
    },
    Case {
        name: "start_is_waited_for",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "export async function start() {\n  await new Promise((done) => setTimeout(done, 20));\n  \
                     console.log('waited');\n  throw new TypeError('then');\n}\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "import asyncio\nasync def start():\n  await asyncio.sleep(0.02)\n  print('waited')\n  raise TypeError('then')\n",
                )],
            ),
            (
                PERL,
                &[(
                    "main.pl",
                    "sub start {\n  select(undef, undef, undef, 0.02);\n  print \"waited\\n\";\n  die 'then';\n}\n",
                )],
            ),
        ],
        check: |mut host| {
            let (name, place) = (type_error(&host), place(&host, "main.js:4", "main.py:5", "main.pl:4"));
            assert_error(&host.error("failed"), name, "then", &place);
            assert_eq!(host.ended(), ended(1, "waited\n"));
        },
    },
    Case {
        name: "start_throws_in_another_file",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[
                    (
                        "main.js",
                        "import { connect } from './lib/db.js';\nexport function start() {\n  connect();\n}\n",
                    ),
                    ("lib/db.js", "export function connect() {\n  throw new TypeError('no db');\n}\n"),
                    ("package.json", "{\"type\": \"module\"}"),
                ],
            ),
            (
                PYTHON,
                &[
                    ("main.py", "from lib.db import connect\ndef start():\n  connect()\n"),
                    ("lib/db.py", "def connect():\n  raise TypeError('no db')\n"),
                ],
            ),
        ],
        check: |mut host| {
            let error = host.error("failed");
            assert_error(&error, "TypeError", "no db", &place(&host, "lib/db.js:2", "lib/db.py:2", ""));
            let stack = error["stack"].as_str().unwrap();
            assert!(
                stack.lines().nth(1).unwrap().contains(&place(&host, "main.js:3", "main.py:3", "")),
                "{stack}"
            );
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "a_cause_is_told",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "const cause = new RangeError('why');\nthrow new TypeError('what', { cause });\nexport {};\n",
                )],
            ),
            (PYTHON, &[("main.py", "raise TypeError('what') from IndexError('why')\n")]),
        ],
        check: |mut host| {
            let error = host.error("failed");
            let cause = place(&host, "caused by RangeError: why", "caused by IndexError: why", "");
            assert!(error["stack"].as_str().unwrap().contains(&cause), "{error}");
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "what_is_no_error_can_be_thrown",
        kind: SERVICE,
        code: &[(JS, &[("main.js", "export function start() {\n  throw 'just \u{2603} text';\n}\n")])],
        check: |mut host| {
            let error = json!({"name": "Error", "message": "just \u{2603} text", "stack": ""});
            assert_eq!(host.error("failed"), error);
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "what_cannot_be_said_in_words_can_be_thrown",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "const knot = { size: 1n };\nknot.self = knot;\nsetTimeout(() => { throw knot; }, 20);\nexport {};\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "import asyncio\nclass Knot(Exception):\n  def __str__(self): return 1\ndef throw(): raise Knot()\n\
                     async def start(): asyncio.get_running_loop().call_later(0.02, throw)\n",
                )],
            ),
        ],
        check: |mut host| {
            host.started();
            let error = host.error("exception");
            let expected = if host.plugin == "python" { ("Knot", "") } else { ("Error", "[object Object]") };
            assert_eq!(
                (error["name"].as_str(), error["message"].as_str()),
                (Some(expected.0), Some(expected.1))
            );
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "half_a_character_can_be_thrown",
        kind: SERVICE,
        code: &[
            (JS, &[("main.js", "throw new TypeError('a\\ud83e');\n")]),
            (PYTHON, &[("main.py", "raise TypeError('a\\ud83e')\n")]),
        ],
        check: |mut host| {
            let message = if host.plugin == "python" { "a?" } else { "a\u{fffd}" };
            assert_error(
                &host.error("failed"),
                "TypeError",
                message,
                &place(&host, "main.js:1", "main.py:1", ""),
            );
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "a_syntax_error_has_a_place",
        kind: SERVICE,
        code: &[
            (JS, &[("main.js", "export const one = 1;\nexport function = 2;\n")]),
            (PYTHON, &[("main.py", "one = 1\ndef = 2\n")]),
            (PERL, &[("main.pl", "my $one = 1;\nsub start { $two }\n")]),
        ],
        check: |mut host| {
            let error = host.error("failed");
            let name = if host.plugin == "perl" { "Error" } else { "SyntaxError" };
            let place = place(&host, "main.js:2", "main.py:2", "main.pl:2");
            assert_eq!(error["name"], name);
            assert!(error["stack"].as_str().unwrap().contains(&place), "{error}");
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "an_exception_in_a_timer_ends_it",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "export function start() {\n  setTimeout((text) => {\n    throw new TypeError(text);\n  }, 20, 'late');\n}\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "import asyncio\ndef late(text):\n  raise TypeError(text)\nasync def start():\n  \
                     asyncio.get_running_loop().call_later(0.02, late, 'late')\n",
                )],
            ),
        ],
        check: |mut host| {
            host.started();
            let place = place(&host, "main.js:3", "main.py:3", "");
            assert_error(&host.error("exception"), "TypeError", "late", &place);
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "an_exception_in_a_thread_ends_it",
        kind: SERVICE,
        code: &[(
            PYTHON,
            &[(
                "main.py",
                "import threading\ndef work():\n  raise TypeError('aside')\ndef start():\n  threading.Timer(0.02, work).start()\n",
            )],
        )],
        check: |mut host| {
            host.started();
            assert_error(&host.error("exception"), "TypeError", "aside", "main.py:3");
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "a_rejection_that_nobody_handles_ends_it",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "async function work() {\n  await null;\n  throw new TypeError('aside');\n}\n\
                     export function start() {\n  work().catch(() => console.log('handled'));\n  setTimeout(work, 20);\n}\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "import asyncio\nasync def work():\n  raise TypeError('aside')\nasync def start():\n  print('handled')\n  asyncio.create_task(work())\n",
                )],
            ),
        ],
        check: |mut host| {
            host.started();
            assert_error(
                &host.error("exception"),
                "TypeError",
                "aside",
                &place(&host, "main.js:3", "main.py:3", ""),
            );
            assert_eq!(host.ended(), ended(1, "handled\n"));
        },
    },
    Case {
        name: "health_is_anything_but_false",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "let asked = 0;\nexport async function health() {\n  asked += 1;\n  if (asked === 3) throw new TypeError('ill');\n  return asked !== 2;\n}\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "asked = 0\nasync def health():\n  global asked\n  asked += 1\n  if asked == 3: raise TypeError('ill')\n  return asked != 2\n",
                )],
            ),
            (
                PERL,
                &[(
                    "main.pl",
                    "my $asked = 0;\nsub health {\n  $asked++;\n  die 'ill' if $asked == 3;\n  return $asked != 2;\n}\n",
                )],
            ),
        ],
        check: |mut host| {
            assert_eq!(host.started()["health"], true);
            let threw = format!("health() threw {}: ill", type_error(&host));
            assert_eq!(host.health(), Value::Null);
            assert_eq!(host.health(), json!("health() returned false"));
            assert_eq!(host.health(), json!(threw));
            assert_eq!(host.close(), ended(0, ""));
        },
    },
    Case {
        name: "a_service_without_anything_stays_and_is_healthy",
        kind: SERVICE,
        code: &[
            (JS, &[("main.js", "export {};\n")]),
            (PYTHON, &[("main.py", "")]),
            (PERL, &[("main.pl", "")]),
        ],
        check: |mut host| {
            assert_eq!(host.started(), json!({"type": "started", "methods": [], "health": false}));
            assert_eq!(host.health(), Value::Null);
            assert_eq!(host.close(), ended(0, ""));
        },
    },
    Case {
        name: "what_the_host_does_not_know_is_passed_over",
        kind: SERVICE,
        code: &[
            (JS, &[("main.js", "export function health() { return true; }\n")]),
            (PYTHON, &[("main.py", "def health(): return True\n")]),
            (PERL, &[("main.pl", "sub health { 1 }\n")]),
        ],
        check: |mut host| {
            host.started();
            host.say(
                "{\"type\":\"novelty\",\"payload\":10}\n{\"type\":\n\n{\"type\":\"other\",\"member\":1}\n",
            );
            assert_eq!(host.health(), Value::Null);
            assert_eq!(host.close(), ended(0, ""));
        },
    },
    Case {
        name: "close_is_waited_for",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "export async function close() {\n  await new Promise((done) => setTimeout(done, 20));\n  console.log('closed');\n}\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "import asyncio\nasync def close():\n  await asyncio.sleep(0.02)\n  print('closed')\n",
                )],
            ),
            (PERL, &[("main.pl", "sub close { print \"closed\\n\" }\n")]),
        ],
        check: |mut host| {
            host.started();
            host.say("{\"type\":\"close\"}\n");
            assert_eq!(host.ended(), ended(0, "closed\n"));
        },
    },
    Case {
        name: "close_throws",
        kind: SERVICE,
        code: &[
            (JS, &[("main.js", "export function close() {\n  throw new TypeError('stuck');\n}\n")]),
            (PYTHON, &[("main.py", "def close():\n  raise TypeError('stuck')\n")]),
            (PERL, &[("main.pl", "sub close {\n  die 'stuck';\n}\n")]),
        ],
        check: |mut host| {
            host.started();
            host.say("{\"type\":\"close\"}\n");
            let (name, place) = (type_error(&host), place(&host, "main.js:2", "main.py:2", "main.pl:2"));
            assert_error(&host.error("exception"), name, "stuck", &place);
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "close_during_start_ends_it_at_once",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "import { close as leave } from 'orchestrator';\nexport async function start() {\n  leave();\n  \
                     await new Promise((done) => setTimeout(done, 1e8));\n}\nexport function close() {\n  console.log('never');\n}\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "import orchestrator, time\ndef start():\n  orchestrator.close()\n  time.sleep(1e5)\ndef close():\n  print('never')\n",
                )],
            ),
        ],
        check: |mut host| {
            assert_eq!(host.next(), json!({"type": "close"}));
            assert_eq!(host.close(), ended(0, ""));
        },
    },
    Case {
        name: "a_service_can_ask_to_be_closed",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "import { close as leave } from 'orchestrator';\nexport function start() { setTimeout(leave, 20); }\n\
                     export function close() { console.log('closed'); }\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "import asyncio, orchestrator\nasync def start():\n  asyncio.get_running_loop().call_later(0.02, orchestrator.close)\n\
                     def close(): print('closed')\n",
                )],
            ),
        ],
        check: |mut host| {
            host.started();
            assert_eq!(host.next(), json!({"type": "close"}));
            assert_eq!(host.close(), ended(0, "closed\n"));
        },
    },
    Case {
        name: "a_job_ends_when_nothing_is_left_to_do",
        kind: JOB,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "export async function start() {\n  setTimeout(() => console.log('last'), 30);\n  console.log('first');\n}\n\
                     export function close() { console.log('closed'); }\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "import asyncio\nasync def last():\n  await asyncio.sleep(0.03)\n  print('last')\nasync def start():\n  \
                     global task\n  task = asyncio.create_task(last())\n  print('first')\ndef close(): print('closed')\n",
                )],
            ),
            (
                PERL,
                &[(
                    "main.pl",
                    "sub start { print \"first\\nlast\\n\" }\nsub close { print \"closed\\n\" }\n",
                )],
            ),
        ],
        check: |mut host| {
            host.started();
            assert_eq!(host.ended(), ended(0, "first\nlast\nclosed\n"));
        },
    },
    Case {
        name: "a_job_waits_for_its_threads",
        kind: JOB,
        code: &[(
            PYTHON,
            &[(
                "main.py",
                "import threading\ndef work(): print('worked')\ndef start(): threading.Timer(0.03, work).start()\n",
            )],
        )],
        check: |mut host| {
            host.started();
            assert_eq!(host.ended(), ended(0, "worked\n"));
        },
    },
    Case {
        name: "a_job_that_waits_for_nothing_fails",
        kind: JOB,
        code: &[(JS, &[("main.js", "export const start = () => new Promise(() => {});\n")])],
        check: |mut host| {
            let error = host.error("failed");
            assert_eq!(error["message"], "start() waits for something that can never happen");
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "half_a_line_before_a_sudden_end_is_there",
        kind: SERVICE,
        code: &[
            (NODE, &[("main.js", "process.stdout.write('half');\nprocess.exit(3);\n")]),
            (PYTHON, &[("main.py", "import sys\nsys.stdout.write('half')\nsys.exit(3)\n")]),
            (PERL, &[("main.pl", "print 'half';\nexit 3;\n")]),
        ],
        check: |host| assert_eq!(host.ended(), ended(3, "half")),
    },
    Case {
        name: "output_is_utf_8",
        kind: JOB,
        code: &[
            (JS, &[("main.js", "console.log('h\u{e9} \u{2603} \u{1f980}');\n")]),
            (PYTHON, &[("main.py", "print('h\u{e9} \u{2603} \u{1f980}')\n")]),
            (PERL, &[("main.pl", "print \"h\u{e9} \u{2603} \u{1f980}\\n\";\n")]),
        ],
        check: |mut host| {
            host.started();
            assert_eq!(host.ended(), ended(0, "h\u{e9} \u{2603} \u{1f980}\n"));
        },
    },
    Case {
        name: "a_log_line_has_a_level_and_fields",
        kind: JOB,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "import { log, service, replica } from 'orchestrator';\n\
                     log.info('two\\nlines', { at: '/a:1', said: 'a \"b\"', n: 1.5, deep: { k: [true, null] } });\n\
                     log.debug(service, { replica });\nlog.warn('w');\nlog.error('e', { why: new TypeError('no') });\n",
                )],
            ),
            (
                PYTHON,
                &[(
                    "main.py",
                    "from orchestrator import log, service, replica\n\
                     log.info('two\\nlines', {'at': '/a:1', 'said': 'a \"b\"', 'n': 1.5, 'deep': {'k': [True, None]}})\n\
                     log.debug(service, replica=replica)\nlog.warn('w')\nlog.error('e', why=TypeError('no'))\n",
                )],
            ),
        ],
        check: |mut host| {
            host.started();
            let stdout = "INFO two\\nlines at=/a:1 said=\"a \\\"b\\\"\" n=1.5 deep={\"k\":[true,null]}\nDEBUG shop replica=2\n";
            let stderr = "WARN w\nERROR e why=\"TypeError: no\"\n".into();
            assert_eq!(host.ended(), Ended { code: Some(0), stdout: stdout.into(), stderr });
        },
    },
    Case {
        name: "nothing_outside_of_the_folder_can_be_imported",
        kind: JOB,
        code: &[(
            QUICKJS,
            &[
                (
                    "main.js",
                    "for (const name of ['../host.js', './lib/../../x.js', './link.js', '/etc/hostname', 'fs', './none.js']) {\n  \
                     await import(name).catch((error) => console.log(error.name, error.message));\n}\n",
                ),
                ("link.js", "-> /etc/hostname"),
            ],
        )],
        check: |mut host| {
            host.started();
            let outside = "it is outside of the folder of the code";
            let only = "only \"orchestrator\" and files of the service's own folder (\"./file.js\") can be";
            let lines = [
                ("../host.js", outside),
                ("./lib/../../x.js", outside),
                ("link.js", outside),
                ("/etc/hostname", only),
                ("fs", only),
                ("none.js", "there is no such file"),
            ];
            let stdout =
                lines.map(|(name, why)| format!("ReferenceError cannot import \"{name}\": {why}\n")).concat();
            assert_eq!(host.ended(), ended(0, &stdout));
        },
    },
    Case {
        name: "the_globals_are_there",
        kind: JOB,
        code: &[(JS, &[("main.js", include_str!("globals.js"))])],
        check: |mut host| {
            host.started();
            assert_eq!(host.ended(), ended(0, include_str!("globals.txt")));
        },
    },
    Case {
        name: "runaway_code_is_stopped",
        kind: SERVICE,
        code: &[(
            QUICKJS,
            &[(
                "main.js",
                "export async function start() {\n  await null;\n  for (;;) try { for (;;); } catch {}\n}\n",
            )],
        )],
        check: |mut host| {
            let error = host.error("exception");
            assert_eq!(error["message"], "a turn of the event loop took longer than 10 s", "{error}");
            assert_eq!(error["name"], "WatchdogError");
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "code_that_cannot_be_interrupted_is_ended",
        kind: SERVICE,
        code: &[(QUICKJS, &[("main.js", "new Array(2 ** 31 - 1).join('x');\n")])],
        check: |mut host| {
            let error = json!({"name": "WatchdogError", "message": "a turn of the event loop took longer than 10 s", "stack": ""});
            assert_eq!(host.error("exception"), error);
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "a_list_of_holes_that_is_sorted_for_ever_is_ended",
        kind: SERVICE,
        code: &[(QUICKJS, &[("main.js", "const holes = [];\nholes[2 ** 32 - 2] = 1;\nholes.sort();\n")])],
        check: |mut host| {
            let message = "a turn of the event loop took longer than 10 s";
            assert_eq!(host.error("exception")["message"], message);
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "the_heap_has_a_limit",
        kind: SERVICE,
        code: &[(
            QUICKJS,
            &[(
                "main.js",
                "const all = [];\nexport function start() {\n  for (;;) all.push(new Array(1000).fill(0));\n}\n",
            )],
        )],
        check: |mut host| {
            let error = host.error("failed");
            let message = "out of memory: the heap reached its limit of 64 MiB";
            assert_eq!(
                (&error["name"], &error["message"]),
                (&json!("MemoryLimitError"), &json!(message)),
                "{error}"
            );
            assert_eq!(host.ended(), ended(1, ""));
        },
    },
    Case {
        name: "what_a_service_starts_cannot_speak_for_it",
        kind: JOB,
        code: &[
            (
                NODE,
                &[(
                    "main.js",
                    "import { execSync } from 'node:child_process';\n\
                     console.log(String(execSync('test -e /dev/fd/3 && echo open || echo closed')).trim());\n",
                )],
            ),
            (
                PYTHON,
                &[("main.py", "import os\nos.system('test -e /dev/fd/3 && echo open || echo closed')\n")],
            ),
            (PERL, &[("main.pl", "system('test -e /dev/fd/3 && echo open || echo closed');\n")]),
        ],
        check: |mut host| {
            host.started();
            assert_eq!(host.ended(), ended(0, "closed\n"));
        },
    },
    Case {
        name: "it_ends_with_its_runner",
        kind: SERVICE,
        code: &[
            (
                JS,
                &[(
                    "main.js",
                    "export function start() { setInterval(() => {}, 1e8); }\nexport function close() { console.log('never'); }\n",
                )],
            ),
            (PYTHON, &[("main.py", "def close(): print('never')\n")]),
            (PERL, &[("main.pl", "sub close { print \"never\\n\" }\n")]),
        ],
        check: |mut host| {
            host.started();
            assert_eq!(host.abandon(), ended(1, ""));
        },
    },
    Case {
        name: "a_start_that_blocks_ends_with_its_runner",
        kind: SERVICE,
        code: &[(
            PYTHON,
            &[(
                "main.py",
                "import orchestrator, time\ndef start():\n  orchestrator.close()\n  time.sleep(1e5)\n",
            )],
        )],
        check: |mut host| {
            assert_eq!(host.next(), json!({"type": "close"}));
            assert_eq!(host.abandon(), ended(1, ""));
        },
    },
];
