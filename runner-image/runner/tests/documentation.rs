//! What the documentation shows is what is tested: its example plugin and its example services are, word for word, the
//! files that the conformance cases run.

use std::fs;
use std::path::Path;

/// Each page, and the files that it quotes.
const QUOTES: [(&str, &[&str]); 2] = [
    (
        "docs/plugins.md",
        &[
            "examples/plugins/perl/plugin.yaml",
            "examples/plugins/perl/host.pl",
            "runner-image/runner/tests/conformance/documented/main.pl",
        ],
    ),
    (
        "docs/services.md",
        &[
            "runner-image/runner/tests/conformance/documented/main.js",
            "runner-image/runner/tests/conformance/documented/outside.js",
            "runner-image/runner/tests/conformance/documented/site.js",
            "runner-image/runner/tests/conformance/documented/main.py",
        ],
    ),
];

#[test]
fn what_the_documentation_quotes_is_what_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    for (page, files) in QUOTES {
        for file in files {
            let quote = format!("\n{}```\n", read(file));
            assert!(read(page).contains(&quote), "{page} does not quote {file} as it is");
        }
    }
}
