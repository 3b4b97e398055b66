//! `limits`: the most that a service may use.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::granting;
use crate::manifest::element::{duration, size};
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, ValueError};
use crate::manifest::reader::{Field, Key, Reader};
use crate::manifest::schema as build;
use crate::permissions::{Enforce, Limits};

const MEMORY: Key =
    Key { name: "memory", about: "Memory, of all its processes together.", schema: memory_schema };
const CPU: Key = Key { name: "cpu", about: "Processor cores, as in 0.5 or 2.", schema: cpu_schema };
const PIDS: Key = Key { name: "pids", about: "Processes and threads.", schema: count_schema };
const FDS: Key = Key { name: "fds", about: "Open descriptors of one process.", schema: count_schema };
const CPU_TIME: Key = Key { name: "cpu_time", about: "Processor time of one process.", schema: time_schema };
const LOGS: Key = Key {
    name: "logs",
    about: "Output of one replica in a second, as in '1MiB/s'. Who writes more is made to wait.",
    schema: rate_schema,
};
const MESSAGE: Key = Key {
    name: "message",
    about: "One message to another service, or one answer. By default 4MiB, at most 64MiB.",
    schema: memory_schema,
};
const ENFORCE: Key = Key {
    name: "enforce",
    about: "What happens where this host cannot enforce one of them: hard (by default: nothing starts) or soft.",
    schema: enforce_schema,
};
const KEYS: &[Key] = &[MEMORY, CPU, PIDS, FDS, CPU_TIME, LOGS, MESSAGE, ENFORCE];

const MOST: u32 = 4_000_000;
/// Standard streams, the host protocol, and a few for the program to start with.
const LEAST_FDS: u32 = 8;
/// The longest message: it is held in memory by both ends and by the router.
const MOST_MESSAGE: u64 = 64 << 20;
const MOST_CORES: f64 = 4096.0;
const WORDS: [(&str, Enforce); 2] = [("hard", Enforce::Hard), ("soft", Enforce::Soft)];

pub(super) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Limits> {
    let fields = granting(field, KEYS, reader)?;
    let count = |key: &Key, least: u32, reader: &mut Reader<'_>| {
        fields.get(key).and_then(|field| Some(field.whole(least, MOST, reader)?.value))
    };
    Some(Limits {
        memory: fields.get(&MEMORY).and_then(|field| Some(size::read(&field, reader)?.value)),
        cpu: fields.get(&CPU).and_then(|field| read_cores(&field, reader)),
        pids: count(&PIDS, 1, reader),
        fds: count(&FDS, LEAST_FDS, reader),
        cpu_time: fields.get(&CPU_TIME).and_then(|field| Some(duration::read(&field, reader)?.value)),
        logs: fields.get(&LOGS).and_then(|field| read_rate(&field, reader)),
        message: fields.get(&MESSAGE).and_then(|field| read_message(&field, reader)),
        enforce: fields
            .get(&ENFORCE)
            .and_then(|field| Some(field.word(&WORDS, reader)?.value))
            .unwrap_or_default(),
    })
}

/// Cores, in thousandths.
fn read_cores(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<u32> {
    let hint = "write how many cores, as in 0.5 or 2";
    let (Content::Number(written) | Content::Text(written)) = &field.node.content else {
        field.wrong_type("a number of cores", Some(hint), reader);
        return None;
    };
    match written.parse::<f64>() {
        // Below a hundredth of a core the kernel's own accounting is coarser.
        Ok(cores) if (0.01..=MOST_CORES).contains(&cores) => Some((cores * 1000.0).round() as u32),
        _ => {
            field.bad_value(ValueError::Cores(written.clone()), Hint::advise(hint), reader);
            None
        }
    }
}

/// Bytes in a second.
fn read_rate(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<u64> {
    let text = field.text("a size in a second, as in '1MiB/s'", reader)?.value;
    let Some(amount) = text.strip_suffix("/s") else {
        let hint = match size::parse(&text) {
            Ok(_) => format!("write it as in '{text}/s'"),
            Err(_) => "write it as in '1MiB/s'".to_owned(),
        };
        field.bad_value(ValueError::Rate(text), Some(Hint::Do(hint)), reader);
        return None;
    };
    match size::parse(amount) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            field.bad_value(error.into(), Hint::advise("write it as in '1MiB/s'"), reader);
            None
        }
    }
}

fn read_message(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<u64> {
    let bytes = size::read(field, reader)?.value;
    if bytes > MOST_MESSAGE {
        let written = field.text("a size", reader)?.value;
        field.bad_value(ValueError::LongMessage(written), Hint::advise("write '64MiB' or less"), reader);
        return None;
    }
    Some(bytes)
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    build::mapping(KEYS, &[], generator)
}

fn memory_schema(_: &mut SchemaGenerator) -> Schema {
    size::schema()
}

fn cpu_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "minimum": 0.01, "maximum": MOST_CORES })
}

fn count_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST })
}

fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$|\\$\\{", "minLength": 2 })
}

fn rate_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9]+([KMGT]iB|[kMG]B)/s$|\\$\\{" })
}

fn enforce_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["hard", "soft"], "default": "hard" })
}
