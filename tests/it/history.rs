//! A history of calls while replicas are killed, restarted and reloaded on both ends, and come and go: what was recorded on both
//! ends fits together.

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::TestProject;

/// Calls that are made by a caller that is left alone for so long.
const CALLS: usize = 2000;

/// How often the caller itself is replaced.
const REPLACED: usize = 3;

/// A sequence that looks random and is always the same for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64, as Steele, Lea and Flood give it (OOPSLA 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap_or_default()
    }
}

/// The seed of this run: its own, unless one is given to run it again.
fn seed() -> u64 {
    match std::env::var("SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => seed,
        _ => u64::from(std::process::id()),
    }
}

#[test]
fn no_call_runs_twice_unless_it_may_and_every_answer_is_its_own() {
    let seed = seed();
    println!("run it again with SEED={seed}");
    let mut random = Random(seed);
    let project = TestProject::new(&format!(
        "  workers:
    runtime: js
    replicas: 3
    restart: {{ policy: on-failure, backoff: 1ms..1ms, max: 1000, within: 1s }}
    code: |
      export async function work(id) {{
        console.log(`ran ${{id}}`);
        const number = Number(id.split(\".\")[1]);
        await new Promise((done) => setTimeout(done, id.endsWith(\"slow\") ? 120 : number % 7));
        return id;
      }}
  client:
    runtime: js
    depends_on: {{ workers: {{ on_crash: ignore }} }}
    permissions: {{ services: [{{ name: workers, call: [work] }}] }}
    code: |
      import {{ services }} from \"orchestrator\";
      const start_id = crypto.randomUUID();
      const {{ work }} = services.workers;
      const kinds = {{
        once: work,
        again: work.options({{ retries: -1 }}),
        slow: work.options({{ timeout: \"50ms\" }}),
      }};
      let next = 0;
      async function lane() {{
        while (next < {CALLS}) {{
          const number = next++;
          const kind = number % 10 === 9 ? \"slow\" : number % 2 === 0 ? \"once\" : \"again\";
          const id = `${{start_id}}.${{number}}.${{kind}}`;
          console.log(`got ${{id}} ${{await kinds[kind](id).catch((error) => error.code)}}`);
          if (number % 40 === 0) console.log(\"some were made\");
        }}
      }}
      export const start = () => {{
        Promise.all(Array.from({{ length: 8 }}, lane)).then(() => console.log(\"all were made\"));
      }};
"
    ));
    let mut up = project.up();
    let (mut killed, mut replaced) = (0, 0);
    loop {
        if up.wait_for("were made").contains("all were made") {
            break;
        }
        // Somebody comes or goes, while calls are under way.
        match random.below(16) {
            0..4 => drop(project.run(&["scale", &format!("workers={}", 1 + random.below(4)), "--no-wait"])),
            4 => drop(project.run(&["reload", "workers", "--no-wait"])),
            // The caller goes with these, and begins anew.
            5 | 6 if replaced < REPLACED => {
                replaced += 1;
                let (what, whose) =
                    [("reload", "client"), ("restart", "client"), ("restart", "workers")][random.below(3)];
                drop(project.run(&[what, whose, "--no-wait"]));
            }
            _ => killed += kill_one(&project, &mut random),
        }
    }
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
    let log = project.run(&["logs"]).out;
    let mut runs: BTreeMap<&str, u32> = BTreeMap::new();
    for ran in log.lines().filter_map(|line| line.split_once("| ran ").map(|(_, id)| id)) {
        *runs.entry(ran).or_default() += 1;
    }
    let got = log.lines().filter_map(|line| line.split_once("| got ")?.1.split_once(' '));
    let outcomes: Vec<_> = got.collect();
    assert!(outcomes.len() >= CALLS, "seed {seed}: {} calls have an outcome", outcomes.len());
    assert!(killed > 0, "seed {seed}: nobody was killed");
    for (id, outcome) in outcomes {
        let ran = runs.get(id).copied().unwrap_or_default();
        match outcome {
            answer if answer == id => assert!(ran >= 1, "seed {seed}: {id} was answered and never ran"),
            "unavailable" => assert!(!id.ends_with("again"), "seed {seed}: {id}: {outcome}"),
            "timeout" => assert!(id.ends_with("slow"), "seed {seed}: {id}: {outcome}"),
            other => panic!("seed {seed}: {id} was told {other}"),
        }
    }
    for (id, ran) in runs {
        assert!(ran == 1 || id.ends_with("again"), "seed {seed}: {id} ran {ran} times");
    }
}

/// Kills the process of a replica that runs; answers with how many that were.
fn kill_one(project: &TestProject, random: &mut Random) -> usize {
    let replicas = project.service("workers")["replicas"].clone();
    let pids: Vec<i32> = replicas
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|replica| i32::try_from(replica["pid"].as_i64()?).ok())
        .collect();
    let Some(pid) = (!pids.is_empty()).then(|| pids[random.below(pids.len())]).and_then(Pid::from_raw) else {
        return 0;
    };
    // It may have ended by itself meanwhile.
    usize::from(kill_process(pid, Signal::KILL).is_ok())
}
