//! Services that use each other: calls, streams, events, configuration and children, the same in every language.

use crate::support::{TestProject, missing};

/// The same service in two languages.
const STOCK_JS: &str = r#"
      import { emit, config, children, current, services } from "orchestrator";
      let served = 0;
      export const level = async (sku) => ({ sku, level: 3 });
      export const count_calls = () => ++served;
      export function fails() { throw new TypeError("no such thing"); }
      export function* count(to) { for (let i = 0; i < to; i++) yield i; }
      export async function* forever() {
        try { for (let i = 0; ; i++) yield i; } finally { console.log("the stream was ended"); }
      }
      export const echo = (value) => value;
      export const hang = () => new Promise(() => current().signal.addEventListener("abort", () => console.log("it was cancelled")));
      export const tell = (what) => emit("stock.changed", { what });
      export async function remember(value) { await config.set("kept", value); return config.get("kept"); }
      export const recall = () => config.get("kept");
      export const time = () => current().deadline - Date.now() < 5000;
      export const die = () => setTimeout(() => { throw new Error("dead"); });
      export const admin = { deep: { reset: () => "done" }, get size() { return 7; } };
"#;

const STOCK_PYTHON: &str = r#"
      import asyncio, os, time as clock
      from orchestrator import emit, config, children, current, services
      served = 0
      async def level(sku): return {"sku": sku, "level": 3}
      def count_calls():
          global served
          served += 1
          return served
      def fails(): raise TypeError("no such thing")
      def count(to): yield from range(to)
      async def forever():
          try:
              i = 0
              while True:
                  yield i
                  i += 1
          finally: print("the stream was ended")
      def echo(value): return value
      async def hang():
          try: await asyncio.Event().wait()
          except asyncio.CancelledError:
              print("it was cancelled")
              raise
      async def tell(what): return await emit("stock.changed", {"what": what})
      async def remember(value):
          await config.set("kept", value)
          return await config.get("kept")
      async def recall(): return await config.get("kept")
      def time(): return current().deadline - clock.monotonic() < 5
      def die(): os._exit(1)
      class Deep:
          def reset(self): return "done"
      class Admin:
          deep = Deep()
          @property
          def size(self): return 7
      admin = Admin()
"#;

const WEB_JS: &str = r#"
      import { services, on, ServiceError } from "orchestrator";
      const shown = (error) => `${error.code} ${error.message} (${error.remoteName})`;
      export async function check() {
        const { stock } = services;
        await on("stock.*", (data, { event, from }) => console.log("heard", JSON.stringify(data), event, from));
        console.log("level", (await stock.level("apple")).level, await stock.admin.deep.reset(), await stock.admin.size());
        await stock.fails().catch((error) => console.log("failed", error instanceof ServiceError, shown(error)));
        await stock.levle().catch((error) => console.log("failed", shown(error)));
        await services.other.f().catch((error) => console.log("failed", shown(error)));
        const items = [];
        for await (const item of stock.count(20)) items.push(item);
        for await (const item of stock.forever()) if (item > 20) break;
        console.log("items", items.length, items.at(-1));
        const bytes = await stock.echo({ a: [new Uint8Array([1, 2, 3])], b: "ü" });
        console.log("bytes", bytes.a[0] instanceof Uint8Array, [...bytes.a[0]].join(), bytes.b);
        const late = stock.hang.options({ timeout: "50ms" });
        await late().catch((error) => console.log("failed", shown(error)));
        const controller = new AbortController();
        const hangs = stock.hang.options({ signal: controller.signal })();
        controller.abort();
        await hangs.catch((error) => console.log("failed", shown(error)));
        console.log("soon", await stock.time.options({ timeout: 4000 })());
        await stock.level.send("x");
        console.log("large", (await stock.echo("x".repeat(3_000_000))).length);
        await stock.echo("x".repeat(5_000_000)).catch((error) => console.log("failed", error.code));
        console.log("told", await stock.tell("x"));
        console.log("kept", JSON.stringify(await stock.remember({ deep: [1] })), JSON.stringify(await stock.recall()));
        console.log("checked");
      }
"#;

const WEB_PYTHON: &str = r#"
      import asyncio
      from orchestrator import services, on, ServiceError
      async def failed(call):
          try: await call
          except ServiceError as error: print("failed", error.code, error, f"({error.remote_name})")
      async def check():
          stock = services.stock
          await on("stock.*", lambda data, about: print("heard", str(data).replace("'", '"').replace(": ", ":"), about["event"], about["from"]))
          print("level", (await stock.level("apple"))["level"], await stock.admin.deep.reset(), await stock.admin.size())
          await failed(stock.fails())
          await failed(stock.levle())
          await failed(services.other.f())
          items = [item async for item in stock.count(20)]
          async for item in stock.forever():
              if item > 20: break
          print("items", len(items), items[-1])
          value = await stock.echo({"a": [b"\1\2\3"], "b": "ü"})
          print("bytes", str(isinstance(value["a"][0], bytes)).lower(), ",".join(map(str, value["a"][0])), value["b"])
          await failed(stock.hang.options(timeout="50ms")())
          hangs = asyncio.ensure_future(asyncio.wait_for(stock.hang(), 0.05))
          try: await hangs
          except asyncio.TimeoutError: print("failed cancelled stock.hang: it was not wanted any more ()")
          print("soon", str(await stock.time.options(timeout=4)()).lower())
          await stock.level.send("x")
          print("large", len(await stock.echo("x" * 3_000_000)))
          try: await stock.echo("x" * 5_000_000)
          except ServiceError as error: print("failed", error.code)
          print("told", await stock.tell("x"))
          kept = await stock.remember({"deep": [1]}), await stock.recall()
          print("kept", *(str(value).replace("'", '"').replace(": ", ":") for value in kept))
          print("checked")
"#;

const EXPECTED: [&str; 17] = [
    "web-1 | level 3 done 7",
    "web-1 | failed not-found stock.levle: stock has no method 'levle'; did you mean 'level'? ()",
    "web-1 | failed denied other.f: web may not call other.f; to allow it: services.web.permissions.services: \
     [{ name: other, call: [\"f\"] }] ()",
    "web-1 | items 20 19",
    "web-1 | bytes true 1,2,3 ü",
    "web-1 | failed timeout stock.hang: there was no answer in time ()",
    "web-1 | failed cancelled stock.hang: it was not wanted any more ()",
    "web-1 | soon true",
    "web-1 | large 3000000",
    "web-1 | failed too-large",
    "web-1 | told 1",
    "web-1 | heard {\"what\":\"x\"} stock.changed stock",
    "web-1 | kept {\"deep\":[1]} {\"deep\":[1]}",
    "stock-1 | the stream was ended",
    "stock-1 | it was cancelled",
    "stock.fails: no such thing (TypeError)",
    "web-1 may not call other.f; to allow it: services.web.permissions.services: [{ name: other, call: [\"f\"] }]",
];

fn check(stock: (&str, &str), web: (&str, &str)) {
    for language in [stock.0, web.0] {
        if language != "js" && missing(if language == "python" { "python3" } else { language }, "calls") {
            return;
        }
    }
    let project = TestProject::new(&format!(
        "  other: {{ runtime: js, code: \"export function f() {{}}\\n\" }}
  stock:
    runtime: {}
    restart: never
    code: |{}
  web:
    runtime: {}
    depends_on: [stock]
    permissions: {{ services: [{{ name: stock, call: ['*'], hear: ['stock.*'] }}] }}
    code: |{}
",
        stock.0, stock.1, web.0, web.1
    ));
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    assert_eq!(project.run(&["call", "web", "check"]).code, Some(0));
    up.wait_for("web-1   | checked");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    let plain = text.replace("web-1   |", "web-1 |");
    for expected in EXPECTED {
        assert!(plain.contains(expected), "{expected}\n{plain}");
    }
}

#[test]
fn embedded_services_use_each_other() {
    check(("js", STOCK_JS), ("js", WEB_JS));
}

#[test]
fn node_services_use_python_services() {
    check(("python", STOCK_PYTHON), ("node", WEB_JS));
}

#[test]
fn python_services_use_node_services() {
    check(("node", STOCK_JS), ("python", WEB_PYTHON));
}

#[test]
fn python_services_use_each_other() {
    check(("python", STOCK_PYTHON), ("python", WEB_PYTHON));
}

/// A service whose replicas tell which one has answered, and can be made to die while they serve.
const WORKERS: &str = r#"  workers:
    runtime: js
    replicas: 3
    restart: { policy: on-failure, backoff: 10ms..10ms }
    code: |
      import { replica, current } from "orchestrator";
      export const who = () => replica;
      export const die = () => { setTimeout(() => { throw new Error("dead"); }); return new Promise(() => {}); };
      let tries = 0;
      export const dies_unless_third = () => (replica === 3 ? "third" : die());
"#;

#[test]
fn replicas_share_the_calls_and_one_key_stays_with_one_of_them() {
    let project = TestProject::new(WORKERS);
    let mut up = project.up();
    up.wait_for("workers running");
    let who = |options: &[&str]| {
        let said = project.run(&[&["call", "workers", "who"], options].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out.trim().to_owned()
    };
    let anybody: std::collections::BTreeSet<_> = (0..30).map(|_| who(&[])).collect();
    let keyed: std::collections::BTreeSet<_> = (0..6).map(|_| who(&["--key", "k"])).collect();
    assert_eq!((anybody.len(), keyed.len()), (3, 1));
    let replicas = project.service("workers")["replicas"].clone();
    let served: u64 = (0..3).filter_map(|index| replicas[index]["calls"]["served"].as_u64()).sum();
    assert_eq!(served, 36);
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn a_call_survives_the_death_of_its_replica_only_if_it_may_run_again() {
    let project = TestProject::new(WORKERS);
    let mut up = project.up();
    up.wait_for("workers running");
    let once = project.run(&["call", "workers", "die"]);
    assert_eq!(once.code, Some(1), "{once:?}");
    assert!(once.err.contains(" was lost before it answered (unavailable)"), "{once:?}");
    let again = project.run(&["call", "workers", "dies_unless_third", "--retries", "-1"]);
    assert_eq!((again.code, again.out.as_str()), (Some(0), "\"third\"\n"), "{again:?}");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn children_are_opened_within_what_their_parent_may_hand_on_and_close_before_it() {
    let project = TestProject::new(
        r#"  parent:
    runtime: js
    permissions:
      net: { connect: ["a.example:1"] }
      children: { max: 2, permissions: { net: { connect: ["a.example:1"] } } }
    code: |
      import { children, services, on } from "orchestrator";
      const code = `
        import { emit } from "orchestrator";
        export const hi = (name) => "hi " + name;
        export const tell = () => emit("born", 1);
        export const close = () => console.log("closing");
      `;
      on("born", (data, { from }) => console.log("heard of", from));
      export const open = async (name, more) => (await children.create({ name, code, ...more })).name;
      export const greet = (name) => services[`parent/${name}`].hi(name);
      export const tell = (name) => services[`parent/${name}`].tell();
      export const shut = async (name) => (await children.create({ name, code })).close();
      export const close = () => console.log("closing");
"#,
    );
    let mut up = project.up();
    up.wait_for("parent running");
    let call = |arguments: &[&str]| project.run(&[&["call", "parent"], arguments].concat());
    let denied = |more: &str, expected: &str| {
        let said = call(&["open", "greedy", more]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(expected), "{said:?}");
    };
    denied(
        r#"{"permissions": {"subprocess": true}}"#,
        r#"E_ATTENUATION permission=subprocess asked="true" ceiling="false""#,
    );
    denied(
        r#"{"permissions": {"net": {"connect": ["A.EXAMPLE.:1", "b.example:1"]}}}"#,
        r#"E_ATTENUATION permission=net.connect asked="b.example:1" ceiling="[a.example:1]""#,
    );
    denied(r#"{"colour": 1}"#, "unknown key 'colour' in service 'greedy'");
    assert_eq!(call(&["shut", "short"]).code, Some(0));
    assert_eq!(call(&["open", "one"]).out, "\"parent/one\"\n");
    assert_eq!(call(&["greet", "one"]).out, "\"hi one\"\n");
    assert_eq!(call(&["tell", "one"]).out, "1\n");
    up.wait_for("heard of parent/one");
    assert_eq!(call(&["open", "two"]).code, Some(0));
    let full = call(&["open", "three"]);
    assert!(full.err.contains("parent has 2 children, which is the most"), "{full:?}");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    assert!(at("parent/one-1   | closing") < at("parent-1       | closing"), "{text}");
}

#[test]
fn configuration_is_kept_from_one_run_to_the_next() {
    let project = TestProject::new(&format!("  stock:\n    runtime: js\n    code: |{STOCK_JS}"));
    for (arguments, expected) in
        [(&["remember", "[1]"][..], "[1]\n"), (&["recall"], "[1]\n"), (&["remember", "2"], "2\n")]
    {
        let mut up = project.up();
        up.wait_for("stock running");
        assert_eq!(project.run(&[&["call", "stock"], arguments].concat()).out, expected);
        up.interrupt();
        assert_eq!(up.end().0, Some(0));
    }
}

#[test]
fn the_person_who_runs_it_calls_too() {
    let project = TestProject::new(&format!(
        "  stock:\n    runtime: js\n    code: |{STOCK_JS}  web:\n    runtime: js\n    code: |\n      \
         import {{ on }} from \"orchestrator\";\n      export const start = () => {{ on(\"*\", (data, {{ event, from }}) => \
         console.log(event, from, JSON.stringify(data))); }};\n"
    ));
    let mut up = project.up();
    up.wait_for("all 2 services are up");
    for (arguments, code, out, err) in [
        (&["call", "stock", "level", "apple"][..], 0, "{\"level\":3,\"sku\":\"apple\"}\n", ""),
        (&["call", "stock", "count", "3"], 0, "0\n1\n2\n", ""),
        (
            &["call", "stock", "fails"],
            1,
            "",
            "error: TypeError: stock.fails: no such thing (service-error), at fails (stock.js:5:37)\n",
        ),
        (
            &["call", "stok", "level"],
            1,
            "",
            "error: stok.level: no service is named 'stok'; did you mean 'stock'? (not-found)\n",
        ),
        (
            &["call", "stock", "hang", "--timeout", "50ms"],
            4,
            "",
            "error: stock.hang: there was no answer in time (timeout)\n",
        ),
        (&["emit", "a.b", "[1]"], 0, "", "a.b: sent to 1 replica\n"),
        (&["emit", "a..b"], 1, "", "error: 'a..b' cannot be the name of an event (not-found)\n"),
    ] {
        let said = project.run(arguments);
        assert_eq!(
            (said.code, said.out.as_str(), said.err.as_str()),
            (Some(code), out, err),
            "{arguments:?}"
        );
    }
    up.wait_for("a.b @operator [1]");
    let typescript = project.run(&["types", "typescript"]).out;
    assert!(
        typescript.contains("\"stock\": Service & {\n      \"admin\": {\n        \"deep\": {"),
        "{typescript}"
    );
    let python = project.run(&["types", "python"]).out;
    assert!(python.contains("class _stock_admin_deep:\n    reset: Method\n"), "{python}");
    if !missing("python3", "whether the stub is Python") {
        let stub = project.write("stub.py", &python);
        let compiled = std::process::Command::new("python3").args(["-m", "py_compile"]).arg(stub).status();
        assert!(compiled.expect("it runs").success(), "{python}");
    }
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn a_service_is_scaled_while_it_is_called() {
    let project = TestProject::new(&format!(
        "{WORKERS}  web:
    runtime: js
    depends_on: [workers]
    permissions: {{ services: [{{ name: workers, call: [who] }}] }}
    code: |
      import {{ services }} from \"orchestrator\";
      let calling = true, lost = 0, made = 0;
      export async function start() {{
        (async () => {{ while (calling) {{ made += 1; await services.workers.who().catch(() => (lost += 1)); }} }})();
      }}
      export const stop = () => {{ calling = false; return {{ lost, many: made > 0 }}; }};
"
    ));
    let mut up = project.up();
    up.wait_for("all 2 services are up");
    let replicas = || project.service("workers")["replicas"].as_array().map_or(0, Vec::len);
    for (wanted, said) in
        [(5, "workers: 5 replicas\n"), (1, "workers: 1 replica\n"), (2, "workers: 2 replicas\n")]
    {
        let scaled = project.run(&["scale", &format!("workers={wanted}")]);
        assert_eq!((scaled.code, scaled.err.as_str()), (Some(0), said), "{scaled:?}");
        assert_eq!(replicas(), wanted);
    }
    assert_eq!(project.run(&["call", "web", "stop"]).out, "{\"lost\":0,\"many\":true}\n");
    let unknown = project.run(&["scale", "wokers=2"]);
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (Some(2), "error: no service is named 'wokers': did you mean 'workers'?\n")
    );
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("web closed: because"), "{text}");
}

/// A call and a stream that are under way when their service closes.
fn closes_while_it_serves(runtime: &str, code: &str) {
    if runtime != "js"
        && missing(if runtime == "python" { "python3" } else { runtime }, "a call during a close")
    {
        return;
    }
    let project = TestProject::new(&format!("  slow:\n    runtime: {runtime}\n    code: |{code}"));
    let mut up = project.up();
    up.wait_for("slow running");
    std::thread::scope(|scope| {
        let late = scope.spawn(|| project.run(&["call", "slow", "late"]));
        up.wait_for("slow-1 | serving");
        let many = scope.spawn(|| project.run(&["call", "slow", "many"]));
        up.wait_for("slow-1 | streaming");
        assert_eq!(project.run(&["stop", "slow"]).code, Some(0));
        let (late, many) = (late.join().expect("it ends"), many.join().expect("it ends"));
        assert_eq!((late.code, late.out.as_str()), (Some(0), "\"done\"\n"), "{late:?}");
        assert!(many.err.contains("the replica that sent it closes (unavailable)"), "{many:?}");
    });
    up.wait_for("slow-1 | closing");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

const SLOW_JS: &str = r#"
      export const late = () => {
        console.log("serving");
        return new Promise((done) => setTimeout(() => done("done"), 1000));
      };
      export async function* many() {
        console.log("streaming");
        for (;;) { yield 1; await new Promise((later) => setTimeout(later, 10)); }
      }
      export const close = () => console.log("closing");
"#;

#[test]
fn what_an_embedded_service_serves_is_finished_before_it_closes() {
    closes_while_it_serves("js", SLOW_JS);
}

#[test]
fn what_a_node_service_serves_is_finished_before_it_closes() {
    closes_while_it_serves("node", SLOW_JS);
}

#[test]
fn what_a_python_service_serves_is_finished_before_it_closes() {
    let code = r#"
      import asyncio
      async def late():
          print("serving")
          await asyncio.sleep(1)
          return "done"
      async def many():
          print("streaming")
          while True:
              yield 1
              await asyncio.sleep(0.01)
      def close(): print("closing")
"#;
    closes_while_it_serves("python", code);
}

#[test]
fn a_program_in_any_language_is_called_and_calls() {
    if missing("perl", "a program that speaks the host protocol") {
        return;
    }
    let project = TestProject::new(
        r##"  program:
    runtime: exec
    ready: { notify: true }
    permissions: { services: [{ name: greeter, call: [greet] }] }
    code: |
      #!/usr/bin/perl
      # What other services say comes by descriptor 3, and so does what is said to them.
      use strict;
      open(my $host, "+<&=", 3) or die;
      select((select($host), $| = 1)[0]);
      sub say_it { my ($line, $payload) = @_; print $host "$line\n", $payload // ""; }
      say_it('{"type":"started","methods":["hello"]}');
      my %callers;
      while (defined(my $line = <$host>)) {
        my ($type) = $line =~ /"type":"([a-z-]+)"/;
        my ($id) = $line =~ /"id":(\d+)/;
        my ($length) = $line =~ /"payload":(\d+)/;
        my $payload = "";
        read($host, $payload, $length) if $length;
        exit(0) if $type eq "close";
        if ($type eq "invoke") {
          $callers{7} = $id;
          say_it('{"type":"call","id":7,"service":"greeter","method":"greet","within":' . $id . ',"payload":' . length($payload) . '}', $payload);
        } elsif ($type eq "reply" and $callers{$id}) {
          say_it('{"type":"reply","id":' . delete($callers{$id}) . ',"payload":' . length($payload) . '}', $payload);
        }
      }
  greeter: { runtime: js, code: "export const greet = (name) => `hello ${name}`;\n" }
"##,
    );
    let mut up = project.up();
    up.wait_for("all 2 services are up");
    assert_eq!(project.run(&["call", "program", "hello", "ann"]).out, "\"hello ann\"\n");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

/// Opens a child, speaks with it, closes it; and watches its own configuration.
fn opens_children_and_watches(runtime: &str, code: &str) {
    if missing(if runtime == "python" { "python3" } else { runtime }, "children and configuration") {
        return;
    }
    let project = TestProject::new(&format!(
        "  parent:
    runtime: {runtime}
    replicas: 2
    permissions: {{ children: {{ max: 1 }} }}
    code: |{code}"
    ));
    let mut up = project.up();
    up.wait_for("parent running");
    assert_eq!(project.run(&["call", "parent", "open"]).out, "[\"parent/kid\",\"hi mum\"]\n");
    assert_eq!(project.run(&["call", "parent", "set", "[1]"]).code, Some(0));
    for _ in 0..2 {
        up.wait_for("| changed colour [1]");
    }
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("parent-1 | changed") && text.contains("parent-2 | changed"), "{text}");
}

#[test]
fn node_services_open_children_and_watch_their_configuration() {
    opens_children_and_watches(
        "node",
        r#"
      import { children, config } from "orchestrator";
      export const start = () => config.watch((name, value) => console.log("changed", name, JSON.stringify(value)));
      export const set = (value) => config.set("colour", value);
      export async function open() {
        const kid = await children.create({ name: "kid", code: "export const hi = (name) => `hi ${name}`;" });
        const said = await kid.service.hi("mum");
        await kid.close();
        return [kid.name, said];
      }
"#,
    );
}

#[test]
fn python_services_open_children_and_watch_their_configuration() {
    opens_children_and_watches(
        "python",
        r#"
      from orchestrator import children, config
      async def start(): await config.watch(lambda name, value: print("changed", name, value))
      async def set(value): await config.set("colour", value)
      async def open():
          kid = await children.create("kid", code="def hi(name): return 'hi ' + name")
          said = await kid.service.hi("mum")
          await kid.close()
          return [kid.name, said]
"#,
    );
}

/// What a service asks while it serves, whenever that is, has no more time than its caller, and goes with it.
fn asks_within_its_callers_time(runtime: &str, code: &str) {
    if runtime != "js" && missing(if runtime == "python" { "python3" } else { runtime }, "nested calls") {
        return;
    }
    let project = TestProject::new(&format!(
        r#"  leaf:
    runtime: js
    code: |
      import {{ current }} from "orchestrator";
      export const quick = () => 1;
      export const left = () => current().deadline - Date.now();
      export const hang = () => new Promise(() => current().signal.addEventListener("abort", () => console.log("leaf was told")));
  middle:
    runtime: {runtime}
    permissions: {{ services: [{{ name: leaf, call: ["*"] }}] }}
    code: |{code}
  web:
    runtime: js
    permissions: {{ services: [{{ name: middle, call: ["*"] }}] }}
    code: |
      import {{ services }} from "orchestrator";
      export async function check() {{
        const {{ middle }} = services;
        const left = await Promise.all([5, 20, 10].map((s) => middle.relay.options({{ timeout: s * 1000 }})()));
        console.log("within", left.map((ms) => [5, 10, 20].find((s) => ms <= s * 1000)).join());
        await middle.hang.options({{ timeout: "100ms" }})().catch((error) => console.log(error.code));
      }}
"#
    ));
    let mut up = project.up();
    up.wait_for("all 3 services are up");
    assert_eq!(project.run(&["call", "web", "check"]).code, Some(0));
    up.wait_for("| leaf was told");
    up.interrupt();
    let (_, text) = up.end();
    assert!(text.contains("| within 5,20,10"), "{text}");
    assert!(text.contains("| timeout"), "{text}");
}

const RELAY_JS: &str = r#"
      import { services } from "orchestrator";
      const { leaf } = services;
      const rest = () => new Promise((resolve) => setTimeout(resolve, 10));
      export async function relay() { await rest(); await leaf.quick(); await rest(); return leaf.left(); }
      export async function hang() { await leaf.quick(); await rest(); return leaf.hang(); }
"#;

#[test]
fn what_an_embedded_service_asks_while_it_serves_is_within_its_callers_time() {
    asks_within_its_callers_time("js", RELAY_JS);
}

#[test]
fn what_a_node_service_asks_while_it_serves_is_within_its_callers_time() {
    asks_within_its_callers_time("node", RELAY_JS);
}

#[test]
fn what_a_python_service_asks_while_it_serves_is_within_its_callers_time() {
    let code = r"
      import asyncio
      from orchestrator import services
      leaf = services.leaf
      async def relay():
          await asyncio.sleep(0.01)
          await leaf.quick()
          return await leaf.left()
      async def hang():
          await leaf.quick()
          return await leaf.hang()
";
    asks_within_its_callers_time("python", code);
}
