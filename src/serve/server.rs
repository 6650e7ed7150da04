//! The server of `auricle serve`: bounds on connections, on the time that a client takes for its headers, and on how long it
//! may leave an answer lying; and an end that loses nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use super::Service;
use crate::error::{Error, Result};

/// What a server allows each client.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at once: 2048 unless set, 1,048,576 at most. Others wait to be accepted.
    pub most_connections: usize,
    /// How long the head of a request may take: 10 s unless set. A connection that asks for nothing is closed after it, too.
    pub longest_head: Duration,
    /// Bytes of a head: 16 KiB unless set, 8 KiB at least.
    pub largest_head: usize,
    /// How long a client may take nothing of what is sent to it: 30 s unless set.
    pub longest_write: Duration,
    /// How long what is there may take to end once the server is told to stop: 10 s unless set.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            most_connections: 2048,
            longest_head: Duration::from_secs(10),
            largest_head: 16 << 10,
            longest_write: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// What a server can be told to take at once.
const MOST_CONNECTIONS: usize = 1 << 20;

/// A service that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    service: Service,
    limits: ConnectionLimits,
}

impl Server {
    /// Listens at an address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`Error::Setting`] when the address is not of this machine alone and the service has no token, when it is taken, or
    /// when no connection, or more than can be counted, would be accepted.
    pub async fn bind(address: SocketAddr, service: &Service, limits: ConnectionLimits) -> Result<Self> {
        if !address.ip().to_canonical().is_loopback() && service.app.options.token.is_none() {
            let expected =
                "whoever reaches it could use the engine: give it a token (`--token-file`), or listen on 127.0.0.1";
            return Err(Error::setting("the address to listen at", format!("{address}, which others reach"), expected));
        }
        if !(1..=MOST_CONNECTIONS).contains(&limits.most_connections) {
            let expected = format!("1 to {MOST_CONNECTIONS} are allowed");
            return Err(Error::setting("the number of connections", limits.most_connections, expected));
        }
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::setting("the address to listen at", address, format!("it cannot be: {error}; choose another port"))
        })?;
        Ok(Self { listener, service: service.clone(), limits })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is there; then takes nothing new, lets go on what is there, and ends it after the grace. Returns how
    /// many connections did not end by themselves.
    ///
    /// # Errors
    /// When the system cannot give it connections any more.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> std::io::Result<usize> {
        let Self { listener, service, limits } = self;
        let router = service.router();
        let places = Arc::new(Semaphore::new(limits.most_connections));
        // Not the service's own draining: who drains that before it stops the server may want to be asked how it is.
        let stopping = watch::Sender::new(false);
        let mut stop = std::pin::pin!(stop);
        loop {
            let (connection, place) = tokio::select! {
                accepted = accept(&listener, &places) => accepted?,
                () = &mut stop => break,
            };
            let router = router.clone();
            let answer = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
                let answer = router.clone().oneshot(request.map(Body::new));
                async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
            });
            let mut connection = TimeoutStream::new(connection);
            connection.set_write_timeout(Some(limits.longest_write));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.longest_head)
                .max_buf_size(limits.largest_head.max(8 << 10))
                .serve_connection(TokioIo::new(Box::pin(connection)), answer)
                .with_upgrades();
            let mut stopped = stopping.subscribe();
            tokio::spawn(async move {
                let mut connection = std::pin::pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => Some(ended),
                    _ = stopped.wait_for(|stopped| *stopped) => None,
                };
                let ended = match ended {
                    Some(ended) => ended,
                    None => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                // What a client does wrong is its own affair; the answer said so, where there was one.
                if let Err(error) = ended {
                    tracing::debug!("a connection ended: {error}");
                }
                drop(place);
            });
        }
        drop(listener);
        service.drain();
        stopping.send_replace(true);
        let ended = async {
            // WebSockets have left their connections; each holds a place of the service's until it ends.
            let all = |places: usize| u32::try_from(places).unwrap_or(u32::MAX);
            drop(places.acquire_many(all(limits.most_connections)).await);
            drop(service.app.streams.acquire_many(all(service.app.options.most_streams)).await);
        };
        let in_time = tokio::time::timeout(limits.grace, ended).await.is_ok();
        let left = |most: usize, places: &Semaphore| most - places.available_permits().min(most);
        let streams = left(service.app.options.most_streams, &service.app.streams);
        Ok(if in_time { 0 } else { left(limits.most_connections, &places) + streams })
    }
}

/// The threads that a [`Server`] does well with: two, since all that takes long has threads of its own.
///
/// # Errors
/// What the system says.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("auricle.http").enable_all().build()
}

/// The next connection, when there is a place for it. What fails is of one connection, or passes: it is no end.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                connection.set_nodelay(true).ok();
                return Ok((connection, place));
            }
            Err(error) => {
                tracing::warn!("no connection can be taken just now: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
