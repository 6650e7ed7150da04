//! `/`: a page with live figures.

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Response};

const PAGE: &str = include_str!("page.html");

/// Its script and its style stand in it, and are allowed by their hashes; it may talk to nobody but this service.
pub(super) async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    let policy = format!(
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         script-src {}; style-src {}",
        hash_of("script"),
        hash_of("style")
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The source of a policy that allows what stands between two tags of the page.
fn hash_of(tag: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let (begin, end) = (format!("<{tag}>"), format!("</{tag}>"));
    let text = PAGE.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map_or("", |(text, _)| text);
    let hash = sha2::Sha256::digest(text.as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(hash))
}
