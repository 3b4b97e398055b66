//! [`post`]: sends a webhook what has happened. Over `https`, who answers is known by the web's roots, which are compiled in.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use orchestrator_core::giving_up::Facts;
use orchestrator_core::manifest::Webhook;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::service_container::chain;

/// Posts the facts, and waits for a status that says yes.
///
/// # Errors
/// What failed, as a sentence that begins with the webhook; also where it takes longer than `limit`.
pub(crate) async fn post(webhook: &Webhook, facts: &Facts, limit: Duration) -> Result<(), String> {
    match timeout(limit, connect_and_exchange(webhook, facts)).await {
        Ok(answered) => answered.map_err(|why| format!("{webhook} {why}")),
        Err(_) => Err(format!("{webhook} did not answer within {} s", limit.as_secs())),
    }
}

async fn connect_and_exchange(webhook: &Webhook, facts: &Facts) -> Result<(), String> {
    let stream =
        TcpStream::connect((name(webhook), webhook.port)).await.map_err(|error| unreachable(&error))?;
    if webhook.tls {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        exchange(secured(stream, webhook, roots).await?, webhook, facts).await
    } else {
        exchange(stream, webhook, facts).await
    }
}

/// The host, as it is looked up and as its certificate has it.
fn name(webhook: &Webhook) -> &str {
    webhook.host.trim_matches(['[', ']'])
}

async fn secured(
    stream: TcpStream,
    webhook: &Webhook,
    roots: RootCertStore,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, String> {
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unreachable(&error))?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name(webhook).to_owned()).map_err(|error| unreachable(&error))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| unreachable(&error))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    webhook: &Webhook,
    facts: &Facts,
) -> Result<(), String> {
    let hung_up = |error: &dyn Error| format!("did not answer: {}", chain(error));
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| hung_up(&error))?;
    let body = serde_json::to_vec(facts).map_err(|error| hung_up(&error))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(&webhook.path)
        .header("host", format!("{}:{}", webhook.host, webhook.port))
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| hung_up(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| hung_up(&error))?;
        if response.status().is_success() { Ok(()) } else { Err(format!("answered {}", response.status())) }
    };
    // The connection ends with this: nobody wants the answer's body. Where it ends first, the answer may have come before.
    let mut answer = pin!(answer);
    tokio::select! {
        answered = &mut answer => answered,
        _ = connection => answer.await,
    }
}

fn unreachable(error: &dyn Error) -> String {
    format!("cannot be reached: {}", chain(error))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    /// For `api.example.com`, signed by itself, for a hundred years; nobody trusts it but who is told to.
    const CERTIFICATE: &[u8] = include_bytes!("../../runner-image/runner/js_io/fixtures/certificate.der");
    const KEY: &[u8] = include_bytes!("../../runner-image/runner/js_io/fixtures/key.der");

    fn facts() -> Facts {
        let [project, service] = ["shop", "web"].map(|name| name.parse().unwrap());
        Facts { project, service, replica: 1, reason: "gave up".to_owned() }
    }

    fn webhook(host: &str, port: u16, tls: bool) -> Webhook {
        Webhook { tls, host: host.to_owned(), port, path: "/alarm".to_owned() }
    }

    #[tokio::test]
    async fn a_webhook_that_is_silent_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let webhook = webhook("127.0.0.1", port, false);
        let told = post(&webhook, &facts(), Duration::from_millis(100)).await;
        assert_eq!(told, Err(format!("http://127.0.0.1:{port}/alarm did not answer within 0 s")));
        drop(listener);
        let told = post(&webhook, &facts(), Duration::from_secs(30)).await;
        let why = "cannot be reached: Connection refused (os error 111)";
        assert_eq!(told, Err(format!("http://127.0.0.1:{port}/alarm {why}")));
    }

    /// What comes of a post to a server with that certificate, which is called like this and is trusted or not.
    async fn secured_exchange(host: &str, trusted: bool) -> Result<(), String> {
        let key = PrivateKeyDer::try_from(KEY).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        });
        let mut roots = RootCertStore::empty();
        if trusted {
            roots.add(CertificateDer::from(CERTIFICATE)).unwrap();
        }
        let webhook = webhook(host, address.port(), true);
        let stream = TcpStream::connect(address).await.unwrap();
        exchange(secured(stream, &webhook, roots).await?, &webhook, &facts()).await
    }

    #[tokio::test]
    async fn over_tls_only_who_is_trusted_and_meant_is_told() {
        assert_eq!(secured_exchange("api.example.com", true).await, Ok(()));
        for (host, trusted) in [("api.example.com", false), ("other.example.com", true)] {
            let why = secured_exchange(host, trusted).await.unwrap_err();
            assert!(why.starts_with("cannot be reached: invalid peer certificate: "), "{why}");
        }
    }
}
