//! [`Client`]: `fetch` of a js service: one HTTP request to a host and a port that the manifest grants, by the relay that
//! stands for it in the sandbox. Everything else is done by the gateway, as for every service.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use orchestrator_port::gateway::Relay;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use url::Url;

use super::grants::{DENIED, Network, denied};
use super::messages::{Done, Failure, LONGEST_PAYLOAD};
use super::room::{Room, Share};
use super::target::Target;

/// How long a request may take, from its connection to the last byte of its response.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The most bytes of a response's head.
const LONGEST_HEAD: usize = 64 << 10;

/// What of a request is not the service's to say: how long it is, and whose connection it goes over.
const OWN_HEADERS: [&str; 8] =
    ["connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"];

/// Asks what may be asked. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    service: Arc<str>,
    network: Arc<Network>,
    room: Room,
    /// Whom to trust.
    roots: fn() -> RootCertStore,
}

/// A request, as the service wants it.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A response with its body, and the room that the body takes.
pub(crate) struct Fetched {
    pub(crate) response: Done,
    pub(crate) body: Vec<u8>,
    pub(crate) share: Share,
}

impl Client {
    /// One for this network.
    pub(crate) fn new(service: &str, network: Network, room: Room) -> Self {
        Self { service: service.into(), network: network.into(), room, roots: web_roots }
    }

    /// Sends a request and receives all of its response. Redirects are responses like any other.
    pub(crate) async fn fetch(&self, asked: Asked) -> Result<Fetched, Failure> {
        let url = Url::parse(&asked.url)
            .map_err(|error| Failure::new("EINVAL", format!("'{}' is no URL: {error}", asked.url)))?;
        let target = Target::of(&url)?;
        let way = self.way(&target)?;
        let request = request(&url, &target, asked)?;
        let exchange = self.exchange(way, &target, &url, request);
        let late = |_| {
            Failure::new(
                "timeout",
                format!("no whole answer from {} within {} s", target.to, TIME_LIMIT.as_secs()),
            )
        };
        timeout(TIME_LIMIT, exchange).await.map_err(late)?
    }

    /// Where a connection to this host and port is accepted, if it is granted: by a relay, or by the host itself.
    fn way(&self, target: &Target) -> Result<Option<&Relay>, Failure> {
        let relays = match &*self.network {
            Network::Relays(relays) => relays,
            Network::Host => return Ok(None),
            Network::None => {
                let text = format!("{} has no network: fetch needs 'sandbox: strict'", self.service);
                return Err(Failure::new(DENIED, text));
            }
        };
        relays.iter().find(|relay| relay.to == target.to).map(Some).ok_or_else(|| {
            let to = &target.to;
            denied(&self.service, format_args!("connect to {to}"), format_args!("net.connect: [\"{to}\"]"))
        })
    }

    async fn exchange(
        &self,
        relay: Option<&Relay>,
        target: &Target,
        url: &Url,
        request: Request<Full<Bytes>>,
    ) -> Result<Fetched, Failure> {
        let failed = |error: io::Error| target.unreachable(&error);
        let stream = match relay {
            Some(relay) => TcpStream::connect((relay.address, relay.port)).await,
            None => TcpStream::connect(&target.to).await,
        };
        let stream = stream.map_err(failed)?;
        // Small requests are not held back.
        stream.set_nodelay(true).map_err(failed)?;
        match &target.tls {
            None => self.speak(stream, target, url, request).await,
            Some(name) => {
                let connector = TlsConnector::from(tls((self.roots)()));
                let stream = connector.connect(name.clone(), stream).await.map_err(failed)?;
                self.speak(stream, target, url, request).await
            }
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        target: &Target,
        url: &Url,
        request: Request<Full<Bytes>>,
    ) -> Result<Fetched, Failure> {
        let failed = |error: hyper::Error| target.broken(&error);
        let mut http = http1::Builder::new();
        let handshake = http.max_buf_size(LONGEST_HEAD).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(failed)?;
        // Ends with this function, however it ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(failed)?;
        let (status, headers) = (response.status().as_u16(), texts(response.headers()));
        let (body, share) = self.collect(response, target).await?;
        Ok(Fetched { response: Done::Response { status, url: url.to_string(), headers }, body, share })
    }

    async fn collect(
        &self,
        response: Response<Incoming>,
        target: &Target,
    ) -> Result<(Vec<u8>, Share), Failure> {
        let (mut body, mut share) = (Vec::new(), self.room.share());
        let mut incoming = response.into_body();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| target.broken(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if (body.len() + data.len()) as u64 > LONGEST_PAYLOAD {
                let text =
                    format!("the answer of {} is longer than {} MiB", target.to, LONGEST_PAYLOAD >> 20);
                return Err(Failure::new("limit", text));
            }
            share.grow(data.len())?;
            body.extend_from_slice(&data);
        }
        Ok((body, share))
    }
}

fn request(url: &Url, target: &Target, asked: Asked) -> Result<Request<Full<Bytes>>, Failure> {
    let invalid = |text: String| Failure::new("EINVAL", text);
    let method = Method::from_bytes(asked.method.as_bytes())
        .ok()
        .filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE))
        .ok_or_else(|| invalid(format!("'{}' is no method to fetch with", asked.method)))?;
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("orchestrator"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let mut own = HeaderMap::new();
    for (name, value) in &asked.headers {
        let (Ok(known), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        else {
            return Err(invalid(format!(
                "the header '{name}' is none, or its value has a character that none may have"
            )));
        };
        if OWN_HEADERS.contains(&known.as_str()) {
            return Err(invalid(format!("the header '{known}' is not the service's to set")));
        }
        own.append(known, value);
    }
    headers.extend(own);
    // Without the port where that is its scheme's own.
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    headers.insert(
        HOST,
        HeaderValue::from_str(host).map_err(|_| invalid(format!("{} has no host", target.to)))?,
    );
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::new(Full::new(Bytes::from(asked.body)));
    *request.method_mut() = method;
    *request.uri_mut() =
        path.parse().map_err(|error| invalid(format!("cannot ask for '{path}': {error}")))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A header that is no text is shown as its bytes, one character each.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// Those of the web, compiled in.
fn web_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// What trusts these roots and nobody else.
fn tls(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.expect("the provider has the versions that it brings");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::super::ROOM;
    use super::*;

    /// For `api.example.com`, signed by itself, for a hundred years; nobody trusts it but who is told to.
    const CERTIFICATE: &[u8] = include_bytes!("fixtures/certificate.der");
    const KEY: &[u8] = include_bytes!("fixtures/key.der");

    /// A server with that certificate, which answers one caller with its request; and a client that may call it by each of
    /// these names.
    async fn server(names: &[&str]) -> Client {
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
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&request).await.unwrap();
        });
        let (address, port) = (address.ip(), address.port());
        let relay = |name: &&str| Relay { address, port, to: format!("{name}:443") };
        let relays: Vec<_> = names.iter().map(relay).collect();
        Client::new("web", Network::Relays(relays), Room::new(ROOM))
    }

    fn trusting(client: Client) -> Client {
        let roots = || {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(CERTIFICATE)).unwrap();
            roots
        };
        Client { roots, ..client }
    }

    async fn get(client: &Client, url: &str) -> Result<String, String> {
        let asked = Asked { method: "GET".into(), url: url.into(), headers: Vec::new(), body: Vec::new() };
        let fetched = client.fetch(asked).await.map_err(|failure| failure.code + ": " + &failure.message)?;
        Ok(String::from_utf8(fetched.body).unwrap())
    }

    #[tokio::test]
    async fn a_server_is_asked_over_tls_where_its_certificate_is_trusted_and_its_own() {
        let client = trusting(server(&["api.example.com"]).await);
        let seen = get(&client, "https://api.example.com/a?b").await.unwrap();
        assert!(
            seen.starts_with("GET /a?b HTTP/1.1\r\n") && seen.contains("host: api.example.com\r\n"),
            "{seen}"
        );

        let other = trusting(server(&["other.example.com"]).await);
        let error = get(&other, "https://other.example.com/").await.unwrap_err();
        assert!(
            error.starts_with("tls: cannot fetch from other.example.com:443: invalid peer certificate"),
            "{error}"
        );

        let web = server(&["api.example.com"]).await;
        let error = get(&web, "https://api.example.com/").await.unwrap_err();
        assert_eq!(
            error,
            "tls: cannot fetch from api.example.com:443: invalid peer certificate: UnknownIssuer"
        );
    }
}
