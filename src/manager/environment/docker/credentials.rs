//! [`credentials`]: how the user's `docker login` has left it: in Docker's configuration, or with a helper program that it
//! names.

use std::fs;
use std::process::Stdio;

use bollard::auth::DockerCredentials;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::address::docker_folder;

/// What Docker calls the registry that images without one come from.
const HUB: &str = "https://index.docker.io/v1/";

/// And what people call it.
const HUB_HOST: &str = "docker.io";

/// What a helper calls a user who has a token instead of a password.
const TOKEN: &str = "<token>";

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
    let both = String::from_utf8(decode(text("auth")?)?).ok()?;
    let (user, password) = both.split_once(':')?;
    Some(DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        identitytoken: text("identitytoken").map(ToOwned::to_owned),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    })
}

/// What is written in Base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let digits = four.iter().try_fold(0u32, |bits, byte| {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            Some(bits << 6 | u32::from(digit))
        })?;
        // Six bits a digit, and what is no whole byte is padding.
        let bits = digits << (6 * (4 - four.len()));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}

/// Asks the helper as Docker does: the registry in its input, the login in its output.
async fn of_helper(helper: &str, registry: &str) -> Option<DockerCredentials> {
    let mut asked = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    asked.stdin.take()?.write_all(registry.as_bytes()).await.ok()?;
    let answer = asked.wait_with_output().await.ok()?;
    of_answer(&answer.stdout, registry)
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
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba")]
        {
            assert_eq!(decode(text).unwrap(), bytes.as_bytes(), "{text}");
        }
        assert_eq!(decode("+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(decode("Z!=="), None);
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
