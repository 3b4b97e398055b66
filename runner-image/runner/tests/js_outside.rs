//! What a js service may do outside of its engine: `fs`, `fetch` and `secrets`, held to its grants, as root and as an
//! ordinary user.

#![expect(clippy::unwrap_used, reason = "the helpers of tests, too, may fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use orchestrator_port::bundle::{Entry, EntryPath};
use orchestrator_port::gateway::{LONGEST_PACKET, Relay};
use orchestrator_port::launch::{Confinement, Sandbox};
use orchestrator_port::message::control::{FromRemote, Order, Secret};
use orchestrator_sandbox::descriptors::{packet_pair, receive_packet, stream_pair};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::geteuid;
use support::{Booth, Controller, Rest, RunnerProcess, exited, nothing, runner, runner_as};
use tempfile::TempDir;

/// A user without any rights.
const NOBODY: u32 = 65534;

/// The users as whom the tests can run: this one, and nobody where this is root.
fn users() -> Vec<Option<u32>> {
    if geteuid().is_root() { vec![None, Some(NOBODY)] } else { vec![None] }
}

/// A runner that is ready for the code of a js service, with the gateway's end of its line.
struct Place {
    _booth: Booth,
    process: RunnerProcess,
    controller: Controller,
    gateway: OwnedFd,
}

impl Place {
    async fn new(confinement: Option<Confinement>, user: Option<u32>) -> Self {
        let booth = Booth::new();
        if let Some(user) = user {
            open_to_all(booth.folder.path());
            std::fs::set_permissions(booth.folder.path().join("port"), Permissions::from_mode(0o777))
                .unwrap();
            chown(&booth.root, Some(user), Some(user)).unwrap();
        }
        let ticket = booth.ticket_to(&booth.token, confinement);
        let (gateway, line) = packet_pair().unwrap();
        let host_end = booth.host_end.as_ref().unwrap();
        let descriptors = [ticket.as_fd(), host_end.as_fd(), line.as_fd()];
        let process = match user {
            Some(user) => runner_as(user, &["remote"], &descriptors),
            None => runner(&["remote"], &descriptors),
        };
        let (sender, receiver) = booth.accept().await;
        let mut controller = Controller { sender, receiver };
        let ready = controller.hear().await;
        assert!(matches!(ready, FromRemote::Ready { .. }), "{ready:?}");
        Self { _booth: booth, process, controller, gateway }
    }

    /// Begins a job with this code. A first line of `// BASE` names the manifest's folder.
    async fn begin(&mut self, code: &str, secrets: BTreeMap<String, Secret>) {
        let base = code.lines().next().and_then(|line| line.strip_prefix("// ")).unwrap_or_default();
        let bytes = Bytes::copy_from_slice(code.as_bytes());
        let path = EntryPath::parse("code/main.js").unwrap();
        self.controller.ship(&[Entry { path, executable: false, bytes }]).await;
        let order = Order {
            service: "web".into(),
            replica: 1,
            command: ["{runner}", "js-host", "{code}"].map(Into::into).into(),
            code: "code/main.js".into(),
            folder: "code".into(),
            base: base.into(),
            env: BTreeMap::from([("ORCHESTRATOR_KIND".into(), "job".into())]),
            secrets,
            ..Order::default()
        };
        self.controller.run(order).await;
    }

    async fn end(mut self) -> Rest {
        let rest = self.controller.rest().await;
        self.process.wait().await;
        rest
    }
}

/// What a job with this code prints; it must end well.
async fn outcome(confinement: &Confinement, user: Option<u32>, code: &str) -> String {
    let mut place = Place::new(Some(confinement.clone()), user).await;
    place.begin(code, BTreeMap::new()).await;
    printed(place.end().await)
}

fn printed(rest: Rest) -> String {
    assert_eq!(
        rest.messages.last(),
        Some(&exited(0)),
        "{:?} {}",
        rest.messages,
        String::from_utf8_lossy(&rest.stderr)
    );
    assert_eq!(rest.stderr, b"", "{}", String::from_utf8_lossy(&rest.stderr));
    String::from_utf8(rest.stdout).unwrap()
}

fn open_to_all(path: &Path) {
    let mode = if path.is_dir() { 0o777 } else { 0o666 };
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Folders `read`, `write` and `secret` with a file in each, which whoever gets there could read and write.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        // Not below /tmp, which is another one inside.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["read", "write", "secret"] {
            let place = folder.path().join(name);
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("file"), format!("{name}\n")).unwrap();
            open_to_all(&place);
            open_to_all(&place.join("file"));
        }
        Self(folder)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn confinement(&self, sandbox: Sandbox) -> Confinement {
        Confinement { read: vec![self.at("read")], write: vec![self.at("write")], ..nothing(sandbox) }
    }

    /// Code, after a constant `at` with the folder.
    fn code(&self, code: &str) -> String {
        let at = self.0.path().display();
        format!(
            "// {at}\nimport {{ fs, fetch, secrets }} from 'orchestrator';\nconst at = '{at}';\n\
             const tried = async (what) => {{ try {{ console.log(await what() ?? 'done'); }} \
             catch (error) {{ console.log(error.code, '-', String(error.message).replaceAll(at, 'AT')); }} }};\n{code}"
        )
    }
}

const SANDBOXES: [Sandbox; 2] = [Sandbox::Strict, Sandbox::Landlock];

#[tokio::test]
async fn granted_files_are_read_written_listed_looked_at_and_removed() {
    let code = "
        console.log(await fs.readText('./read/file'), (await fs.read(`${at}/read/file`))[0]);
        await fs.makeFolder(`${at}/write/made`);
        await fs.writeText(`${at}/write/made/text`, 'h\u{e9} \u{1f980}');
        await fs.write(`${at}/write/made/bytes`, new Uint8Array(70000).map((_, n) => n));
        const bytes = await fs.read(`${at}/write/made/../made/./bytes`);
        console.log(bytes instanceof Uint8Array, bytes.length, bytes.every((byte, n) => byte === n % 256));
        console.log(await fs.readText(`${at}/write/made/text`), await fs.list(`${at}/write`), await fs.list(`${at}/write/made`));
        const { kind, size, modified } = await fs.stat(`${at}/write/made/text`);
        console.log(kind, size, modified instanceof Date, (await fs.stat(`${at}/read`)).kind);
        await fs.writeText(`${at}/write/made/text`, 'less');
        console.log(await fs.readText(`${at}/write/made/text`));
        for (const name of ['text', 'bytes', '']) await fs.remove(`${at}/write/made/${name}`);
        console.log(await fs.list(`${at}/write`));
        await fs.writeText('/tmp/scratch', 'mine');
        console.log(await fs.list('/tmp'), await fs.readText('/tmp/scratch'), await fs.read('/tmp/scratch').then((b) => b.length));
        const all = await Promise.all(Array.from({ length: 100 }, () => fs.readText(`${at}/read/file`)));
        console.log(all.length, new Set(all).size);\n";
    let expected = "read\n 114\ntrue 70000 true\nh\u{e9} \u{1f980} [ 'file', 'made' ] [ 'bytes', 'text' ]\nfile 8 true folder\nless\n\
                    [ 'file' ]\n[ 'scratch' ] mine 4\n100 1\n";
    for sandbox in SANDBOXES {
        for user in users() {
            let files = Files::new();
            if let Some(user) = user {
                chown(files.at("write"), Some(user), Some(user)).unwrap();
            }
            let seen = outcome(&files.confinement(sandbox), user, &files.code(code)).await;
            assert_eq!(seen, expected, "{sandbox:?} as {user:?}");
            assert!(!files.at("write/made").exists());
        }
    }
}

#[tokio::test]
async fn what_is_not_granted_is_denied_with_the_line_that_would_allow_it() {
    let code = "
        await tried(() => fs.readText(`${at}/secret/file`));
        await tried(() => fs.readText(`${at}/read/../secret/file`));
        await tried(() => fs.list(at));
        await tried(() => fs.stat(`${at}/readable`));
        await tried(() => fs.writeText(`${at}/read/file`, 'changed'));
        await tried(() => fs.remove(`${at}/read/file`));
        await tried(() => fs.makeFolder(`${at}/read/new`));
        for (const path of ['/proc/self/environ', '/proc/1/root', '/run/secrets/pw', '/etc/passwd', '/service/code/main.js']) await tried(() => fs.readText(path));
        await tried(() => fs.readText('./secret/file'));
        await tried(() => fs.readText('../../etc/passwd'));
        await tried(() => fs.read(`/tmp/a\\0b`));
        await tried(() => fs.read(7));
        await tried(async () => secrets.get('other'));
        await tried(() => fetch('http://example.com/x'));
        await tried(() => fetch('https://example.com/x'));
        console.log(typeof globalThis.fetch);\n";
    let read = |path: &str| {
        format!(
            "denied - web may not read {path}; to allow it: services.web.permissions.fs.read: [\"{path}\"]\n"
        )
    };
    let write = |path: &str| {
        format!(
            "denied - web may not write {path}; to allow it: services.web.permissions.fs.write: [\"{path}\"]\n"
        )
    };
    let expected = [
        read("AT/secret/file"),
        read("AT/secret/file"),
        read("AT"),
        read("AT/readable"),
        write("AT/read/file"),
        write("AT/read/file"),
        write("AT/read/new"),
        read("/proc/self/environ"),
        read("/proc/1/root"),
        read("/run/secrets/pw"),
        read("/etc/passwd"),
        read("/service/code/main.js"),
        read("AT/secret/file"),
        read("/var/etc/passwd"),
        "EINVAL - '/tmp/a\0b' is no path\n".into(),
        "undefined - a path is a text, not number\n".into(),
        "denied - web may not read the secret 'other'; to allow it: services.web.permissions.secrets: \
         [{ name: other, file: PATH }]\n"
            .into(),
    ];
    let connect = |to: &str| {
        format!(
            "denied - web may not connect to {to}; to allow it: services.web.permissions.net.connect: [\"{to}\"]\n"
        )
    };
    let no_network = "denied - web has no network: fetch needs 'sandbox: strict'\n";
    for (sandbox, network) in [
        (Sandbox::Strict, [connect("example.com:80"), connect("example.com:443")]),
        (Sandbox::Landlock, [no_network.into(), no_network.into()]),
    ] {
        for user in users() {
            let files = Files::new();
            let seen = outcome(&files.confinement(sandbox), user, &files.code(code)).await;
            let expected = [expected.concat(), network.concat(), "undefined\n".into()].concat();
            assert_eq!(seen, expected, "{sandbox:?} as {user:?}");
            for name in ["read", "secret"] {
                assert_eq!(
                    std::fs::read_to_string(files.at(name).join("file")).unwrap(),
                    format!("{name}\n")
                );
            }
        }
    }
}

#[tokio::test]
async fn no_link_leads_out_and_nothing_but_files_is_opened() {
    let code = "
        for (const name of ['link', 'folder/file', 'magic', 'pipe', 'made', 'missing', 'file/below']) await tried(() => fs.readText(`${at}/write/${name}`));
        for (const name of ['link', 'folder/new', 'pipe', 'made']) await tried(() => fs.writeText(`${at}/write/${name}`, 'x'));
        await tried(() => fs.list(`${at}/write/folder`));
        await tried(async () => (await fs.stat(`${at}/write/link`)).kind);
        await tried(() => fs.remove(`${at}/write/link`));
        await tried(() => fs.remove(`${at}/write/made`));
        await tried(() => fs.remove(`${at}/write`));
        await tried(() => fs.makeFolder(`${at}/write/made`));\n";
    let link = |verb: &str, path: &str| {
        format!("ELOOP - cannot {verb} 'AT/write/{path}': a symbolic link is on the way\n")
    };
    let expected = [
        link("read", "link"),
        link("read", "folder/file"),
        link("read", "magic"),
        "EISDIR - cannot read 'AT/write/pipe': it is no file\n".into(),
        "EISDIR - cannot read 'AT/write/made': it is no file\n".into(),
        "ENOENT - cannot read 'AT/write/missing': No such file or directory (os error 2)\n".into(),
        "ENOTDIR - cannot read 'AT/write/file/below': Not a directory (os error 20)\n".into(),
        link("write", "link"),
        link("write", "folder/new"),
        "ENXIO - cannot write 'AT/write/pipe': No such device or address (os error 6)\n".into(),
        "EISDIR - cannot write 'AT/write/made': Is a directory (os error 21)\n".into(),
        link("list", "folder"),
        "link\n".into(),
        "done\n".into(),
        "ENOTEMPTY - cannot remove 'AT/write/made': Directory not empty (os error 39)\n".into(),
        "EBUSY - cannot remove 'AT/write': it is in use, or what was granted itself\n".into(),
        "EEXIST - cannot make 'AT/write/made': File exists (os error 17)\n".into(),
    ]
    .concat();
    for sandbox in SANDBOXES {
        for user in users() {
            let files = Files::new();
            symlink(files.at("secret/file"), files.at("write/link")).unwrap();
            symlink(files.at("secret"), files.at("write/folder")).unwrap();
            symlink("/proc/self/environ", files.at("write/magic")).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                files.at("write/pipe"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o666),
                0,
            )
            .unwrap();
            open_pipe(&files.at("write/pipe"));
            std::fs::create_dir_all(files.at("write/made/full")).unwrap();
            if let Some(user) = user {
                chown(files.at("write"), Some(user), Some(user)).unwrap();
            }
            let seen = outcome(&files.confinement(sandbox), user, &files.code(code)).await;
            assert_eq!(seen, expected, "{sandbox:?} as {user:?}");
            assert_eq!(std::fs::read_to_string(files.at("secret/file")).unwrap(), "secret\n");
        }
    }
}

fn open_pipe(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
}

#[tokio::test]
async fn a_single_file_is_granted_alone_and_the_nearest_grant_decides() {
    let code = "
        await tried(() => fs.readText(`${at}/read/file`));
        await tried(() => fs.readText(`${at}/read/other`));
        await tried(() => fs.readText(`${at}/read/file/x`));
        await tried(() => fs.remove(`${at}/write/inner`));
        await tried(() => fs.writeText(`${at}/write/inner/new`, 'x'));
        await tried(() => fs.writeText(`${at}/write/new`, 'x'));\n";
    for sandbox in SANDBOXES {
        for user in users() {
            let files = Files::new();
            std::fs::write(files.at("read/other"), "other").unwrap();
            open_to_all(&files.at("read/other"));
            std::fs::create_dir(files.at("write/inner")).unwrap();
            if let Some(user) = user {
                chown(files.at("write"), Some(user), Some(user)).unwrap();
            }
            let confinement = Confinement {
                read: vec![files.at("read/file"), files.at("write/inner")],
                write: vec![files.at("write")],
                ..nothing(sandbox)
            };
            let seen = outcome(&confinement, user, &files.code(code)).await;
            let denied = |verb: &str, path: &str| {
                format!(
                    "denied - web may not {verb} AT/{path}; to allow it: services.web.permissions.fs.{verb}: [\"AT/{path}\"]\n"
                )
            };
            let expected = [
                "read\n\n".into(),
                denied("read", "read/other"),
                denied("read", "read/file/x"),
                denied("write", "write/inner"),
                denied("write", "write/inner/new"),
                "done\n".into(),
            ];
            assert_eq!(seen, expected.concat(), "{sandbox:?} as {user:?}");
        }
    }
}

#[tokio::test]
async fn a_secret_is_read_by_its_name() {
    for sandbox in SANDBOXES {
        for user in users() {
            let mut place = Place::new(Some(nothing(sandbox)), user).await;
            let secrets = BTreeMap::from([
                ("pw".into(), Secret(b"s3cret".into())),
                ("key".into(), Secret(b"\xff\x00".into())),
            ]);
            let code = Files::new().code(
                "await tried(async () => secrets.get('pw')); await tried(async () => secrets.get('key'));\n\
                 await tried(async () => secrets.get('toString'));\n",
            );
            place.begin(&code, secrets).await;
            let expected = "s3cret\nEINVAL - the secret 'key' is no text in UTF-8\n\
                            denied - web may not read the secret 'toString'; to allow it: services.web.permissions.secrets: \
                            [{ name: toString, file: PATH }]\n";
            assert_eq!(printed(place.end().await), expected, "{sandbox:?} as {user:?}");
        }
    }
}

/// The next connection that the runner hands to the gateway, with what it says about it.
fn accept(gateway: &OwnedFd) -> (TcpStream, String) {
    poll(&mut [PollFd::new(gateway, PollFlags::IN)], None).unwrap();
    let packet = receive_packet(gateway, LONGEST_PACKET).unwrap().unwrap();
    let stream = TcpStream::from(packet.descriptors.into_iter().next().unwrap());
    stream.set_nonblocking(false).unwrap();
    (stream, String::from_utf8(packet.bytes).unwrap())
}

/// Reads a request; where the connection ends before, what was heard of it.
fn hear(stream: &mut TcpStream) -> String {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                return text;
            }
        }
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => request.extend_from_slice(&chunk[..count]),
            _ => return text,
        }
    }
}

/// Answers the next request; answers with it, after what the runner says about its connection.
fn meet(gateway: &OwnedFd, answer: &[u8]) -> String {
    let (mut stream, said) = accept(gateway);
    let request = hear(&mut stream);
    // Who has heard enough hangs up.
    let _ = stream.write_all(answer);
    format!("{said}\n{request}")
}

fn networked() -> Confinement {
    let relay =
        |last, port, to: &str| Relay { address: Ipv4Addr::new(127, 1, 0, last).into(), port, to: to.into() };
    let relays = vec![relay(2, 80, "db:80"), relay(3, 8443, "api.example.com:8443")];
    Confinement { network: true, relays, ..nothing(Sandbox::Strict) }
}

/// A job whose connections are met one after the other, with what it prints.
async fn fetching(user: Option<u32>, code: &str, answers: Vec<Vec<u8>>) -> (String, Vec<String>) {
    let mut place = Place::new(Some(networked()), user).await;
    place.begin(&Files::new().code(code), BTreeMap::new()).await;
    let gateway = place.gateway.try_clone().unwrap();
    let met = tokio::task::spawn_blocking(move || {
        answers.iter().map(|bytes| meet(&gateway, bytes)).collect::<Vec<_>>()
    });
    let printed = printed(place.end().await);
    (printed, met.await.unwrap())
}

#[tokio::test]
async fn a_granted_host_is_asked_over_its_relay() {
    let code = "
        const one = await fetch('http://db/level?sku=a%20b#top');
        console.log(one.status, one.ok, one.url, one.headers.get('X-Kind'), one.headers.has('x-none'), await one.text());
        const two = await globalThis.fetch(new URL('http://DB:80/set'), { method: 'post', headers: { 'X-Who': 'web' }, body: JSON.stringify({ n: 1 }) });
        console.log(two.status, two.ok, JSON.stringify(await two.json()), (await two.bytes()).length, [...two.headers.keys()].join());\n";
    for user in users() {
        let answers = vec![
            b"HTTP/1.1 404 Not Found\r\nX-Kind: a\r\nx-kind: b\r\ncontent-length: 4\r\n\r\nnone".to_vec(),
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n".to_vec(),
        ];
        let (printed, met) = fetching(user, code, answers).await;
        let expected = "404 false http://db/level?sku=a%20b#top a, b false none\n\
                        200 true {\"a\":1} 7 content-type,transfer-encoding\n";
        assert_eq!(printed, expected, "as {user:?}");
        let open = r#"{"type":"open","to":"db:80"}"#;
        assert_eq!(
            met,
            [
                format!(
                    "{open}\nGET /level?sku=a%20b HTTP/1.1\r\nuser-agent: orchestrator\r\naccept: */*\r\nhost: db\r\n\r\n"
                ),
                format!(
                    "{open}\nPOST /set HTTP/1.1\r\nuser-agent: orchestrator\r\naccept: */*\r\nx-who: web\r\n\
                     content-type: text/plain;charset=UTF-8\r\nhost: db\r\ncontent-length: 7\r\n\r\n{{\"n\":1}}"
                ),
            ],
            "as {user:?}"
        );
    }
}

#[tokio::test]
async fn the_documented_service_is_one() {
    for user in users() {
        let files = Files::new();
        std::fs::rename(files.at("read"), files.at("assets")).unwrap();
        std::fs::rename(files.at("write"), files.at("state")).unwrap();
        std::fs::write(files.at("assets/shop.json"), "{\"currency\":\"EUR\"}").unwrap();
        open_to_all(&files.at("assets/shop.json"));
        if let Some(user) = user {
            chown(files.at("state"), Some(user), Some(user)).unwrap();
        }
        let address = Ipv4Addr::new(127, 1, 0, 2).into();
        let confinement = Confinement {
            read: vec![files.at("assets")],
            write: vec![files.at("state")],
            relays: vec![Relay { address, port: 80, to: "rates:80".into() }],
            ..networked()
        };
        let mut place = Place::new(Some(confinement), user).await;
        let code = include_str!("conformance/documented/outside.js");
        let code = format!("// {}\n{code}", files.0.path().display());
        place.begin(&code, BTreeMap::from([("token".into(), Secret(b"t0ken".into()))])).await;
        let gateway = place.gateway.try_clone().unwrap();
        let met = tokio::task::spawn_blocking(move || {
            meet(&gateway, b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"USD\":1.1}")
        });
        assert_eq!(printed(place.end().await), "INFO rates are here currency=EUR\n", "as {user:?}");
        let met = met.await.unwrap();
        assert!(
            met.contains("GET /of/EUR HTTP/1.1\r\n") && met.contains("authorization: Bearer t0ken\r\n"),
            "{met}"
        );
        assert_eq!(std::fs::read_to_string(files.at("state/rates.json")).unwrap(), "{\"USD\":1.1}");
    }
}

#[tokio::test]
async fn what_a_request_may_not_hold_and_an_answer_may_not_be_is_said() {
    let code = "
        await tried(() => fetch('http://db:81/'));
        await tried(() => fetch('http://127.1.0.2/'));
        await tried(() => fetch('http://user:pw@db/'));
        await tried(() => fetch('ftp://db/'));
        await tried(() => fetch('db'));
        await tried(() => fetch('http://db/', { headers: { Host: 'other' } }));
        await tried(() => fetch('http://db/', { headers: { 'X-A': 'a\\r\\nHost: other' } }));
        await tried(() => fetch('http://db/', { method: 'CONNECT' }));
        await tried(() => fetch('http://db/', { body: 'x' }));
        await tried(() => fetch('http://db/', { signal: AbortSignal.abort(new Error('no more')) }));
        await tried(() => fetch('http://db/garbage'));
        await tried(() => fetch('http://db/half'));
        await tried(() => fetch('https://api.example.com:8443/'));
        const moved = await fetch('http://db/moved');
        console.log(moved.status, moved.headers.get('location'));
        await tried(() => fetch('http://db/moved', { redirect: 'follow', headers: { Authorization: 'mine' } }));
        await tried(async () => (await fetch('http://db/there', { redirect: 'follow' })).text());\n";
    let moved = b"HTTP/1.1 302 Found\r\nlocation: http://other/\r\ncontent-length: 0\r\n\r\n".to_vec();
    let there = b"HTTP/1.1 303 See Other\r\nlocation: here\r\ncontent-length: 0\r\n\r\n".to_vec();
    for user in users() {
        let answers =
            [b"SSH-2.0-OpenSSH\r\n".to_vec(), b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()];
        let rest = [moved.clone(), moved.clone(), there.clone(), b"HTTP/1.1 200 OK\r\n\r\nhere".to_vec()];
        let mut place = Place::new(Some(networked()), user).await;
        place.begin(&Files::new().code(code), BTreeMap::new()).await;
        let gateway = place.gateway.try_clone().unwrap();
        let met = tokio::task::spawn_blocking(move || {
            let mut met: Vec<_> = answers.iter().map(|bytes| meet(&gateway, bytes)).collect();
            refuse_tls(&gateway);
            met.extend(rest.iter().map(|bytes| meet(&gateway, bytes)));
            met
        });
        let connect = |to: &str| {
            format!(
                "denied - web may not connect to {to}; to allow it: services.web.permissions.net.connect: [\"{to}\"]\n"
            )
        };
        let expected = [
            connect("db:81"),
            connect("127.1.0.2:80"),
            "EINVAL - cannot fetch http://user:pw@db/: a name and a password belong into the header 'authorization'\n".into(),
            "EINVAL - cannot fetch ftp://db/: only http: and https: are understood\n".into(),
            "EINVAL - 'db' is no URL: relative URL without a base\n".into(),
            "EINVAL - the header 'host' is not the service's to set\n".into(),
            "EINVAL - the header 'x-a' is none, or its value has a character that none may have\n".into(),
            "EINVAL - 'CONNECT' is no method to fetch with\n".into(),
            "undefined - fetch: GET has no body\n".into(),
            "undefined - no more\n".into(),
            "http - cannot fetch from db:80: invalid HTTP version parsed\n".into(),
            "ECONNRESET - cannot fetch from db:80: end of file before message length reached ('orchestrator events' tells more)\n".into(),
            "tls - cannot fetch from api.example.com:8443: received corrupt message of type InvalidContentType\n".into(),
            "302 http://other/\n".into(),
            connect("other:80"),
            "here\n".into(),
        ];
        assert_eq!(printed(place.end().await), expected.concat(), "as {user:?}");
        let met = met.await.unwrap();
        assert!(met[5].contains("GET /here HTTP/1.1"), "{}", met[5]);
    }
}

/// Answers a greeting of TLS in HTTP, as a server does that was named with the wrong scheme.
fn refuse_tls(gateway: &OwnedFd) {
    let (mut stream, _) = accept(gateway);
    let mut hello = [0; 4096];
    let count = stream.read(&mut hello).unwrap();
    assert_eq!(hello[0], 22, "a handshake");
    assert!(hello[..count].windows(15).any(|window| window == b"api.example.com"), "it names the host");
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
}

#[tokio::test]
async fn a_request_that_is_aborted_is_over_and_others_go_on() {
    let code = "
        const controller = new AbortController();
        const never = fetch('http://db/never', { signal: controller.signal });
        setTimeout(() => controller.abort(), 1);
        await tried(() => never);
        await tried(async () => (await fetch('http://db/next')).text());\n";
    for user in users() {
        let mut place = Place::new(Some(networked()), user).await;
        place.begin(&Files::new().code(code), BTreeMap::new()).await;
        let gateway = place.gateway.try_clone().unwrap();
        let met = tokio::task::spawn_blocking(move || {
            // Held open, so that only the service ends the first one. Whether it is seen at all is a matter of time.
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = accept(&gateway);
                if hear(&mut stream).contains("/next") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext");
                    return;
                }
                held.push(stream);
            }
        });
        assert_eq!(printed(place.end().await), "20 - the operation was aborted\nnext\n", "as {user:?}");
        met.await.unwrap();
    }
}

#[tokio::test]
async fn without_a_sandbox_files_are_those_of_the_user() {
    let files = Files::new();
    let mut place = Place::new(None, None).await;
    let code = files.code(
        "await tried(() => fs.readText(`${at}/secret/file`)); await fs.writeText(`${at}/write/x`, 'x');\n\
         await tried(() => fs.list(`${at}/write`)); await tried(() => fetch('http://db/'));",
    );
    place.begin(&code, BTreeMap::new()).await;
    let expected = "secret\n\n[ 'file', 'x' ]\ndenied - web has no network: fetch needs 'sandbox: strict'\n";
    assert_eq!(printed(place.end().await), expected);
}

#[tokio::test]
async fn an_answer_for_which_the_heap_has_no_room_is_an_error_that_can_be_caught() {
    let files = Files::new();
    std::fs::write(files.at("read/large"), vec![b'x'; 65 << 20]).unwrap();
    std::fs::write(files.at("read/fitting"), vec![b'x'; 64 << 20]).unwrap();
    for name in ["read/large", "read/fitting"] {
        open_to_all(&files.at(name));
    }
    let code = "
        await tried(() => fs.read(`${at}/read/large`));
        await tried(async () => (await fs.read(`${at}/read/fitting`)).length);
        await tried(() => fs.write(`${at}/read/large`, new Uint8Array(1)));\n";
    let seen = outcome(&files.confinement(Sandbox::Strict), None, &files.code(code)).await;
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("limit - cannot read 'AT/read/large': it is longer than 64 MiB"));
    assert_eq!(lines.next(), Some("limit - there is no room in the heap for what came back"));
    assert!(lines.next().unwrap().starts_with("denied - "));
}

/// `js-io` alone, as a js process that has been taken over would find it.
fn js_io() -> (RunnerProcess, UnixStream) {
    let grants =
        r#"{"service":"web","base":"","scratch":"/tmp","read":[],"write":[],"network":{"relays":[]}}"#;
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(grants.as_bytes()).unwrap();
    drop(writer);
    let (ours, theirs) = stream_pair().unwrap();
    (runner(&["js-io"], &[reader.as_fd(), theirs.as_fd()]), ours.into())
}

#[tokio::test]
async fn who_breaks_the_rules_is_not_answered_any_more() {
    let ask = |id: u64, what: &str| format!("{{\"id\":{id},\"payload\":0,\"what\":{what}}}\n");
    let fetch = r#"{"do":"fetch","method":"GET","url":"http://x/","headers":[]}"#;
    let many: String = (0..10_000).map(|id| ask(id, fetch)).collect();
    for wrong in [
        "hello\n".to_owned(),
        "x".repeat((1 << 20) + 1),
        ask(1, r#"{"do":"read","path":"/a","payload":9}"#),
        "{\"id\":1,\"payload\":67108865,\"what\":{\"do\":\"write\",\"path\":\"/a\"}}\n".to_owned(),
        many,
    ] {
        let (process, mut socket) = js_io();
        // It may have hung up before it has read all of it.
        let _ = socket.write_all(wrong.as_bytes());
        assert_eq!(process.wait().await, Some(1), "{}", &wrong[..wrong.len().min(80)]);
    }
    let (process, socket) = js_io();
    drop(socket);
    assert_eq!(process.wait().await, Some(0));
}

#[tokio::test]
async fn a_service_that_has_lost_it_ends() {
    for user in users() {
        let mut place = Place::new(Some(nothing(Sandbox::Strict)), user).await;
        let code = "import { fs } from 'orchestrator';\nawait fs.writeText('/tmp/x', 'x');\nconsole.log('asked');\nawait new Promise((done) => setTimeout(done, 1e8));\n";
        place.begin(code, BTreeMap::new()).await;
        assert_eq!(place.controller.line().await, "asked");
        let below = orchestrator_sandbox::tree::descendants(place.process.pid());
        let shown = |pid: &orchestrator_sandbox::Pid| {
            std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default()
        };
        let js_io = *below.iter().find(|pid| shown(pid).contains("js-io")).unwrap();
        rustix::process::kill_process(js_io, rustix::process::Signal::KILL).unwrap();
        let rest = place.end().await;
        let error = "what opens files and connections for the service has ended: signal 9".to_owned();
        assert_eq!(rest.messages, [FromRemote::Broken { error }], "as {user:?}");
    }
}

#[tokio::test]
async fn a_service_that_asks_for_nothing_has_no_second_process() {
    let mut place = Place::new(Some(nothing(Sandbox::Strict)), None).await;
    place
        .begin("console.log('up');\nawait new Promise((done) => setTimeout(done, 1e8));\n", BTreeMap::new())
        .await;
    assert_eq!(place.controller.line().await, "up");
    let below = orchestrator_sandbox::tree::descendants(place.process.pid());
    // The first process of the namespace, and the service's.
    assert_eq!(below.len(), 2, "{below:?}");
}

#[tokio::test]
async fn what_is_denied_is_told_once_even_where_the_service_catches_it() {
    let code = "
        for (let n = 0; n < 3; n += 1) await tried(() => fs.readText('/srv/a'));
        await tried(() => fetch('http://x/'));
        await tried(() => fs.readText('/srv/\\n/b'));
        for (let n = 0; n < 100; n += 1) await tried(() => fs.readText(`/srv/${n}`));
        await tried(() => fs.readText('/' + 'x'.repeat(5000)));\n";
    let mut place = Place::new(Some(nothing(Sandbox::Strict)), None).await;
    place.begin(&Files::new().code(code), BTreeMap::new()).await;
    let rest = place.end().await;
    let told: Vec<_> = rest
        .messages
        .iter()
        .filter_map(|message| match message {
            FromRemote::Refused { what } => Some(what.as_str()),
            _ => None,
        })
        .collect();
    let read = |path: &str| {
        format!("may not read {path}; to allow it: services.web.permissions.fs.read: [\"{path}\"]")
    };
    assert_eq!(told[0], read("/srv/a"));
    let connect = "may not connect to x:80; to allow it: services.web.permissions.net.connect: [\"x:80\"]";
    assert_eq!(told[1], connect);
    assert_eq!(told[2], read("/srv/\u{fffd}/b"));
    assert_eq!(told[3], read("/srv/0"));
    assert_eq!(told.len(), 64);
}
