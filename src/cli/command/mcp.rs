//! `orchestrator mcp`: the verbs as tools for assistants, over the Model Context Protocol on standard input and output.
//!
//! A tool is the verb itself, run as a process of its own: an assistant reads what a person would read, and is told what is wrong
//! with the same fix.

mod tools;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use tokio::process::Command;
use tokio::time::timeout;

use self::tools::{TOOLS, Verb};
use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};

/// How long a tool may take.
const LONGEST: Duration = Duration::from_secs(120);

/// How much of a text an assistant is told, in bytes: of a longer one, its end.
const MOST_TEXT: usize = 64 << 10;

const INSTRUCTIONS: &str = "An orchestrator runs the services of one manifest, sandboxed, on this machine. Begin with 'ps': \
its WHY column says why a service does not run. Then 'logs' and 'events'.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also offer what starts, stops and changes services
    #[arg(long)]
    allow_changes: bool,
}

/// What an assistant talks to.
struct Server {
    allow_changes: bool,
    /// Which project is meant, for each verb.
    target: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let mut target = Vec::new();
    if let Some(project) = &context.target.project {
        target.extend(["--project".to_owned(), project.clone()]);
    }
    if let Some(file) = &context.target.file {
        target.extend(["--file".to_owned(), file.display().to_string()]);
    }
    let server = Server { allow_changes: args.allow_changes, target };
    let failed = |error: String| Failure::new(Code::Failed, error);
    let serving = server.serve(rmcp::transport::stdio()).await.map_err(|error| {
        failed(format!("whoever is at the other end does not speak the Model Context Protocol: {error}"))
            .hint("let an assistant start 'orchestrator mcp': see docs/mcp.md")
    })?;
    serving.waiting().await.map_err(|error| failed(error.to_string()))?;
    Ok(Code::Ok)
}

impl Server {
    fn tools(&self) -> impl Iterator<Item = &'static Verb> {
        TOOLS.iter().filter(|tool| self.allow_changes || !tool.changes)
    }

    /// Runs a verb, and answers with what it has said.
    async fn run(&self, arguments: Vec<String>) -> CallToolResult {
        let child = Command::new("/proc/self/exe")
            .args(&self.target)
            .arg("--no-color")
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match timeout(LONGEST, child).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return refused(format!("cannot be run: {error}")),
            Err(_) => return refused(format!("it took longer than {} s, and was ended", LONGEST.as_secs())),
        };
        let text = [output.stdout, output.stderr].concat();
        let text = ContentBlock::text(end_of(&String::from_utf8_lossy(&text)));
        if output.status.success() {
            CallToolResult::success(vec![text])
        } else {
            CallToolResult::error(vec![text])
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("orchestrator", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |tool: &Verb| {
            let annotations = ToolAnnotations::new().read_only(!tool.acts).open_world(false);
            Tool::new(tool.name, tool.about, Arc::new((tool.schema)())).with_annotations(annotations)
        };
        Ok(ListToolsResult::with_all_items(self.tools().map(tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool '{}'", request.name), None));
        };
        if tool.changes && !self.allow_changes {
            let text =
                format!("'{}' changes what runs: start 'orchestrator mcp' with --allow-changes", tool.name);
            return Ok(refused(text).into());
        }
        let arguments = match (tool.command)(request.arguments.unwrap_or_default()) {
            Ok(arguments) => [vec![tool.name.to_owned()], arguments].concat(),
            Err(why) => {
                return Ok(refused(format!("the arguments of '{}' are wrong: {why}", tool.name)).into());
            }
        };
        tokio::select! {
            said = self.run(arguments) => Ok(said.into()),
            // The process goes with this.
            () = context.ct.cancelled() => Ok(refused("it was cancelled".into()).into()),
        }
    }
}

fn refused(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// A text, or the end of one that is too long, from the beginning of a line.
fn end_of(text: &str) -> String {
    if text.len() <= MOST_TEXT {
        return text.to_owned();
    }
    let from = text.ceil_char_boundary(text.len() - MOST_TEXT);
    let from = text[from..].find('\n').map_or(from, |end| from + end + 1);
    format!("({from} bytes before this were left out)\n{}", &text[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_text_that_is_too_long_there_is_its_end() {
        assert_eq!(end_of("short\n"), "short\n");
        let long = "a line \u{e4}\n".repeat(MOST_TEXT / 5);
        let end = end_of(&long);
        assert!(end.len() < MOST_TEXT + 100 && end.ends_with("a line \u{e4}\n"));
        let (first, rest) = end.split_once('\n').unwrap();
        assert!(first.starts_with('(') && first.ends_with(" bytes before this were left out)"), "{first}");
        assert!(rest.starts_with("a line "), "{}", &rest[..20]);
    }
}
