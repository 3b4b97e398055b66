//! Gives every target its kept inputs, and so many changed ones. Always the same: who sees it fail can see it again.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use orchestrator_targets::{TARGETS, Target};

/// Texts that mean something to one parser or another.
const WORDS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\n",
    b"- ",
    b"<<: ",
    b"&a ",
    b"*a",
    b"${",
    b"../",
    b"/",
    b"\0",
    b"\xff",
    b"\xc3",
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b"null",
    b"\"type\":",
];

#[test]
fn every_target_bears_its_kept_inputs_and_changed_ones() {
    for target in &TARGETS {
        let inputs = inputs(target);
        assert!(inputs.len() >= 4, "{} has {} inputs", target.name, inputs.len());
        for input in &inputs {
            give(target, input);
        }
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        for _ in 0..target.changed {
            give(target, &changed(&inputs, &mut random));
        }
    }
}

#[test]
fn every_target_has_a_program_for_the_fuzzer() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("it can be read");
    for Target { name, .. } in &TARGETS {
        let program = format!("fuzz/fuzz_targets/{name}.rs");
        let text =
            fs::read_to_string(root().join(&program)).unwrap_or_else(|_| panic!("there is no {program}"));
        assert!(text.contains(&format!("orchestrator_targets::run({name:?}, input)")), "{program}");
        assert!(manifest.contains(&format!("name = {name:?}")), "{program} is not in fuzz/Cargo.toml");
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The kept inputs, in the order of their names.
fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let own = format!("fuzz/corpus/{}", target.name);
    let folders = target.more_inputs.iter().copied().chain([own.as_str()]);
    let mut files: Vec<PathBuf> = folders
        .flat_map(|folder| fs::read_dir(root().join(folder)).expect("it is there").flatten())
        .map(|file| file.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("it can be read")).collect()
}

fn give(target: &Target, input: &[u8]) {
    let borne = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    assert!(borne.is_ok(), "{} does not bear b\"{}\"", target.name, input.escape_ascii());
}

/// One of the inputs with one to four changes.
fn changed(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.one_of(inputs).clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let to = at + random.below(input.len() - at + 1).min(64);
        match random.below(6) {
            0 => drop(input.splice(at..at, random.one_of(&WORDS).iter().copied())),
            1 => drop(input.drain(at..to)),
            2 => drop(input.splice(at..at, input[at..to].to_vec())),
            3 => input.truncate(at),
            4 => {
                let other = random.one_of(inputs);
                let from = random.below(other.len() + 1);
                input.splice(at..to, other[from..].iter().take(64).copied());
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.next().to_le_bytes()[0];
                }
            }
        }
    }
    input
}

/// Numbers without a pattern, from one seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One that is smaller than `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is smaller")
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
