//! A program that runs services itself: it launches a ServicesManager on a manifest of its own, watches what
//! happens, and ends the project in order. Run it with `cargo run --example embed`.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZeroU32;
use std::path::Path;

use orchestrator::manifest::{self, Accounts, ChildError, OnDisk, Surroundings};
use orchestrator::supervisor::Request;
use orchestrator::{
    ChildReader, EMBEDDED, EventItem, Launch, LogItem, LogQuery, ManifestReader, Plugins, Project,
    ServiceName, ServicesManager, SocketActivation,
};

const MANIFEST: &str = "
services:
  greeter:
    runtime: exec
    code: |
      #!/bin/sh
      echo hello from $ORCHESTRATOR_SERVICE
      exec sleep 1000
  visitor:
    runtime: exec
    kind: job
    depends_on: [greeter]
    code: |
      #!/bin/sh
      echo here I am, and gone
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("embed-{}", std::process::id()));
    let plugins = Plugins::load(&EMBEDDED, &[])?;
    let surroundings = Surroundings {
        folder: &folder,
        project: ServiceName::parse("embedded")?,
        variables: &BTreeMap::new(),
        plugins: plugins.catalog(),
        look: &|_: &Path| OnDisk::Missing,
        real: &|_: &Path| None,
        home: None,
        own: &[],
        files: &[],
        others: &[],
        accounts: Accounts::default(),
        cores: NonZeroU32::MIN,
        check_regex: &|_| Ok(()),
    };
    let manifest = manifest::read(MANIFEST, &surroundings).map_err(|problems| format!("{problems:?}"))?;

    let project = Project::at(manifest.name.clone(), folder.join("run"), folder.join("state"));
    let lock = project.lock().await?;
    let services: Vec<_> = manifest.services.keys().cloned().collect();
    // Its services open no children.
    let children =
        ChildReader::new(|_, parent, _| Err(ChildError::NotGranted { parent: parent.name.clone() }));
    let launch = Launch {
        manifest,
        plugins,
        embedded: EMBEDDED,
        project,
        lock,
        children,
        // Its manifest is a part of this program, and does not change.
        reader: ManifestReader::new(|_, _| Err("this project has no file".into())),
        activation: SocketActivation::default(),
        image_lock: folder.join("orchestrator.lock"),
        on_pull: |_| (),
        recording: None,
    };
    let mut handle = ServicesManager::launch(launch).await?;
    let (mut events, mut logs) =
        (handle.events(0), handle.logs(LogQuery { follow: true, ..LogQuery::default() })?);

    handle.request(Request::Start(services)).await?;
    handle.request(Request::Shutdown).await?;
    let finish = handle.finished().await;

    while let Some(item) = events.next().await {
        if let EventItem::Event(event) = item {
            println!("{}", serde_json::to_string(&*event)?);
        }
    }
    while let Some(item) = logs.next().await {
        if let LogItem::Record(record) = item? {
            println!("{}: {}", record.replica, record.text);
        }
    }
    println!("ended with exit code {}", finish.exit_code);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
