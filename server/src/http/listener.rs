//! Accepting connections, with the limits that axum leaves to others.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Limits;
use super::places::{Holding, Place, Places};

/// How long to wait after a failed accept: it fails when file descriptors run out, and
/// trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's head.
const HEAD_MAX: usize = 16 * 1024;

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// HTTPS with these files; plain HTTP without.
    pub tls: Option<TlsFiles>,
}

/// A certificate chain and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// A PEM file cannot be read.
    #[error("{0}: not a readable PEM file of that kind")]
    Pem(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// Certificate and key do not go together.
    #[error("the TLS certificate and key cannot be used")]
    Tls(#[from] rustls::Error),
}

/// A bound address.
pub(super) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    pub(super) async fn bind(endpoint: &Endpoint) -> Result<Listener, ListenError> {
        let bind_error = |error| ListenError::Bind(endpoint.listen, error);
        let tls = endpoint.tls.as_ref().map(acceptor).transpose()?;
        let tcp = TcpListener::bind(endpoint.listen).await.map_err(bind_error)?;
        let address = tcp.local_addr().map_err(bind_error)?;
        Ok(Listener { tcp, address, tls })
    }

    pub(super) fn bound(&self) -> (&'static str, SocketAddr) {
        (if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Serves until `stop` becomes true and the connections have ended.
    pub(super) async fn serve(
        self,
        router: Router,
        limits: Limits,
        mut stop: watch::Receiver<bool>,
    ) {
        let places = Places::new(limits.connections_max);
        let mut connections = JoinSet::new();
        while let Some((stream, holding)) = self.accept(&places, &mut stop, &mut connections).await
        {
            let (tls, router, stop) = (self.tls.clone(), router.clone(), stop.clone());
            connections.spawn(async move {
                let place = &holding.place;
                tokio::select! {
                    () = connection(stream, tls, router, limits, stop, place.clone()) => (),
                    () = place.ended() => tracing::debug!("a connection made room for another"),
                }
            });
        }
        drop(self.tcp);
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(limits.drain, ended).await.is_err() {
            tracing::warn!("requests in progress were cut off");
        }
    }

    /// The next connection, and a place for it; `None` when it is time to stop.
    async fn accept(
        &self,
        places: &Arc<Places>,
        stop: &mut watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) -> Option<(TcpStream, Holding)> {
        let next = async {
            let stream = loop {
                match self.tcp.accept().await {
                    Ok((stream, _)) => break stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            };
            Some((stream, places.take().await?))
        };
        let mut next = std::pin::pin!(next);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return None,
                Some(_) = connections.join_next() => (),
                next = &mut next => return next,
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
    place: Arc<Place>,
) {
    // Small replies must not wait for an acknowledgement of the last ones.
    let _ = stream.set_nodelay(true);
    match tls {
        None => requests(stream, router, limits, stop, place).await,
        Some(tls) => match timeout(limits.head_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => requests(stream, router, limits, stop, place).await,
            _ => tracing::debug!("no TLS handshake"),
        },
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    place: Arc<Place>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
        _ = tokio::time::sleep(limits.connection_life) => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.drain, connection).await
        }
    };
    if !matches!(ended, Ok(Ok(()))) {
        tracing::debug!("a connection was cut off");
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ListenError> {
    let pem_error = |path: &Path| {
        let path = path.to_owned();
        move |error| ListenError::Pem(path, error)
    };
    let chain = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem_error(&files.certificates))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem_error(&files.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
