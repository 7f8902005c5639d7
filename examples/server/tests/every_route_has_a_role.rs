//! Walks every route with every role, with none, and from another site.

mod common;

use axum::http::{Method, StatusCode};
use common::Server;
use godvision_core::driver::reader::Reader;
use godvision_core::signal::door::Indication;
use godvision_core::{Name, Secret};
use godvision_server::store::Role;
use godvision_server::web::route::{Access, routes};
use godvision_server::web::system::{DoorChange, System};

/// What a route is asked with so that a right answer is possible.
fn path(template: &str) -> String {
    let id = if template.contains("/keypads/") {
        "keypad%2Ffront"
    } else if template.contains("/doors/") {
        "house%2Ffront"
    } else if template.contains("/clips/") {
        "yard%2F1"
    } else {
        "yard%2Fcamera"
    };
    template.replace("{id}", id).replace("{name}", "app.css")
}

fn body(template: &str) -> Option<&'static str> {
    match template {
        "/api/v1/cameras/{id}/detection"
        | "/api/v1/cameras/{id}/archive"
        | "/api/v1/cameras/{id}/qr"
        | "/api/v1/cameras/{id}/faces" => Some(r#"{"on": true}"#),
        // Its model is missing here, so it can only be switched off.
        "/api/v1/cameras/{id}/plates" => Some(r#"{"on": false}"#),
        "/api/v1/cameras/{id}/motion" => Some(r#"{"sensitivity": "high", "zones": ["gate: 0,0 1000,0 0,1000"]}"#),
        "/api/v1/faces" => Some(r#"{"person": "bob", "list": "allow", "words": "agreed", "photos": ["none"]}"#),
        "/api/v1/faces/{id}" => Some(r#"{"why": "asked to be forgotten"}"#),
        "/api/v1/strangers/{id}" => Some(r#"{"person": "zoe", "words": "agreed"}"#),
        "/api/v1/plates/{id}" => Some(r#"{"owner": "Ada"}"#),
        "/api/v1/plates/import" => Some("plate,owner\r\nA123BC77,Ada\r\n"),
        "/api/v1/people/{id}" => Some(r#"{"title": "Bob", "groups": ["residents"]}"#),
        "/api/v1/people/{id}/keys" => Some(r#"{"kind": "plate", "key": "A123BC77"}"#),
        "/api/v1/keys/{id}" => Some(r#"{"revoked": true}"#),
        "/api/v1/rules" => Some(r#"{"text": "version = 1\n", "base": 1}"#),
        "/api/v1/rules/check" => Some(r#"{"text": "version = 1\n"}"#),
        "/api/v1/rules/explain" => Some(r#"{"door": "house/front", "kind": "card"}"#),
        "/api/v1/doors/{id}/open" => Some(r#"{"reason": "a parcel"}"#),
        "/api/v1/doors/{id}/setup" => Some(r#"{"params": {"channel": 2}}"#),
        "/api/v1/doors/{id}/lockdown" | "/api/v1/lockdown" | "/api/v1/emergency" => Some(r#"{"on": true}"#),
        "/api/v1/premises/forgive" => Some(r#"{"person": "bob"}"#),
        "/api/v1/premises/unblock" => Some(r#"{"reader": "yard/keypad"}"#),
        "/api/v1/keypads" => Some(r#"{"name": "keypad/front", "door": "house/front"}"#),
        "/keypad/{token}" => Some("2580"),
        "/api/v1/telegram" => Some(r#"{"api": null}"#),
        "/api/v1/telegram/people/{id}/code" | "/api/v1/telegram/people/{id}" => Some(r#"{"notices": ["alarms"]}"#),
        "/api/v1/passes" => Some(r#"{"doors": ["any"]}"#),
        "/api/v1/passes/{id}/withdraw" => Some(r#"{"reason": "lost"}"#),
        "/api/v1/pass-keys/{id}/withdraw" => Some(r#"{"reason": "stolen"}"#),
        "/api/v1/rules/form" => Some("{}"),
        "/api/v1/rules/edit" => Some(r#"{"text": "version = 1\n", "table": "groups", "name": "a", "values": {}}"#),
        "/api/v1/rules/who" => Some(r#"{"door": "house/front", "kind": "card"}"#),
        "/api/v1/relay-status" | "/api/v1/relay-test" => Some(r#"{"door": "yard/gate"}"#),
        "/api/v1/login" => Some(r#"{"name": "nobody", "password": "wrong-password"}"#),
        "/api/v1/password" => Some(r#"{"current": "wrong-password", "new": "wrong-password"}"#),
        _ => None,
    }
}

async fn ask(server: &Server, method: &Method, template: &str, token: Option<&Secret>) -> common::Answer {
    let mut path = path(template);
    if template.contains("/sightings/") {
        let id = server.store.sightings().keep(common::sighting("yard/camera", "stranger", None, 0)).await.unwrap();
        path = template.replace("{id}", &id.to_string());
    }
    if template.starts_with("/api/v1/faces/") {
        common::enrolled(&server.store, "eileen").await;
        path = template.replace("{id}", "eileen");
    }
    if template.contains("/strangers/") {
        path = template.replace("{id}", &common::stranger(&server.store).to_string());
    }
    if template.ends_with("/api/v1/plates/{id}") {
        server.store.plates().put(&[common::known_plate("A123BC77", "Ada")]).await.unwrap();
        path = template.replace("{id}", "A123BC77");
    }
    if template.starts_with("/api/v1/people/") {
        common::known(&server.store, "bob").await;
        if template.ends_with("/restore") {
            server.store.access().remove_person(&"bob".parse().unwrap(), common::line()).await.unwrap();
        }
        if template.ends_with("/code") {
            server.store.access().renew_code(&"bob".parse().unwrap(), common::line()).await.unwrap();
        }
        path = template.replace("{id}", "bob");
    }
    if template.starts_with("/api/v1/keys/") {
        path = template.replace("{id}", &common::known(&server.store, "carl").await.to_string());
    }
    if template.starts_with("/api/v1/pass-keys/{id}") {
        // Each time one that signs.
        let id = server.store.access().rotate_pass_key("ada", |_| common::line()).await.unwrap();
        path = template.replace("{id}", &id.to_string());
    }
    if template.starts_with("/api/v1/passes/{id}") {
        path = template.replace("{id}", &common::pass(&server.store).await.to_string());
    }
    if template == "/code/{token}" {
        common::known(&server.store, "carl").await;
        let (access, carl) = (server.store.access(), "carl".parse().unwrap());
        access.renew_code(&carl, common::line()).await.unwrap();
        path = template.replace("{token}", access.code_link(&carl).await.unwrap().unwrap().expose());
    }
    if template.contains("/keypad") {
        let keypad: Name = "keypad/front".parse().unwrap();
        server.site.remove_keypad(&keypad).await.unwrap();
        server.site.add_keypad(&keypad, &"house/front".parse().unwrap()).await.unwrap();
        let link = server.store.keypads().renew(&keypad, "ada").await.unwrap();
        path = path.replace("{token}", link.token.expose());
        if template.ends_with("/shown") {
            // It goes on until the link is withdrawn.
            let store = server.store.clone();
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                store.keypads().withdraw(&keypad).await.unwrap();
            });
        }
    }
    if template.contains("/telegram/people/") {
        common::known(&server.store, "bob").await;
        common::bound(&server.store, "bob", 7).await;
        path = template.replace("{id}", "bob");
    }
    if template == "/pass/{token}" {
        let pass = common::pass(&server.store).await.to_string();
        let link = server.store.access().pass_link(&server.store.access().pass(&pass).await.unwrap()).await.unwrap();
        path = template.replace("{token}", link.expose());
    }
    if template.contains("/versions/{id}") {
        path = template.replace("{id}", "1");
    }
    if template == "/api/v1/doors/{id}" {
        server.site.put_door(&"shed".parse().unwrap(), DoorChange::default()).await.unwrap();
        path = template.replace("{id}", "shed");
    }
    let mut request = server.request(method.clone(), &path);
    if let Some(body) = body(template) {
        request = request.json(body);
    }
    if let Some(token) = token {
        request = request.token(token);
    }
    request.send().await
}

#[tokio::test]
async fn every_route_with_every_role_and_none() {
    let server = Server::start().await;
    let mut keypad = server.site.soft.reader("keypad~front").unwrap();
    keypad.indicate(0, Indication::Ready).await.unwrap();
    let names = [(Role::Viewer, "vera"), (Role::Operator, "otto"), (Role::Admin, "ada")];
    let mut walked = 0;
    for route in routes() {
        for who in [None].into_iter().chain(names.map(Some)) {
            // A fresh session each time: signing out is one of the routes.
            let token = match who {
                Some((_, name)) => Some(server.token(name).await),
                None => None,
            };
            let answer = ask(&server, &route.method, route.path, token.as_ref()).await;
            let what = format!("{} {} as {who:?}: {} {}", route.method, route.path, answer.status, answer.text());
            let may = match (route.access, who) {
                (Access::Anyone, _) => true,
                (Access::AtLeast(least), Some((role, _))) => role >= least,
                (Access::AtLeast(_), None) => false,
            };
            let programs =
                route.path.starts_with("/api/") || route.path.ends_with("metrics") || route.path.ends_with("csv");
            if may {
                let is_login = route.path.ends_with("/login") && route.method == Method::POST;
                assert!(answer.status != StatusCode::UNAUTHORIZED || is_login, "{what}");
                assert!(answer.status != StatusCode::FORBIDDEN || answer.code() == "wrong_password", "{what}");
                assert!(!answer.status.is_server_error(), "{what}");
                assert_ne!(answer.status, StatusCode::NOT_FOUND, "{what}");
            } else if who.is_some() {
                assert_eq!((answer.status, &*answer.code()), (StatusCode::FORBIDDEN, "role"), "{what}");
            } else if programs {
                assert_eq!((answer.status, &*answer.code()), (StatusCode::UNAUTHORIZED, "signed_out"), "{what}");
            } else {
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{what}");
                assert!(answer.header("location").starts_with("/login?next="), "{what}");
            }
            walked += 1;
        }
    }
    assert_eq!(walked, 4 * routes().len());
}

#[tokio::test]
async fn only_the_way_in_is_open_to_anyone() {
    let open: Vec<String> = routes()
        .iter()
        .filter(|route| route.access == Access::Anyone)
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    // Whoever adds a line here explains why in the table.
    let expected = [
        "GET /login",
        "POST /login",
        "POST /logout",
        "GET /pass/{token}",
        "GET /code/{token}",
        "GET /keypad/{token}",
        "POST /keypad/{token}",
        "GET /keypad/{token}/shown",
        "GET /assets/{name}",
        "GET /api/v1/openapi.json",
        "GET /api/v1/health",
        "POST /api/v1/login",
    ];
    assert_eq!(open, expected);
}

#[tokio::test]
async fn viewers_change_nothing() {
    let changing: Vec<&str> = routes()
        .iter()
        .filter(|route| route.method != Method::GET && route.access == Access::AtLeast(Role::Viewer))
        .map(|route| route.path)
        .collect();
    assert_eq!(changing, ["/api/v1/logout", "/api/v1/password"], "only what is their own");
}

#[tokio::test]
async fn what_another_site_sends_is_refused() {
    let server = Server::start().await;
    for route in routes().into_iter().filter(|route| route.method != Method::GET) {
        for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example"), ("origin", "null")] {
            let token = server.token("ada").await;
            let request = server.request(route.method.clone(), &path(route.path)).cookie(&token).header(name, value);
            let answer = request.json(body(route.path).unwrap_or_default()).send().await;
            let what = format!("{} with {name}: {value}", route.path);
            assert_eq!((answer.status, &*answer.code()), (StatusCode::FORBIDDEN, "cross_site"), "{what}");
        }
    }
    let doors = server.site.doors.lock().unwrap().clone();
    assert!(doors.iter().all(|door| door.decisions.is_empty()), "and no door moved");
}

#[tokio::test]
async fn our_own_pages_are_let_through() {
    let server = Server::start().await;
    let token = server.token("otto").await;
    let own = format!("http://{}", server.address);
    for (name, value) in [("sec-fetch-site", "same-origin"), ("origin", &own)] {
        let request = server.request(Method::PUT, "/api/v1/cameras/yard%2Fcamera/detection").cookie(&token);
        let answer = request.header(name, value).json(r#"{"on": false}"#).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_token_that_is_none_opens_nothing() {
    let server = Server::start().await;
    for token in ["", "0", &"0".repeat(64), &"é".repeat(32), &"f".repeat(5000)] {
        let answer =
            server.request(Method::GET, "/api/v1/cameras").header("cookie", &format!("godvision={token}")).send().await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let token = server.token("ada").await;
    let answer =
        server.request(Method::GET, "/api/v1/cameras").header("authorization", &format!("Basic {}", token.expose()));
    assert_eq!(answer.send().await.status, StatusCode::UNAUTHORIZED);
}
