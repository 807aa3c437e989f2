//! The published description. Routes describe themselves where they are written; here are only the words around them.

use super::errors;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Description, PathItem};

#[derive(OpenApi)]
#[openapi(
    info(title = "Polymeter", description = "HTTP API of a Polymeter station.", license(name = "Apache-2.0 OR MIT")),
    tags(
        (name = "devices", description = "The fleet, and what each device said"),
        (name = "registry", description = "What the utility says of its devices, heard of or not"),
        (name = "commands", description = "What is asked of devices"),
        (name = "polls", description = "What the station asks by itself"),
        (name = "archives", description = "What concentrators think is behind them, against the registry"),
        (name = "adapters", description = "Vendors' code that the station runs"),
        (name = "profiles", description = "How devices are spoken to: options of adapters, in versions, and whom they are for"),
        (name = "quarantine", description = "Frames that nobody could read yet"),
        (name = "journal", description = "Everything the station learned or decided, in order"),
        (name = "keys", description = "Secrets shared with devices; they go in and never come out"),
        (name = "tokens", description = "Who may use this API"),
        (name = "station", description = "The station as a whole"),
    ),
    modifiers(&Words)
)]
struct Frame;

struct Words;

impl Modify for Words {
    fn modify(&self, description: &mut Description) {
        description.info.description = Some(format!(
            "HTTP API of a Polymeter station.\n\n\
             **Tokens.** Send `Authorization: Bearer <token>`. A viewer may look, an operator may also send commands, \
             adopt devices and write records of the registry, an admin may also import records and change adapters, profiles, keys and tokens. The role that a route needs stands beside it.\n\n\
             **Queries.** A parameter that a route does not take is refused, so that a slip of the pen neither shows everything nor \
             writes what was to be tried. So is a body in which an object has a name twice.\n\n\
             **Pages.** Listings give `items` and, while more may follow, `next`: pass it as `after`, with `limit` rows at most. A \
             page may be short, even empty, and still go on.\n\n\
             **Values** are exact decimals in strings. Times of devices are local and without zone \
             (`2024-03-15T18:25:30`), instants of the station are UTC (`2024-03-15T10:25:31.042Z`). Fields without a \
             value are left out.\n\n\
             **Refusals** look like `{{\"error\": {{\"code\": \"unknown-device\", \"message\": \"…\"}}}}`. Codes are stable:\n\n{}",
            errors::table()
        ));
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("Made with `polymeter token create`; shown once.".into());
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The description without any route.
pub(super) fn frame() -> Description {
    Frame::openapi()
}

/// The whole description, as it is served.
pub fn description() -> String {
    finish(super::routes().split_for_parts().1)
}

pub(super) fn finish(mut description: Description) -> String {
    description.paths.paths.insert("/api/v1/openapi.json".into(), itself());
    // Plain data always serialises; an empty text would be seen by the golden test at once.
    description.to_pretty_json().unwrap_or_default()
}

pub(super) fn serve(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}

fn itself() -> PathItem {
    use utoipa::openapi::path::{HttpMethod, OperationBuilder};
    use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
    let ok = ResponseBuilder::new().description("OpenAPI 3.1").build();
    let operation = OperationBuilder::new()
        .tag("station")
        .summary(Some("This description"))
        .responses(ResponsesBuilder::new().response("200", ok).build())
        .build();
    PathItem::new(HttpMethod::Get, operation)
}
