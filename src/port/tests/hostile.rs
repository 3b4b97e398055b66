//! Whatever bytes come over a wire, they are understood or refused: nothing panics, and what was understood is what was
//! said. Bundles have the same beside them (`bundle/receiving.rs`).

use bytes::Bytes;
use orchestrator_port::bundle::EntryPath;
use orchestrator_port::gateway::{FromGateway, ToGateway};
use orchestrator_port::keeper::{FromKeeper, ToKeeper};
use orchestrator_port::launch::Ticket;
use orchestrator_port::message::control::{FromRemote, ToRemote};
use orchestrator_port::{Frame, Token};
use proptest::collection::vec;
use proptest::prelude::*;

/// Texts that the parsers read, to be changed at random.
const GOOD: [&str; 7] = [
    r#"{"type":"ready","checks":["a"]}"#,
    r#"{"type":"ship","entries":1,"bytes":2,"sha256":"00"}"#,
    r#"{"type":"entry","path":"a/b","executable":false,"more":true}"#,
    r#"{"type":"open","to":"db:6379"}"#,
    r#"{"type":"reached","id":18446744073709551615}"#,
    r#"{"type":"start","id":1,"limits":{"memory":1,"cpu":null,"pids":7}}"#,
    r#"{"type":"exited","code":null,"signal":9}"#,
];

/// A good text with some of its bytes changed, or anything at all.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let changed = (prop::sample::select(&GOOD[..]), vec((any::<prop::sample::Index>(), any::<u8>()), 0..4))
        .prop_map(|(good, changes)| {
            let mut bytes = good.as_bytes().to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes
        });
    prop_oneof![changed, vec(any::<u8>(), 0..256)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_text_confuses_a_parser(bytes in hostile()) {
        let _ = serde_json::from_slice::<ToGateway>(&bytes);
        let _ = serde_json::from_slice::<FromGateway>(&bytes);
        let _ = serde_json::from_slice::<ToKeeper>(&bytes);
        let _ = serde_json::from_slice::<FromKeeper>(&bytes);
        let _ = serde_json::from_slice::<Ticket>(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = Token::from_hex(&text);
        if let Ok(path) = EntryPath::parse(&text) {
            let parts: Vec<_> = path.as_str().split('/').collect();
            prop_assert!(!path.as_str().starts_with('/') && !parts.contains(&"..") && !path.as_str().contains('\0'));
        }
    }

    #[test]
    fn a_frame_is_what_was_sent_or_is_refused(family in any::<u8>(), length in any::<u32>(), rest in hostile()) {
        let mut bytes = vec![family % 4];
        // Now and then the length is right.
        let length = if length % 2 == 0 { u32::try_from(rest.len()).unwrap() } else { length };
        bytes.extend(length.to_be_bytes());
        bytes.extend(&rest);
        if let Ok(frame) = Frame::decode(Bytes::from(bytes.clone())) {
            prop_assert_eq!(frame.encode(), Bytes::from(bytes));
            let _ = frame.parse::<FromRemote>();
            let _ = frame.parse::<ToRemote>();
        }
    }
}
