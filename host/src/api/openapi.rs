//! The published description. Routes describe themselves where they are written; here are only the words around them.

use super::errors;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Description, PathItem, RefOr};

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
    for (path, item) in &mut description.paths.paths {
        let PathItem { get, put, post, delete, .. } = item;
        for (method, operation) in [("get", get), ("put", put), ("post", post), ("delete", delete)] {
            if let Some(operation) = operation {
                complete(operation, method, path);
            }
        }
    }
    // Plain data always serialises; an empty text would be seen by the golden test at once.
    description.to_pretty_json().unwrap_or_default()
}

pub(super) fn serve(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}

/// What OpenAPI asks of every route and what is the same everywhere: a name of its own, which is its method and path, the type of what
/// stands in the path, and what a status means.
fn complete(operation: &mut Operation, method: &str, path: &str) {
    let words = path.trim_start_matches("/api/v1").split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = [method].into_iter().chain(words.filter(|word| !word.is_empty())).collect();
    operation.operation_id = Some(words.join("_"));
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.parameter_in == ParameterIn::Path
        {
            parameter.schema.get_or_insert_with(|| ObjectBuilder::new().schema_type(Type::String).build().into());
        }
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = meaning(status).into();
        }
    }
}

/// What the answer with that status says; empty: its route has to say so itself.
fn meaning(status: &str) -> &'static str {
    match status {
        "200" => "Done, or what was asked for",
        "201" => "Made, and kept in the journal",
        "202" => "Begun; it goes on by itself",
        "204" => "Done; there is nothing to tell of it",
        "422" => "Nothing was done; the body says what is wrong",
        "4XX" => "Refused; the code says why, the message what to do",
        "503" => "The station cannot do it, or does not do its work, at the moment; the body says why",
        _ => "",
    }
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
