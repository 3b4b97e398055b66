//! [`show_pull`]: how far an image has come that is fetched: painted over on a terminal, else one line at its end.

use std::io::{IsTerminal, stderr};

use orchestrator_manager::PullProgress;
use orchestrator_views::{neutralise, spoken_bytes};

use crate::output::{complain, note};
use crate::terminal::Terminal;

/// How many columns the bar of an image has.
const BAR: u64 = 20;

/// Shows it on standard error.
pub(crate) fn show_pull(progress: &PullProgress) {
    let line = neutralise(&line(progress)).into_owned();
    match (stderr().is_terminal(), progress.done) {
        (true, false) => {
            // The last column stays free: a line that is wrapped cannot be painted over.
            let (columns, _) = Terminal::size();
            let line: String = line.chars().take(columns.saturating_sub(1)).collect();
            complain(&format!("\r\x1b[K{line}"));
        }
        (true, true) => complain(&format!("\r\x1b[K{line}\n")),
        (false, true) => note(&line),
        (false, false) => {}
    }
}

fn line(progress: &PullProgress) -> String {
    let PullProgress { image, layers_there, layers, share, fetched, bytes, done } = progress;
    if *done {
        return format!("fetched {image}");
    }
    if *layers == 0 {
        return format!("fetching {image}");
    }
    let full = share * BAR / 1000;
    let bar: String = (0..BAR).map(|column| if column < full { '#' } else { '.' }).collect();
    let (fetched, bytes) = (spoken_bytes(*fetched), spoken_bytes(*bytes));
    format!("fetching {image} [{bar}] {layers_there} of {layers} layers, {fetched} of {bytes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_on_its_way_has_a_bar() {
        let mut progress = PullProgress {
            image: "redis:7".into(),
            layers_there: 1,
            layers: 3,
            share: 250,
            fetched: 5 << 20,
            bytes: 20 << 20,
            done: false,
        };
        let shown = "fetching redis:7 [#####...............] 1 of 3 layers, 5.0 MiB of 20.0 MiB";
        assert_eq!(line(&progress), shown);
        progress.layers = 0;
        assert_eq!(line(&progress), "fetching redis:7", "nothing is known of it yet");
        progress.done = true;
        assert_eq!(line(&progress), "fetched redis:7");
    }
}
