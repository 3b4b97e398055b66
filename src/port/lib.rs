//! The wire between a ServiceController and its RemoteService, known to both ends; it knows nothing of graphs
//! or manifests. `docs/protocol.md` describes it for a reader without this code.

pub mod bundle;
pub mod channel;
mod connection_port;
pub mod container;
mod frame;
pub mod gateway;
mod handshake;
pub mod keeper;
pub mod launch;
mod token;
pub mod websocket;

pub mod message {
    //! What is said over a ConnectionPort: two families that never mix.
    pub mod control;
    pub mod service;
}

pub use connection_port::{ConnectionPort, PortClosed, PortReceiver, PortSender};
pub use frame::{Family, Frame, LONGEST_HEADER, LONGEST_MESSAGE, LONGEST_PAYLOAD, Malformed, Spoken};
pub use handshake::{HandshakeError, VERSION};
pub use token::{NotAToken, Token};
