//! [`credentials`]: how the user's `docker login` has left it: in Docker's configuration, or with a helper program that it
//! names.

use std::fs;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use data_encoding::BASE64;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::address::docker_folder;

/// What Docker calls the registry that images without one come from.
const HUB: &str = "https://index.docker.io/v1/";

/// And what people call it.
const HUB_HOST: &str = "docker.io";

/// What a helper calls a user who has a token instead of a password.
const TOKEN: &str = "<token>";

/// How long a helper may take: it may have to ask somebody else.
const HELPER_LIMIT: Duration = Duration::from_secs(30);

/// The user's login at the registry of an image; none where there is none, or it cannot be had: the registry will say what
/// it misses.
pub(super) async fn credentials(image: &str) -> Option<DockerCredentials> {
    let text = fs::read(docker_folder()?.join("config.json")).ok()?;
    let config: Value = serde_json::from_slice(&text).ok()?;
    let registry = registry(image);
    let helper = config["credHelpers"][registry].as_str().or(config["credsStore"].as_str());
    match helper {
        Some(helper) => of_helper(helper, registry).await,
        None => in_file(&config, registry),
    }
}

/// The registry of an image, as `docker login` keeps it.
fn registry(image: &str) -> &str {
    match host(image) {
        HUB_HOST => HUB,
        host => host,
    }
}

/// The registry of an image, as people call it: the name's first part, where that is a host.
pub(super) fn host(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB_HOST,
    }
}

fn in_file(config: &Value, registry: &str) -> Option<DockerCredentials> {
    let login = &config["auths"][registry];
    let text = |key: &str| login[key].as_str().filter(|text| !text.is_empty());
    // Both in one, as a browser would send them.
    let both = String::from_utf8(BASE64.decode(text("auth")?.as_bytes()).ok()?).ok()?;
    let (user, password) = both.split_once(':')?;
    Some(DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        identitytoken: text("identitytoken").map(ToOwned::to_owned),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    })
}

/// What a helper program answers; none where it has no login, or cannot be asked, which is told: the registry will only
/// say that there is none.
async fn of_helper(helper: &str, registry: &str) -> Option<DockerCredentials> {
    let program = format!("docker-credential-{helper}");
    let why = match timeout(HELPER_LIMIT, ask(&program, registry)).await {
        Ok(Ok(answer)) => return of_answer(&answer, registry),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it has not answered within {} s", HELPER_LIMIT.as_secs()),
    };
    tracing::warn!(program, why, "the program that keeps logins cannot be asked");
    None
}

/// Asks it as Docker does: the registry in its input, the login in its output.
async fn ask(program: &str, registry: &str) -> io::Result<Vec<u8>> {
    let mut asked = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = asked.stdin.take() {
        input.write_all(registry.as_bytes()).await?;
    }
    Ok(asked.wait_with_output().await?.stdout)
}

fn of_answer(answer: &[u8], registry: &str) -> Option<DockerCredentials> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let (user, secret) = (answer["Username"].as_str()?.to_owned(), answer["Secret"].as_str()?.to_owned());
    let serveraddress = Some(registry.to_owned());
    if user == TOKEN {
        return Some(DockerCredentials {
            identitytoken: Some(secret),
            serveraddress,
            ..DockerCredentials::default()
        });
    }
    Some(DockerCredentials {
        username: Some(user),
        password: Some(secret),
        serveraddress,
        ..DockerCredentials::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_found_by_the_registry_of_the_image() {
        assert_eq!(registry("redis:7"), HUB);
        assert_eq!(registry("team/app"), HUB);
        assert_eq!(registry("docker.io/team/app"), HUB);
        assert_eq!(registry("localhost/app"), "localhost");
        assert_eq!(registry("example.com:5000/team/app:1"), "example.com:5000");
        let config = serde_json::json!({ "auths": { "example.com": { "auth": "dTpw" }, "empty.com": {} } });
        let login = in_file(&config, "example.com").unwrap();
        assert_eq!((login.username.as_deref(), login.password.as_deref()), (Some("u"), Some("p")));
        assert!(in_file(&config, "empty.com").is_none() && in_file(&config, HUB).is_none());
    }

    #[test]
    fn a_helpers_answer_is_a_login_or_a_token() {
        let login = of_answer(br#"{"ServerURL":"x","Username":"u","Secret":"p"}"#, "x").unwrap();
        assert_eq!((login.username.as_deref(), login.password.as_deref()), (Some("u"), Some("p")));
        let token = of_answer(br#"{"Username":"<token>","Secret":"t"}"#, "x").unwrap();
        assert_eq!((token.username, token.identitytoken.as_deref()), (None, Some("t")));
        assert!(of_answer(b"credentials not found", "x").is_none());
    }
}
