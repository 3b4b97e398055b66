//! Programs as people write them run in the strict sandbox, each with a short block of permissions.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::http::{free_port, get};
use crate::support::{TestProject, missing};

/// A folder with express from npm, installed once for all runs; none where that cannot be had.
fn express() -> Option<&'static PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(install_express).as_ref()
}

fn install_express() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("express");
    std::fs::create_dir_all(&folder).ok()?;
    if !folder.join("node_modules/express/package.json").exists() {
        let install = ["install", "--no-audit", "--no-fund", "--silent", "express@5"];
        let installed = Command::new("npm").args(install).current_dir(&folder).output();
        if !installed.is_ok_and(|output| output.status.success()) {
            println!("skipped: an express server, because npm cannot install it here");
            return None;
        }
    }
    std::fs::write(
        folder.join("main.cjs"),
        "const express = require('express');\nconst app = express();\napp.use(express.json());\n\
         app.get('/', (request, response) => response.send('ready'));\n\
         app.post('/sum', (request, response) => response.json({ sum: request.body.reduce((a, b) => a + b, 0) }));\n\
         let server;\nexports.start = () => new Promise((up) => { server = app.listen(process.env.PORT ?? 8080, '127.0.0.1', up); });\n\
         exports.close = () => new Promise((down) => server.close(down));\n",
    )
    .ok()?;
    Some(folder)
}

#[test]
fn an_express_server_serves_another_service() {
    if missing("node", "an express server") || missing("npm", "an express server") {
        return;
    }
    let Some(folder) = express() else { return };
    let project = TestProject::new(&format!(
        "  web:
    runtime: node
    code: {}
    ready: {{ http: 8080/ }}
  client:
    runtime: node
    kind: job
    depends_on: [web]
    permissions: {{ net: {{ connect: ['web:8080'] }} }}
    code: |
      const body = JSON.stringify([1, 2, 39]);
      const headers = {{ 'content-type': 'application/json' }};
      const answer = await fetch('http://web:8080/sum', {{ method: 'POST', headers, body }});
      console.log('sum', (await answer.json()).sum);
",
        folder.display()
    ));
    let mut up = project.up();
    up.wait_for("client-1 | sum 42");
    up.wait_for("client closed: completed");
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn an_express_server_is_given_the_socket_that_it_asks_for() {
    if missing("node", "an express server") || missing("npm", "an express server") {
        return;
    }
    let Some(folder) = express() else { return };
    let port = free_port();
    let project = TestProject::new(&format!(
        "  web: {{ runtime: node, code: {}, listen: {{ http: \"127.0.0.1:{port}\" }} }}\n",
        folder.display()
    ));
    let mut up = project.up();
    up.wait_for("web running");
    assert_eq!(get(port), (200, "ready".to_owned()));
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

/// A folder with uvicorn and gunicorn from PyPI, installed once for all runs; false where they cannot be had.
fn python_servers(folder: &Path) -> bool {
    let there = folder.join("gunicorn/__init__.py").exists() && folder.join("uvicorn/__init__.py").exists();
    let install = || {
        let pip = ["-m", "pip", "install", "--quiet", "--target"];
        Command::new("python3").args(pip).arg(folder).args(["uvicorn", "gunicorn"]).output()
    };
    there || install().is_ok_and(|output| output.status.success())
}

#[test]
fn python_servers_are_given_the_socket_by_its_descriptor() {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-servers");
    if missing("python3", "uvicorn and gunicorn") || !python_servers(&packages) {
        println!("skipped: uvicorn and gunicorn, because pip cannot install them here");
        return;
    }
    let app = "async def asgi(scope, receive, send):
    while scope['type'] == 'lifespan':
        message = await receive()
        await send({'type': message['type'] + '.complete'})
        if message['type'] == 'lifespan.shutdown':
            return
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'5')]})
    await send({'type': 'http.response.body', 'body': b'hello'})


def wsgi(environ, start_response):
    start_response('200 OK', [('Content-Length', '5')])
    return [b'hello']
";
    for command in ["uvicorn --fd 3 app:asgi", "gunicorn --worker-tmp-dir /tmp app:wsgi"] {
        let port = free_port();
        let project = TestProject::new("");
        let site = project.path().join("site");
        let copied = Command::new("cp").arg("-r").args([&packages, &site]).status();
        assert!(copied.is_ok_and(|status| status.success()), "the packages can be copied");
        project.write("site/app.py", app);
        let here = site.display();
        let services = format!(
            "  web:
    runtime: exec
    listen: {{ http: \"127.0.0.1:{port}\" }}
    permissions:
      fs: {{ read: [./site] }}
      subprocess: true
      env_unsafe: true
      env: {{ PYTHONPATH: '{here}', HOME: /tmp }}
    code: |
      #!/bin/sh
      exec python3 -m {command}
"
        );
        project.write("manifest.yaml", &format!("name: test\nservices:\n{services}"));
        let mut up = project.up();
        up.wait_for("web running");
        assert_eq!(get(port), (200, "hello".to_owned()), "{command}");
        up.interrupt();
        assert_eq!(up.end().0, Some(0), "{command}");
    }
}

#[test]
fn a_node_program_uses_worker_threads_and_files() {
    if missing("node", "worker threads") {
        return;
    }
    let project = TestProject::new(
        "  work:
    runtime: node
    kind: job
    permissions: { fs: { write: [./shared] } }
    code: |
      import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
      import { createHash } from 'node:crypto';
      import { appendFileSync, readFileSync } from 'node:fs';
      import { spawn } from 'node:child_process';
      const source = `const { parentPort, workerData } = require('node:worker_threads'); parentPort.postMessage(workerData * 2);`;
      const doubled = await Promise.all([1, 2, 3].map((n) => new Promise((done, failed) => {
        new Worker(source, { eval: true, workerData: n }).once('message', done).once('error', failed);
      })));
      console.log('doubled', doubled.join(' '), createHash('sha256').update('x').digest('hex').slice(0, 4));
      await new Promise((done) => spawn('true').once('error', (error) => { console.log('spawn', error.code); done(); }));
",
    );
    let folder = project.path().join("shared").canonicalize().expect("it is there");
    let manifest = std::fs::read_to_string(project.path().join("manifest.yaml")).expect("it is there");
    let file = folder.join("kept").display().to_string();
    project.write(
        "manifest.yaml",
        &format!(
            "{manifest}      appendFileSync('{file}', 'kept');\n      console.log(readFileSync('{file}', 'utf8'));\n"
        ),
    );
    let (code, text) = project.up().end();
    assert_eq!(code, Some(0), "{text}");
    for line in ["work-1 | doubled 2 4 6 2d71", "work-1 | spawn EACCES", "work-1 | kept"] {
        assert!(text.contains(line), "no '{line}' in {text}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("kept")).expect("it is there"), "kept");
}

#[test]
fn a_python_program_uses_threads_ssl_and_sqlite() {
    if missing("python3", "threads, ssl and sqlite") {
        return;
    }
    let project = TestProject::new(
        "  work:
    runtime: python
    kind: job
    permissions: { fs: { write: [./shared] } }
    code: |
      import concurrent.futures, sqlite3, ssl, subprocess, tempfile
      def start():
          with concurrent.futures.ThreadPoolExecutor(4) as pool: print('squares', sum(pool.map(lambda n: n * n, range(10))))
          print('ssl', ssl.create_default_context().verify_mode.name)
          with sqlite3.connect('FOLDER/db.sqlite') as db:
              db.execute('create table things (name text)')
              db.executemany('insert into things values (?)', [('a',), ('b',)])
              print('rows', db.execute('select count(*) from things').fetchone()[0])
          with tempfile.NamedTemporaryFile() as file: print('temporary', file.name.startswith('/tmp/'))
          try: subprocess.run(['true'])
          except PermissionError: print('no process')
",
    );
    let folder = project.path().join("shared").canonicalize().expect("it is there").display().to_string();
    let manifest = std::fs::read_to_string(project.path().join("manifest.yaml")).expect("it is there");
    project.write("manifest.yaml", &manifest.replace("FOLDER", &folder));
    let (code, text) = project.up().end();
    assert_eq!(code, Some(0), "{text}");
    for line in ["squares 285", "ssl CERT_REQUIRED", "rows 2", "temporary True", "no process"] {
        assert!(text.contains(&format!("work-1 | {line}\n")), "no '{line}' in {text}");
    }
}
