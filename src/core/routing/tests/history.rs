//! Random histories: replicas and other members that answer late, twice, to the wrong number or never, or have not begun; that are lost and come back; callers
//! that cancel and go. Whatever happens, what [`super::super`] promises holds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::{World, call, friends};
use crate::permissions::Permissions;
use crate::routing::{Call, Code, Fault, LineId, Output, Said, Told};

#[derive(Clone, Debug)]
enum Step {
    Call {
        caller: u8,
        retries: i64,
        key: bool,
        send: bool,
    },
    /// One of the invocations that were ever told is answered, by the replica that has it or by another.
    Answer {
        which: u16,
        by_other: bool,
        how: u8,
    },
    Cancel {
        which: u16,
    },
    Lose {
        replica: u8,
    },
    Start {
        replica: u8,
    },
    Pass {
        milliseconds: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2u8, prop_oneof![Just(0i64), Just(0), 1..3i64, Just(-1)], any::<bool>(), proptest::bool::weighted(0.2))
            .prop_map(|(caller, retries, key, send)| Step::Call { caller, retries, key, send }),
        5 => (any::<u16>(), proptest::bool::weighted(0.1), 0..4u8)
            .prop_map(|(which, by_other, how)| Step::Answer { which, by_other, how }),
        1 => any::<u16>().prop_map(|which| Step::Cancel { which }),
        1 => (0..5u8).prop_map(|replica| Step::Lose { replica }),
        2 => (0..5u8).prop_map(|replica| Step::Start { replica }),
        1 => (1..400u16).prop_map(|milliseconds| Step::Pass { milliseconds }),
    ]
}

/// Everything that was ever asked, and what became of it.
#[derive(Default)]
struct History {
    /// By its text, which is nobody else's: who asked, with which number, and whether it may run again.
    asked: BTreeMap<String, (LineId, u64, bool)>,
    answered: BTreeSet<String>,
    cancelled: BTreeSet<String>,
    /// How often each was invoked.
    invoked: BTreeMap<String, u32>,
    /// Every invocation: its number, its replica, its text.
    invocations: Vec<(u64, LineId, String)>,
    gone: BTreeSet<LineId>,
}

impl History {
    fn note(&mut self, outputs: Vec<Output<String>>) -> Result<(), TestCaseError> {
        for output in outputs {
            let Output::Tell { line, told, payload } = output else { continue };
            prop_assert!(!self.gone.contains(&line), "{line:?} is gone and was told {told:?}");
            match told {
                Told::Invoke { id, .. } => {
                    *self.invoked.entry(payload.clone()).or_default() += 1;
                    let again = self.asked[&payload].2;
                    prop_assert!(again || self.invoked[&payload] == 1, "{payload} ran twice");
                    self.invocations.push((id, line, payload));
                }
                Told::Reply { id } | Told::Error { id, .. } => self.answer(line, id, &payload)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, line: LineId, id: u64, payload: &str) -> Result<(), TestCaseError> {
        let asked = self.asked.iter().find(|(_, (caller, number, _))| (*caller, *number) == (line, id));
        let Some((text, _)) = asked else {
            return Err(TestCaseError::fail(format!("{line:?} was answered {id}, which it never asked")));
        };
        prop_assert!(payload.is_empty() || payload == text, "{text} was answered with {payload}");
        prop_assert!(self.answered.insert(text.clone()), "{text} was answered twice");
        prop_assert!(!self.cancelled.contains(text), "{text} was cancelled and answered");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn answers_reach_who_asked_once_and_methods_run_once_unless_they_may_again(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let services = [("a", friends(&["db"])), ("b", friends(&["db"])), ("db", Permissions::default())];
        let mut world = World::new(&services);
        let mut history = History::default();
        let callers = [world.replica(1, "a", 1), world.replica(2, "b", 1)];
        let mut lines: BTreeMap<u8, LineId> = BTreeMap::new();
        let mut next = 10;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Call { caller, retries, key, send } => {
                    let (line, id, text) = (callers[usize::from(caller)], number as u64, format!("call {number}"));
                    history.asked.insert(text.clone(), (line, id, retries != 0));
                    let key = key.then(|| "k".to_owned());
                    let attempt = (retries > 0).then_some(100);
                    let call = Call { retries, key, attempt, timeout: Some(300), ..call(id, "db", "f") };
                    world.say(line, if send { Said::Send(call) } else { Said::Call(call) }, &text);
                }
                Step::Answer { which, by_other, how } if !history.invocations.is_empty() => {
                    let (id, at, text) = history.invocations[usize::from(which) % history.invocations.len()].clone();
                    let line = if by_other { lines.values().copied().find(|line| *line != at).unwrap_or(at) } else { at };
                    let is_member = lines.iter().any(|(replica, one)| *one == line && *replica > 2);
                    let said = if how == 1 && is_member && !by_other {
                        if world.routing.is_serving(line, id) {
                            *history.invoked.entry(text.clone()).or_default() -= 1;
                        }
                        Said::NotRun { id, fault: Fault::new(Code::Overloaded, "full") }
                    } else if how == 0 {
                        Said::Error { id, fault: Fault::new(Code::ServiceError, "thrown") }
                    } else {
                        Said::Reply { id }
                    };
                    if !history.gone.contains(&line) {
                        let answers = matches!(said, Said::Reply { .. });
                        world.say(line, said, if answers { &text } else { "" });
                    }
                }
                Step::Cancel { which } if !history.asked.is_empty() => {
                    let (text, (line, id, _)) =
                        history.asked.iter().nth(usize::from(which) % history.asked.len()).unwrap();
                    if !history.answered.contains(text) {
                        let (text, line, id) = (text.clone(), *line, *id);
                        history.cancelled.insert(text);
                        world.say(line, Said::Cancel { id }, "");
                    }
                }
                Step::Lose { replica } => {
                    if let Some(line) = lines.remove(&replica) {
                        world.lose(line);
                        history.gone.insert(line);
                    }
                }
                Step::Start { replica } if !lines.contains_key(&replica) => {
                    next += 1;
                    let line = if replica > 2 {
                        world.member(next, &format!("m{replica}"), &["db"])
                    } else {
                        world.replica(next, "db", u32::from(replica))
                    };
                    lines.insert(replica, line);
                }
                Step::Pass { milliseconds } => world.pass(milliseconds.into()),
                Step::Answer { .. } | Step::Cancel { .. } | Step::Start { .. } => {}
            }
            history.note(std::mem::take(&mut world.outputs))?;
        }
        // In the end every call has been answered, or was not wanted any more.
        world.pass(1000);
        history.note(std::mem::take(&mut world.outputs))?;
        for text in history.asked.keys() {
            prop_assert!(history.answered.contains(text) || history.cancelled.contains(text), "{text} was forgotten");
        }
        prop_assert_eq!(world.routing.next_deadline(), None);
        for line in lines.values() {
            world.lose(*line);
        }
        history.note(std::mem::take(&mut world.outputs))?;
    }
}
