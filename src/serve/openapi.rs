//! `/openapi.json`: what the service offers, for machines.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "Auricle", description = "Cleans live signals, and says how large the next batch should be. Problems have a `code` that stays. \
            Any path may also answer 400 `bad-host`, 401 `unauthorized`, 403 `foreign-origin`, 421 `unknown-host`, or 500 \
            `internal`."),
    paths(
        super::hints::hints,
        super::clean::clean,
        super::stream::stream,
        super::snapshot::snapshot,
        super::metrics::metrics,
        super::health::livez,
        super::health::readyz,
    ),
    components(schemas(super::Problem)),
    modifiers(&Bearer),
    security((), ("token" = [])),
)]
struct Api;

/// The token, for services that have one.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        if let Some(components) = &mut api.components {
            components.add_security_scheme("token", scheme);
        }
    }
}

pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}
