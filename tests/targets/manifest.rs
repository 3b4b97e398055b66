//! Manifests, plugins and `.env` files: what a person or a generator has written.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{self, Accounts, Manifest, OnDisk, PluginSpec, Problems, Surroundings};

pub(crate) fn any(bytes: &[u8]) {
    let Ok(text) = manifest::decode(bytes) else { return };
    let _ = manifest::env_file::read(text);
    let _ = manifest::read_plugin(text, Path::new("/plugins/x"), &|_| Ok(()));
    let Err(problems) = read(text) else { return };
    for problem in &problems {
        let place = &problem.place;
        assert!(place.line >= 1 && place.column >= 1, "{problem:?}");
        assert!(text.get(place.span.clone()).is_some(), "{problem:?}");
    }
}

/// Reads it where every path leads to a folder, and one plugin runs whatever ends with `.js`.
fn read(text: &str) -> Result<Manifest, Problems> {
    let plugin = "name: js\nabout: x\nruntime: { extensions: [js], entries: [main.js], protocol: none, command: ['{code}'] }";
    let plugin: PluginSpec = manifest::read_plugin(plugin, Path::new("/plugins/js"), &|_| Ok(()))?;
    manifest::read(
        text,
        &Surroundings {
            folder: Path::new("/shop"),
            project: ServiceName::parse("shop").expect("it is a name"),
            variables: &BTreeMap::from([("SET".to_owned(), "set".to_owned())]),
            plugins: &BTreeMap::from([(plugin.name.to_string(), plugin)]),
            look: &|_| OnDisk::Folder(vec!["main.js".into()]),
            real: &|path| Some(path.into()),
            home: Some(Path::new("/home/ann")),
            own: &["/run/orchestrator".into()],
            files: &["/shop/manifest.yaml".into()],
            others: &[],
            accounts: Accounts::default(),
            cores: NonZeroU32::MIN,
            check_regex: &|_| Ok(()),
        },
    )
}
