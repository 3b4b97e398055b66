//! From the wire's words to the core's, and back.

use bytes::Bytes;
use orchestrator_core::routing::{Audience, Call, Code, Fault, Said, Thrown, Told, Weigh};
use orchestrator_port::message::control;
use orchestrator_port::message::link::{self, MemberCall, ToMember};
use orchestrator_port::message::service::{self as wire, FromService, Payload, ToService};

use super::Wanted;

/// A payload, as the core sees it: something with a weight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parcel(pub(super) Payload);

impl Weigh for Parcel {
    fn weight(&self) -> usize {
        self.0.bytes.len()
    }
}

/// What a message is.
pub(super) enum Heard {
    /// Something for the Router.
    Said(Said, Parcel),
    /// Something for others.
    Wanted(Wanted),
}

pub(super) fn said(message: FromService, payload: Payload) -> Heard {
    let said = match message {
        FromService::Call(call) => Said::Call(asked_for(call)),
        FromService::Send(call) => Said::Send(asked_for(call)),
        FromService::Emit { id, event } => Said::Emit { id, event },
        FromService::Cancel { id } => Said::Cancel { id },
        FromService::Credit { id, items } => Said::Credit { id, items },
        FromService::Subscribe { id, event, group } => Said::Subscribe { id, event, group },
        FromService::Unsubscribe { id, event, group } => Said::Unsubscribe { id, event, group },
        FromService::Taken { events } => Said::Taken { events },
        FromService::Reply { id } => Said::Reply { id },
        FromService::Stream { id } => Said::Stream { id },
        FromService::Item { id } => Said::Item { id },
        FromService::End { id } => Said::End { id },
        FromService::Error { id, error, code } => Said::Error { id, fault: thrown(error, code) },
        FromService::GetConfig { id, name } => return Heard::Wanted(Wanted::GetConfig { id, name }),
        FromService::SetConfig { id, name } => {
            let value = (!payload.bytes.is_empty()).then_some(payload);
            return Heard::Wanted(Wanted::SetConfig { id, name, value });
        }
        FromService::WatchConfig { id } => return Heard::Wanted(Wanted::WatchConfig { id }),
        FromService::CreateChild { id } => return Heard::Wanted(Wanted::CreateChild { id, spec: payload }),
        FromService::CloseChild { id, service } => return Heard::Wanted(Wanted::CloseChild { id, service }),
    };
    Heard::Said(said, Parcel(payload))
}

fn asked_for(call: wire::Call) -> Call {
    let wire::Call { id, service, method, timeout, retries, attempt, key, within, from } = call;
    Call { id, service, method, timeout, retries, attempt, key, within, from }
}

/// What a host says of an exception. A code is one that the host means, as when it hands on another service's.
fn thrown(error: control::Thrown, code: Option<String>) -> Fault {
    let code = code.and_then(|code| Code::parse(&code)).unwrap_or(Code::ServiceError);
    let control::Thrown { message, name, stack } = error;
    Fault { thrown: Some(Box::new(Thrown { name, stack })), ..Fault::new(code, message) }
}

/// The invocation that begins with that.
pub(super) fn begins(told: &Told) -> Option<u64> {
    match told {
        Told::Invoke { id, .. } => Some(*id),
        _ => None,
    }
}

/// The asker's number of an answer that has a payload, and whether more of it comes.
pub(super) fn asked(told: &Told) -> (Option<u64>, bool) {
    match told {
        Told::Reply { id } => (Some(*id), false),
        Told::Item { id } => (Some(*id), true),
        _ => (None, false),
    }
}

/// What a service is told by that, and with which payload.
pub(super) fn told(told: Told, parcel: Parcel) -> (ToService, Payload) {
    let Parcel(mut payload) = parcel;
    let message = match told {
        Told::Invoke { id, method, from, timeout, one_way, service, .. } => {
            let service = service.map(|service| service.to_string());
            ToService::Invoke { id, method, from, timeout, one_way, service }
        }
        Told::Cancel { id } => ToService::Cancel { id },
        Told::Credit { id, items } => ToService::Credit { id, items },
        Told::Event { event, from, all, groups } => ToService::Event { event, from, all, groups },
        Told::Emitted { id, receivers } => {
            payload = Payload { bytes: Bytes::from(receivers.to_string()), json: None };
            ToService::Reply { id }
        }
        Told::Reply { id } => ToService::Reply { id },
        Told::Stream { id } => ToService::Stream { id },
        Told::Item { id } => ToService::Item { id },
        Told::End { id } => ToService::End { id },
        Told::Error { id, fault, .. } => ToService::Error { id, error: written(*fault) },
        // Told to members only.
        Told::EventElsewhere { event, from, .. } => {
            ToService::Event { event, from, all: true, groups: Vec::new() }
        }
    };
    (message, payload)
}

/// What another member of the fabric is told by that.
pub(super) fn told_member(told: Told) -> Option<ToMember> {
    Some(match told {
        Told::Invoke { id, method, from, timeout, one_way, service, key } => {
            let service = service.map(|service| service.to_string()).unwrap_or_default();
            let call = MemberCall { id, service, method, from, timeout, key };
            if one_way { ToMember::Send(call) } else { ToMember::Call(call) }
        }
        Told::Cancel { id } => ToMember::Cancel { id },
        Told::Credit { id, items } => ToMember::Credit { id, items },
        Told::EventElsewhere { event, from, to: Audience { all, groups, granted } } => {
            ToMember::Event(link::Event { event, from, all, groups, granted })
        }
        Told::Reply { id } => ToMember::Reply { id },
        Told::Stream { id } => ToMember::Stream { id },
        Told::Item { id } => ToMember::Item { id },
        Told::End { id } => ToMember::End { id },
        Told::Error { id, fault, not_run } => ToMember::Error { id, error: written(*fault), not_run },
        // It neither listens nor tells over its line.
        Told::Event { .. } | Told::Emitted { .. } => return None,
    })
}

/// What somebody outside says of a call that was not begun.
pub(super) fn not_run(error: wire::Fault) -> Fault {
    let code = error.code.as_deref().and_then(Code::parse).unwrap_or(Code::Unavailable);
    Fault::new(code, error.message)
}

pub(super) fn written(fault: Fault) -> wire::Fault {
    let Fault { code, message, service, method, thrown } = fault;
    let Thrown { name, stack } = thrown.map(|thrown| *thrown).unwrap_or_default();
    wire::Fault { code: Some(code.as_str().to_owned()), message, service, method, name, stack }
}
