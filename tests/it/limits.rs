//! What a service may use at most is held by the kernel, and when it is used up the reason says so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{TestProject, kill, missing, wait_for};

/// Whether limits cannot be tried here.
fn without(what: &str) -> bool {
    let doctor = TestProject::new("").run(&["doctor"]).out;
    let there = doctor.contains("control groups       memory yes, cpu yes, pids yes\n");
    if !there {
        println!("skipped: {what}, because this user can make no control groups");
    }
    !there || missing("python3", what)
}

/// The control groups of a process that were made for its start.
fn groups(pid: u32) -> Vec<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("it is there");
    let own = groups.lines().filter(|line| line.contains("/orchestrator-"));
    own.filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controller, group) = (parts.next()?, parts.next()?);
        let mount = mounts.lines().find(|mount| match controller {
            "" => mount.contains(" - cgroup2 "),
            controller => mount.contains(" - cgroup ") && mount.ends_with(&format!("rw,{controller}")),
        })?;
        Some(Path::new(mount.split(' ').nth(4)?).join(group.trim_start_matches('/')))
    })
    .collect()
}

#[test]
fn who_uses_up_its_memory_is_told_so_with_the_limit() {
    if without("the limit of memory") {
        return;
    }
    // Its own memory, and memory that is shared.
    for piece in ["bytearray(1 << 20)", "shared()"] {
        let project = TestProject::new(&format!(
            "  bomb:
    runtime: python
    restart: never
    permissions: {{ limits: {{ memory: 48MiB }} }}
    code: |
      import mmap, threading
      def start(): threading.Timer(0.1, eat).start()
      def shared():
          piece = mmap.mmap(-1, 1 << 20)
          piece.write(bytes(1 << 20))
          return piece
      def eat():
          much = []
          while True: much.append({piece})
"
        ));
        let (code, text) = project.up().end();
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("bomb-1 crashed: out of memory, limit 48 MiB\n"), "{text}");
    }
}

#[test]
fn processes_and_processor_time_are_limited_and_nothing_of_it_stays() {
    if without("the limits of processes and processor time") {
        return;
    }
    let project = TestProject::new(
        "  bomb:
    runtime: python
    permissions: { subprocess: true, limits: { pids: 20, cpu: 0.25 } }
    code: |
      import os, signal
      def start():
          children = 0
          try:
              while True:
                  if os.fork() == 0: signal.pause()
                  children += 1
          except BlockingIOError:
              print('stopped after', children)
",
    );
    let mut up = project.up();
    up.wait_for(
        "bomb-1 may not have more than 20 processes and threads; to allow it: services.bomb.permissions.limits.pids: MORE",
    );
    wait_for("it to run", || {
        let service = project.service("bomb");
        (service["state"] == "running").then_some(()).ok_or(service.to_string())
    });
    let groups = groups(project.pid_of("bomb"));
    let read = |name: &str| groups.iter().find_map(|group| fs::read_to_string(group.join(name)).ok());
    let share = read("cpu.cfs_quota_us").or_else(|| read("cpu.max")).expect("it is limited");
    assert!(share.starts_with("25000"), "{share}");
    let said = project.run(&["logs"]).out;
    assert!(said.contains("stopped after 18\n"), "itself and its host's thread are of the 20: {said}");
    // Its orchestrator killed, nobody is left who could have forgotten them.
    kill(up.pid(), "KILL");
    wait_for("its control groups to be gone", || {
        let left: Vec<_> = groups.iter().filter(|group| group.exists()).collect();
        left.is_empty().then_some(()).ok_or(format!("{left:?}"))
    });
    project.wait_until_nothing_is_left();
}

/// Nanoseconds of processor time that the processes of a group have used.
fn used(group: &Path) -> u64 {
    let processes = fs::read_to_string(group.join("cgroup.procs")).expect("it is there");
    let times =
        processes.lines().map(|pid| fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("it runs"));
    times
        .map(|times| times.split(' ').next().and_then(|used| used.parse::<u64>().ok()).expect("a number"))
        .sum()
}

#[test]
fn who_spins_on_every_core_gets_its_share_and_no_more() {
    if without("the share of processor time") {
        return;
    }
    let project = TestProject::new(
        "  spinner:
    runtime: exec
    permissions: { subprocess: true, limits: { cpu: 0.25 } }
    code: |
      #!/bin/sh
      for n in 1 2 3; do while :; do :; done & done
      echo spins
      while :; do :; done
",
    );
    let mut up = project.up();
    up.wait_for("spins");
    let groups = groups(project.pid_of("spinner"));
    let group = groups.iter().find(|group| group.join("cpu.stat").exists()).expect("it is limited");
    let count = |what: &str| -> u64 {
        let counts = fs::read_to_string(group.join("cpu.stat")).expect("it is there");
        let line = counts.lines().find_map(|line| line.strip_prefix(what)).expect("it is counted");
        line.trim().parse().expect("a number")
    };
    wait_for("it to have been stopped a hundred times", || {
        let times = count("nr_throttled");
        (times >= 100).then_some(()).ok_or(times.to_string())
    });
    // No wall time is in this: what was used, and the periods that the kernel has shared out since the group was made.
    let (used, periods) = (used(group), count("nr_periods"));
    let share = 25_000_000;
    assert!(used <= periods * share * 105 / 100, "{used} ns in {periods} periods of {share} ns");
    assert!(used >= periods * share / 2, "it did spin: {used} ns in {periods} periods of {share} ns");
}

#[test]
fn a_flood_of_output_is_bounded_and_told_and_slows_nobody_else() {
    let project = TestProject::new(
        "  flood: { runtime: exec, permissions: { subprocess: true }, code: ./flood }
  other: { runtime: js, code: \"console.log('here')\\n\" }
",
    );
    project.write("flood", &format!("#!/bin/sh\nexec yes {}\n", "x".repeat(8000)));
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    let orchestrator = project.snapshot()["pid"].as_u64().expect("it runs");
    let log = project.path().join("state/orchestrator/test/log");
    let segments = || fs::read_dir(&log).expect("it is there").flatten();
    wait_for("the oldest of the log to go", || {
        let first = segments().any(|segment| segment.file_name() == "00000000000000000001.jsonl");
        (!first).then_some(()).ok_or("it is there".into())
    });
    // Meanwhile the others are served as ever.
    assert_eq!(project.run(&["restart", "other"]).code, Some(0));
    assert_eq!(project.service("other")["state"], "running");
    let stop = project.run(&["stop", "flood"]);
    assert_eq!(stop.code, Some(0), "{stop:?}");
    // Eight segments of 8 MiB, each of which ends with the line that was begun.
    let bytes: u64 = segments().map(|segment| segment.metadata().expect("it is there").len()).sum();
    assert!(bytes > 50 << 20 && bytes < 65 << 20, "{bytes}");
    let shown = project.run(&["logs"]).out;
    let (marker, _) = shown.split_once('\n').expect("it has lines");
    assert!(marker.ends_with(" older lines are gone: the log is bounded)"), "{marker:.200}");
    let status = fs::read_to_string(format!("/proc/{orchestrator}/status")).expect("it runs");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    let most: u64 = most.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(most < 150_000, "the orchestrator had {most} kB");
    assert_eq!(project.run(&["down"]).code, Some(0));
}

#[test]
fn what_this_host_cannot_enforce_is_refused_before_anything_starts() {
    let project = TestProject::new(
        "  other: { runtime: js, code: \"export function start() { console.log('started') }\\n\" }
  web: { runtime: js, sandbox: strict, code: \"export function start() {}\\n\", permissions: { fs: { scratch: { size: 1MiB } } } }
",
    );
    let manifest = fs::read_to_string(project.path().join("manifest.yaml")).expect("it is there");
    let manifest =
        manifest.replace("services:", "sandbox: landlock\nservices:").replace("sandbox: strict, ", "");
    project.write("manifest.yaml", &manifest);
    let up = project.run(&["up"]);
    assert_eq!(up.code, Some(78), "{up:?}");
    assert_eq!(
        up.err,
        "E_UNENFORCEABLE service=web permission=fs.scratch backend=process/landlock missing=\"mount namespace\" \
         fix=\"remove it, or write 'sandbox: strict'\"\n\
         error: this host cannot enforce what the manifest grants; nothing was started\n  \
         fix: see what this host can enforce with 'orchestrator doctor'\n"
    );
    assert_eq!(up.out, "");
}

#[test]
fn to_run_without_a_sandbox_has_to_be_said_twice() {
    let project = TestProject::new("");
    let services = "  web: { runtime: js, kind: job, code: \"console.log('free')\\n\" }\n";
    project.write("manifest.yaml", &format!("name: test\nsandbox: none\nservices:\n{services}"));
    let up = project.run(&["up"]);
    assert_eq!(up.code, Some(78), "{up:?}");
    assert_eq!(
        up.err,
        "error: 'sandbox: none' lets web do whatever you may\n  fix: remove it, or say --allow-unconfined\n"
    );
    let up = project.run(&["up", "--allow-unconfined"]);
    assert_eq!((up.code, up.out.as_str()), (Some(0), "web-1 | free\n"), "{up:?}");
}

#[test]
fn a_sandbox_is_looked_at_from_inside_before_any_code_is_sent() {
    let project = TestProject::new("  web: { runtime: js, code: \"export function start() {}\\n\" }\n");
    assert_eq!(project.run(&["up", "-d"]).code, Some(0));
    let replica = project.service("web")["replicas"][0].clone();
    let checks = replica["checks"].as_array().expect("a list");
    assert_eq!(checks.len(), 13, "{checks:?}");
    let code = replica["code_sha256"].as_str().expect("a hash").to_owned();
    let runner = project.snapshot()["runner_sha256"].as_str().expect("a hash").to_owned();
    assert_eq!((code.len(), runner.len()), (64, 64));
    let shown = project.run(&["ps", "--security"]).out;
    let expected = format!(
        "web-1\n  checked from inside: no new privileges, system call filters, no capabilities, no namespaces of its own, \
         no packet sockets, no signals to its runner, no files but the granted, no writing of what may only be read, no inherited descriptors, a user of its \
         own namespace, loopback only, a root that cannot be written, no sight of its runner\n  code    {code}\n  runner  \
         {runner}\n"
    );
    assert_eq!(shown, expected);
    assert_eq!(project.run(&["down"]).code, Some(0));
}

#[test]
fn who_is_killed_for_a_system_call_is_told_so() {
    let project = TestProject::new(
        "  web:\n    runtime: exec\n    kind: job\n    code: |\n      #!/bin/sh\n      kill -SYS $$\n",
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(1), "{text}");
    let told = "web-1 crashed: killed by SIGSYS: it made a system call that its sandbox has no use for\n";
    assert!(text.contains(told), "{text}");
}
