//! [`Timers`]: `setTimeout` and `setInterval`, in the order in which they are due.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::function::{Opt, Rest};
use rquickjs::{Ctx, Exception, Function, Persistent, Result, Value};

use super::current::{Current, Then};

/// How many timers there can be at one time: they are kept outside of the heap that is limited.
const COUNT_LIMIT: usize = 100_000;

/// The longest delay, in milliseconds: a longer one is the shortest one, as everywhere in JavaScript.
const DELAY_LIMIT: f64 = 2_147_483_647.0;

/// The timers of one service.
#[derive(Clone, Default)]
pub(super) struct Timers {
    table: Rc<RefCell<Table>>,
    current: Current,
}

#[derive(Default)]
struct Table {
    /// By what they are due, and in the order of their making when that is the same.
    queue: BTreeMap<(Instant, u32), Timer>,
    /// When each is due.
    due: BTreeMap<u32, Instant>,
    last: u32,
}

#[derive(Clone)]
struct Timer {
    /// During what it was set.
    during: Then,
    callback: Persistent<Function<'static>>,
    arguments: Vec<Persistent<Value<'static>>>,
    /// How long after each call the next one is, for an interval.
    every: Option<Duration>,
}

/// A timer whose moment has come.
pub(super) struct Due {
    timer: Timer,
    current: Current,
}

impl Timers {
    /// No timers yet.
    pub(super) fn new(current: Current) -> Self {
        Self { current, ..Self::default() }
    }

    /// Makes the global functions.
    ///
    /// # Errors
    /// Where there is no memory for them.
    pub(super) fn install<'js>(&self, ctx: &Ctx<'js>) -> Result<()> {
        for (name, repeats) in [("setTimeout", false), ("setInterval", true)] {
            let timers = self.clone();
            let set = move |ctx: Ctx<'js>, callback, delay: Opt<Value<'js>>, arguments: Rest<Value<'js>>| {
                timers.set(&ctx, callback, delay.0.as_ref(), arguments.0, repeats)
            };
            ctx.globals().set(name, Function::new(ctx.clone(), set)?.with_name(name)?)?;
        }
        for name in ["clearTimeout", "clearInterval"] {
            let timers = self.clone();
            let clear = move |id: Opt<Value<'js>>| timers.clear(id.0.as_ref());
            ctx.globals().set(name, Function::new(ctx.clone(), clear)?.with_name(name)?)?;
        }
        Ok(())
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_empty(&self) -> bool {
        self.table.borrow().queue.is_empty()
    }

    /// When the next timer is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.table.borrow().queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the next timer that was due at that moment. An interval stays, for its next turn.
    pub(super) fn take_due(&self, now: Instant) -> Option<Due> {
        let mut table = self.table.borrow_mut();
        let entry = table.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, id), timer) = entry.remove_entry();
        table.due.remove(&id);
        if let Some(every) = timer.every {
            table.insert(id, Instant::now() + every, timer.clone());
        }
        Some(Due { timer, current: self.current.clone() })
    }

    fn set<'js>(
        &self,
        ctx: &Ctx<'js>,
        callback: Function<'js>,
        delay: Option<&Value<'js>>,
        arguments: Vec<Value<'js>>,
        repeats: bool,
    ) -> Result<u32> {
        let mut table = self.table.borrow_mut();
        if table.queue.len() >= COUNT_LIMIT {
            return Err(Exception::throw_range(ctx, &format!("more than {COUNT_LIMIT} timers")));
        }
        let delay = Duration::from_millis(milliseconds(delay));
        let timer = Timer {
            during: self.current.now(),
            callback: Persistent::save(ctx, callback),
            arguments: arguments.into_iter().map(|argument| Persistent::save(ctx, argument)).collect(),
            every: repeats.then_some(delay),
        };
        table.last = table.last.wrapping_add(1);
        let id = table.last;
        table.insert(id, Instant::now() + delay, timer);
        Ok(id)
    }

    fn clear(&self, id: Option<&Value<'_>>) {
        let id = id.and_then(Value::as_number).filter(|id| (0.0..=f64::from(u32::MAX)).contains(id));
        let mut table = self.table.borrow_mut();
        if let Some(id) = id.map(|id| id as u32)
            && let Some(due) = table.due.remove(&id)
        {
            table.queue.remove(&(due, id));
        }
    }
}

impl Due {
    /// Calls back.
    ///
    /// # Errors
    /// With what the callback throws.
    pub(super) fn call(self, ctx: &Ctx<'_>) -> Result<()> {
        self.current.set(self.timer.during);
        let callback = self.timer.callback.restore(ctx)?;
        let arguments = self.timer.arguments.into_iter().map(|argument| argument.restore(ctx));
        callback.call((Rest(arguments.collect::<Result<Vec<_>>>()?),))
    }
}

impl Table {
    fn insert(&mut self, id: u32, due: Instant, timer: Timer) {
        self.due.insert(id, due);
        self.queue.insert((due, id), timer);
    }
}

/// As browsers and node read a delay: at least one millisecond, and what is no number is none.
fn milliseconds(delay: Option<&Value<'_>>) -> u64 {
    let delay = delay.and_then(Value::as_number).unwrap_or(0.0);
    if (1.0..=DELAY_LIMIT).contains(&delay) { delay as u64 } else { 1 }
}
