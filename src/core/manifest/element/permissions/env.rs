//! `env`: the environment variables that a service gets. None is inherited.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::refuse_merge;
use crate::manifest::interpolate::is_name;
use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, ProblemKind, ValueError};
use crate::manifest::reader::{Field, Reader};

/// How the variables begin that say what is loaded before, or instead of, a service's code.
const LOADING: [&str; 6] = ["LD_", "GCONV_PATH", "NODE_OPTIONS", "NODE_PATH", "PYTHON", "PERL5"];

/// Reads a mapping of environment variables.
pub(crate) fn read_env(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<BTreeMap<String, String>> {
    refuse_merge(field, reader);
    let mut variables = BTreeMap::new();
    for entry in &field.mapping("a mapping of variables, as in 'NAME: value'", reader)?.entries {
        let name = &entry.key.value;
        if let Err((why, hint)) = check_name(name) {
            let kind = ProblemKind::BadValue { owner: field.owner.clone(), why };
            reader.report(&entry.key.place, kind, Hint::advise(hint));
        }
        let value = field.of_entry(name, &entry.value);
        if let Some(value) = value.verbatim("text", reader) {
            variables.insert(name.clone(), value.value);
        }
    }
    Some(variables)
}

/// Records the variables that change what a runtime loads: who sets one sets the code.
pub(super) fn refuse_unsafe(field: &Field<'_>, reader: &mut Reader<'_>) {
    let Content::Mapping(mapping) = &field.node.content else { return };
    for entry in &mapping.entries {
        let name = entry.key.value.as_str();
        if LOADING.iter().any(|loading| name.starts_with(loading)) {
            let why = ValueError::LoadingVariable(name.to_owned());
            let kind = ProblemKind::BadValue { owner: field.owner.clone(), why };
            let hint = Hint::advise("take it out; or write 'env_unsafe: true' beside 'env', if it is meant");
            reader.report(&entry.key.place, kind, hint);
        }
    }
}

fn check_name(name: &str) -> Result<(), (ValueError, &'static str)> {
    if !is_name(name) {
        return Err((ValueError::VariableName(name.to_owned()), "use letters, digits and '_'"));
    }
    if name.starts_with("ORCHESTRATOR_") {
        return Err((ValueError::OwnVariable(name.to_owned()), "choose a name without 'ORCHESTRATOR_'"));
    }
    Ok(())
}

/// The schema of environment variables.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": "^(?!ORCHESTRATOR_)[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

#[cfg(test)]
mod tests {
    use super::super::{KEY, read};
    use crate::manifest::element::testing;

    #[test]
    fn variables_are_taken_as_they_are_written() {
        let text =
            "permissions: {env: {LOG_LEVEL: info, PORT: 080, ON: yes, DEBUG: true, N: '${TWO}', E: ''}}";
        let env = testing::read(KEY, text, read).unwrap().env;
        let shown: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["DEBUG=true", "E=", "LOG_LEVEL=info", "N=2", "ON=yes", "PORT=080"]);
    }

    #[test]
    fn what_says_what_is_loaded_has_to_be_meant() {
        let text = "permissions: {env: {NODE_OPTIONS: --require=x}, env_unsafe: true}";
        assert_eq!(testing::read(KEY, text, read).unwrap().env["NODE_OPTIONS"], "--require=x");
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        for (text, expected) in [
            (
                "permissions: {env: {LD_PRELOAD: ./x.so}}",
                "1:21 'env' of 'permissions' of service 'web': 'LD_PRELOAD' changes what is loaded before the service's code \
                 | take it out; or write 'env_unsafe: true' beside 'env', if it is meant",
            ),
            (
                "permissions: {env: {a-b: 1}}",
                "1:21 'env' of 'permissions' of service 'web': 'a-b' cannot be the name of an environment variable \
                 | use letters, digits and '_'",
            ),
            (
                "permissions: {env: {ORCHESTRATOR_HOST_FD: 1}}",
                "1:21 'env' of 'permissions' of service 'web': 'ORCHESTRATOR_HOST_FD' is set by the orchestrator \
                 itself | choose a name without 'ORCHESTRATOR_'",
            ),
            (
                "permissions: {env: {A: }}",
                "1:21 'A' of 'env' of 'permissions' of service 'web' is to be text, not nothing \
                 | write \"\" for an empty text, or remove it",
            ),
            (
                "permissions: {env: {<<: {A: 1}}}",
                "1:21 '<<' cannot be used in 'env' of 'permissions' of service 'web' \
                 | write out what is granted here",
            ),
        ] {
            assert_eq!(testing::read(KEY, text, read).unwrap_err(), expected, "{text}");
        }
    }
}
