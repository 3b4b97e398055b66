//! `${VAR}` in a text: `${VAR:-default}` where it is unset or empty, `$$` for a dollar sign. A dollar sign before
//! anything else stands for itself.

use std::collections::BTreeMap;

use super::problem::ProblemKind;

/// The text with its variables replaced.
///
/// # Errors
/// Where a variable is unset and has no default, or is no variable. All of them are said.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<String, Vec<ProblemKind>> {
    let mut expanded = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        rest = if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            after
        } else if let Some(inside) = after.strip_prefix('{') {
            let Some((variable, after)) = inside.split_once('}') else {
                problems.push(ProblemKind::BadVariable { why: "there is no '}' after it" });
                break;
            };
            match lookup(variable, variables) {
                Ok(value) => expanded.push_str(value),
                Err(problem) => problems.push(problem),
            }
            after
        } else {
            expanded.push('$');
            after
        };
    }
    expanded.push_str(rest);
    if problems.is_empty() { Ok(expanded) } else { Err(problems) }
}

/// The value of what stands between the braces.
fn lookup<'a>(variable: &'a str, variables: &'a BTreeMap<String, String>) -> Result<&'a str, ProblemKind> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    if !is_name(name) {
        return Err(ProblemKind::BadVariable {
            why: "a name of letters, digits and '_' is expected after it",
        });
    }
    match (variables.get(name).map(String::as_str), default) {
        (Some(""), Some(default)) | (None, Some(default)) => Ok(default),
        (Some(value), _) => Ok(value),
        (None, None) => Err(ProblemKind::UnsetVariable { name: name.to_owned() }),
    }
}

/// Whether a text can be the name of an environment variable.
pub(crate) fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let variables = BTreeMap::from([("HOST".into(), "db".into()), ("NONE".into(), String::new())]);
        expand(text, &variables)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${HOST}:5432", "db:5432"),
            ("${PORT:-5432}${HOST:-x}", "5432db"),
            ("<${NONE}><${NONE:-x}><${NOT_SET:-}>", "<><x><>"),
            ("$${HOST} $HOME 5$ $$$$", "${HOST} $HOME 5$ $$"),
            ("é${HOST}é", "édbé"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_unset_or_unfinished_is_a_problem() {
        for (text, expected) in [
            ("${A}${B}", "the variable 'A' is not set, the variable 'B' is not set"),
            ("${HOST", "'${' does not begin a variable here: there is no '}' after it"),
            (
                "${1}",
                "'${' does not begin a variable here: a name of letters, digits and '_' is expected after it",
            ),
        ] {
            assert_eq!(expanded(text), Err(expected.to_owned()), "{text}");
        }
    }
}
