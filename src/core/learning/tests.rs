//! What is granted for what was seen, on a host of a few files.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::*;
use crate::manifest::{Accounts, OnDisk, read, read_plugin};

const MANIFEST: &str = "
services:
  web:
    code: ./web/main
    runtime: exec
    permissions: { env: { A: b }, limits: { pids: 9 } }
  db:
    code: ./db
    runtime: exec
    permissions: { net: { listen: [6379] }, fs: { write: [./both] } }
";

const FOLDERS: [&str; 9] = [
    "/srv/shop",
    "/srv/shop/web",
    "/srv/shop/data",
    "/srv/shop/both",
    "/srv/shop/state",
    "/srv/many/inner",
    "/home/ann/.ssh",
    "/tmp/theirs",
    "/opt/big",
];

fn look(path: &Path) -> OnDisk {
    let text = path.to_str().unwrap_or_default();
    match text {
        _ if FOLDERS.contains(&text) => OnDisk::Folder(Vec::new()),
        _ if text.ends_with("gone") => OnDisk::Missing,
        _ if text.ends_with(".sock") => OnDisk::Refused("is neither a file nor a folder".into()),
        _ => OnDisk::File { executable: true },
    }
}

/// What is learned for `web`, of names that lead to these addresses.
fn learned(uses: &[Use], names: &[(&str, &[&str])]) -> Learned {
    let exec = "name: exec\nabout: x\nruntime: {command: ['{code}'], protocol: none}";
    let exec = read_plugin(exec, Path::new("/plugins/exec"), &|_| Ok(())).unwrap();
    let around = Surroundings {
        folder: Path::new("/srv/shop"),
        project: ServiceName::parse("shop").unwrap(),
        variables: &BTreeMap::new(),
        plugins: &BTreeMap::from([("exec".to_owned(), exec)]),
        look: &look,
        real: &|path| Some(path.to_owned()),
        home: Some(Path::new("/home/ann")),
        own: &[PathBuf::from("/run/user/1/orchestrator")],
        files: &["/srv/shop/manifest.yaml".into(), "/srv/shop/.env".into()],
        others: &[],
        accounts: Accounts::default(),
        cores: NonZeroU32::MIN,
        check_regex: &|_| Ok(()),
    };
    let manifest = read(MANIFEST, &around).unwrap();
    let parsed = |addresses: &&[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
    let addresses: BTreeMap<String, BTreeSet<IpAddr>> =
        names.iter().map(|(name, addresses)| ((*name).to_owned(), parsed(addresses))).collect();
    let service = manifest.services.values().find(|service| service.name.as_str() == "web").unwrap();
    let record = Record { uses: uses.iter().cloned().collect(), lost: 0 };
    let runtime = ["/usr".into(), "/bin".into()];
    learn(
        &record,
        &Known { service, manifest: &manifest, around: &around, runtime: &runtime, addresses: &addresses },
    )
}

fn paths(paths: &[&str]) -> BTreeSet<PathBuf> {
    paths.iter().map(PathBuf::from).collect()
}

fn remarks(learned: &Learned) -> Vec<String> {
    learned.remarks.iter().map(ToString::to_string).collect()
}

fn at(text: &str) -> PathBuf {
    text.into()
}

fn connected(to: &[&str]) -> Vec<Use> {
    to.iter().map(|to| Use::Connect(to.parse().unwrap())).collect()
}

fn granted(learned: &Learned) -> Vec<String> {
    learned.permissions.net.connect.iter().map(ToString::to_string).collect()
}

#[test]
fn what_every_service_has_is_not_granted_once_more() {
    let anyway = [
        "/usr/lib/libc.so.6",
        "/bin/sh",
        "/dev/null",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/sys/fs/cgroup/memory.max",
        "/tmp/own/inner",
    ];
    let mut uses: Vec<_> = anyway.into_iter().map(|path| Use::Read(at(path))).collect();
    uses.extend(["/", "/etc", "/tmp"].map(|path| Use::List(at(path))));
    uses.extend([
        Use::Make(at("/tmp/own")),
        Use::Make(at("/tmp/own/inner")),
        Use::Write(at("/dev/null")),
        Use::Run(at("/bin/sh")),
        Use::Link { from: at("/usr/lib/site.py"), to: at("/etc/python/site.py") },
        Use::Read(at("/etc/python/site.py")),
    ]);
    let learned = learned(&uses, &[]);
    assert_eq!((&learned.permissions, remarks(&learned)), (&Permissions::default(), Vec::new()));
    assert_eq!(learned.kept, ["env", "limits"]);
}

#[test]
fn files_are_granted_one_by_one_and_many_as_their_folder() {
    let mut uses = vec![
        Use::Read(at("/srv/shop/data/one")),
        Use::Read(at("/tmp/theirs/file")),
        Use::List(at("/opt/big")),
        Use::Read(at("/opt/big/inner/file")),
        Use::Read(at("/srv/shop/data/gone")),
        Use::Write(at("/srv/log")),
    ];
    uses.extend((0..8).map(|number| Use::Read(at("/srv/many/inner").join(number.to_string()))));
    // Never as many as to become a folder of the root.
    uses.extend((0..8).map(|number| Use::Read(at("/data").join(number.to_string()))));
    let learned = learned(&uses, &[]);
    let mut expected = paths(&["/srv/shop/data/one", "/tmp/theirs/file", "/opt/big", "/srv/many/inner"]);
    expected.extend((0..8).map(|number| at("/data").join(number.to_string())));
    assert_eq!(learned.permissions.fs.read, expected);
    assert_eq!(learned.permissions.fs.write, paths(&["/srv/log"]));
}

#[test]
fn the_manifests_folder_is_never_what_many_files_become() {
    let uses: Vec<_> = (0..20).map(|number| Use::Read(at("/srv/shop").join(number.to_string()))).collect();
    let learned = learned(&uses, &[]);
    assert_eq!(learned.permissions.fs.read.len(), 20, "{:?}", learned.permissions.fs.read);
}

#[test]
fn what_is_made_needs_its_folder_or_where_that_is_refused_itself() {
    let learned = learned(
        &[
            Use::Make(at("/srv/shop/state/a")),
            Use::Make(at("/srv/shop/state/a/b")),
            Use::Read(at("/srv/shop/state/a/b")),
            Use::Make(at("/srv/shop/made")),
            Use::Make(at("/srv/shop/gone")),
            Use::Make(at("/srv/shop/web/cache")),
            Use::Make(at("/run/user/1/orchestrator/srv/shop/s1/root/code/x")),
            Use::Make(at("/srv/shop/both/x")),
        ],
        &[],
    );
    assert_eq!(learned.permissions.fs.read, paths(&[]));
    assert_eq!(
        learned.permissions.fs.write,
        paths(&["/srv/shop/state", "/srv/shop/made", "/srv/shop/web/cache", "/srv/shop/both"])
    );
    assert_eq!(learned.shared, paths(&["/srv/shop/both"]));
    assert_eq!(
        remarks(&learned),
        [
            "makes /srv/shop/gone, which is gone and where it may not write: give it a folder of its own for that",
            "writes /run/user/1/orchestrator/srv/shop/s1/root/code/x, among its code, which it can only read",
            "writes /srv/shop/both as 'db' does: write 'shared: true' there too",
        ]
    );
}

#[test]
fn what_is_never_granted_is_told_with_its_reason() {
    let learned = learned(
        &[
            Use::Read(at("/home/ann/.ssh/id")),
            Use::Write(at("/srv/shop/manifest.yaml")),
            Use::Write(at("/srv/shop/db")),
            Use::Read(at("/srv/x.sock")),
            Use::Socket(at("/srv/x.sock")),
            Use::Socket(at("/run/systemd/resolve/io.systemd.Resolve")),
            Use::Run(at("/opt/tool")),
            Use::Read(at("/srv/data")),
            Use::Link { from: at("/link"), to: at("/srv/data") },
        ],
        &[],
    );
    assert_eq!(learned.permissions.fs.read, paths(&["/srv/data"]));
    assert_eq!(
        remarks(&learned),
        [
            "reads /home/ann/.ssh/id, which is never granted: it holds a person's keys",
            "reads /srv/x.sock, which is never granted: it cannot be read, or is neither a file nor a folder",
            "writes /srv/shop/db, which is never granted: a service's code is there",
            "writes /srv/shop/manifest.yaml, which is never granted: who writes there can change the manifest",
            "runs /opt/tool: no grant makes a file executable, only 'runtime.files' of a plugin does",
            "connects to the socket /srv/x.sock, which cannot be granted",
            "names /link, which is a link and not there in a sandbox: let it name /srv/data",
        ]
    );
}

#[test]
fn a_connection_is_granted_by_its_name_or_by_its_address() {
    let names: [(&str, &[&str]); 3] =
        [("api.example.com", &["1.2.3.4", "1.2.3.5"]), ("nas.lan", &["10.0.0.5"]), ("nobody.lan", &[])];
    let mut uses = connected(&[
        "1.2.3.5:443",
        "10.0.0.5:80",
        "10.0.0.6:80",
        "127.0.0.1:5432",
        "0.0.0.0:9",
        "9.9.9.9:53",
    ]);
    uses.push(Use::Datagram("8.8.8.8:123".parse().unwrap()));
    let learned = learned(&uses, &names);
    assert_eq!(
        granted(&learned),
        ["api.example.com:443", "9.9.9.9:53", "10.0.0.5:80", "10.0.0.6:80", "127.0.0.1:9", "127.0.0.1:5432"]
    );
    assert_eq!(
        remarks(&learned),
        [
            "sends datagrams to 8.8.8.8:123: they go nowhere in a sandbox",
            "finds 10.0.0.5 by the name 'nas.lan', which will be refused, for it leads to this host or its network: let it \
             use the address",
            "connects to 9.9.9.9:53 by no name that was seen: if it has one, grant that instead",
        ]
    );
}

#[test]
fn a_name_that_leads_elsewhere_by_now_is_known_where_there_is_one_only() {
    let uses = connected(&["1.2.3.4:443"]);
    let one: [(&str, &[&str]); 1] = [("cdn.example.com", &["5.6.7.8"])];
    assert_eq!(granted(&learned(&uses, &one)), ["cdn.example.com:443"]);
    let two: [(&str, &[&str]); 2] = [one[0], ("www.example.com", &["5.6.7.9"])];
    assert_eq!(granted(&learned(&uses, &two)), ["1.2.3.4:443"]);
}

#[test]
fn another_services_port_is_granted_by_its_name() {
    let found = learned(&connected(&["127.0.0.1:6379"]), &[]);
    assert_eq!(granted(&found), ["db:6379"]);
    assert_eq!(
        remarks(&found),
        ["connects to 127.0.0.1:6379, a port of 'db': let it use the name 'db', which is known in a sandbox"]
    );
    for name in ["db", "db.example.com"] {
        let found = learned(&[Use::Lookup(name.into())], &[(name, &[])]);
        assert_eq!(granted(&found), ["db:6379"], "{name}");
    }
    let elsewhere = learned(&[Use::Lookup("db.example.com".into())], &[("db.example.com", &["1.2.3.4"])]);
    assert_eq!(granted(&elsewhere), Vec::<String>::new());
}

#[test]
fn its_own_ports_are_listened_on_and_need_no_connection() {
    let mut uses = connected(&["127.0.0.1:80"]);
    uses.push(Use::Listen(80));
    let learned = learned(&uses, &[]);
    assert_eq!((granted(&learned), learned.permissions.net.listen), (Vec::new(), [80].into()));
}

#[test]
fn processes_calls_and_events_are_granted() {
    let db = || ServiceName::parse("db").unwrap();
    let web = ServiceName::parse("web").unwrap();
    let learned = learned(
        &[
            Use::Process,
            Use::Call { service: db(), method: "get".into() },
            Use::Call { service: web, method: "own".into() },
            Use::Emit { service: db(), event: "done".into() },
            Use::Hear { service: db(), event: "stock.changed".into() },
        ],
        &[],
    );
    assert!(learned.permissions.subprocess);
    let patterns = |name: &str| BTreeSet::from([name.parse::<Pattern>().unwrap()]);
    let expected =
        ServiceGrants { call: patterns("get"), emit: patterns("done"), hear: patterns("stock.changed") };
    assert_eq!(learned.permissions.services, BTreeMap::from([(db(), expected)]));
}
