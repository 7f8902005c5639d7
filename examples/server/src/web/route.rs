//! The table of routes: every method and path, who may use it, and what answers it.
//!
//! The router is built from this table alone. A test walks it with every role and with none.

use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post, put};

use super::{AppState, api, assets, pages, session};
use crate::store::Role;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody who reaches the server: the way in, and what is needed to draw it.
    Anyone,
    /// Whoever is signed in with this role or a higher one.
    AtLeast(Role),
}

/// One line of the table.
pub struct Route {
    /// The method; `GET` answers `HEAD` too.
    pub method: Method,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    pub(super) handler: MethodRouter<AppState>,
}

fn line(method: Method, path: &'static str, access: Access, handler: MethodRouter<AppState>) -> Route {
    Route { method, path, access, handler }
}

/// Every route of the server.
pub fn routes() -> Vec<Route> {
    const ANYONE: Access = Access::Anyone;
    const VIEWER: Access = Access::AtLeast(Role::Viewer);
    const OPERATOR: Access = Access::AtLeast(Role::Operator);
    const ADMIN: Access = Access::AtLeast(Role::Admin);
    // Rules, a list of plates and photos are longer than any other request.
    let photos = DefaultBodyLimit::max(api::faces::ENROL_BYTES_MAX);
    let photo = DefaultBodyLimit::max(api::faces::SEARCH_BYTES_MAX);
    let rules = DefaultBodyLimit::max(api::rules::RULES_BODY_BYTES_MAX);
    let large = DefaultBodyLimit::max(api::plates::IMPORT_BYTES_MAX);
    vec![
        // Pages.
        line(Method::GET, "/", VIEWER, get(pages::home)),
        line(Method::GET, "/login", ANYONE, get(pages::login)),
        line(Method::POST, "/login", ANYONE, post(session::login_page)),
        line(Method::POST, "/logout", ANYONE, post(session::logout_page)),
        line(Method::GET, "/cameras", VIEWER, get(pages::cameras)),
        line(Method::GET, "/clips", VIEWER, get(pages::clips)),
        line(Method::GET, "/sightings", VIEWER, get(pages::sightings::sightings)),
        line(Method::GET, "/plates", OPERATOR, get(pages::plates::plates)),
        line(Method::GET, "/plates.csv", OPERATOR, get(api::plates::csv)),
        line(Method::GET, "/faces", ADMIN, get(pages::faces::faces)),
        line(Method::GET, "/people", ADMIN, get(pages::people::people)),
        line(Method::GET, "/passes", ADMIN, get(pages::passes::list)),
        line(Method::GET, "/pass-keys", ADMIN, get(pages::pass_keys::list)),
        // A guest has no account: the link is what they show. Guessing it is slowed down like guessing a password, by a
        // count of its own: behind a proxy all guests have one address with those who sign in.
        line(Method::GET, "/pass/{token}", ANYONE, get(pages::passes::pass)),
        // As with the link of a pass, for a resident's own codes.
        line(Method::GET, "/code/{token}", ANYONE, get(pages::passes::code)),
        // A tablet beside a door has no account: the link makes it a keypad, and the door's rules and lockouts do the rest.
        line(Method::GET, "/keypad/{token}", ANYONE, get(pages::keypads::keypad)),
        line(Method::POST, "/keypad/{token}", ANYONE, post(api::keypads::typed)),
        line(Method::GET, "/keypad/{token}/shown", ANYONE, get(api::keypads::shown)),
        line(Method::GET, "/telegram", ADMIN, get(pages::telegram::telegram)),
        line(Method::GET, "/keypads", ADMIN, get(pages::keypads::list)),
        line(Method::GET, "/rules", ADMIN, get(pages::rules::rules)),
        line(Method::GET, "/doors", VIEWER, get(pages::doors)),
        line(Method::GET, "/board", VIEWER, get(pages::board::board)),
        line(Method::GET, "/journal", VIEWER, get(pages::journal)),
        line(Method::GET, "/journal.csv", VIEWER, get(api::journal::csv)),
        line(Method::GET, "/assets/{name}", ANYONE, get(assets::asset)),
        // For programs.
        line(Method::GET, "/metrics", VIEWER, get(api::health::metrics)),
        line(Method::GET, "/api/v1/openapi.json", ANYONE, get(api::openapi)),
        line(Method::GET, "/api/v1/health", ANYONE, get(api::health::health)),
        line(Method::POST, "/api/v1/login", ANYONE, post(session::login)),
        line(Method::POST, "/api/v1/logout", VIEWER, post(session::logout)),
        line(Method::GET, "/api/v1/session", VIEWER, get(session::whoami)),
        line(Method::POST, "/api/v1/password", VIEWER, post(session::change_password)),
        line(Method::GET, "/api/v1/cameras", VIEWER, get(api::cameras::list)),
        line(Method::PUT, "/api/v1/cameras/{id}/detection", OPERATOR, put(api::cameras::detection)),
        line(Method::PUT, "/api/v1/cameras/{id}/archive", OPERATOR, put(api::cameras::archive)),
        line(Method::PUT, "/api/v1/cameras/{id}/qr", OPERATOR, put(api::cameras::qr)),
        line(Method::PUT, "/api/v1/cameras/{id}/plates", OPERATOR, put(api::cameras::plates)),
        // What it looks for is people's bodies: not for operators.
        line(Method::PUT, "/api/v1/cameras/{id}/faces", ADMIN, put(api::cameras::faces)),
        line(Method::GET, "/api/v1/cameras/{id}/motion", VIEWER, get(api::cameras::watching)),
        line(Method::PUT, "/api/v1/cameras/{id}/motion", ADMIN, put(api::cameras::set_watching)),
        line(Method::GET, "/api/v1/cameras/{id}/live", VIEWER, get(api::cameras::live)),
        line(Method::GET, "/api/v1/clips", VIEWER, get(api::clips::list)),
        line(Method::GET, "/api/v1/clips/{id}/video", VIEWER, get(api::clips::video)),
        line(Method::GET, "/api/v1/sightings", VIEWER, get(api::sightings::list)),
        line(Method::DELETE, "/api/v1/sightings/{id}", ADMIN, delete(api::sightings::remove)),
        line(Method::GET, "/api/v1/sightings/{id}/crop", VIEWER, get(api::sightings::crop)),
        line(Method::GET, "/api/v1/plates", OPERATOR, get(api::plates::list)),
        line(Method::POST, "/api/v1/plates/import", ADMIN, post(api::plates::import).layer(large)),
        line(Method::PUT, "/api/v1/plates/{id}", ADMIN, put(api::plates::put)),
        line(Method::DELETE, "/api/v1/plates/{id}", ADMIN, delete(api::plates::remove)),
        line(Method::GET, "/api/v1/faces", ADMIN, get(api::faces::list)),
        line(Method::POST, "/api/v1/faces", ADMIN, post(api::faces::enrol).layer(photos)),
        line(Method::DELETE, "/api/v1/faces/{id}", ADMIN, delete(api::faces::forget)),
        line(Method::GET, "/api/v1/faces/{id}/photo", ADMIN, get(api::faces::photo)),
        line(Method::POST, "/api/v1/face-search", ADMIN, post(api::faces::search).layer(photo)),
        line(Method::GET, "/api/v1/strangers", ADMIN, get(api::faces::strangers)),
        line(Method::PUT, "/api/v1/strangers/{id}", ADMIN, put(api::faces::name_stranger)),
        line(Method::DELETE, "/api/v1/strangers/{id}", ADMIN, delete(api::faces::forget_stranger)),
        line(Method::GET, "/api/v1/people", ADMIN, get(api::people::list)),
        line(Method::PUT, "/api/v1/people/{id}", ADMIN, put(api::people::put)),
        line(Method::DELETE, "/api/v1/people/{id}", ADMIN, delete(api::people::remove)),
        line(Method::POST, "/api/v1/people/{id}/restore", ADMIN, post(api::people::restore)),
        line(Method::POST, "/api/v1/people/{id}/keys", ADMIN, post(api::people::add_key)),
        line(Method::GET, "/api/v1/people/{id}/code", ADMIN, get(api::people::code)),
        line(Method::POST, "/api/v1/people/{id}/code", ADMIN, post(api::people::renew_code)),
        line(Method::DELETE, "/api/v1/people/{id}/code", ADMIN, delete(api::people::withdraw_code)),
        line(Method::PUT, "/api/v1/keys/{id}", ADMIN, put(api::people::set_key)),
        line(Method::DELETE, "/api/v1/keys/{id}", ADMIN, delete(api::people::remove_key)),
        line(Method::GET, "/api/v1/passes", ADMIN, get(api::passes::list)),
        line(Method::POST, "/api/v1/passes", ADMIN, post(api::passes::make)),
        line(Method::GET, "/api/v1/passes/{id}", ADMIN, get(api::passes::get)),
        line(Method::GET, "/api/v1/passes/{id}/qr", ADMIN, get(api::passes::png)),
        line(Method::GET, "/api/v1/passes/{id}/card", ADMIN, get(api::passes::card)),
        line(Method::POST, "/api/v1/passes/{id}/withdraw", ADMIN, post(api::passes::withdraw)),
        line(Method::GET, "/api/v1/pass-keys", ADMIN, get(api::pass_keys::list)),
        line(Method::POST, "/api/v1/pass-keys", ADMIN, post(api::pass_keys::make)),
        line(Method::POST, "/api/v1/pass-keys/{id}/retire", ADMIN, post(api::pass_keys::retire)),
        line(Method::POST, "/api/v1/pass-keys/{id}/withdraw", ADMIN, post(api::pass_keys::withdraw)),
        line(Method::GET, "/api/v1/keypads", ADMIN, get(api::keypads::list)),
        line(Method::POST, "/api/v1/keypads", ADMIN, post(api::keypads::add)),
        line(Method::DELETE, "/api/v1/keypads/{id}", ADMIN, delete(api::keypads::remove)),
        line(Method::POST, "/api/v1/keypads/{id}/link", ADMIN, post(api::keypads::renew_link)),
        line(Method::DELETE, "/api/v1/keypads/{id}/link", ADMIN, delete(api::keypads::withdraw_link)),
        line(Method::GET, "/api/v1/telegram", ADMIN, get(api::telegram::get)),
        line(Method::PUT, "/api/v1/telegram", ADMIN, put(api::telegram::put)),
        line(Method::DELETE, "/api/v1/telegram", ADMIN, delete(api::telegram::remove)),
        line(Method::POST, "/api/v1/telegram/people/{id}/code", ADMIN, post(api::telegram::make_code)),
        line(Method::POST, "/api/v1/telegram/people/{id}/test", ADMIN, post(api::telegram::try_out)),
        line(Method::PUT, "/api/v1/telegram/people/{id}", ADMIN, put(api::telegram::set_notices)),
        line(Method::DELETE, "/api/v1/telegram/people/{id}", ADMIN, delete(api::telegram::unbind)),
        line(Method::GET, "/api/v1/rules", ADMIN, get(api::rules::get)),
        line(Method::PUT, "/api/v1/rules", ADMIN, put(api::rules::put).layer(rules)),
        line(Method::POST, "/api/v1/rules/check", ADMIN, post(api::rules::check).layer(rules)),
        line(Method::POST, "/api/v1/rules/explain", ADMIN, post(api::rules::explain).layer(rules)),
        line(Method::POST, "/api/v1/rules/form", ADMIN, post(api::rules_form::form).layer(rules)),
        line(Method::POST, "/api/v1/rules/edit", ADMIN, post(api::rules_form::edit).layer(rules)),
        line(Method::POST, "/api/v1/rules/who", ADMIN, post(api::rules_form::who).layer(rules)),
        line(Method::GET, "/api/v1/rules/versions", ADMIN, get(api::rules::versions)),
        line(Method::GET, "/api/v1/rules/versions/{id}", ADMIN, get(api::rules::version)),
        line(Method::GET, "/api/v1/doors", VIEWER, get(api::doors::list)),
        line(Method::GET, "/api/v1/door-setup", ADMIN, get(api::door_setup::blank)),
        line(Method::GET, "/api/v1/doors/{id}/setup", ADMIN, get(api::door_setup::get)),
        line(Method::PUT, "/api/v1/doors/{id}/setup", ADMIN, put(api::door_setup::put)),
        line(Method::DELETE, "/api/v1/doors/{id}", ADMIN, delete(api::door_setup::remove)),
        line(Method::GET, "/api/v1/relay-drivers", ADMIN, get(api::door_setup::drivers)),
        line(Method::POST, "/api/v1/relay-test", ADMIN, post(api::door_setup::test_relay)),
        line(Method::POST, "/api/v1/relay-status", ADMIN, post(api::door_setup::read_relay)),
        line(Method::GET, "/api/v1/doors/changes", VIEWER, get(api::doors::changes)),
        line(Method::POST, "/api/v1/doors/{id}/open", OPERATOR, post(api::doors::open)),
        line(Method::PUT, "/api/v1/doors/{id}/lockdown", OPERATOR, put(api::premises::lockdown_one)),
        line(Method::POST, "/api/v1/doors/{id}/acknowledge", OPERATOR, post(api::premises::acknowledge)),
        line(Method::PUT, "/api/v1/lockdown", OPERATOR, put(api::premises::lockdown)),
        // Who is where is for those who would look for them.
        line(Method::GET, "/api/v1/premises", OPERATOR, get(api::premises::get)),
        line(Method::PUT, "/api/v1/emergency", ADMIN, put(api::premises::emergency)),
        line(Method::POST, "/api/v1/premises/forgive", ADMIN, post(api::premises::forgive)),
        line(Method::POST, "/api/v1/premises/unblock", ADMIN, post(api::premises::unblock)),
        line(Method::GET, "/api/v1/journal", VIEWER, get(api::journal::list)),
        line(Method::GET, "/api/v1/journal/services", VIEWER, get(api::journal::services)),
        line(Method::GET, "/api/v1/journal/head", VIEWER, get(api::journal::head)),
    ]
}
