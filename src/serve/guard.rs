//! What every request passes: who may ask, from where, and by which name. And what every answer says to browsers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tower_http::catch_panic::CatchPanicLayer;

use super::{App, Problem};
use crate::{Error, Result};

/// A secret that clients have to show. Only its hash is kept, and comparing takes the same time whatever is shown.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// Fewer characters could be guessed.
const SHORTEST_TOKEN: usize = 16;

impl Token {
    /// # Errors
    /// [`Error::Setting`] when it has fewer than 16 characters, or others than those of RFC 6750: letters, digits and
    /// `-._~+/=`. For browsers, which show it as a subprotocol, `/` and `=` do not do.
    pub fn new(secret: &str) -> Result<Self> {
        if secret.len() < SHORTEST_TOKEN {
            let actual = format!("{} characters long", secret.len());
            return Err(Error::setting("the token", actual, "16 are the least that nobody guesses"));
        }
        if !secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)) {
            let expected = "letters, digits and -._~+/= are allowed (`openssl rand -hex 32` makes a good one)";
            return Err(Error::setting("the token", "of characters that no header carries", expected));
        }
        Ok(Self(Sha256::digest(secret.as_bytes()).into()))
    }

    fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.0.ct_eq(&shown).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(..)")
    }
}

/// The subprotocol of `/v1/stream`, and the prefix of another one by which a browser, which can set no header, shows its token.
pub(super) const SUBPROTOCOL: &str = "auricle.v1";
const TOKEN_SUBPROTOCOL: &str = "auricle.token.";

/// Where nobody has to show a token: a probe has none, and the page has to load before it can ask for one.
const OPEN: [&str; 4] = ["/", "/livez", "/readyz", "/openapi.json"];

/// What answers tell browsers.
const SAFETY: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(super) fn around(router: Router, app: &Arc<App>) -> Router {
    router
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Problem::internal("a mistake of the service's own; please report it").into_response()
        }))
        .layer(from_fn_with_state(Arc::clone(app), guard))
        .layer(from_fn_with_state(Arc::clone(app), watch))
}

async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    for (name, value) in SAFETY {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Counts and times requests, by routes and not by whatever paths clients think of.
async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        _ => "other",
    };
    let start = Instant::now();
    let response = next.run(request).await;
    app.metrics.answered(route, method, response.status(), start.elapsed());
    response
}

fn check(app: &App, request: &Request) -> Result<(), Problem> {
    let host = host(request)?;
    if !is_known(host_name(host), &app.options.hosts) {
        let detail =
            format!("the host `{host}` is not one that this service is known by; start it with `--allow-host`");
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", detail));
    }
    check_origin(request.headers(), host)?;
    match &app.options.token {
        Some(token) if !OPEN.contains(&request.uri().path()) && !shows(request, token) => {
            let detail = "show the token: `Authorization: Bearer ...`";
            Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
        }
        _ => Ok(()),
    }
}

fn host(request: &Request) -> Result<&str, Problem> {
    let bad = || Problem::bad_request("bad-host", "one `Host` header is needed, with a name or an address");
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.as_str());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (Some(Ok(host)), None) if !host.is_empty() => Ok(host),
        _ => Err(bad()),
    }
}

/// Without its port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// An address was not looked up, so nobody can have bent it; names other than those that are known could be anybody's.
fn is_known(name: &str, hosts: &[String]) -> bool {
    let is_same = |known: &str| known.eq_ignore_ascii_case(name.trim_end_matches('.'));
    name.parse::<IpAddr>().is_ok() || is_same("localhost") || hosts.iter().any(|known| is_same(known))
}

/// Browsers say which page asks. Only those of the service itself may, WebSockets included, which no other rule covers.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    // A picture or a script of another page has no origin, but browsers say from where it is asked for.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_own_site = site.is_none_or(|site| site == b"same-origin" || site == b"none");
    let origin = headers.get(header::ORIGIN);
    let authority = origin.and_then(|origin| Some(origin.to_str().ok()?.split_once("://")?.1));
    let is_own_origin = origin.is_none() || authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host));
    if is_own_site && is_own_origin {
        return Ok(());
    }
    let detail = "web pages from elsewhere may not use this service";
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail))
}

fn shows(request: &Request, token: &Token) -> bool {
    let headers = request.headers();
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, secret) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(secret)
    });
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let by_protocol = protocols
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(TOKEN_SUBPROTOCOL));
    let by_protocol = by_protocol.filter(|_| request.uri().path() == "/v1/stream");
    bearer.or(by_protocol.map(str::as_bytes)).is_some_and(|secret| token.is(secret))
}

#[cfg(test)]
mod tests {
    use super::{Token, host_name, is_known};

    #[test]
    fn names_lose_their_port_and_addresses_their_brackets() {
        for (host, name) in [
            ("localhost:7870", "localhost"),
            ("localhost", "localhost"),
            ("[::1]:7870", "::1"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("auricle.example", "auricle.example"),
        ] {
            assert_eq!(host_name(host), name);
        }
    }

    #[test]
    fn only_addresses_and_known_names_are_hosts() {
        let hosts = ["auricle.example".to_owned()];
        for good in ["127.0.0.1", "::1", "192.168.0.7", "LOCALHOST", "localhost.", "Auricle.Example"] {
            assert!(is_known(good, &hosts), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "auricle.example.evil"] {
            assert!(!is_known(bad, &hosts), "{bad}");
        }
    }

    #[test]
    fn a_token_is_itself_only_and_is_never_printed() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.is(b"0123456789abcdef") && !token.is(b"0123456789abcdeF") && !token.is(b""));
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert!(Token::new("0123456789abcde").is_err() && Token::new("0123456789abcde ").is_err());
    }
}
