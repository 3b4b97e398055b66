//! Exceptions in words: the type, the message, and the stack with the service's own file names, a frame a line.

use std::time::Duration;

use orchestrator_port::message::control::Thrown;
use rquickjs::{Ctx, Value};

use super::engine::HEAP_LIMIT;
use super::text;

/// The longest message or stack that is reported, in bytes: a line of the host protocol has its limit.
const LENGTH_LIMIT: usize = 64 << 10;

/// How many causes of causes are told.
const CAUSES_LIMIT: usize = 4;

/// What was thrown. An `Error` has a name, a message, a stack, and perhaps a cause; anything else is its own message.
pub(super) fn describe<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Thrown {
    let mut thrown = describe_one(ctx, value);
    let mut cause = cause(value);
    for _ in 0..CAUSES_LIMIT {
        let Some(value) = cause else { break };
        let next = describe_one(ctx, &value);
        thrown.stack =
            [thrown.stack, format!("caused by {}: {}", next.name, next.message), next.stack].join("\n");
        cause = self::cause(&value);
    }
    clip(&mut thrown.message);
    clip(&mut thrown.stack);
    thrown
}

/// A turn that lasted longer than it may.
pub(super) fn overdue(limit: Duration) -> Thrown {
    Thrown {
        name: "WatchdogError".into(),
        message: format!("a turn of the event loop took longer than {} s", limit.as_secs_f32()),
        stack: String::new(),
    }
}

fn describe_one<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Thrown {
    let Some(error) = value.as_object().filter(|object| object.is_error()) else {
        // When there is no memory even for an error, the engine throws null.
        return if value.is_null() { out_of_memory(String::new()) } else { not_an_error(ctx, value) };
    };
    let property =
        |key| error.get::<_, Value<'js>>(key).map_or_else(|_| caught(ctx), |value| text::of(ctx, &value));
    let (name, message, stack) = (property("name"), property("message"), frames(&property("stack")));
    if name == "InternalError" && message == "out of memory" {
        return out_of_memory(stack);
    }
    Thrown { name, message, stack }
}

fn not_an_error<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Thrown {
    let json = || ctx.json_stringify(value.clone()).ok().flatten().map(|json| text::of(ctx, json.as_value()));
    let message = if value.is_object() { json() } else { None };
    Thrown {
        name: "Error".into(),
        message: message.unwrap_or_else(|| text::of(ctx, value)),
        stack: String::new(),
    }
}

fn out_of_memory(stack: String) -> Thrown {
    let message = format!("out of memory: the heap reached its limit of {} MiB", HEAP_LIMIT >> 20);
    Thrown { name: "MemoryLimitError".into(), message, stack }
}

/// A getter threw: forget what.
fn caught(ctx: &Ctx<'_>) -> String {
    ctx.catch();
    String::new()
}

fn cause<'js>(value: &Value<'js>) -> Option<Value<'js>> {
    let error = value.as_object().filter(|object| object.is_error())?;
    error.get::<_, Value<'js>>("cause").ok().filter(|cause| !cause.is_undefined())
}

/// The frames of the service's own code: the host's own are nobody's business, and native ones say nothing.
fn frames(stack: &str) -> String {
    let own = |frame: &&str| !frame.contains("orchestrator:") && !frame.ends_with("(native)");
    stack
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("at "))
        .filter(own)
        .collect::<Vec<_>>()
        .join("\n")
}

fn clip(text: &mut String) {
    text.truncate(text.floor_char_boundary(LENGTH_LIMIT));
}

#[cfg(test)]
mod tests {
    use super::frames;

    #[test]
    fn a_stack_holds_the_services_own_frames_only() {
        let stack =
            "    at fail (lib/a.js:3:9)\n    at map (native)\n    at <anonymous> (orchestrator:call:1:2)\n";
        assert_eq!(frames(stack), "at fail (lib/a.js:3:9)");
    }
}
