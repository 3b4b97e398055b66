//! A history of calls while their replicas are killed, and come and go: what was recorded on both ends fits together.

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::TestProject;

/// Calls that are made, half of which may be tried again.
const CALLS: usize = 2000;

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
        await new Promise((done) => setTimeout(done, id % 7));
        return id;
      }}
  client:
    runtime: js
    depends_on: {{ workers: {{ on_crash: ignore }} }}
    permissions: {{ services: [{{ name: workers, call: [work] }}] }}
    code: |
      import {{ services }} from \"orchestrator\";
      const outcomes = {{}};
      let next = 0;
      async function lane() {{
        while (next < {CALLS}) {{
          const id = next++;
          const work = id % 2 === 0 ? services.workers.work : services.workers.work.options({{ retries: -1 }});
          outcomes[id] = await work(id).catch((error) => error.code);
          if (id % 40 === 0) console.log(\"made\", id);
        }}
      }}
      export const start = () => {{
        Promise.all(Array.from({{ length: 8 }}, lane)).then(() => console.log(\"all were made\"));
      }};
      export const outcome = () => outcomes;
"
    ));
    let mut up = project.up();
    let mut killed = 0;
    while !up.wait_for("client-1").contains("all were made") {
        match random.below(4) {
            // Somebody comes or goes, while calls are under way.
            0 => drop(project.run(&["scale", &format!("workers={}", 1 + random.below(4)), "--no-wait"])),
            _ => killed += kill_one(&project, &mut random),
        }
    }
    let outcomes: BTreeMap<usize, serde_json::Value> =
        serde_json::from_str(&project.run(&["call", "client", "outcome"]).out).expect("outcomes");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
    let log = project.run(&["logs"]).out;
    let mut runs: BTreeMap<usize, u32> = BTreeMap::new();
    for ran in log.lines().filter_map(|line| line.split_once("| ran ")?.1.parse().ok()) {
        *runs.entry(ran).or_default() += 1;
    }
    assert_eq!(outcomes.len(), CALLS, "seed {seed}: every call has an outcome");
    assert!(killed > 0, "seed {seed}: nobody was killed");
    for (id, outcome) in &outcomes {
        let ran = runs.get(id).copied().unwrap_or_default();
        let again = id % 2 == 1;
        match outcome.as_u64() {
            Some(answer) => {
                assert!(answer == *id as u64 && ran >= 1, "seed {seed}: {id} ran {ran} times: {answer}");
            }
            None => assert!(!again && outcome == "unavailable", "seed {seed}: {id}: {outcome}"),
        }
        assert!(again || ran <= 1, "seed {seed}: {id} ran {ran} times");
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
