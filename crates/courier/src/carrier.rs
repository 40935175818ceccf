//! One item, one HTTP request (`docs/http.md`, device side).

use std::error::Error;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Proxy, Response, StatusCode, Url, redirect};
use rustls::crypto::aws_lc_rs;

use crate::config::{BadConfig, Config};

/// The longest answer that is read, bytes: an envelope of 256 KiB in the wrapping of an answer.
const ANSWER_LEN_MAX: usize = 320 * 1024;

const COSE: &str = "application/cose";

/// What sort of item: the last part of the route. A closed list, so that nothing that the agent
/// says can lead anywhere else on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(&'static str);

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self("challenge"),
        Self("claim"),
        Self("activate"),
        Self("confirm"),
        Self("message"),
        Self("fetch"),
    ];

    /// The kind of that name.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.0 == word)
    }
}

/// How the carrying of an item went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered with these bytes.
    Answered(Vec<u8>),
    /// The server said one of its four words.
    Refused(&'static str),
    /// Nothing came that a server of ours would say; the reason is for the log.
    Unreachable(String),
}

impl Outcome {
    /// The word for the agent, and the bytes with it.
    pub fn to_answer(&self) -> (&'static str, &[u8]) {
        match self {
            Self::Answered(body) => ("ok", body),
            Self::Refused(word) => ("refused", word.as_bytes()),
            Self::Unreachable(_) => ("unreachable", &[]),
        }
    }
}

/// Posts items.
#[derive(Debug, Clone)]
pub struct Carrier {
    client: Client,
}

impl Carrier {
    /// With the time limits, roots and proxy of `config`.
    ///
    /// # Errors
    /// [`BadConfig`] when a root or the proxy cannot be used.
    pub fn new(config: &Config) -> Result<Self, BadConfig> {
        // It fails when a provider is installed already, which is as good.
        let _ = aws_lc_rs::default_provider().install_default();
        let client = match builder(config)?.build() {
            Err(error) if config.roots.is_empty() => {
                // A small device may have no root certificates, and HTTP needs none.
                let error = chain(&error);
                tracing::warn!(error, "HTTPS will fail: install ca-certificates or name roots");
                builder(config)?.tls_certs_only([]).build()
            }
            built => built,
        };
        Ok(Self { client: client.map_err(|error| BadConfig::new(chain(&error)))? })
    }

    /// Posts `body` to `<origin>/device/v1/<kind>` and reads the answer.
    pub async fn carry(&self, origin: &str, kind: Kind, body: Vec<u8>) -> Outcome {
        let url = match route(origin, kind) {
            Ok(url) => url,
            Err(reason) => return Outcome::Unreachable(reason),
        };
        let request = self.client.post(url).header(CONTENT_TYPE, COSE).body(body);
        match request.send().await {
            Ok(response) => understand(response).await,
            Err(error) => Outcome::Unreachable(chain(&error)),
        }
    }
}

async fn understand(response: Response) -> Outcome {
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_cose = content_type == Some(COSE.as_bytes());
    let body = match read(response).await {
        Ok(body) => body,
        Err(reason) => return Outcome::Unreachable(reason),
    };
    match (status, word(status)) {
        (StatusCode::OK, _) if is_cose => Outcome::Answered(body),
        (_, Some(word)) if body == word.as_bytes() => Outcome::Refused(word),
        // A proxy, a portal, another program on that port.
        _ => Outcome::Unreachable(format!("status {status}, not in the way of a twinseal server")),
    }
}

/// The server's constant reply of a status. Other programs use the same statuses, so the reply
/// itself has to be this word.
fn word(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        400 => Some("malformed"),
        403 => Some("rejected"),
        410 => Some("stale"),
        503 => Some("busy"),
        _ => None,
    }
}

/// The whole body, if it is not too long. What is too long is not waited for.
async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + chunk.len() > ANSWER_LEN_MAX {
            return Err(format!("an answer of more than {ANSWER_LEN_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn route(origin: &str, kind: Kind) -> Result<Url, String> {
    let url = format!("{}/device/v1/{}", origin.trim_end_matches('/'), kind.0);
    let url: Url = url.parse().map_err(|error| format!("the server's URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(url),
        _ => Err("the server's URL is not one of HTTP".to_owned()),
    }
}

fn builder(config: &Config) -> Result<ClientBuilder, BadConfig> {
    let mut builder = Client::builder()
        .user_agent(concat!("twinseal-courier/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        // An answer comes from where the item went, or not at all.
        .redirect(redirect::Policy::none())
        .connect_timeout(config.connect_timeout())
        .timeout(config.timeout());
    if let Some(proxy) = &config.proxy {
        builder = builder.proxy(Proxy::all(proxy).map_err(BadConfig::new)?);
    }
    if !config.roots.is_empty() {
        builder = builder.tls_certs_only(roots(config)?);
    }
    Ok(builder)
}

fn roots(config: &Config) -> Result<Vec<Certificate>, BadConfig> {
    let mut roots = Vec::new();
    for file in &config.roots {
        let pem = std::fs::read(file).map_err(|error| BadConfig::of(file, error))?;
        let found =
            Certificate::from_pem_bundle(&pem).map_err(|error| BadConfig::of(file, error))?;
        if found.is_empty() {
            return Err(BadConfig::of(file, "no certificate in it"));
        }
        roots.extend(found);
    }
    Ok(roots)
}

/// The error with all its sources: without them it says only that it failed.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}
