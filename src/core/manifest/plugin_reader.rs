//! Reads a `plugin.yaml`, as strictly as a manifest. A dollar sign means nothing in it.

use std::path::{Path, PathBuf};

use schemars::{Schema, SchemaGenerator, json_schema};

use super::element::code::RawCode;
use super::element::{PLUGIN_SERVICE, image, name, permissions};
use super::node::{Content, Node};
use super::plugin::{PluginKind, PluginSpec, Protocol, RuntimeSpec, ServiceSpec};
use super::problem::{Hint, Owner, Place, Problem, ProblemKind, Problems, ValueError};
use super::reader::{Field, Fields, Key, Reader};
use super::{raw, schema, yaml};
use crate::name::ServiceName;

const NAME: Key =
    Key { name: "name", about: "The plugin's name, which is its folder's.", schema: name::schema };
const ABOUT: Key = Key { name: "about", about: "What it does, in one line.", schema: text_schema };
const RUNTIME: Key =
    Key { name: "runtime", about: "How it runs the code of services.", schema: runtime_schema };
const SERVICE: Key = Key {
    name: "service",
    about: "The ready-made service that it is. Manifests win over what is said here.",
    schema: service_schema,
};
const KEYS: &[Key] = &[NAME, ABOUT, RUNTIME, SERVICE];

const EXTENSIONS: Key = Key {
    name: "extensions",
    about: "The endings of the files that it runs unless the manifest says otherwise, without their dot.",
    schema: texts_schema,
};
const ENTRIES: Key = Key {
    name: "entries",
    about: "What is run of a folder: the first of these that is there.",
    schema: texts_schema,
};
const COMMAND: Key = Key {
    name: "command",
    about: "The program and its arguments. {root} stands for the plugin's folder, {code} for the file that is run, \
            {runner} for the runner itself. The service's own arguments come after them.",
    schema: texts_schema,
};
const PROTOCOL: Key = Key {
    name: "protocol",
    about: "How it speaks with the runner: by the host protocol (host), or not at all (none).",
    schema: protocol_schema,
};
const ENV: Key =
    Key { name: "env", about: "Environment variables that it needs.", schema: permissions::env_schema };
const NEEDS: Key =
    Key { name: "needs", about: "What to do where the program is not installed.", schema: text_schema };
const IMAGE: Key = Key {
    name: "image",
    about: "The image whose files its services have in a container, unless a manifest says otherwise. By default none: \
            the runner alone.",
    schema: text_schema,
};
const FILES: Key = Key {
    name: "files",
    about: "The host's files and folders that its programs need, read and executed, where they are there. By default \
            what most programs need: /usr and its links, and a few files of /etc.",
    schema: texts_schema,
};
const RUNTIME_KEYS: &[Key] = &[EXTENSIONS, ENTRIES, COMMAND, PROTOCOL, ENV, FILES, IMAGE, NEEDS];

/// What most programs need: where a distribution keeps its programs and their libraries, and how they find the time and
/// the certificates.
const HOST_FILES: [&str; 11] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl",
];

const PROTOCOLS: [(&str, Protocol); 2] = [("host", Protocol::Host), ("none", Protocol::None)];
const PLACEHOLDERS: [&str; 3] = ["{root}", "{code}", "{runner}"];

/// Reads a `plugin.yaml`. `folder` is the plugin's own, absolute; `check_regex` says why a text is no regular
/// expression.
///
/// # Errors
/// Everything that is wrong with it. Only what is no YAML at all, or too much of it, is reported alone.
pub fn read_plugin(
    text: &str,
    folder: &Path,
    check_regex: &dyn Fn(&str) -> Result<(), String>,
) -> Result<PluginSpec, Problems> {
    let document = yaml::read(text)?;
    if document.root.content == Content::Nothing {
        return Err(Problem::new(
            &document.root.place,
            ProblemKind::Empty,
            Hint::advise("begin with 'name:'"),
        )
        .into());
    }
    let mut reader = Reader::new(None, check_regex);
    reader.report_all(document.problems);
    let plugin = plugin(&document.root, folder, &mut reader);
    match (plugin, Problems::gather(reader.into_problems())) {
        (_, Some(problems)) => Err(problems),
        (Some(plugin), None) => Ok(plugin),
        // Whatever is missing has been reported, so this is out of reach.
        (None, None) => Err(Problem::new(&document.root.place, ProblemKind::Empty, None).into()),
    }
}

fn plugin(root: &Node, folder: &Path, reader: &mut Reader<'_>) -> Option<PluginSpec> {
    let fields = Fields::open(root, Owner::Plugin, KEYS, reader)?;
    let name =
        required(&fields, &NAME, &root.place, reader).and_then(|field| read_name(&field, folder, reader));
    let about = required(&fields, &ABOUT, &root.place, reader).and_then(|field| read_line(&field, reader));
    let kind = match (fields.get(&RUNTIME), fields.get(&SERVICE)) {
        (Some(runtime), None) => read_runtime(&runtime, reader).map(PluginKind::Runtime),
        (None, Some(service)) => read_service(&service, folder, reader).map(PluginKind::Service),
        (Some(_), Some(service)) => {
            let (one, other) = (RUNTIME.name.to_owned(), SERVICE.name.to_owned());
            let kind = ProblemKind::Excluded { one, other, owner: Owner::Plugin };
            reader.report(service.place(), kind, Hint::advise("make two plugins of it"));
            None
        }
        (None, None) => required(&fields, &RUNTIME, &root.place, reader).and(None),
    };
    Some(PluginSpec { name: name?, about: about?, folder: folder.to_owned(), kind: kind? })
}

/// The value of a key that has to be there.
fn required<'n>(fields: &Fields<'n>, key: &Key, place: &Place, reader: &mut Reader<'_>) -> Option<Field<'n>> {
    if !fields.mentions(key) {
        let kind = ProblemKind::MissingKey { key: key.name, owner: fields.owner.clone() };
        reader.report(place, kind, Hint::advise(format!("add '{}:'", key.name)));
    }
    fields.get(key)
}

fn read_name(field: &Field<'_>, folder: &Path, reader: &mut Reader<'_>) -> Option<ServiceName> {
    let text = field.text("a name", reader)?.value;
    let name = name::label(&text, field.place(), "a plugin", reader)?;
    let folder = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if folder != text {
        let why = ValueError::FolderName { name: text, folder };
        field.bad_value(why, Hint::advise("give both the same name"), reader);
        return None;
    }
    Some(name)
}

/// Text of one line that is not empty.
fn read_line(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let text = field.text("a line of text", reader)?.value;
    let text = text.trim();
    if text.is_empty() || text.contains('\n') {
        let why = if text.is_empty() { ValueError::Empty } else { ValueError::Lines };
        field.bad_value(why, Hint::advise("say it in one line"), reader);
        return None;
    }
    Some(text.to_owned())
}

fn read_runtime(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<RuntimeSpec> {
    let fields = field.fields(RUNTIME_KEYS, reader)?;
    let extensions = match fields.get(&EXTENSIONS) {
        Some(field) => read_names(&field, is_extension, ValueError::Extension, reader),
        None => Some(Vec::new()),
    };
    let entries = match fields.get(&ENTRIES) {
        Some(field) => read_names(&field, is_file_name, ValueError::FileName, reader),
        None => Some(Vec::new()),
    };
    let command =
        required(&fields, &COMMAND, field.place(), reader).and_then(|field| read_command(&field, reader));
    let protocol =
        required(&fields, &PROTOCOL, field.place(), reader).and_then(|field| field.word(&PROTOCOLS, reader));
    let env = fields.get(&ENV).and_then(|field| permissions::read_env(&field, reader)).unwrap_or_default();
    let files = match fields.get(&FILES) {
        Some(field) => read_files(&field, reader).unwrap_or_default(),
        None => HOST_FILES.map(PathBuf::from).into(),
    };
    let image = fields.get(&IMAGE).and_then(|field| image::read(&field, reader));
    let needs = fields.get(&NEEDS).and_then(|field| read_line(&field, reader));
    Some(RuntimeSpec {
        extensions: extensions?,
        entries: entries?,
        command: command?,
        protocol: protocol?.value,
        env,
        files,
        image: image.map(|image| image.value),
        needs,
    })
}

/// A list of names that are all `good`.
fn read_names(
    field: &Field<'_>,
    good: fn(&str) -> bool,
    wrong: fn(String) -> ValueError,
    reader: &mut Reader<'_>,
) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for item in field.items("a list of names", reader)? {
        let name = item.verbatim("a name", reader)?.value;
        if !good(&name) {
            item.bad_value(
                wrong(name.clone()),
                Hint::advise("write it as in 'py', or 'main.py' for a file"),
                reader,
            );
        }
        names.push(name);
    }
    Some(names)
}

/// Paths of the host.
fn read_files(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<PathBuf>> {
    let mut files = Vec::new();
    for item in field.items("a list of paths", reader)? {
        let path = item.text("a path", reader)?.value;
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            let why = ValueError::NotAbsolute(path.clone());
            item.bad_value(why, Hint::advise("write it from the root, as in '/usr'"), reader);
        }
        files.push(path.into());
    }
    Some(files)
}

fn is_extension(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '+')
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

fn read_command(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let command = field.texts(reader)?.value;
    let advice = "use {root}, {code} and {runner}, as in [python3, \"{root}/host.py\", \"{code}\"]";
    let stray = command.iter().flat_map(|word| placeholders(word)).find(|name| !PLACEHOLDERS.contains(name));
    let why = match stray {
        Some(stray) => ValueError::Placeholder(stray.to_owned()),
        None if command.iter().any(|word| word.contains("{code}")) => return Some(command),
        None => ValueError::NoCodePlace,
    };
    field.bad_value(why, Hint::advise(advice), reader);
    None
}

/// What looks like a placeholder: lower-case letters between braces.
fn placeholders(word: &str) -> impl Iterator<Item = &str> {
    word.match_indices('{').filter_map(|(start, _)| {
        let inside = &word[start + 1..];
        let end = inside.find(|c: char| !c.is_ascii_lowercase())?;
        (end > 0 && inside[end..].starts_with('}')).then(|| &word[start..start + end + 2])
    })
}

fn read_service(field: &Field<'_>, folder: &Path, reader: &mut Reader<'_>) -> Option<Box<ServiceSpec>> {
    let fields = field.fields(PLUGIN_SERVICE, reader)?;
    let mut settings = raw::service(&fields, reader);
    if settings.code.is_none() && !settings.code_unclear {
        let kind = ProblemKind::MissingKey { key: "code", owner: field.owner.clone() };
        reader.report(field.place(), kind, Hint::advise("name a file of the plugin's folder"));
    }
    if let Some(RawCode::Path { path, .. }) = settings.code.as_mut().map(|code| &mut code.value) {
        *path = folder.join(&*path);
    }
    Some(Box::new(ServiceSpec { settings }))
}

fn text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

fn texts_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": ["string", "number", "boolean"] } })
}

fn protocol_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["host", "none"] })
}

fn runtime_schema(generator: &mut SchemaGenerator) -> Schema {
    schema::mapping(RUNTIME_KEYS, &["command", "protocol"], generator)
}

fn service_schema(generator: &mut SchemaGenerator) -> Schema {
    schema::mapping(PLUGIN_SERVICE, &["code"], generator)
}

/// The schema of a whole `plugin.yaml`.
pub(crate) fn plugin_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = schema::mapping(KEYS, &["name", "about"], generator);
    let one = |key: &str| serde_json::json!({ "required": [key] });
    schema.insert("oneOf".to_owned(), vec![one("runtime"), one("service")].into());
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in(folder: &str, text: &str) -> Result<PluginSpec, String> {
        read_plugin(text, Path::new(folder), &|_| Ok(())).map_err(|problems| {
            let shown = problems.iter().map(|problem| {
                let hint = problem.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
                format!("{}:{} {}{hint}", problem.place.line, problem.place.column, problem.kind)
            });
            shown.collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn a_runtime_says_how_code_is_run() {
        let text = "name: python\nabout: Runs Python 3 modules\nruntime:\n  extensions: [py]\n  entries: [main.py]\n  \
                    command: [python3, -u, '{root}/host.py', '{code}']\n  protocol: host\n  env: { A: 1 }\n  needs: \
                    install Python 3\n";
        let PluginKind::Runtime(runtime) = read_in("/plugins/python", text).unwrap().kind else {
            panic!("it is a runtime");
        };
        assert_eq!(runtime.command, ["python3", "-u", "{root}/host.py", "{code}"]);
        assert_eq!((runtime.protocol, runtime.needs.as_deref()), (Protocol::Host, Some("install Python 3")));
        assert_eq!(runtime.entry(&["x".into(), "main.py".into()]), Some("main.py"));
        assert!(!runtime.runs_code_itself());
    }

    #[test]
    fn a_ready_made_service_finds_its_code_in_its_own_folder() {
        let text =
            "name: kv\nabout: Keeps values\nservice: { runtime: js, code: main.js, args: ['$${x}'] }\n";
        let PluginKind::Service(service) = read_in("/plugins/kv", text).unwrap().kind else {
            panic!("it is a service");
        };
        let code = service.settings.code.unwrap().value;
        assert_eq!(code, RawCode::Path { written: "main.js".into(), path: "/plugins/kv/main.js".into() });
        assert_eq!(service.settings.args.unwrap().value, ["$${x}"]);
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let text = "name: pyton\nabout: |\n  two\n  lines\nruntime:\n  extensions: [.py]\n  entries: [src/main.py]\n  \
                    command: [python3, '{file}']\n  protocol: hsot\n  neds: x\n";
        assert_eq!(
            read_in("/plugins/python", text).unwrap_err(),
            "1:7 'name': the plugin calls itself 'pyton', but its folder is 'python' | give both the same name\n\
             3:3 'about': it has more than one line | say it in one line\n\
             6:16 an item of 'extensions' of 'runtime': '.py' cannot be the ending of a file's name \
             | write it as in 'py', or 'main.py' for a file\n\
             7:13 an item of 'entries' of 'runtime': 'src/main.py' cannot be a file of a plugin \
             | write it as in 'py', or 'main.py' for a file\n\
             8:12 'command' of 'runtime': '{file}' stands for nothing \
             | use {root}, {code} and {runner}, as in [python3, \"{root}/host.py\", \"{code}\"]\n\
             9:13 'protocol' of 'runtime' cannot be 'hsot' | did you mean 'host'?\n\
             10:3 unknown key 'neds' in 'runtime' | did you mean 'needs'?"
        );
    }

    #[test]
    fn a_plugin_is_one_thing() {
        for (text, expected) in [
            ("name: x\nabout: y\n", "1:1 the plugin has no 'runtime' | add 'runtime:'"),
            (
                "name: x\nabout: y\nruntime: {command: ['{code}'], protocol: none}\nservice: {code: a.js}\n",
                "4:10 the plugin has both 'runtime' and 'service' | make two plugins of it",
            ),
            (
                "name: x\nabout: y\nservice: {runtime: js}\n",
                "3:10 'service' has no 'code' | name a file of the plugin's folder",
            ),
            ("", "1:1 the file is empty | begin with 'name:'"),
            (
                "[]",
                "1:1 the plugin is to be a mapping, as in 'key: value', not a list | write a mapping, as in 'key: value'",
            ),
            (
                "name: x\nabout: y\nruntime: {command: [node], protocol: host}\n",
                "3:20 'command' of 'runtime': the command has no '{code}' \
                 | use {root}, {code} and {runner}, as in [python3, \"{root}/host.py\", \"{code}\"]",
            ),
        ] {
            assert_eq!(read_in("/plugins/x", text).unwrap_err(), expected, "{text}");
        }
    }
}
