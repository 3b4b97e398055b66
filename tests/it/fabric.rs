//! Orchestrators that are one fabric over Redis: services of each are called by the others, whoever dies meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::redis::{Cuttable, KEY, OwnRedis};
use crate::support::{Said, TestProject, Up, kill, missing, wait_for};

/// A service that others call.
const STOCK: &str = r#"
  stock:
    runtime: js
    code: |
      import { emit } from "orchestrator";
      export const level = (sku) => ({ sku, level: 3 });
      export const fails = () => { throw new TypeError("no such thing"); };
      export function* count(to) { for (let i = 0; i < to; i++) yield i; }
      export const bytes = (bytes) => bytes.map((byte) => byte + 1);
      export const tell = (what) => emit("stock.changed", { what });
      export const secret = () => 42;
      export const hang = () => new Promise(() => {});
"#;

/// One that calls it.
const WEB: &str = r#"
  web:
    runtime: js
    code: |
      import { services, emit, on, config } from "orchestrator";
      const said = async (call) => { try { return await call; } catch (e) { return `${e.code}: ${e.message}`; } };
      export const level = (sku) => said(services.stock.level(sku));
      export const fails = () => said(services.stock.fails());
      export const secret = () => said(services.stock.secret());
      export async function count(to) { const all = []; for await (const i of services.stock.count(to)) all.push(i); return all; }
      export const bytes = async () => [...(await services.stock.bytes(new Uint8Array([1, 2, 3])))];
      export const patient = (sku) => said(services.stock.options({ retries: -1, timeout: "50s" }).level(sku));
      export const here = () => "here";
      export const keep = (value) => said(config.set("kept", value));
      export const kept = () => said(config.get("kept"));
    permissions:
      services: [{ name: stock, call: [level, fails, count, bytes], hear: ["*"] }]
"#;

/// A project that is a member of a fabric, with a name of its own.
fn member(name: &str, redis: &str, more: &str, services: &str) -> TestProject {
    let project = TestProject::new("");
    let text = format!(
        "name: {name}\nfabric: {{ redis: '{redis}', key: '{KEY}', timeout: 3s }}\n{more}\nservices:\n{services}"
    );
    project.write("manifest.yaml", &text);
    project
}

/// Starts it, and waits until it is part of the fabric and everything runs.
fn up(project: &TestProject) -> Up {
    let up = project.up();
    wait_for("the project to be up", || {
        let said = project.run(&["ps", "--json"]);
        let snapshot: Value = serde_json::from_str(&said.out).map_err(|_| said.err)?;
        let services = snapshot["services"].as_array().expect("a list");
        let all = services.iter().all(|service| service["state"] == "running");
        if all && snapshot["fabric"]["connected"] == true { Ok(()) } else { Err(said.out) }
    });
    up
}

fn call(project: &TestProject, what: &[&str]) -> Result<Value, String> {
    let Said { code, out, err } = project.run(&[&["call"], what].concat());
    match code {
        Some(0) => Ok(serde_json::from_str(&out).expect("JSON")),
        _ => Err(err.lines().next().unwrap_or_default().to_owned()),
    }
}

fn fabric(project: &TestProject) -> Value {
    serde_json::from_str(&project.run(&["fabric", "--json"]).out).expect("JSON")
}

/// Waits until another member has this service.
fn wait_for_service(project: &TestProject, name: &str) {
    wait_for(&format!("the service {name}"), || {
        let view = fabric(project).to_string();
        if view.contains(&format!("\"name\":\"{name}\",\"replicas\""))
            || view.contains(&format!("\"load\":0,\"name\":\"{name}\""))
        {
            Ok(())
        } else {
            Err(view)
        }
    });
}

fn wait_for_members(project: &TestProject, names: &[&str]) {
    wait_for(&format!("the members {names:?}"), || {
        let view = fabric(project);
        let members = view["members"].as_array().expect("a list").iter();
        let found: Vec<_> = members.map(|member| member["name"].as_str().unwrap_or_default()).collect();
        if found == names { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn services_of_other_members_are_called_within_the_callers_permissions() {
    if missing("redis-server", "services_of_other_members_are_called_within_the_callers_permissions") {
        return;
    }
    let redis = OwnRedis::start();
    let shop = member("shop", &redis.url(), "elsewhere: [stock, ledger]", WEB);
    let attic = member("attic", &redis.url(), "", STOCK);
    let mut shop_up = up(&shop);
    let _attic_up = up(&attic);
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert!(shop.run(&["fabric"]).out.contains("stock"));
    assert_eq!(call(&shop, &["web", "level", "\"x\""]), Ok(json!({ "sku": "x", "level": 3 })));
    assert_eq!(call(&shop, &["web", "count", "30"]), Ok((0..30).collect::<Value>()));
    assert_eq!(call(&shop, &["web", "bytes"]), Ok(json!([2, 3, 4])));
    assert_eq!(call(&shop, &["web", "fails"]), Ok(json!("service-error: stock.fails: no such thing")));
    // What the caller's own manifest does not grant does not even leave.
    assert_eq!(
        call(&shop, &["web", "secret"]),
        Ok(json!(
            "denied: stock.secret: web may not call stock.secret; to allow it: \
             services.web.permissions.services: [{ name: stock, call: [\"secret\"] }]"
        ))
    );
    // The person may call everything, there as here.
    assert_eq!(call(&shop, &["stock", "secret"]), Ok(json!(42)));
    let said = |what: &[&str]| call(&shop, what).unwrap_err();
    assert_eq!(
        said(&["stock", "lewel"]),
        "error: stock.lewel: stock has no method 'lewel'; did you mean 'level'? (not-found)"
    );
    assert_eq!(
        said(&["ledger", "add"]),
        "error: ledger.add: ledger runs nowhere: no member of the fabric and no program offers it (unavailable)"
    );
    assert_eq!(
        said(&["stok", "level"]),
        "error: stok.level: no service is named 'stok'; did you mean 'stock'? (not-found)"
    );
}

#[test]
fn who_is_called_has_a_say_too() {
    if missing("redis-server", "who_is_called_has_a_say_too") {
        return;
    }
    let redis = OwnRedis::start();
    let shared = format!("{STOCK}    share: [{{ from: web@shop, call: [level] }}]\n");
    let hidden =
        "  ledger:\n    runtime: js\n    share: false\n    code: |\n      export const add = () => 1;\n";
    let shop = member("shop", &redis.url(), "elsewhere: [stock, ledger]", WEB);
    let attic = member("attic", &redis.url(), "", &(shared + hidden));
    let mut shop_up = up(&shop);
    let mut attic_up = up(&attic);
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert_eq!(call(&shop, &["web", "level", "1"]), Ok(json!({ "sku": 1, "level": 3 })));
    assert_eq!(
        call(&shop, &["stock", "level", "1"]).unwrap_err(),
        "error: stock.level: @operator@shop may not call stock.level; to allow it: \
         services.stock.share: [{ from: @operator@shop, call: [\"level\"] }] (denied)"
    );
    attic_up.wait_for("fabric: @operator@shop may not call stock.level; to allow it");
    assert!(call(&shop, &["ledger", "add"]).unwrap_err().contains("ledger runs nowhere"));
}

/// Calls that say which they are, and a service that writes down which have come.
const CALLER: &str = r#"
  web:
    runtime: js
    code: |
      import { services } from "orchestrator";
      export async function* hammer(from, to, retries) {
        let next = from;
        const results = [];
        const worker = async () => {
          while (next < to) {
            const id = next++;
            try { await services.stock.options({ retries }).add(id); results.push([id, "ok"]); }
            catch (e) { results.push([id, e.code]); }
          }
        };
        const workers = Array.from({ length: 16 }, worker);
        while (results.length < to - from) {
          if (results.length > 0) { yield results.splice(0).map((r) => { from++; return r; }); }
          await new Promise((done) => setTimeout(done, 1));
        }
        await Promise.all(workers);
        yield results;
      }
    permissions:
      services: [{ name: stock, call: [add] }]
"#;

fn recorder(file: &str) -> String {
    format!(
        "
  stock:
    runtime: python
    code: |
      import os
      log = os.open('{file}', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
      def add(id): os.write(log, b'%d\\n' % id)
    permissions:
      fs: {{ write: [./shared] }}
"
    )
}

fn executed(files: &[&Path]) -> BTreeMap<u64, u32> {
    let mut counts = BTreeMap::new();
    for file in files {
        for line in fs::read_to_string(file).unwrap_or_default().lines() {
            *counts.entry(line.parse().expect("a number")).or_default() += 1;
        }
    }
    counts
}

#[test]
fn a_member_that_is_killed_loses_no_acknowledged_call_and_none_runs_twice() {
    let test = "a_member_that_is_killed_loses_no_acknowledged_call_and_none_runs_twice";
    if missing("redis-server", test) || missing("python3", test) {
        return;
    }
    let redis = OwnRedis::start();
    let shop = member("shop", &redis.url(), "elsewhere: [stock]", CALLER);
    let others: Vec<_> = ["attic", "cellar"]
        .map(|name| {
            let project = member(name, &redis.url(), "", "");
            let file = project.path().join("shared/log");
            let text = fs::read_to_string(project.path().join("manifest.yaml")).unwrap();
            project.write("manifest.yaml", &(text + &recorder(&file.display().to_string())));
            (project, file)
        })
        .into();
    let mut shop_up = up(&shop);
    let mut ups: Vec<_> = others.iter().map(|(project, _)| up(project)).collect();
    shop_up.wait_for("attic@");
    wait_for_members(&shop, &["attic", "cellar"]);
    let files: Vec<_> = others.iter().map(|(_, file)| file.as_path()).collect();
    let mut results: BTreeMap<u64, String> = BTreeMap::new();
    for (from, to, retries) in [(0, 3000, 0), (3000, 6000, 1)] {
        wait_for_members(&shop, &["attic", "cellar"]);
        let arguments = [from, to, retries].map(|number: u64| number.to_string());
        let words =
            ["call", "web", "hammer", &arguments[0], &arguments[1], &arguments[2], "--timeout", "60s"];
        let calls = shop.command(&words).stdout(std::process::Stdio::piped()).spawn().expect("it can be run");
        // Both work on it by now: then one of them is killed, with everything below it.
        wait_for("both to be called", || {
            let counts = files.iter().map(|file| executed(&[file]).range(from..).count());
            let counts: Vec<_> = counts.collect();
            if counts.iter().all(|count| *count > 50) { Ok(()) } else { Err(format!("{counts:?}")) }
        });
        kill(ups[1].pid(), "KILL");
        let said = calls.wait_with_output().expect("it ends");
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            let some: Vec<(u64, String)> = serde_json::from_str(line).expect("a list of results");
            results.extend(some);
        }
        shop_up.wait_for("fabric: cellar@");
        others[1].0.wait_until_nothing_is_left();
        ups[1] = up(&others[1].0);
    }
    let executed = executed(&files);
    assert_eq!(results.len(), 6000, "every call was answered");
    for (id, result) in &results {
        let times = executed.get(id).copied().unwrap_or_default();
        match result.as_str() {
            "ok" => assert!(times >= 1, "{id} was acknowledged and has not run"),
            "unavailable" => assert!(*id < 3000, "{id} could be tried again"),
            other => panic!("{id}: {other}"),
        }
        assert!(*id >= 3000 || times <= 1, "{id} ran {times} times and may only once");
    }
    let lost = results.values().filter(|result| *result == "unavailable").count();
    assert!(lost <= 16, "{lost} were lost, and 16 were under way");
}

#[test]
fn a_member_that_is_cut_off_goes_on_alone_and_comes_back() {
    if missing("redis-server", "a_member_that_is_cut_off_goes_on_alone_and_comes_back") {
        return;
    }
    let redis = OwnRedis::start();
    let way = Cuttable::to(redis.port());
    let shop = member("shop", &way.url(), "elsewhere: [stock]", WEB);
    let attic = member("attic", &redis.url(), "", STOCK);
    let mut attic_up = up(&attic);
    let mut shop_up = up(&shop);
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert_eq!(call(&shop, &["web", "level", "1"]), Ok(json!({ "sku": 1, "level": 3 })));
    way.cut(true);
    attic_up.wait_for("has left");
    shop_up.wait_for("fabric: cut off from redis://127.0.0.1");
    assert_eq!(call(&shop, &["web", "here"]), Ok(json!("here")), "what is here goes on");
    assert_eq!(
        call(&shop, &["web", "level", "1"]),
        Ok(json!(
            "unavailable: stock.level: stock runs nowhere: no member of the fabric and no program offers it"
        ))
    );
    // What may wait does, and is answered when the way is open again.
    let patient = shop.command(&["call", "web", "patient", "2"]).stdout(std::process::Stdio::piped()).spawn();
    let patient = patient.expect("it can be run");
    way.cut(false);
    shop_up.wait_for("fabric: connected with");
    let said = patient.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), r#"{"level":3,"sku":2}"#);
    attic_up.wait_for("shop@");
}

#[test]
fn a_member_that_stood_still_begins_anew() {
    if missing("redis-server", "a_member_that_stood_still_begins_anew") {
        return;
    }
    let redis = OwnRedis::start();
    let shop = member("shop", &redis.url(), "elsewhere: [stock]", WEB);
    let attic = member("attic", &redis.url(), "", STOCK);
    let mut attic_up = up(&attic);
    let mut shop_up = up(&shop);
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert_eq!(call(&shop, &["web", "level", "1"]), Ok(json!({ "sku": 1, "level": 3 })));
    kill(attic_up.pid(), "STOP");
    shop_up.wait_for("has left");
    kill(attic_up.pid(), "CONT");
    attic_up.wait_for("fabric: cut off from");
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert_eq!(call(&shop, &["web", "level", "1"]), Ok(json!({ "sku": 1, "level": 3 })));
    assert_eq!(fabric(&shop)["refused"]["stranger"], 0);
}

#[test]
fn redis_may_be_started_again() {
    if missing("redis-server", "redis_may_be_started_again") {
        return;
    }
    let mut redis = OwnRedis::start();
    let shop = member("shop", &redis.url(), "elsewhere: [stock]", WEB);
    let attic = member("attic", &redis.url(), "", STOCK);
    let mut shop_up = up(&shop);
    let mut attic_up = up(&attic);
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert_eq!(call(&shop, &["web", "keep", "1"]), Ok(json!(null)));
    let hanging = shop.command(&["call", "stock", "hang"]).stderr(std::process::Stdio::piped()).spawn();
    let hanging = hanging.expect("it can be run");
    wait_for("the call to be there", || {
        let under_way = attic.service("stock")["replicas"][0]["calls"]["in-flight"].clone();
        if under_way == 1 { Ok(()) } else { Err(under_way.to_string()) }
    });
    redis.kill();
    let said = hanging.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.starts_with("error: stock.hang: attic@"), "{said}");
    assert!(said.contains("was lost before it answered (unavailable)"), "{said}");
    shop_up.wait_for("fabric: cut off from redis://127.0.0.1");
    attic_up.wait_for("fabric: cut off from redis://127.0.0.1");
    assert!(shop.run(&["fabric"]).out.contains("cut off: "));
    assert_eq!(call(&shop, &["web", "here"]), Ok(json!("here")));
    assert!(call(&shop, &["web", "level", "1"]).unwrap().as_str().unwrap().starts_with("unavailable: "));
    assert_eq!(call(&shop, &["web", "kept"]), Ok(json!(1)), "as it was last seen");
    let said = call(&shop, &["web", "keep", "2"]).unwrap();
    assert!(
        said.as_str()
            .unwrap()
            .starts_with("unavailable: the configuration cannot be changed: cut off from redis://"),
        "{said}"
    );
    wait_for("the call to be cancelled", || {
        let under_way = attic.service("stock")["replicas"][0]["calls"]["in-flight"].clone();
        if under_way == 0 { Ok(()) } else { Err(under_way.to_string()) }
    });
    redis.start_again();
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert_eq!(call(&shop, &["web", "level", "1"]), Ok(json!({ "sku": 1, "level": 3 })));
    assert_eq!(call(&shop, &["web", "kept"]), Ok(json!(null)), "it had no disk");
}

#[test]
fn what_was_made_with_another_key_or_was_there_before_does_not_count() {
    if missing("redis-server", "what_was_made_with_another_key_or_was_there_before_does_not_count") {
        return;
    }
    let redis = OwnRedis::start();
    let counter = "
  stock:
    runtime: js
    code: |
      let n = 0;
      export const add = () => ++n;
";
    let shop = member("shop", &redis.url(), "elsewhere: [stock]", WEB);
    let attic = member("attic", &redis.url(), "", counter);
    // Whoever holds the Redis sees everything, and says all of it again.
    let mut holder = redis.connect();
    holder.ask(&[b"PSUBSCRIBE", b"*"]);
    let mut shop_up = up(&shop);
    let mut attic_up = up(&attic);
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert_eq!(call(&shop, &["stock", "add"]), Ok(json!(1)));
    let mut recorded = Vec::new();
    let mut again = redis.connect();
    while recorded.len() < 500 {
        let message = holder.read();
        let is_call = message[3].windows(12).any(|part| part == b"\"type\":\"call");
        recorded.push((message[2].clone(), message[3].clone()));
        if is_call {
            break;
        }
    }
    for (channel, packet) in &recorded {
        again.ask(&[b"PUBLISH", channel, packet]);
        // With one letter changed, too.
        let mut changed = packet.clone();
        let last = changed.len() - 2;
        changed[last] ^= 1;
        again.ask(&[b"PUBLISH", channel, &changed]);
    }
    wait_for("the packets to be refused", || {
        let refused = fabric(&attic)["refused"].clone();
        let some = |why: &str| refused[why].as_u64() >= Some(2);
        if some("replayed") && some("forged") { Ok(()) } else { Err(refused.to_string()) }
    });
    assert_eq!(call(&shop, &["stock", "add"]), Ok(json!(2)), "it ran once for each call");
    attic_up.wait_for("fabric: refuses packets that were ");

    let stranger = member("stranger", &redis.url(), "elsewhere: [stock]", WEB);
    let text = fs::read_to_string(stranger.path().join("manifest.yaml")).unwrap();
    stranger.write("manifest.yaml", &text.replace(KEY, &KEY.replace("only", "also")));
    let mut stranger_up = up(&stranger);
    stranger_up.wait_for(
        "fabric: refuses packets that were made with another key: every member needs the same 'key', 'prefix' and database",
    );
    assert!(call(&stranger, &["stock", "add"]).unwrap_err().contains("runs nowhere"));
    assert_eq!(fabric(&stranger)["members"], json!([]));
    assert!(stranger.run(&["fabric"]).out.contains("made with another key"));
    wait_for_members(&shop, &["attic"]);
}

#[test]
fn events_reach_who_may_hear_them_at_every_member_and_one_of_each_group() {
    if missing("redis-server", "events_reach_who_may_hear_them_at_every_member_and_one_of_each_group") {
        return;
    }
    let redis = OwnRedis::start();
    let listener = |grant: &str| {
        format!(
            "
  mail:
    runtime: js
    code: |
      import {{ on }} from 'orchestrator';
      on('stock.*', (data, {{ from }}) => console.log(`alone ${{data.what}} of ${{from}}`));
      on('stock.*', (data) => console.log(`grouped ${{data.what}}`), {{ group: 'mailers' }});
    permissions:
      services: [{grant}]
"
        )
    };
    let hears = listener("{ name: stock, hear: ['stock.*'] }");
    let attic = member("attic", &redis.url(), "", STOCK);
    let [shop, office] =
        ["shop", "office"].map(|name| member(name, &redis.url(), "elsewhere: [stock]", &hears));
    let deaf = member("deaf", &redis.url(), "elsewhere: [stock]", &listener(""));
    let attic_up = up(&attic);
    let mut ups = [&shop, &office, &deaf].map(up);
    wait_for_members(&attic, &["deaf", "office", "shop"]);
    wait_for("all of them to listen", || {
        let told = call(&attic, &["stock", "tell", "\"probe\""])?;
        if told == 3 { Ok(()) } else { Err(told.to_string()) }
    });
    for what in ["one", "two"] {
        assert_eq!(call(&attic, &["stock", "tell", &format!("\"{what}\"")]), Ok(json!(3)));
        for up in &mut ups[..2] {
            up.wait_for(&format!("alone {what} of stock@attic"));
        }
    }
    ups[2].wait_for("mail-1 may not hear stock.changed of stock; to allow it: services.mail.permissions");
    call(&attic, &["stock", "tell", "\"last\""]).unwrap();
    ups[0].wait_for("alone last");
    ups[1].wait_for("alone last");
    attic_up.interrupt();
    let grouped = |project: &TestProject| {
        let log = project.run(&["logs", "--no-color"]).out;
        ["one", "two"].map(|what| log.matches(&format!("grouped {what}")).count())
    };
    wait_for("one of the group to have heard each", || {
        let (shop, office, deaf) = (grouped(&shop), grouped(&office), grouped(&deaf));
        let sums = [0, 1].map(|index| shop[index] + office[index] + deaf[index]);
        assert!(sums.iter().all(|sum| *sum <= 1), "{shop:?} {office:?} {deaf:?}");
        // A turn of one that may not hear it is lost.
        if sums[0] + sums[1] >= 1 { Ok(()) } else { Err(format!("{sums:?}")) }
    });
}

#[test]
fn configuration_is_shared_and_nobody_else_can_set_it() {
    if missing("redis-server", "configuration_is_shared_and_nobody_else_can_set_it") {
        return;
    }
    let redis = OwnRedis::start();
    let web = "
  web:
    runtime: js
    code: |
      import { config } from 'orchestrator';
      config.watch((name, value) => console.log(`${name} is now ${value}`));
      const said = async (call) => { try { return await call; } catch (e) { return `${e.code}: ${e.message}`; } };
      export const keep = (value) => said(config.set('limit', value));
      export const kept = () => said(config.get('limit'));
";
    let [shop, office] = ["shop", "office"].map(|name| member(name, &redis.url(), "", web));
    let mut shop_up = up(&shop);
    let mut office_up = up(&office);
    shop_up.wait_for("office@");
    office_up.wait_for("web running");
    assert_eq!(call(&shop, &["web", "keep", "5"]), Ok(json!(null)));
    office_up.wait_for("limit is now 5");
    shop_up.wait_for("limit is now 5");
    assert_eq!(call(&office, &["web", "kept"]), Ok(json!(5)));
    let mut holder = redis.connect();
    let key = b"orchestrator:config:web";
    let kept = holder.ask(&[b"HGET", key, b"limit"]).remove(0);
    assert!(kept.ends_with(b"5"), "{kept:?}");
    let forged = [&kept[..32], b"6"].concat();
    holder.ask(&[b"HSET", key, b"limit", &forged]);
    assert_eq!(
        call(&office, &["web", "kept"]),
        Ok(json!(
            "unavailable: the value 'limit' in orchestrator:config:web was not set by a member: set it again"
        ))
    );
    assert_eq!(call(&office, &["web", "keep", "7"]), Ok(json!(null)));
    assert_eq!(call(&shop, &["web", "kept"]), Ok(json!(7)));
}

#[test]
fn tls_users_and_passwords_are_those_of_redis() {
    let test = "tls_users_and_passwords_are_those_of_redis";
    if missing("redis-server", test) || missing("openssl", test) {
        return;
    }
    let (redis, ca) = OwnRedis::over_tls();
    let at = |who: &str| format!("rediss://{who}@127.0.0.1:{}/0', ca: '{}", redis.port(), ca.display());
    let shop = member("shop", &at("shop:secret"), "elsewhere: [stock]", WEB);
    let attic = member("attic", &at("shop:secret"), "", STOCK);
    let mut shop_up = up(&shop);
    let _attic_up = up(&attic);
    shop_up.wait_for("attic@");
    wait_for_service(&shop, "stock");
    assert_eq!(call(&shop, &["web", "level", "1"]), Ok(json!({ "sku": 1, "level": 3 })));
    assert_eq!(call(&shop, &["web", "keep", "1"]), Ok(json!(null)));
    assert_eq!(call(&shop, &["web", "kept"]), Ok(json!(1)));
    let wrong = member("wrong", &at("shop:hunter2"), "elsewhere: [stock]", WEB);
    let said = wrong.up().wait_for("fabric: cut off from");
    assert!(said.contains("Redis does not accept this user and password"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let unknown = format!("rediss://shop:secret@127.0.0.1:{}/0", redis.port());
    let unknown = member("unknown", &unknown, "elsewhere: [stock]", WEB);
    let said = unknown.up().wait_for("fabric: cut off from");
    assert!(said.contains("certificate"), "{said}");
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    let project = TestProject::new("  web: \n    runtime: js\n    code: |\n      export const f = () => 1\n");
    let plain = |said: Said| (said.code, said.err.lines().next().unwrap_or_default().to_owned());
    assert_eq!(
        plain(project.run(&["up", "--fabric", "redis://127.0.0.1:1"])),
        (
            Some(2),
            "error: the fabric has no key: set ORCHESTRATOR_FABRIC_KEY to what its other members have, or make one with \
             'openssl rand -hex 32'"
                .to_owned()
        )
    );
    let short = Said::of(
        project.command(&["up", "--fabric", "redis://127.0.0.1:1"]).env("ORCHESTRATOR_FABRIC_KEY", "short"),
    );
    assert_eq!(
        plain(short),
        (Some(2), "error: ORCHESTRATOR_FABRIC_KEY: the key has 5 bytes, where 32 are the least".to_owned())
    );
    let said = plain(project.run(&["up", "--fabric", "http://a"]));
    assert_eq!(said.0, Some(2));
    assert!(
        said.1.ends_with("it is no redis or rediss address: write it as 'redis://127.0.0.1:6379/0'"),
        "{said:?}"
    );
    // Without its Redis, a project starts all the same, and says so.
    let mut command = project.command(&["up", "--fabric", "redis://127.0.0.1:1"]);
    let mut alone = Up::begin(command.env("ORCHESTRATOR_FABRIC_KEY", KEY));
    alone.wait_for("fabric: cut off from redis://127.0.0.1:1: ");
    alone.wait_for("web running");
    assert_eq!(call(&project, &["web", "f"]), Ok(json!(1)));
    assert_eq!(
        plain(project.run(&["apply"])),
        (Some(0), "nothing has changed".to_owned()),
        "it is still the one of the command line"
    );
    project.write("manifest.yaml", "name: test\nfabric: { redis: 'redis://127.0.0.1:1', prefix: other }\nservices:\n  web: \n    runtime: js\n    code: |\n      export const f = () => 1\n");
    assert_eq!(
        plain(project.run(&["apply"])).1,
        "error: 'fabric' has changed, which is seen to only when the project starts: 'orchestrator down', then 'up'"
    );
    alone.interrupt();
    assert_eq!(alone.end().0, Some(0));
    // In the background, the address is in nobody's process list.
    let mut up = project.command(&["up", "-d", "--fabric", "redis://:hunter2@127.0.0.1:1"]);
    let said = Said::of(up.env("ORCHESTRATOR_FABRIC_KEY", KEY));
    assert_eq!(said.code, Some(0), "{said:?}");
    let pid = project.snapshot()["pid"].as_u64().expect("it runs");
    let words = fs::read(format!("/proc/{pid}/cmdline")).expect("it is there");
    assert!(!String::from_utf8_lossy(&words).contains("hunter2"));
    let shown =
        [project.run(&["events"]).out, project.run(&["fabric"]).out, project.run(&["ps", "--json"]).out];
    assert!(shown[1].contains("redis://127.0.0.1:1, prefix 'other'"), "{shown:?}");
    assert!(shown.iter().all(|shown| !shown.contains("hunter2") && !shown.contains(KEY)), "{shown:?}");
    assert_eq!(project.run(&["down"]).code, Some(0));

    let plain_project =
        TestProject::new("  web: \n    runtime: js\n    code: |\n      export const f = () => 1\n");
    let mut up = plain_project.up();
    up.wait_for("web running");
    assert_eq!(
        plain(plain_project.run(&["fabric"])),
        (Some(2), "error: project 'test' is part of no fabric".to_owned())
    );
}
