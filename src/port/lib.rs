//! The wire between a ServiceController and its RemoteService, known to both ends; it knows nothing of graphs
//! or manifests. `docs/protocol.md` describes it for a reader without this code.

pub mod bundle;
pub mod channel;
mod connection_port;
pub mod container;
mod frame;
pub mod gateway;
mod handshake;
mod host_messages;
pub mod keeper;
pub mod launch;
mod link;
pub mod packet;
mod token;
pub mod websocket;

pub mod message {
    //! Families of messages that never mix: what is said over a ConnectionPort, what services say to each other, and what
    //! members of a fabric do.
    pub mod control;
    pub mod link;
    pub mod service;
}

pub use connection_port::{ConnectionPort, PortClosed, PortReceiver, PortSender};
pub use frame::{Frame, LONGEST_HEADER, LONGEST_MESSAGE, Malformed};
pub use handshake::{HandshakeError, VERSION};
pub use host_messages::{FromHost, HostError, HostMessages, ToHost};
pub use link::{LinkError, LinkMessages};
pub use token::{NotAToken, Token};
