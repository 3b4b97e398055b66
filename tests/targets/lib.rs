//! Every parser of bytes that others have written, each as one function over any bytes: [`TARGETS`]. The fuzzer runs them
//! (`fuzz/`), and so does every test run, for a bounded number of inputs (`replay.rs`).
//!
//! A function returns, whatever it is given. It panics where what was understood is not what was said, or lets out of its
//! bounds.

mod bundle;
mod manifest;
mod wires;

/// A parser.
#[derive(Debug)]
pub struct Target {
    /// Its name: its inputs are in `fuzz/corpus/NAME`.
    pub name: &'static str,
    /// Folders with more inputs, which are there for another reason.
    pub more_inputs: &'static [&'static str],
    /// How many changed inputs a test run gives it.
    pub changed: u32,
    /// Gives it some bytes.
    pub run: fn(&[u8]),
}

/// All of them. Each has a program in `fuzz/fuzz_targets`.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "manifest",
        more_inputs: &["manifests", "tests/manifests"],
        // Each takes a millisecond, unoptimised.
        changed: 5_000,
        run: manifest::any,
    },
    wire("messages", wires::messages),
    wire("bundle", bundle::receive),
    wire("gateway", wires::gateway),
    wire("keeper", wires::keeper),
    wire("host", wires::host),
    wire("link", wires::link),
    wire("packet", wires::packet),
];

const fn wire(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, more_inputs: &[], changed: 20_000, run }
}

/// Gives some bytes to the target of this name.
///
/// # Panics
/// Where there is none, or it does what it must not.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("it is one of them");
    (target.run)(bytes);
}
