//! What a runner and the orchestrator's gateway say to each other: one JSON text a packet, over a pair of
//! `SOCK_SEQPACKET` sockets that each start has for itself. Who speaks is known by the socket, never by a message.
//!
//! A sandbox has no network but its own loopback. What it may connect to is listened for there by the runner, which hands
//! each connection, as it is, to the gateway: from then on the bytes go through the orchestrator alone.
//!
//! ```text
//!   runner                            gateway
//!     Open { to } + connection  ->                  dials `to`, if that is granted, and carries the bytes
//!                               <-   Reach { id, port }     another service wants to reach this one
//!     Reached { id } + connection, or Unreachable { id, error }  ->
//! ```

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest packet, in bytes.
pub const LONGEST_PACKET: usize = 4 * 1024;

/// The descriptor through which a runner that has a network speaks with the gateway.
pub const DESCRIPTOR: i32 = 5;

/// Something outside that is made inside: who connects to the address is connected to `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// An address of the sandbox's loopback interface.
    pub address: IpAddr,
    /// The port, the same inside and outside.
    pub port: u16,
    /// Where it leads, as the manifest grants it: `host:port`.
    pub to: String,
}

/// What a runner tells the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToGateway {
    /// The service has connected to a relay. The packet carries the connection.
    Open {
        /// Where the relay leads.
        to: String,
    },
    /// The service's own port was reached. The packet carries the connection.
    Reached {
        /// The question's.
        id: u64,
    },
    /// It was not.
    Unreachable {
        /// The question's.
        id: u64,
        /// Why.
        error: String,
    },
}

/// What the gateway asks of a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromGateway {
    /// Connect to the service's own port on its loopback.
    Reach {
        /// Comes back in the answer.
        id: u64,
        /// The port.
        port: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_as_it_should_be_is_not_understood() {
        let open = serde_json::to_string(&ToGateway::Open { to: "db:6379".into() }).unwrap();
        assert_eq!(open, r#"{"type":"open","to":"db:6379"}"#);
        for text in [
            r#"{"type":"open"}"#,
            r#"{"type":"open","to":"a:1","from":"b"}"#,
            r#"{"type":"close"}"#,
            "db:6379\n",
            "",
        ] {
            assert!(serde_json::from_str::<ToGateway>(text).is_err(), "{text}");
        }
    }
}
