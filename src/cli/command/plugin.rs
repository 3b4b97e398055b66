//! `orchestrator plugin`: lists the plugins, shows one, begins a new one.

use std::fs;
use std::path::Path;

use clap::Subcommand;
use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{PluginKind, PluginSpec};

use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::{note, print_json, print_line};
use crate::target::load_plugins;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The plugins that services can use
    List {
        /// As JSON, a line a plugin
        #[arg(long)]
        json: bool,
    },
    /// What a plugin is and does
    Show {
        /// The plugin
        name: String,
    },
    /// Begin a new plugin, in the folder plugins/NAME
    New {
        /// Its name
        name: ServiceName,
    },
}

pub(crate) fn run(args: Args, context: &Context) -> Outcome {
    match args.verb {
        Verb::New { name } => scaffold(&name, Path::new("plugins")),
        Verb::List { json } => list(json, context),
        Verb::Show { name } => show(&name, context),
    }
}

fn list(json: bool, context: &Context) -> Outcome {
    let plugins = load_plugins(context.target.file.as_deref(), &context.embedded, context.terminal.colour)?;
    for plugin in plugins.catalog().values() {
        if json {
            print_json(
                &serde_json::json!({ "name": plugin.name, "kind": kind(plugin), "about": plugin.about }),
            );
        } else {
            print_line(&format!("{:<12} {:<8} {}", plugin.name, kind(plugin), plugin.about));
        }
    }
    Ok(Code::Ok)
}

fn kind(plugin: &PluginSpec) -> &'static str {
    match plugin.kind {
        PluginKind::Runtime(_) => "runtime",
        PluginKind::Service(_) => "service",
    }
}

fn show(name: &str, context: &Context) -> Outcome {
    let plugins = load_plugins(context.target.file.as_deref(), &context.embedded, context.terminal.colour)?;
    let Some(plugin) = plugins.catalog().get(name) else {
        let known: Vec<_> = plugins.catalog().keys().map(String::as_str).collect();
        return Err(Failure::new(Code::Usage, format!("no plugin is named '{name}'"))
            .hint(format!("there are: {}", known.join(", "))));
    };
    print_line(&format!("{}: {}", plugin.name, plugin.about));
    print_line(&format!("from {}", plugin.folder.display()));
    if let PluginKind::Runtime(runtime) = &plugin.kind {
        print_line(&format!("runs {}", runtime.command.join(" ")));
        print_line(&format!("files ending in {}", runtime.extensions.join(", ")));
        let files: Vec<_> = runtime.files.iter().map(|file| file.display().to_string()).collect();
        print_line(&format!(
            "needs {}",
            if files.is_empty() { "none of the host's files".into() } else { files.join(", ") }
        ));
        print_line(&format!("of a folder, the first of {}", runtime.entries.join(", ")));
    }
    Ok(Code::Ok)
}

fn scaffold(name: &ServiceName, plugins: &Path) -> Outcome {
    let folder = plugins.join(name.as_str());
    if folder.exists() {
        return Err(Failure::new(Code::Usage, format!("{} is there already", folder.display()))
            .hint("choose another name, or change what is there"));
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("plugin.yaml"), DESCRIPTION.replace("NAME", name.as_str()))?;
    fs::write(folder.join("host.sh"), HOST)?;
    note(&format!("made {}: see docs/plugins.md for what a host does", folder.display()));
    Ok(Code::Ok)
}

const DESCRIPTION: &str = "\
name: NAME
about: Runs NAME services
runtime:
  extensions: [NAME]            # files with these endings are run by this plugin
  entries: [main.NAME]          # what is run of a folder: the first that is there
  command: [sh, \"{root}/host.sh\", \"{code}\"]
  protocol: host
  needs: install a POSIX shell
";

const HOST: &str = r#"# A host speaks the host protocol on descriptor 3: one JSON object a line. This one runs a shell script that may
# define the functions start, close and health.
start() { :; }
close() { :; }
. "$1"
start || { echo '{"type":"failed","error":{"name":"StartError","message":"start failed"}}' >&3; exit 1; }
echo '{"type":"started","methods":[],"health":false}' >&3
while read -r message <&3; do
  case "$message" in
    *'"type":"close"'*) close; exit 0 ;;
  esac
done
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scaffolded_is_a_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let name = ServiceName::parse("lua").unwrap();
        assert!(scaffold(&name, folder.path()).is_ok());
        let text = fs::read_to_string(folder.path().join("lua/plugin.yaml")).unwrap();
        orchestrator_core::manifest::read_plugin(&text, &folder.path().join("lua"), &|_| Ok(())).unwrap();
        let again = scaffold(&name, folder.path()).unwrap_err();
        assert!(again.message.ends_with("lua is there already"), "{}", again.message);
    }
}
