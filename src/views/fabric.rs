//! The page of `orchestrator fabric`.

use orchestrator_core::membership::Counts;
use orchestrator_core::report::{FabricView, MemberView};

use crate::escape::neutralise;
use crate::palette::Palette;
use crate::table::Table;

/// Whether Redis answers, who else is there, and what was refused.
#[must_use]
pub fn fabric(view: &FabricView, palette: Palette) -> String {
    let FabricView { redis, prefix, connected, why, members, refused } = view;
    let state = match why {
        _ if *connected => "connected".to_owned(),
        Some(why) => palette.bad(&format!("cut off: {why}")),
        None => "connecting".to_owned(),
    };
    let mut text = format!("{redis}, prefix '{prefix}': {state}\n");
    if members.is_empty() {
        text += "no other member\n";
    } else {
        let mut table = Table::new(&["MEMBER", "HOST", "SERVICES"]);
        members.iter().for_each(|member| table.row(row(member)));
        text += &table.render();
    }
    let Counts { forged, stale, replayed, stranger, malformed } = *refused;
    let counts = [
        (forged, "made with another key"),
        (stale, "sent more than a minute ago"),
        (replayed, "sent a second time"),
        (stranger, "sent by strangers"),
        (malformed, "not to be understood"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, why)| format!("{count} {why}")).collect();
    if !counts.is_empty() {
        text += &format!("refused packets: {}\n", counts.join(", "));
    }
    text
}

fn row(member: &MemberView) -> Vec<(String, Option<String>)> {
    let services = member.services.iter().map(|service| match (service.replicas, service.load) {
        (1, 0) => service.name.clone(),
        (replicas, 0) => format!("{} ×{replicas}", service.name),
        (replicas, load) => format!("{} ×{replicas} ({load} under way)", service.name),
    });
    let services = services.collect::<Vec<_>>().join(", ");
    let cells = [member.name.clone(), member.host.clone(), services];
    cells.map(|cell| (neutralise(&cell).into_owned(), None)).into()
}

#[cfg(test)]
mod tests {
    use orchestrator_core::report::SharedView;

    use super::*;

    #[test]
    fn it_says_who_is_there_and_what_was_refused() {
        let shared = |name: &str, replicas, load| SharedView { name: name.into(), replicas, load };
        let view = FabricView {
            redis: "redis://cache:6379".into(),
            prefix: "shop".into(),
            connected: true,
            why: None,
            members: vec![MemberView {
                session: "ab".repeat(16),
                name: "office".into(),
                host: "h\x1b".into(),
                services: vec![shared("ledger", 1, 0), shared("stock", 3, 2)],
            }],
            refused: Counts { forged: 2, replayed: 1, ..Counts::default() },
        };
        assert_eq!(
            fabric(&view, Palette::new(false)),
            "redis://cache:6379, prefix 'shop': connected\n\
             MEMBER  HOST  SERVICES\n\
             office  h^[   ledger, stock ×3 (2 under way)\n\
             refused packets: 2 made with another key, 1 sent a second time\n"
        );
        let alone = FabricView {
            connected: false,
            why: Some("Connection refused".into()),
            members: Vec::new(),
            refused: Counts::default(),
            ..view
        };
        assert_eq!(
            fabric(&alone, Palette::new(false)),
            "redis://cache:6379, prefix 'shop': cut off: Connection refused\nno other member\n"
        );
    }
}
