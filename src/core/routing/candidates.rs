//! Who may be given a call: the replicas of this project, the programs that have attached, and other members of the fabric.

use super::balance::{Candidate, Place, SCALE};
use super::calls::{Ongoing, Refusal};
use super::{Code, Line, LineId, MOST_BYTES, Party, Routing, Weigh};
use crate::manifest::suggest;
use crate::name::ServiceName;

impl<P: Clone + Default + Weigh> Routing<P> {
    /// The replicas and the others that have room for a call; never none.
    pub(super) fn candidates(&self, call: &Ongoing<P>) -> Result<Vec<Candidate<'_, LineId>>, Refusal> {
        let (target, weight) = (&call.target, call.payload.weight());
        let known = self.services.get(target);
        let replicas = known.map_or(&[][..], |known| &known.meant);
        let own = || replicas.iter().filter_map(|id| Some((*id, self.lines.get(id)?)));
        let others = || self.others(target, call.caller);
        if own().next().is_none() && others().next().is_none() {
            let message = match known {
                Some(_) => format!("{target} is not running"),
                None => format!("{target} runs nowhere: no member of the fabric and no program offers it"),
            };
            return Err((Code::Unavailable, message));
        }
        let able = || own().filter(|(_, line)| line.methods.contains(&call.method));
        let able_others = || others().filter(|(_, _, offered)| offered.methods.contains(&call.method));
        if able().next().is_none() && able_others().next().is_none() {
            let methods = own().flat_map(|(_, line)| &line.methods);
            let methods: Vec<_> = methods.chain(others().flat_map(|(_, _, other)| &other.methods)).collect();
            return Err(no_method(target, &call.method, &methods.iter().map(|method| method.as_str())));
        }
        let max_in_flight = known.map_or(0, |known| known.max_in_flight as usize);
        let room = |line: &Line| {
            line.serving.is_empty()
                || (line.serving.len() < max_in_flight && line.serving_bytes + weight <= MOST_BYTES)
        };
        let free = able().filter(|(_, line)| room(line)).map(|(id, line)| Candidate {
            line: id,
            place: Place::Here(line.index()),
            score: line.serving.len() as u64 * SCALE,
            tried: call.tried.contains(&id),
        });
        let free_others = able_others().filter(|(_, line, offered)| offered.has_room(line, weight));
        let free_others = free_others.map(|(id, line, offered)| Candidate {
            line: id,
            place: match &line.party {
                Party::Member(peer) => Place::There(peer),
                _ => Place::Here(u32::try_from(id.0).unwrap_or(u32::MAX)),
            },
            score: offered.score(),
            tried: call.tried.contains(&id),
        });
        let free: Vec<_> = free.chain(free_others).collect();
        if free.is_empty() {
            let message = format!("every replica of {target} has as many calls under way as it takes");
            return Err((Code::Overloaded, message));
        }
        Ok(free)
    }

    /// Whether somebody else than those that were tried has room for a call.
    pub(super) fn has_another(&self, call: &Ongoing<P>) -> bool {
        self.candidates(call).is_ok_and(|free| free.iter().any(|candidate| !candidate.tried))
    }
}

fn no_method<'a>(
    target: &ServiceName,
    method: &str,
    methods: &(impl Iterator<Item = &'a str> + Clone),
) -> Refusal {
    let mut message = format!("{target} has no method '{method}'");
    if let Some(near) = suggest::nearest(method, methods.clone()) {
        message += &format!("; did you mean '{near}'?");
    } else if methods.clone().next().is_none() {
        message = format!("{target} has no methods");
    }
    (Code::NotFound, message)
}
